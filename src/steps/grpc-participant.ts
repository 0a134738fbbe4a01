/**
 * `grpc_call` with `participant`: the other side is a SagaParticipant. OK with an outcome is the truth; any other status, an
 * answer that cannot be read or silence may have had an effect (saga.md §7).
 */
import { parseDurationMs } from "../base/duration.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { failure } from "../domain/failure.ts";
import { taskIdOf } from "../domain/task-token.ts";
import { objectField } from "./config-fields.ts";
import { callParticipant, type ParticipantMethod } from "./grpc-client/saga-participant.ts";
import type { GrpcDestination } from "./grpc-egress.ts";
import { failsAfter } from "./signal-failure.ts";
import type { StepCall, StepOutcome, StepServices } from "./step-handler.ts";

const methods: Record<StepCall["operation"], ParticipantMethod> = { action: "Execute", compensate: "Compensate", confirm: "Confirm" };
const operationNames: Record<StepCall["operation"], string> = {
  action: "OPERATION_ACTION",
  compensate: "OPERATION_COMPENSATE",
  confirm: "OPERATION_CONFIRM",
};

export async function askParticipant(
  call: StepCall,
  services: StepServices,
  destination: GrpcDestination,
  sibling: Readonly<Record<string, string>>,
): Promise<StepOutcome> {
  // Set by the service itself only: definitions give a participant no method.
  const own = call.config["method"];
  const isNotice = own === "CheckPrepared" || own === "SagaEnded";
  const request = isNotice ? (objectField(call.config, "request") ?? {}) : { task: taskOf(call, sibling) };
  const known = call.mayHaveRun && !isNotice ? await queried(call, services, destination, request) : undefined;
  if (known) return known;
  const answer = await callParticipant(services.grpc, isNotice ? own : methods[call.operation], destination, request);
  if (answer.kind === "failed") return answer;
  if (answer.kind === "refused") {
    const { codeName, message, code, retryAfterMs } = answer.status;
    // A participant that has nothing to confirm need not know how.
    if (call.operation === "confirm" && codeName === "UNIMPLEMENTED") return { kind: "succeeded", result: null };
    const said = call.secrets.mask(message).slice(0, 2_000);
    const cause = failure(`GRPC.${codeName}`, `the participant answered ${codeName}${said === "" ? "" : `: ${said}`}`, { code, message: said });
    return { kind: "failed", outcome: "unknown", failure: cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  }
  if (isNotice) return { kind: "succeeded", result: answer.response };
  return outcomeOf(call, isJsonObject(answer.response["result"]) ? answer.response["result"] : {});
}

/** Longest wait for an answer to QueryStep, at most a quarter of the attempt. */
const queryMsMax = 5_000;

/**
 * What became of the attempts before, by the participant's own word: done, or still at work. Whatever else it says (it does not know,
 * there was surely no effect, UNIMPLEMENTED, nothing at all), the operation is called again with the same key.
 */
async function queried(call: StepCall, services: StepServices, destination: GrpcDestination, request: JsonObject): Promise<StepOutcome | undefined> {
  const timeoutMs = Math.min(queryMsMax, Math.max(1, Math.floor(destination.timeoutMs / 4)));
  const signal = AbortSignal.any([destination.signal, failsAfter(timeoutMs, failure("NETWORK", "the participant did not say what became of it"))]);
  const answer = await callParticipant(services.grpc, "QueryStep", { ...destination, timeoutMs, signal }, request);
  if (answer.kind !== "answered" || !isJsonObject(answer.response["result"])) return undefined;
  const outcome = outcomeOf(call, answer.response["result"]);
  return outcome.kind === "succeeded" || (outcome.kind === "failed" && outcome.inProgress) ? outcome : undefined;
}

/** The Task of the contract as JSON. `sibling`: the headers that only siblings get. */
function taskOf(call: StepCall, sibling: Readonly<Record<string, string>>): JsonObject {
  const { original } = call;
  const generation = original?.generation ?? 0;
  const ref = { executionId: call.executionId, path: call.stepPath, operation: call.operation, generation, attempt: call.attempt };
  return {
    id: taskIdOf(ref),
    execution_id: call.executionId,
    step_path: call.stepPath,
    operation: operationNames[call.operation],
    idempotency_key: call.idempotencyKey,
    attempt: call.attempt,
    token: sibling["saga-token"] ?? "",
    deadline: new Date(call.deadlineAt).toISOString(),
    input: objectField(call.config, "request") ?? {},
    ...(original && !original.mayNotHaveRun ? { action_output: original.output } : {}),
    correlation_id: call.correlationId,
    may_not_have_run: call.operation === "compensate" && original?.mayNotHaveRun === true,
    generation,
    traceparent: call.traceparent ?? "",
    tracestate: call.carried?.tracestate ?? "",
    baggage: sibling["baggage"] ?? "",
  };
}

function outcomeOf(call: StepCall, result: JsonObject): StepOutcome {
  const output: Json = result["output"] ?? null;
  const retryAfterMs = typeof result["retry_after"] === "string" ? Math.min(parseDurationMs(result["retry_after"]) ?? 0, limits.serverDelayMsMax) : undefined;
  const later = retryAfterMs === undefined ? {} : { retryAfterMs };
  switch (result["outcome"]) {
    case "OUTCOME_SUCCEEDED":
    case "OUTCOME_DUPLICATE":
      return { kind: "succeeded", result: output };
    case "OUTCOME_NULL_COMPENSATED":
      if (call.operation === "compensate") return { kind: "succeeded", result: output, nothingToUndo: true };
      return unreadable("NULL_COMPENSATED is an answer to undos only");
    case "OUTCOME_FAILED_NO_EFFECT":
      return { kind: "failed", outcome: "failed", failure: failureOf(result, "FAILED"), ...later };
    case "OUTCOME_SUSPENDED":
      return { kind: "failed", outcome: "failed", failure: failureOf(result, "SUSPENDED"), ...later };
    case "OUTCOME_FAILED":
      return { kind: "failed", outcome: "unknown", failure: failureOf(result, "FAILED"), ...later };
    case "OUTCOME_IN_PROGRESS":
      return { kind: "failed", outcome: "unknown", inProgress: true, failure: failure("IN_PROGRESS", "the participant is still at work"), ...later };
    default:
      return unreadable("the participant's answer has no outcome");
  }
}

function failureOf(result: JsonObject, nameDefault: string): ReturnType<typeof failure> {
  const given = typeof result["error"] === "string" && /^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,120}$/.test(result["error"]) ? result["error"] : nameDefault;
  const name = given === "NETWORK" || /^(HTTP|GRPC|SMTP|USER|WORKER)\../.test(given) ? given : `WORKER.${given}`;
  const message = typeof result["message"] === "string" && result["message"] !== "" ? result["message"] : `the participant answered ${given}`;
  return failure(name, message, result["output"]);
}

function unreadable(message: string): StepOutcome {
  return { kind: "failed", outcome: "unknown", failure: failure("SCHEMA", message) };
}
