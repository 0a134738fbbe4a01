/** From a definition on the wire to one that may be stored: checked by the domain, violations with the request's paths. */

import { create } from "@bufbuild/protobuf";
import type { WorkflowDefinition } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { type DefinitionIssue, DefinitionIssueSchema } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import { ErrorReason } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import { type FieldViolation, violationsError } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { parseDefinition } from "../domain/parse-definition.ts";
import type { StepTypes } from "../domain/step-type.ts";
import { definitionToJson } from "./wire/definition.ts";

export interface CheckedDefinition {
  /** As it is stored: proto field names. */
  readonly source: JsonObject;
  readonly warnings: DefinitionIssue[];
}

/** Throws the first violation's reason with all of them. `path` is where the definition stands in the request. */
export function checkDefinition(definition: WorkflowDefinition, stepTypes: StepTypes, path: string): CheckedDefinition {
  return checkDefinitionJson(definitionToJson(definition), stepTypes, path);
}

/** `parametersSchema` is that of a template: what `params` may be in it. */
export function checkDefinitionJson(source: JsonObject, stepTypes: StepTypes, path: string, parametersSchema?: JsonObject): CheckedDefinition {
  const parsed = parseDefinition(source, stepTypes, path, parametersSchema);
  if (!parsed.ok) throw violationsError(parsed.fault.violations);
  return { source, warnings: parsed.value.warnings.map((warning) => issueOf(warning, path, source)) };
}

/** A violation as an issue of a report: its place counts from the definition, which stands at `path` in the request. */
export function issueOf(violation: FieldViolation, path: string, source: JsonObject): DefinitionIssue {
  const inside = violation.field.startsWith(`${path}.`) ? violation.field.slice(path.length + 1) : "";
  const pointer = inside === "" ? "" : `/${inside.replaceAll(/\[(\d+)\]/g, ".$1").replaceAll(".", "/")}`;
  return create(DefinitionIssueSchema, {
    field: inside,
    pointer,
    step: stepAt(source, inside),
    reason: ErrorReason[violation.reason as keyof typeof ErrorReason] ?? ErrorReason.UNSPECIFIED,
    message: violation.description,
  });
}

/** Name of the innermost step that a path leads through. */
function stepAt(source: JsonObject, path: string): string {
  let at: Json | undefined = source;
  let name = "";
  for (const [key, index] of path.matchAll(/\[(\d+)\]|[^.[\]]+/g)) {
    at = index !== undefined ? (Array.isArray(at) ? at[Number(index)] : undefined) : isJsonObject(at) && Object.hasOwn(at, key) ? at[key] : undefined;
    if (index !== undefined && isJsonObject(at) && typeof at["name"] === "string") name = at["name"];
  }
  return name;
}
