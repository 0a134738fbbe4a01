/** Tasks as workers get them, and what they report, between the domain's data and the contract's messages. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { StepDecision } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { Operation, Outcome, type Task, type TaskResult, TaskResultSchema, TaskSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { type AppError, violationsError } from "../../base/errors.ts";
import { storable } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import { baggageOf } from "../../base/trace-context.ts";
import { failure } from "../../domain/failure.ts";
import type { RecordedOutcome, ReportDecision, ReportedOutcome } from "../../domain/reported-outcome.ts";
import type { TakenTask } from "../../domain/task.ts";
import type { Operation as OperationWord } from "../../domain/task-token.ts";
import { durationOf, timestampOf } from "./time.ts";
import { jsonFromValue, valueFromJson } from "./value.ts";

const operationToMessage: Readonly<Record<OperationWord, Operation>> = {
  action: Operation.ACTION,
  compensate: Operation.COMPENSATE,
  confirm: Operation.CONFIRM,
};

export function taskToMessage(task: TakenTask, token: string): Task {
  return create(TaskSchema, {
    id: task.id,
    executionId: task.executionId,
    stepPath: task.path,
    operation: operationToMessage[task.operation],
    taskType: task.taskType,
    idempotencyKey: task.idempotencyKey,
    attempt: task.attempt,
    token,
    deadline: timestampOf(task.deadlineAt),
    input: task.input,
    actionOutput: valueFromJson(task.actionOutput),
    correlationId: task.correlationId,
    mayNotHaveRun: task.mayNotHaveRun,
    generation: task.generation,
    traceparent: task.traceparent,
    tracestate: task.tracestate ?? "",
    baggage: baggageOf({ executionId: task.executionId, stepPath: task.path, correlationId: task.correlationId }, task.baggage) ?? "",
    heartbeatTimeout: durationOf(task.heartbeatMs),
  });
}

/** What a result says of its operation. `field`: where the result stands in the request. Throws VALIDATION_FAILED. */
export function outcomeOfResult(result: TaskResult, operation: OperationWord, field = "result"): ReportedOutcome {
  const output = jsonFromValue(result.output) ?? null;
  switch (result.outcome) {
    case Outcome.SUCCEEDED:
    case Outcome.DUPLICATE:
      return { kind: "succeeded", result: output };
    case Outcome.NULL_COMPENSATED:
      if (operation === "compensate") return { kind: "succeeded", result: output, nothingToUndo: true };
      throw refused(`${field}.outcome`, "only an undo can find nothing to undo");
    case Outcome.FAILED_NO_EFFECT:
      return failed(result, "failed", "FAILED", field);
    case Outcome.SUSPENDED:
      return failed(result, "failed", "SUSPENDED", field);
    case Outcome.FAILED:
      return failed(result, "unknown", "FAILED", field);
    case Outcome.IN_PROGRESS: {
      const heartbeatMs = result.heartbeatInterval && durationMs(result.heartbeatInterval);
      return {
        kind: "in_progress",
        ...(result.message === "" ? {} : { message: String(storable(result.message)) }),
        ...(result.output === undefined ? {} : { details: output }),
        ...(heartbeatMs ? { heartbeatMs } : {}),
      };
    }
    default:
      throw refused(`${field}.outcome`, "say what came of it: SUCCEEDED, FAILED_NO_EFFECT, IN_PROGRESS, DUPLICATE, NULL_COMPENSATED, SUSPENDED or FAILED");
  }
}

function failed(result: TaskResult, outcome: "failed" | "unknown", nameDefault: string, field: string): ReportedOutcome {
  const name = result.error === "" ? nameDefault : result.error;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,120}$/.test(name)) throw refused(`${field}.error`, 'must be a name like "card_declined" or "HTTP.402"');
  const details = result.output === undefined ? undefined : jsonFromValue(result.output);
  const retryAfterMs = result.retryAfter && Math.min(durationMs(result.retryAfter), limits.serverDelayMsMax);
  return {
    kind: "failed",
    failure: failure(isFullName(name) ? name : `WORKER.${name}`, result.message === "" ? `reported ${name}` : String(storable(result.message)), details),
    outcome,
    ...(retryAfterMs ? { retryAfterMs } : {}),
  };
}

/** Names of the common vocabulary stand as they are; everything else is the worker's own. */
function isFullName(name: string): boolean {
  return name === "NETWORK" || /^(HTTP|GRPC|SMTP|USER|WORKER)\../.test(name);
}

export function recordedToResult(recorded: RecordedOutcome): TaskResult {
  if (recorded.kind === "succeeded") {
    const outcome = recorded.nothingToUndo ? Outcome.NULL_COMPENSATED : Outcome.SUCCEEDED;
    return create(TaskResultSchema, { outcome, output: valueFromJson(recorded.result) });
  }
  const { name, message, details } = recorded.failure;
  const outcome = recorded.outcome === "failed" ? Outcome.FAILED_NO_EFFECT : Outcome.FAILED;
  return create(TaskResultSchema, { outcome, error: name.slice(0, 128), message: message.slice(0, 8_192), output: valueFromJson(details) });
}

export const decisionToMessage: Readonly<Record<ReportDecision, StepDecision>> = {
  CONTINUE: StepDecision.CONTINUE,
  STOP: StepDecision.STOP,
  WILL_COMPENSATE: StepDecision.WILL_COMPENSATE,
  ALREADY: StepDecision.ALREADY,
};

function refused(field: string, description: string): AppError {
  return violationsError([{ field, reason: "VALIDATION_FAILED", description }]);
}
