/** What a new execution begins with. */
import type { NewEvent } from "../domain/events.ts";
import type { StartRow } from "../store/journal.ts";

export interface NewExecution {
  readonly executionId: string;
  readonly start: StartRow;
  readonly created: NewEvent;
  /** The steps that a saga begins with. */
  readonly enlisted?: readonly NewEvent[];
  /** Outcomes of another execution that this one goes on from. */
  readonly copied?: readonly NewEvent[];
}
