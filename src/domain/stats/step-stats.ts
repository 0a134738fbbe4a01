/** What became of the steps of some executions: groups of equal ones, added up by step, or by type of step. */
import type { StepStatus } from "../states.ts";
import { addCounts, type Counts } from "../templates/usage-counts.ts";
import { type FailureCount, mostFrequent } from "./execution-stats.ts";

/** Runs of one step of one revision that are alike in everything that is counted. */
export interface StepGroup {
  /** Empty for standalone sagas. */
  readonly workflowId: string;
  readonly revision: number;
  readonly name: string;
  readonly state: StepStatus;
  /** How its action ended, whatever came after; null: it has not ended, or without an attempt. */
  readonly action: "succeeded" | "failed" | null;
  /** Bucket of the duration (see `usage-counts.ts`), of actions that succeeded and took attempts. */
  readonly bucket: number | null;
  readonly count: number;
  /** Attempts of them all that were tried again. */
  readonly retries: number;
}

/** Attempts of one step that failed alike. */
export interface StepFailureGroup extends Pick<StepGroup, "workflowId" | "revision" | "name" | "count"> {
  readonly failure: string;
}

export interface StepTotals {
  readonly runs: number;
  readonly states: ReadonlyMap<StepStatus, number>;
  readonly succeeded: number;
  readonly failed: number;
  readonly durations: Counts;
  readonly retries: number;
  /** Most frequent first. */
  readonly failures: readonly FailureCount[];
}

export function stepTotals(groups: readonly StepGroup[], failures: readonly StepFailureGroup[] = []): StepTotals {
  const sum = (of: (group: StepGroup) => number): number => groups.reduce((total, group) => total + of(group), 0);
  const states = new Map<StepStatus, number>();
  for (const { state, count } of groups) states.set(state, (states.get(state) ?? 0) + count);
  return {
    runs: sum(({ count }) => count),
    states,
    succeeded: sum(({ action, count }) => (action === "succeeded" ? count : 0)),
    failed: sum(({ action, count }) => (action === "failed" ? count : 0)),
    durations: addCounts(groups.flatMap(({ bucket, count }) => (bucket === null ? [] : [{ [bucket]: count }]))),
    retries: sum(({ retries }) => retries),
    failures: mostFrequent(failures.map(({ failure, count }) => ({ name: failure, step: "", count }))),
  };
}

/** Succeeded of those that succeeded or failed, 0 to 1; 0 when there are none. */
export function actionSuccessRate({ succeeded, failed }: Pick<StepTotals, "succeeded" | "failed">): number {
  return succeeded + failed === 0 ? 0 : succeeded / (succeeded + failed);
}

/** By type of step, most runs first. `typeOf` answers an empty text where the type is not known. */
export function totalsByType(groups: readonly StepGroup[], typeOf: (group: StepGroup) => string): (StepTotals & { readonly type: string })[] {
  return [...Map.groupBy(groups, typeOf)].map(([type, same]) => ({ type, ...stepTotals(same) })).sort((a, b) => b.runs - a.runs || (a.type < b.type ? -1 : 1));
}

/** The revisions with the most runs first. */
export function revisionsByRuns(groups: readonly StepGroup[]): { readonly workflowId: string; readonly revision: number }[] {
  return [...Map.groupBy(groups, ({ workflowId, revision }) => `${workflowId} ${revision}`).values()]
    .map((same) => ({ workflowId: same[0]?.workflowId ?? "", revision: same[0]?.revision ?? 0, runs: stepTotals(same).runs }))
    .sort((a, b) => b.runs - a.runs || (a.workflowId < b.workflowId ? -1 : a.workflowId > b.workflowId ? 1 : b.revision - a.revision));
}
