/**
 * What happened, per type of event: the oneof of ExecutionEvent. Names are those of the ledger, moments (`…At`) become
 * Timestamps (`…_time`), absent fields stay absent.
 */
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import type { EventPayloads, NewEvent } from "../../domain/events.ts";
import type { ReportTerms } from "../../domain/report-terms.ts";
import { endReasonWords, executionStateWords, operationStateWords, sagaStateWords } from "./enums.ts";
import { failureToMessage } from "./failure.ts";
import { durationOf, timestampOf } from "./time.ts";
import { valueFromJson } from "./value.ts";

export type EventPayloadMessage = NonNullable<MessageInitShape<typeof ExecutionEventSchema>["payload"]>;

export function eventPayload({ type, payload }: NewEvent): EventPayloadMessage {
  switch (type) {
    case "execution_created": {
      const { input, startAt, timeoutAt, labels, ...same } = payload;
      return {
        case: "executionCreated",
        value: { ...same, input: valueFromJson(input), labels: { ...labels }, startTime: timestampOf(startAt), timeoutTime: timestampOf(timeoutAt) },
      };
    }
    case "execution_started":
      return { case: "executionStarted", value: { variables: payload.variables } };
    case "execution_paused":
      return { case: "executionPaused", value: { actor: payload.actor, reason: payload.reason } };
    case "execution_resumed":
      return { case: "executionResumed", value: { actor: payload.actor, reason: payload.reason, released: payload.released } };
    case "execution_cancel_requested":
      return {
        case: "executionCancelRequested",
        value: {
          actor: payload.actor,
          reason: payload.reason,
          compensate: payload.compensate,
          graceUntilTime: timestampOf(payload.graceUntil),
          ...(payload.endReason === undefined ? {} : { endReason: endReasonWords.valueOf(payload.endReason) }),
        },
      };
    case "execution_ended":
      return { case: "executionEnded", value: ended(payload) };
    case "execution_reopened":
      return { case: "executionReopened", value: reopened(payload) };

    case "step_started":
      return { case: "stepStarted", value: { ...started(payload), branch: payload.branch } };
    case "step_progressed":
      return { case: "stepProgressed", value: progressed(payload) };
    case "step_succeeded":
      return {
        case: "stepSucceeded",
        value: { result: valueFromJson(payload.result), ...rodeAlong(payload), exports: payload.exports, copiedFrom: payload.copiedFrom, late: payload.late },
      };
    case "step_failed":
      return {
        case: "stepFailed",
        value: {
          ...failed(payload),
          ...rodeAlong(payload),
          handled: payload.handled,
          caughtBy: payload.caughtBy,
          surely: payload.surely,
          copiedFrom: payload.copiedFrom,
          reported: payload.reported,
          mayRunUntilTime: timestampOf(payload.mayRunUntil),
          waitsFor: payload.waitsFor,
        },
      };
    case "step_retry_scheduled":
      return {
        case: "stepRetryScheduled",
        value: {
          ...retry(payload),
          reported: payload.reported,
          slow: payload.slow,
          mayRunUntilTime: timestampOf(payload.mayRunUntil),
          steps: [...(payload.steps ?? [])],
          blocks: [...(payload.blocks ?? [])],
        },
      };
    case "step_skipped":
      return { case: "stepSkipped", value: { reason: payload.reason, result: valueFromJson(payload.result), surely: payload.surely } };
    case "step_canceled":
      return {
        case: "stepCanceled",
        value: {
          reason: payload.reason,
          outcome: payload.outcome && operationStateWords.valueOf(payload.outcome),
          mayRunUntilTime: timestampOf(payload.mayRunUntil),
        },
      };
    case "step_waiting":
      return { case: "stepWaiting", value: waiting(payload) };
    case "event_received":
      return { case: "eventReceived", value: { ...payload, data: valueFromJson(payload.data) } };
    case "variables_set":
      return { case: "variablesSet", value: { variables: payload.variables, actor: payload.actor } };
    case "step_enlisted":
      return { case: "stepEnlisted", value: { step: payload.step, selfDriven: payload.selfDriven } };

    case "compensation_started":
      return { case: "compensationStarted", value: { ...started(payload), mayNotHaveRun: payload.mayNotHaveRun, generation: payload.generation } };
    case "compensation_succeeded":
      return {
        case: "compensationSucceeded",
        value: { result: valueFromJson(payload.result), nothingToUndo: payload.nothingToUndo, resolved: payload.resolved },
      };
    case "compensation_retry_scheduled":
      return { case: "compensationRetryScheduled", value: retry(payload) };
    case "compensation_failed":
      return { case: "compensationFailed", value: { ...failed(payload), ...gaveUp(payload) } };

    case "confirmation_started":
      return { case: "confirmationStarted", value: started(payload) };
    case "confirmation_succeeded":
      return { case: "confirmationSucceeded", value: { result: valueFromJson(payload.result), resolved: payload.resolved } };
    case "confirmation_retry_scheduled":
      return { case: "confirmationRetryScheduled", value: retry(payload) };
    case "confirmation_failed":
      return { case: "confirmationFailed", value: { ...failed(payload), ...gaveUp(payload) } };

    case "saga_state_changed":
      return { case: "sagaStateChanged", value: sagaState(payload) };
    case "operator_acted": {
      const { result, ...same } = payload;
      return { case: "operatorActed", value: { ...same, result: valueFromJson(result) } };
    }
    case "anomaly":
      return { case: "anomaly", value: { kind: payload.kind, message: payload.message, details: valueFromJson(payload.details) } };
  }
}

