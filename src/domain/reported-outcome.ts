/** What is told of an operation from outside, and what its teller is answered. */
import { AppError } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import { Answered } from "./answered.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import type { Failure } from "./failure.ts";
import type { ExpiryName } from "./reported.ts";
import type { OperationRef } from "./task-token.ts";

/** What is told of an attempt. The last two kinds come from the queue itself, never from a caller. */
export type ReportedOutcome =
  | { readonly kind: "succeeded"; readonly result: Json; readonly nothingToUndo?: boolean }
  | { readonly kind: "failed"; readonly failure: Failure; readonly outcome: "failed" | "unknown"; readonly retryAfterMs?: number }
  | {
      readonly kind: "in_progress";
      readonly percent?: number;
      readonly message?: string;
      readonly details?: Json;
      readonly heartbeatMs?: number;
    }
  /** Nobody took the task, or whoever took it fell silent. `deadlineAt`: end of the attempt, 0 when nobody took it. */
  | { readonly kind: "expired"; readonly name: ExpiryName; readonly deadlineAt: number; readonly closeMs: number }
  /** Taken back before anybody had it. */
  | { readonly kind: "recalled" };

export interface ReportRequest extends Omit<OperationRef, "executionId"> {
  readonly outcome: ReportedOutcome;
  /** 0 ≤ random < 1: jitters a retry that follows. */
  readonly random: number;
}

/** `CONTINUE` go on · `STOP` the execution turns back, have no (further) effect · `WILL_COMPENSATE` noted, and will be undone · `ALREADY` the outcome stood. */
export type ReportDecision = "CONTINUE" | "STOP" | "WILL_COMPENSATE" | "ALREADY";

/** What stands of an operation that was reported before. */
export type RecordedOutcome =
  | { readonly kind: "succeeded"; readonly result: Json; readonly nothingToUndo?: boolean }
  | { readonly kind: "failed"; readonly failure: Failure; readonly outcome: "failed" | "unknown" };

export function isTurned(state: ExecutionState): boolean {
  return state.cancel !== undefined || state.turn !== undefined || state.saga === "compensating";
}

export function already(state: ExecutionState, recorded: RecordedOutcome): Answered {
  return new Answered([], { decision: "ALREADY", recorded: recorded as unknown as JsonObject, turned: isTurned(state) });
}

export function recordedOf(run: StepRun): RecordedOutcome {
  if (run.action === "succeeded" || !run.failure) return { kind: "succeeded", result: run.result ?? null };
  return { kind: "failed", failure: run.failure, outcome: run.action === "failed" ? "failed" : "unknown" };
}

export function staleToken({ state, run, request }: { readonly state: ExecutionState; readonly run: StepRun; readonly request: ReportRequest }): AppError {
  const metadata = {
    executionId: state.executionId,
    path: request.path,
    attempt: String(request.attempt),
    newestAttempt: String(run.attempt),
    state: state.status.toUpperCase(),
  };
  return new AppError("STALE_TOKEN", "this attempt is over and is not waited for any more; its outcome was not taken, stop working on it", { metadata });
}
