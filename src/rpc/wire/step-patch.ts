/**
 * Patches of steps come as free JSON, so nobody has checked their names yet. Here they get the names of the contract (`httpRequest`
 * becomes `http_request`, as in every JSON the service takes) and unknown ones are refused with their place.
 */
import type { DescField, DescMessage } from "@bufbuild/protobuf";
import { StepSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { type FieldViolation, violationsError } from "../../base/errors.ts";
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";

/** Overrides in proto JSON with the patches among them in the contract's names. @throws AppError OVERRIDE_INVALID */
export function overridesWithNames(overrides: readonly Json[], path: string): Json[] {
  const violations: FieldViolation[] = [];
  const named = overrides.map((override, index) => {
    if (!isJsonObject(override) || !isJsonObject(override["patch"])) return override;
    return { ...override, patch: withNames(StepSchema, override["patch"], `${path}[${index}].patch`, violations) };
  });
  if (violations.length > 0) throw violationsError(violations);
  return named;
}

function withNames(desc: DescMessage, patch: JsonObject, path: string, violations: FieldViolation[]): JsonObject {
  return Object.fromEntries(
    Object.entries(patch).map(([key, value]) => {
      const field = desc.fields.find(({ name, jsonName }) => name === key || jsonName === key);
      if (!field) {
        const known = desc.fields.map(({ name }) => name).join(", ");
        violations.push({ field: `${path}.${key}`, reason: "OVERRIDE_INVALID", description: `is not a field of ${desc.typeName}, which has ${known}` });
        return [key, value];
      }
      return [field.name, valueWithNames(field, value, `${path}.${field.name}`, violations)];
    }),
  );
}

function valueWithNames(field: DescField, value: Json, path: string, violations: FieldViolation[]): Json {
  // Well-known types are free JSON or texts.
  const message = field.message;
  if (!message || message.typeName.startsWith("google.protobuf.")) return value;
  const one = (item: Json, at: string): Json => (isJsonObject(item) ? withNames(message, item, at, violations) : item);
  if (field.fieldKind === "list") return Array.isArray(value) ? value.map((item, index) => one(item, `${path}[${index}]`)) : value;
  if (field.fieldKind === "map")
    return isJsonObject(value) ? Object.fromEntries(Object.entries(value).map(([key, item]) => [key, one(item, `${path}.${key}`)])) : value;
  return one(value, path);
}
