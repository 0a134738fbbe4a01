/** The undo half of the fold: what compensation and confirmation events mean for one step. */
import type { ExecutionEvent } from "./events.ts";
import type { StepRun, UndoRun } from "./execution-state.ts";
import { waitFor } from "./reported.ts";

export type UndoEvent = Extract<ExecutionEvent, { type: `compensation_${string}` | `confirmation_${string}` }>;

export function applyUndoEvent(run: StepRun, event: UndoEvent): void {
  switch (event.type) {
    case "compensation_started":
      begin((run.undo ??= newRun(event.at)), event);
      run.undo.generation = event.payload.generation ?? run.undo.generation;
      run.status = "compensating";
      return;
    case "compensation_succeeded": {
      const undo = (run.undo ??= newRun(event.at));
      const { nothingToUndo, resolved } = event.payload;
      succeed(undo, event.at, resolved ? "resolved" : nothingToUndo ? "nothing_to_undo" : "succeeded");
      run.status = "compensated";
      if (undo.isOutrun) undoOnceMore(run);
      return;
    }
    case "compensation_retry_scheduled":
      schedule((run.undo ??= newRun(event.at)), event);
      return;
    case "compensation_failed": {
      const undo = (run.undo ??= newRun(event.at));
      giveUp(undo, event);
      run.status = "compensation_failed";
      return;
    }
    case "confirmation_started":
      begin((run.confirm ??= newRun(event.at)), event);
      return;
    case "confirmation_succeeded":
      succeed((run.confirm ??= newRun(event.at)), event.at, event.payload.resolved ? "resolved" : "succeeded");
      return;
    case "confirmation_retry_scheduled":
      schedule((run.confirm ??= newRun(event.at)), event);
      return;
    case "confirmation_failed":
      giveUp((run.confirm ??= newRun(event.at)), event);
      return;
    default:
      event satisfies never;
  }
}

/**
 * The action turned out to have had its effect after all. An undo that was done, or is under way without knowing of it, is
 * done once more, under keys of its own: the participant must not take it for a repeat.
 */
export function undoOnceMore(run: StepRun): void {
  const { undo } = run;
  if (!undo || undo.attempt === 0 || undo.abandoned) return;
  if (undo.endedAt === undefined) {
    undo.isOutrun = true;
    return;
  }
  undo.generation += 1;
  undo.status = "none";
  undo.attemptsBefore = undo.attempt;
  undo.endedAt = undefined;
  undo.wakeAt = undefined;
  undo.failure = undefined;
  undo.isOutrun = false;
  run.status = "completed";
}

function begin(undo: UndoRun, event: Extract<UndoEvent, { type: `${string}_started` }>): void {
  // The budget of another undo counts from its own first attempt.
  if (undo.status === "none") undo.firstStartedAt = event.at;
  undo.status = "dispatched";
  undo.attempt = event.attempt;
  undo.wakeAt = undefined;
  undo.endedAt = undefined;
  undo.report = event.payload.reported && waitFor(event.payload.reported, event.attempt, event.at, event.payload.deadlineAt);
}

function succeed(undo: UndoRun, at: number, status: "resolved" | "nothing_to_undo" | "succeeded"): void {
  undo.report = undefined;
  undo.status = status;
  undo.endedAt = at;
  undo.wakeAt = undefined;
  undo.failure = undefined;
}

function schedule(undo: UndoRun, { payload, attempt }: Extract<UndoEvent, { type: `${string}_retry_scheduled` }>): void {
  undo.wakeAt = payload.nextAttemptAt;
  // Only its time has changed; one that spent its budget stays exhausted until it succeeds.
  if (payload.recovered) return;
  undo.report = undefined;
  undo.status = payload.outcome;
  undo.failure = payload.failure;
  undo.waitsFor = payload.waitsFor;
  if (payload.putBack) undo.attempt = attempt - 1;
  if (payload.polled) undo.attemptsBefore += 1;
}

function giveUp(undo: UndoRun, { payload, at }: Extract<UndoEvent, { type: `${string}_failed` }>): void {
  undo.report = undefined;
  undo.status = payload.abandoned ? "skipped" : payload.exhausted ? "exhausted" : payload.outcome;
  undo.abandoned = payload.abandoned === true;
  undo.failure = payload.failure;
  undo.endedAt = at;
  undo.wakeAt = payload.nextAttemptAt;
  undo.waitsFor = payload.waitsFor;
}

function newRun(at: number): UndoRun {
  return {
    status: "none",
    attempt: 0,
    attemptsBefore: 0,
    firstStartedAt: at,
    wakeAt: undefined,
    waitsFor: undefined,
    endedAt: undefined,
    failure: undefined,
    report: undefined,
    generation: 0,
    abandoned: false,
    isOutrun: false,
  };
}
