/** The attempts of one step, read from its events: what was tried when, and how each try ended. */
import type { ExecutionEvent } from "./events.ts";
import type { Failure } from "./failure.ts";
import type { OperationStatus } from "./states.ts";

export interface StepAttempt {
  readonly operation: "action" | "compensate" | "confirm";
  /** From 1 for each operation. */
  readonly attempt: number;
  state: OperationStatus;
  readonly startedAt: number;
  endedAt: number | undefined;
  failure: Failure | undefined;
  nextAttemptAt: number | undefined;
}

/** The newest attempts of one step, at most `countMax`, oldest first. `events` are those of one path, in order. */
export function attemptsOf(events: Iterable<ExecutionEvent>, countMax: number): StepAttempt[] {
  const attempts: StepAttempt[] = [];
  for (const event of events) {
    const word = event.type.slice(0, event.type.indexOf("_"));
    if (word !== "step" && word !== "compensation" && word !== "confirmation") continue;
    // Only the time of the next one has changed.
    if ("recovered" in event.payload && event.payload.recovered) continue;
    const operation = word === "step" ? "action" : word === "compensation" ? "compensate" : "confirm";
    take(attempts, operation, event);
    if (attempts.length > countMax) attempts.shift();
  }
  return attempts;
}

function take(attempts: StepAttempt[], operation: StepAttempt["operation"], event: ExecutionEvent): void {
  const { attempt, at } = event;
  const last = attempts.findLast((candidate) => candidate.operation === operation);
  const open = last?.attempt === attempt && last.endedAt === undefined ? last : undefined;
  const begin = (state: OperationStatus, startedAt = at): StepAttempt => {
    const begun: StepAttempt = { operation, attempt, state, startedAt, endedAt: undefined, failure: undefined, nextAttemptAt: undefined };
    attempts.push(begun);
    return begun;
  };
  const end = (state: OperationStatus, more: { startedAt?: number; failure?: Failure; nextAttemptAt?: number } = {}): void => {
    // Decided by hand after its last attempt: nothing more was tried.
    if (!open && last?.attempt === attempt) return;
    const ended = open ?? begin(state, more.startedAt);
    ended.state = state;
    ended.endedAt = at;
    ended.failure = more.failure;
    ended.nextAttemptAt = more.nextAttemptAt;
  };
  switch (event.type) {
    case "step_started":
    case "compensation_started":
    case "confirmation_started":
      // Sent again by another process: the one before it was never heard of.
      if (last && last.endedAt === undefined) Object.assign(last, { state: "unknown", endedAt: at });
      begin("dispatched");
      return;
    case "step_waiting":
      if (!open) begin("in_progress", event.payload.startedAt);
      return;
    case "step_succeeded":
      // Copied, or decided by hand before it began: nothing was tried.
      if (event.payload.copiedFrom === undefined && attempt > 0) end("succeeded", event.payload);
      return;
    case "compensation_succeeded":
      end(event.payload.nothingToUndo ? "nothing_to_undo" : "succeeded");
      return;
    case "confirmation_succeeded":
      end("succeeded");
      return;
    case "step_failed":
      if (event.payload.copiedFrom === undefined && attempt > 0) end(event.payload.outcome, event.payload);
      return;
    case "step_retry_scheduled":
    case "compensation_retry_scheduled":
    case "confirmation_retry_scheduled":
      end(event.payload.outcome, event.payload);
      return;
    case "compensation_failed":
      end(event.payload.exhausted ? "exhausted" : event.payload.outcome, event.payload);
      return;
    case "confirmation_failed":
      end(event.payload.exhausted ? "exhausted" : event.payload.outcome, event.payload);
      return;
    case "step_canceled":
      if (open) end(event.payload.outcome ?? "unknown");
      return;
    default:
      return;
  }
}
