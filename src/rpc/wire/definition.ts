/** Definitions between the message and the JSON that is stored and that `parseDefinition` reads (names as in the contract). */
import { fromJson, toJson } from "@bufbuild/protobuf";
import { type WorkflowDefinition, WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { JsonObject } from "../../base/json.ts";

/** Fields with their default value are left out; int64 fields become text, durations `"1.5s"`, enums their full name. */
export function definitionToJson(message: WorkflowDefinition): JsonObject {
  return toJson(WorkflowDefinitionSchema, message, { useProtoFieldName: true }) as JsonObject;
}

/** Fields of a newer release are passed over: a stored definition stays readable after a rollback of the service. */
export function definitionFromJson(json: JsonObject): WorkflowDefinition {
  return fromJson(WorkflowDefinitionSchema, json, { ignoreUnknownFields: true });
}
