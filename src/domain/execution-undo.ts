/** The undo half of the fold: what compensation and confirmation events mean for one step. */
import type { ExecutionEvent } from "./events.ts";
import type { StepRun, UndoRun } from "./execution-state.ts";
import { waitFor } from "./reported.ts";

export type UndoEvent = Extract<ExecutionEvent, { type: `compensation_${string}` | `confirmation_${string}` }>;

export function applyUndoEvent(run: StepRun, event: UndoEvent): void {
  switch (event.type) {
    case "compensation_started": {
      const undo = undoOf(run, event.at);
      undo.status = "dispatched";
      undo.attempt = event.attempt;
      undo.wakeAt = undefined;
      undo.endedAt = undefined;
      undo.report = event.payload.reported && waitFor(event.payload.reported, event.attempt, event.at, event.payload.deadlineAt);
      run.status = "compensating";
      return;
    }
    case "compensation_succeeded": {
      const undo = undoOf(run, event.at);
      undo.report = undefined;
      undo.status = event.payload.nothingToUndo ? "nothing_to_undo" : "succeeded";
      undo.endedAt = event.at;
      undo.wakeAt = undefined;
      undo.failure = undefined;
      run.status = "compensated";
      return;
    }
    case "compensation_retry_scheduled": {
      const undo = undoOf(run, event.at);
      undo.report = undefined;
      undo.status = event.payload.outcome;
      undo.failure = event.payload.failure;
      undo.wakeAt = event.payload.nextAttemptAt;
      return;
    }
    case "compensation_failed": {
      const undo = undoOf(run, event.at);
      undo.report = undefined;
      undo.status = event.payload.exhausted ? "exhausted" : event.payload.outcome;
      undo.failure = event.payload.failure;
      undo.endedAt = event.at;
      undo.wakeAt = event.payload.nextAttemptAt;
      run.status = "compensation_failed";
      return;
    }
    case "confirmation_started":
    case "confirmation_succeeded":
    case "confirmation_retry_scheduled":
    case "confirmation_failed":
      // Confirmations belong to standalone sagas; executions of workflows make none.
      return;
    default:
      event satisfies never;
  }
}

function undoOf(run: StepRun, at: number): UndoRun {
  run.undo ??= {
    status: "none",
    attempt: 0,
    attemptsBefore: 0,
    firstStartedAt: at,
    wakeAt: undefined,
    endedAt: undefined,
    failure: undefined,
    report: undefined,
  };
  return run.undo;
}
