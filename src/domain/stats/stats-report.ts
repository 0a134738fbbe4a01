/** The report over workflows, revisions and steps, cut to what one answer holds. */
import { type ExecutionGroup, type ExecutionTotals, executionTotals } from "./execution-stats.ts";
import { type StepFailureGroup, type StepGroup, type StepTotals, stepTotals } from "./step-stats.ts";

export interface StepReport extends StepTotals {
  readonly name: string;
}

export interface RevisionReport {
  readonly revision: number;
  readonly totals: ExecutionTotals;
  /** Most runs first. */
  readonly steps: readonly StepReport[];
}

export interface WorkflowReport {
  readonly workflowId: string;
  readonly totals: ExecutionTotals;
  /** Newest first. */
  readonly revisions: readonly RevisionReport[];
}

export interface StatsReport {
  readonly total: ExecutionTotals;
  /** Most executions first. */
  readonly workflows: readonly WorkflowReport[];
  /** Revisions beyond `revisionsMax`. */
  readonly revisionsLeftOut: number;
}

export interface StatsBounds {
  readonly revisionsMax: number;
  /** Of all revisions together; steps with the fewest runs go first. */
  readonly stepsMax: number;
}

export interface StatsGroups {
  readonly executions: readonly ExecutionGroup[];
  readonly steps: readonly StepGroup[];
  readonly failures: readonly StepFailureGroup[];
}

export function statsReport({ executions, steps, failures }: StatsGroups, bounds: StatsBounds): StatsReport {
  const stepsOf = Map.groupBy(steps, keyOf);
  const failuresOf = Map.groupBy(failures, keyOf);
  const workflows = [...Map.groupBy(executions, ({ workflowId }) => workflowId)]
    .map(([workflowId, groups]) => ({ workflowId, groups, totals: executionTotals(groups) }))
    .sort((a, b) => b.totals.executions - a.totals.executions || (a.workflowId < b.workflowId ? -1 : 1));
  let revisionsLeft = bounds.revisionsMax;
  let stepsLeft = bounds.stepsMax;
  let revisionsLeftOut = 0;
  const shown = workflows.flatMap(({ workflowId, groups, totals }) => {
    const revisions = [...Map.groupBy(groups, ({ revision }) => revision)].sort(([a], [b]) => b - a);
    const fitting = revisions.slice(0, revisionsLeft);
    revisionsLeft -= fitting.length;
    revisionsLeftOut += revisions.length - fitting.length;
    if (fitting.length === 0) return [];
    const reports = fitting.map(([revision, same]): RevisionReport => {
      const key = keyOf({ workflowId, revision });
      const all = stepReports(stepsOf.get(key) ?? [], failuresOf.get(key) ?? []).slice(0, stepsLeft);
      stepsLeft -= all.length;
      return { revision, totals: executionTotals(same), steps: all };
    });
    return [{ workflowId, totals, revisions: reports }];
  });
  return { total: executionTotals(executions), workflows: shown, revisionsLeftOut };
}

function stepReports(groups: readonly StepGroup[], failures: readonly StepFailureGroup[]): StepReport[] {
  const failuresOf = Map.groupBy(failures, ({ name }) => name);
  return [...Map.groupBy(groups, ({ name }) => name)]
    .map(([name, same]) => ({ name, ...stepTotals(same, failuresOf.get(name) ?? []) }))
    .sort((a, b) => b.runs - a.runs || (a.name < b.name ? -1 : 1));
}

function keyOf({ workflowId, revision }: { readonly workflowId: string; readonly revision: number }): string {
  return `${workflowId} ${revision}`;
}
