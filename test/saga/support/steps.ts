/** Steps of sagas in their JSON form, as a sibling service writes them. */
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { type StartSagaRequest, StartSagaRequestSchema } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { type SagaStep, SagaStepSchema } from "#gen/pyairtable/workflow/v1/saga_pb.js";

/** Short pauses, so that a test of retries takes milliseconds. */
export const quick = { initial_interval: "0.02s", maximum_interval: "0.1s", jitter: 0 };

/** Acts by POST to `url/name` and is undone by POST to `url/undo-name`, unless told otherwise. */
export function httpStep(url: string, name: string, more: JsonObject = {}): JsonObject {
  return {
    name,
    action: { http: { method: "POST", url: `${url}/${name}` } },
    compensation: { http: { method: "POST", url: `${url}/undo-${name}` } },
    action_retry: { ...quick, maximum_attempts: 3 },
    compensation_retry: quick,
    ...more,
  };
}

/** Without what is null. */
export function sagaStep(step: JsonObject): SagaStep {
  return fromJson(SagaStepSchema, withoutNulls(step));
}

export function sagaOf(steps: readonly JsonObject[], more: JsonObject = {}): StartSagaRequest {
  return fromJson(StartSagaRequestSchema, { auto_complete: true, ...more, steps: steps.map(withoutNulls) });
}

function withoutNulls(step: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(step).filter(([, value]) => value !== null));
}
