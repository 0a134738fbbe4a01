/** One event → one line, for logs and pipes. */
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { EndReason, ExecutionState, SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Failure } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import { timeMs, timeText } from "./spans.ts";

/** `12:41:07.114Z    7  step_retry_scheduled  charge  attempt 1  HTTP.503 …` */
export function eventLine(event: ExecutionEvent): string {
  const number = event.live ? "-" : String(event.sequence);
  const attempt = event.attempt > 1 ? `attempt ${event.attempt}` : "";
  const parts = [timeText(event.time).slice(11), number.padStart(4), event.type, event.stepPath, attempt, noteOf(event)];
  return parts.filter((part) => part !== "").join("  ");
}

/** What a line says beyond its event's type. */
function noteOf({ payload, time }: ExecutionEvent): string {
  switch (payload.case) {
    case "executionCreated":
      return [payload.value.workflowName && `${payload.value.workflowName} revision ${payload.value.revision}`, `correlation ${payload.value.correlationId}`]
        .filter(Boolean)
        .join("  ");
    case "executionEnded":
      return [ExecutionState[payload.value.state], EndReason[payload.value.endReason], failureNote(payload.value.failure)].filter(Boolean).join("  ");
    case "executionPaused":
    case "executionResumed":
    case "executionCancelRequested":
    case "executionReopened":
    case "stepSkipped":
    case "stepCanceled":
      return payload.value.reason ?? "";
    case "stepFailed":
    case "compensationFailed":
    case "confirmationFailed":
      return failureNote(payload.value.failure);
    case "stepRetryScheduled":
    case "compensationRetryScheduled":
    case "confirmationRetryScheduled":
      return [failureNote(payload.value.failure), inNote(timeMs(payload.value.nextAttemptTime), timeMs(time))].filter(Boolean).join("  ");
    case "stepWaiting":
      return [payload.value.awaiting ? `for ${payload.value.awaiting}` : "", payload.value.wakeTime ? `until ${timeText(payload.value.wakeTime)}` : ""]
        .filter(Boolean)
        .join("  ");
    case "stepProgressed":
      return [payload.value.percent === undefined ? "" : `${payload.value.percent} %`, payload.value.message].filter(Boolean).join("  ");
    case "eventReceived":
      return payload.value.eventType;
    case "sagaStateChanged":
      return SagaState[payload.value.state] ?? "";
    case "operatorActed":
      return [payload.value.action, payload.value.reason].filter(Boolean).join("  ");
    case "anomaly":
      return [payload.value.kind, payload.value.message].join("  ");
    default:
      return "";
  }
}

export function failureNote(failure: Failure | undefined): string {
  return failure ? [failure.name, failure.message].filter(Boolean).join(": ") : "";
}

function inNote(nextMs: number | undefined, nowMs: number | undefined): string {
  return nextMs === undefined || nowMs === undefined ? "" : `next in ${Math.max(0, Math.round(nextMs - nowMs))} ms`;
}
