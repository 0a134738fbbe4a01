/**
 * What may stand in each field of a definition's JSON form: free JSON, text, or an expression. Types come from the contract's
 * descriptors; which of its texts are expressions is said here (a test holds it against the rules of the step types).
 */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { FoldPlace } from "../../domain/expressions/fold-params.ts";

/** Message and field. */
const expressions: ReadonlySet<string> = new Set([
  "Step.run_if",
  "Step.export",
  "Catch.when",
  "RetryPolicy.retry_if",
  "ConcurrencyPolicy.key",
  "ConditionalCase.when",
  "ForEachStep.items",
  "ForEachStep.collect",
  "DelayStep.duration_expression",
  "DelayStep.until",
  "HttpRequestStep.success_when",
  "HttpPagination.next_url",
  "HttpPagination.next_cursor",
  "HttpPagination.items",
  "FileExtract.select",
  "EventMatch.filter",
  "TransformOperation.filter",
  "TransformOperation.sort_by",
  "TransformOperation.distinct_by",
  "TransformOperation.group_by",
]);

const json: FoldPlace = { kind: "json", at: () => json };
const text: FoldPlace = { kind: "text", at: () => text };
const expression: FoldPlace = { kind: "expression", at: () => expression };

const placesOf = new WeakMap<DescMessage, FoldPlace>();

/** Members are looked up when asked for, since steps hold steps. */
function placeOfMessage(desc: DescMessage): FoldPlace {
  if (desc.file.proto.package === "google.protobuf") return json;
  let place = placesOf.get(desc);
  if (!place) {
    const fields = new Map(desc.fields.map((field) => [field.name, field]));
    const at = (key: string): FoldPlace => {
      const field = fields.get(key);
      return field ? placeOfField(field) : json;
    };
    placesOf.set(desc, (place = { kind: "json", at }));
  }
  return place;
}

function placeOfField(field: DescField): FoldPlace {
  if (expressions.has(`${field.parent.name}.${field.name}`)) return expression;
  if (field.message) {
    const value = placeOfMessage(field.message);
    return field.fieldKind === "map" ? { kind: "json", at: () => value } : value;
  }
  return field.scalar === ScalarType.STRING ? text : json;
}

export const definitionPlace: FoldPlace = placeOfMessage(WorkflowDefinitionSchema);
