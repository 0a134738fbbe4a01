/** SagaParticipant as its client speaks it: requests and responses as JSON of the contract, generated messages inside. */
import { create, fromBinary, fromJson, type JsonValue, type Message, toBinary, toJson } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import {
  CheckPreparedRequestSchema,
  CheckPreparedResponseSchema,
  CompensateRequestSchema,
  CompensateResponseSchema,
  ConfirmRequestSchema,
  ConfirmResponseSchema,
  ExecuteRequestSchema,
  ExecuteResponseSchema,
  QueryStepRequestSchema,
  QueryStepResponseSchema,
  SagaEndedRequestSchema,
  SagaEndedResponseSchema,
} from "#gen/pyairtable/workflow/v1/saga_participant_pb.js";
import { messageOf } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import type { GrpcDestination, GrpcEgress, GrpcOutcome } from "../grpc-egress.ts";

export type ParticipantMethod = "Execute" | "Compensate" | "Confirm" | "QueryStep" | "CheckPrepared" | "SagaEnded";

type Schemas = readonly [GenMessage<Message>, GenMessage<Message>];

const schemas: Record<ParticipantMethod, Schemas> = {
  Execute: [ExecuteRequestSchema, ExecuteResponseSchema] as unknown as Schemas,
  Compensate: [CompensateRequestSchema, CompensateResponseSchema] as unknown as Schemas,
  Confirm: [ConfirmRequestSchema, ConfirmResponseSchema] as unknown as Schemas,
  QueryStep: [QueryStepRequestSchema, QueryStepResponseSchema] as unknown as Schemas,
  CheckPrepared: [CheckPreparedRequestSchema, CheckPreparedResponseSchema] as unknown as Schemas,
  SagaEnded: [SagaEndedRequestSchema, SagaEndedResponseSchema] as unknown as Schemas,
};

const service = "pyairtable.workflow.v1.SagaParticipant";

export type ParticipantAnswer = { readonly kind: "answered"; readonly response: JsonObject } | Exclude<GrpcOutcome, { kind: "answered" }> | Refused;

export interface Refused {
  readonly kind: "refused";
  readonly status: Extract<GrpcOutcome, { kind: "answered" }>["status"];
}

/** One call. Never throws: an answer that cannot be read is a failure with unknown effect. */
export async function callParticipant(
  grpc: Pick<GrpcEgress, "exchange">,
  method: ParticipantMethod,
  destination: GrpcDestination,
  request: JsonObject,
): Promise<ParticipantAnswer> {
  const [requestSchema, responseSchema] = schemas[method];
  const message = toBinary(requestSchema, fromJson(requestSchema, request as JsonValue));
  const outcome = await grpc.exchange({ ...destination, path: `/${service}/${method}`, messages: [message], responseBytesMax: limits.messageBytesMax });
  if (outcome.kind !== "answered") return outcome;
  if (outcome.status.code !== 0) return { kind: "refused", status: outcome.status };
  const read = readMessage(responseSchema, outcome.messages[0]);
  return read.ok ? { kind: "answered", response: read.value } : { kind: "failed", failure: read.fault, outcome: "unknown" };
}

function readMessage(schema: GenMessage<Message>, bytes: Buffer | undefined): Result<JsonObject, Failure> {
  try {
    const json = toJson(schema, bytes === undefined ? create(schema) : fromBinary(schema, bytes), { useProtoFieldName: true });
    return ok(isJsonObject(json) ? (json as JsonObject) : {});
  } catch (error) {
    return fail(failure("SCHEMA", `the participant's answer cannot be read: ${messageOf(error)}`));
  }
}
