/** How a run sees to the executions that carry out its `sub_workflow` steps. */
import type { OpenChild } from "../domain/children.ts";
import type { Definition } from "../domain/definition.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { ReportedOutcome } from "../domain/reported-outcome.ts";

/** What was found out about a child that ended, or could not be started. */
export interface ChildReport extends OpenChild {
  readonly outcome: ReportedOutcome;
}

export interface ChildLink {
  /**
   * Sees to the open children of a run. `calledOff`: paths whose step is not wanted any more. Answers with those that are
   * over; throws when the database or another replica could not be asked.
   */
  look(state: ExecutionState, definition: Definition, open: readonly OpenChild[], calledOff: ReadonlySet<string>): Promise<readonly ChildReport[]>;
}
