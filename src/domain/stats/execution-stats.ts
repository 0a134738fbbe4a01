/** What became of some executions: groups of equal ones, added up by workflow, revision and over all. */
import type { ExecutionStatus } from "../states.ts";
import { addCounts, type Counts } from "../templates/usage-counts.ts";

/** Executions of one revision that are alike in everything that is counted. */
export interface ExecutionGroup {
  /** Empty for standalone sagas. */
  readonly workflowId: string;
  readonly revision: number;
  readonly state: ExecutionStatus;
  readonly ended: boolean;
  /** Bucket of the duration (see `usage-counts.ts`), of completed ones. */
  readonly bucket: number | null;
  /** Error name and step, of those that ended otherwise. */
  readonly failure: string | null;
  readonly step: string | null;
  readonly count: number;
}

export interface FailureCount {
  readonly name: string;
  /** Empty: no step is to blame, or it goes without saying. */
  readonly step: string;
  readonly count: number;
}

export interface ExecutionTotals {
  readonly executions: number;
  readonly states: ReadonlyMap<ExecutionStatus, number>;
  readonly ended: number;
  readonly completed: number;
  /** Bucket of the duration → completed executions. */
  readonly durations: Counts;
  /** Most frequent first. */
  readonly failures: readonly FailureCount[];
}

export function executionTotals(groups: readonly Omit<ExecutionGroup, "workflowId" | "revision">[]): ExecutionTotals {
  const sum = (wanted: (group: (typeof groups)[number]) => boolean): number => groups.reduce((total, group) => total + (wanted(group) ? group.count : 0), 0);
  const states = new Map<ExecutionStatus, number>();
  for (const { state, count } of groups) states.set(state, (states.get(state) ?? 0) + count);
  return {
    executions: sum(() => true),
    states,
    ended: sum(({ ended }) => ended),
    completed: sum(({ state }) => state === "completed"),
    durations: addCounts(groups.flatMap(({ bucket, count }) => (bucket === null ? [] : [{ [bucket]: count }]))),
    failures: mostFrequent(groups.flatMap(({ failure, step, count }) => (failure === null ? [] : [{ name: failure, step: step ?? "", count }]))),
  };
}

/** Equal ones added up, most frequent first, by name among equals. */
export function mostFrequent(failures: readonly FailureCount[]): FailureCount[] {
  const kinds = Map.groupBy(failures, ({ name, step }) => JSON.stringify([name, step]));
  return [...kinds.values()]
    .map((same) => ({ ...(same[0] as FailureCount), count: same.reduce((total, { count }) => total + count, 0) }))
    .sort((a, b) => b.count - a.count || (a.name === b.name ? compare(a.step, b.step) : compare(a.name, b.name)));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
