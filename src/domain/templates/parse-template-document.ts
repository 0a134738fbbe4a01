/**
 * A template as a file: the form of the ones that ship with the service. Whether its definition can run is a question of
 * the step types of a server and answered by `parseDefinition`.
 */
import type { FieldViolation } from "../../base/errors.ts";
import { findJsonFault, isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { findSchemaProblem } from "../json-schema.ts";
import type { TemplateContent } from "./instantiate.ts";

export interface TemplateDocument {
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly category: string;
  readonly tags: readonly string[];
  /** `{parameters_schema, definition}`: what a version of the template stores. */
  readonly content: JsonObject;
}

const fields: ReadonlySet<string> = new Set(["name", "display_name", "description", "category", "tags", "parameters_schema", "definition"]);
const tagsMax = 20;
const tagBytesMax = 63;
const displayNameBytesMax = 256;
const descriptionCharactersMax = 4_096;

/** Checks form only. Every field but `tags` is required, and others are refused. */
export function parseTemplateDocument(json: Json): Result<TemplateDocument, readonly FieldViolation[]> {
  const violations: FieldViolation[] = [];
  const refuse = (field: string, description: string, reason: FieldViolation["reason"] = "VALIDATION_FAILED"): void => {
    violations.push({ field, reason, description });
  };
  if (!isJsonObject(json)) return fail([{ field: "", reason: "VALIDATION_FAILED", description: "a template is a JSON object" }]);
  const fault = findJsonFault(json);
  if (fault) return fail([{ field: fault.path, reason: "VALIDATION_FAILED", description: fault.problem }]);
  for (const key of Object.keys(json)) if (!fields.has(key)) refuse(key, `is not a field of a template; known are ${[...fields].join(", ")}`);
  const text = (field: string): string => {
    const value = json[field];
    if (typeof value === "string" && value !== "") return value;
    refuse(field, "must be a text");
    return "";
  };
  const name = text("name");
  if (name && !/^[a-z][a-z0-9_-]{0,62}$/.test(name)) refuse("name", "must match ^[a-z][a-z0-9_-]{0,62}$");
  const displayName = text("display_name");
  if (Buffer.byteLength(displayName) > displayNameBytesMax) refuse("display_name", `is longer than ${displayNameBytesMax} bytes`);
  const description = text("description");
  if (description.length > descriptionCharactersMax) refuse("description", `is longer than ${descriptionCharactersMax} characters`);
  const category = text("category");
  if (category && !/^[a-z][a-z0-9-]{0,31}$/.test(category)) refuse("category", "must match ^[a-z][a-z0-9-]{0,31}$");
  const tags = tagsOf(json["tags"]);
  if (!tags) refuse("tags", `must be a list of at most ${tagsMax} different texts of at most ${tagBytesMax} bytes`);
  const schema = json["parameters_schema"];
  if (!isJsonObject(schema) || schema["type"] !== "object") refuse("parameters_schema", 'must be a JSON Schema with "type": "object"', "SCHEMA_INVALID");
  const schemaProblem = isJsonObject(schema) ? findSchemaProblem(schema) : undefined;
  if (schemaProblem) refuse("parameters_schema", schemaProblem, "SCHEMA_INVALID");
  if (!isJsonObject(json["definition"])) refuse("definition", "must be a workflow definition");
  if (violations.length > 0 || !tags || !isJsonObject(schema) || !isJsonObject(json["definition"])) return fail(violations);
  return ok({ name, displayName, description, category, tags, content: { parameters_schema: schema, definition: json["definition"] } });
}

/** The stored content of a template version as `instantiate` takes it. */
export function readTemplateContent(content: JsonObject): TemplateContent {
  const schema = content["parameters_schema"];
  const definition = content["definition"];
  return { parametersSchema: isJsonObject(schema) ? schema : {}, definition: isJsonObject(definition) ? definition : {} };
}

function tagsOf(value: Json | undefined): readonly string[] | undefined {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > tagsMax || new Set(value).size < value.length) return undefined;
  return value.every((tag) => typeof tag === "string" && tag !== "" && Buffer.byteLength(tag) <= tagBytesMax) ? (value as string[]) : undefined;
}
