/** A field that holds a JSON Schema: refused at save when it can never be used. */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { findSchemaProblem } from "./json-schema.ts";
import type { Report } from "./report.ts";

/** Undefined when it is absent or empty (anything fits). */
export function parseSchema(value: Json | undefined, path: string, report: Report): JsonObject | undefined {
  if (!isJsonObject(value) || Object.keys(value).length === 0) return undefined;
  const problem = findSchemaProblem(value);
  if (problem !== undefined) report.violation(path, "SCHEMA_INVALID", problem);
  return value;
}