function ended(payload: EventPayloads["execution_ended"]) {
  return {
    state: executionStateWords.valueOf(payload.state),
    endReason: endReasonWords.valueOf(payload.endReason),
    output: valueFromJson(payload.output),
    failure: failureToMessage(payload.failure),
    failedStep: payload.failedStep,
    standingEffects: [...(payload.standingEffects ?? [])],
    compensatableStanding: payload.compensatableStanding,
  };
}

function reopened(payload: EventPayloads["execution_reopened"]) {
  return {
    from: executionStateWords.valueOf(payload.from),
    reason: payload.reason,
    actor: payload.actor,
    steps: [...(payload.steps ?? [])],
    blocks: [...(payload.blocks ?? [])],
    timeoutTime: timestampOf(payload.timeoutAt),
    revision: payload.revision,
    input: valueFromJson(payload.input),
    evidence: payload.evidence,
  };
}

function sagaState(payload: EventPayloads["saga_state_changed"]) {
  return {
    state: sagaStateWords.valueOf(payload.state),
    endReason: payload.endReason && endReasonWords.valueOf(payload.endReason),
    failure: failureToMessage(payload.failure),
    stepPath: payload.stepPath,
    timeoutTime: timestampOf(payload.timeoutAt),
    completeWhenIdle: payload.completeWhenIdle,
  };
}

function gaveUp({ exhausted, nextAttemptAt, abandoned, waitsFor }: EventPayloads["compensation_failed"]) {
  return { exhausted, nextAttemptTime: timestampOf(nextAttemptAt), abandoned, waitsFor };
}

function started({ input, idempotencyKey, deadlineAt, reported }: EventPayloads["confirmation_started"]) {
  return { input: valueFromJson(input), idempotencyKey, deadlineTime: timestampOf(deadlineAt), reported: reported && termsOf(reported) };
}

function termsOf({ from, closeMs, heartbeatMs, childId }: ReportTerms) {
  return { from, startToClose: durationOf(closeMs), heartbeat: durationOf(heartbeatMs), childExecutionId: childId };
}

function progressed({ percent, message, details, operation, heartbeatMs }: EventPayloads["step_progressed"]) {
  return { percent, message, details: valueFromJson(details), operation, heartbeatInterval: durationOf(heartbeatMs) };
}

function waiting(payload: EventPayloads["step_waiting"]) {
  const events = payload.events?.map((event) => ({ ...event })) ?? [];
  return { wakeTime: timestampOf(payload.wakeAt), awaiting: payload.awaiting, events, ...rodeAlong(payload) };
}

/** Start and input that an end brings along when no start stands in the ledger (pure steps). */
function rodeAlong({ startedAt, input }: Pick<EventPayloads["step_failed"], "startedAt" | "input">) {
  return { startedTime: timestampOf(startedAt), input: valueFromJson(input) };
}

function failed({ failure, outcome }: Pick<EventPayloads["step_failed"], "failure" | "outcome">) {
  return { failure: failureToMessage(failure), outcome: operationStateWords.valueOf(outcome) };
}

function retry(payload: EventPayloads["compensation_retry_scheduled"]) {
  const { nextAttemptAt, putBack, polled, waitsFor, recovered } = payload;
  return { ...failed(payload), nextAttemptTime: timestampOf(nextAttemptAt), putBack, polled, waitsFor, recovered };
}
