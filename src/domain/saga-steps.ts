/**
 * A SagaStep of the contract as a step of a definition, both in JSON: what joins a saga is carried out, undone and settled by
 * the same code as any other step.
 *
 * Input: an endpoint that says itself what it sends (body, request, input) is left alone. Otherwise it gets the step's
 * `input`; its undo gets `compensation_input`, else what the action was sent, as it was recorded then: never computed anew.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";

/** Step type of what its caller carries out and reports; nothing is sent. */
export const selfDrivenType = "self_driven";

/** Budget of a RETRIABLE step and of a confirmation, after which the saga is stuck. */
const budgetDefault = "86400s";

/** The step as `parseDefinition` reads it. */
export function definitionStepOf(step: JsonObject, selfDriven: boolean): JsonObject {
  const { name, kind, action, compensation, input, compensation_input, action_retry, compensation_retry, timeouts } = step;
  const undo = undoEndpoint(step);
  const actionStep = selfDriven ? { [selfDrivenType]: present({ input }) } : endpointStep(action, input);
  const undoInput = compensation_input ?? (compensation === undefined || input === undefined ? input : recordedInput(actionStep));
  const times = isJsonObject(timeouts) ? timeouts : {};
  const compensated = present({
    kind,
    step: undo === undefined ? undefined : endpointStep(undo, isParticipant(undo) ? (compensation_input ?? recordedInput(actionStep)) : undoInput),
    retry_policy: compensation_retry,
    timeouts,
    compensate_on_failure: step["compensate_on_failure"],
    undo_requires_output: step["undo_requires_output"],
    barrier: step["barrier"],
  });
  return present({
    name,
    ...actionStep,
    // Nobody can be called again: what its caller reports, or its silence, is final.
    retry_policy: selfDriven ? { maximum_attempts: 1 } : action_retry,
    timeouts: present({
      start_to_close: times["start_to_close"],
      heartbeat: times["heartbeat"],
      schedule_to_start: times["schedule_to_start"],
      schedule_to_close: kind === "COMPENSATION_KIND_RETRIABLE" ? (times["schedule_to_close"] ?? budgetDefault) : undefined,
    }),
    compensation: Object.keys(compensated).length === 0 ? undefined : compensated,
  });
}

/** The confirmation as a step of its own; undefined without one. */
export function confirmationStepOf(step: JsonObject, selfDriven: boolean): JsonObject | undefined {
  const { name, confirmation, action, input, compensation_retry, timeouts } = step;
  const endpoint = confirmation ?? undefined;
  if (!isJsonObject(endpoint)) return undefined;
  const actionStep = selfDriven ? { [selfDrivenType]: {} } : endpointStep(action, input);
  const times = isJsonObject(timeouts) ? timeouts : {};
  return present({
    name,
    ...endpointStep(endpoint, recordedInput(actionStep)),
    retry_policy: compensation_retry,
    timeouts: present({ start_to_close: times["start_to_close"], schedule_to_close: times["schedule_to_close"] }),
  });
}

/** Who undoes: the endpoint named, else a participant that acts also undoes. */
function undoEndpoint({ kind, action, compensation }: JsonObject): JsonObject | undefined {
  if (isJsonObject(compensation)) return compensation;
  const undoes = kind === undefined || kind === "COMPENSATION_KIND_COMPENSATABLE";
  return undoes && isJsonObject(action) && isParticipant(action) ? action : undefined;
}

function isParticipant({ grpc }: JsonObject): boolean {
  return isJsonObject(grpc) && grpc["participant"] === true;
}

function endpointStep(endpoint: Json | undefined, input: Json | undefined): JsonObject {
  if (!isJsonObject(endpoint)) return {};
  const { grpc, http, pull } = endpoint;
  if (isJsonObject(grpc)) return { grpc_call: filled(grpc, "request", input) };
  if (isJsonObject(pull)) return { worker_task: filled(pull, "input", input) };
  if (!isJsonObject(http)) return {};
  return { http_request: bodyFields.some((field) => http[field] !== undefined) ? http : filled(http, "json", input) };
}

const bodyFields = ["json", "text", "form", "blob_id"];

function filled(config: JsonObject, field: string, input: Json | undefined): JsonObject {
  return input === undefined || config[field] !== undefined ? config : { ...config, [field]: input };
}

/** What the action was sent, by the place where its configuration has it. */
function recordedInput(actionStep: JsonObject): Json {
  if (actionStep["http_request"] !== undefined) return "{{original.input.?json.orValue(null)}}";
  if (actionStep["grpc_call"] !== undefined) return "{{original.input.?request.orValue({})}}";
  return "{{original.input.?input.orValue({})}}";
}

function present(fields: { readonly [name: string]: Json | undefined }): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, Json] => entry[1] !== undefined));
}
