/** The state that an event leaves an execution or a step in, as the service shows it (its fold, in short). */
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionStateSchema, SagaState, type StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { enumName } from "./plain.ts";
import type { RunStatusName } from "./run-status.ts";

/** State of a step. A newer service may know more of them. */
export type StepStateName = Exclude<keyof typeof StepState, "UNSPECIFIED">;

/** Events that a pause does not hide the state from. */
const pausable: ReadonlySet<RunStatusName> = new Set(["PENDING", "RUNNING", "WAITING"]);

export function executionStateAfter({ payload }: ExecutionEvent, before: RunStatusName): RunStatusName {
  switch (payload.case) {
    case "executionStarted":
      return "RUNNING";
    case "executionPaused":
      return pausable.has(before) ? "PAUSED" : before;
    case "executionResumed":
      return before === "PAUSED" ? "RUNNING" : before;
    case "executionReopened":
      return payload.value.evidence === undefined ? "RUNNING" : "COMPENSATING";
    case "executionEnded":
      return enumName(ExecutionStateSchema, payload.value.state) as RunStatusName;
    case "sagaStateChanged":
      return sagaStateAfter(payload.value.state, before);
    default:
      return before;
  }
}

function sagaStateAfter(saga: SagaState, before: RunStatusName): RunStatusName {
  if (saga === SagaState.COMPENSATING) return "COMPENSATING";
  if (saga === SagaState.STUCK) return "STUCK";
  // Stuck on a step that must go forward, and let go.
  return before === "STUCK" && (saga === SagaState.RUNNING || saga === SagaState.COMPLETING) ? "RUNNING" : before;
}

export function stepStateAfter({ payload }: ExecutionEvent, before: StepStateName): StepStateName {
  switch (payload.case) {
    case "stepStarted":
      return startedState[payload.value.reported?.from ?? ""] ?? "RUNNING";
    case "stepProgressed":
      return payload.value.operation === undefined ? "RUNNING" : before;
    case "stepSucceeded":
      return payload.value.late ? before : "COMPLETED";
    case "stepFailed":
      return "FAILED";
    case "stepRetryScheduled":
      return "RETRYING";
    case "stepSkipped":
      return "SKIPPED";
    case "stepCanceled":
      return "CANCELED";
    case "stepWaiting":
      return "WAITING";
    case "compensationStarted":
    case "compensationRetryScheduled":
      return "COMPENSATING";
    case "compensationSucceeded":
      return "COMPENSATED";
    case "compensationFailed":
      return "COMPENSATION_FAILED";
    default:
      return before;
  }
}

/** Nobody has taken it yet, or another execution is at it. */
const startedState: Readonly<Record<string, StepStateName>> = { queue: "QUEUED", child: "WAITING" };
