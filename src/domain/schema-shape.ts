/** The form of a JSON Schema's keywords: the interpreter takes what it does not understand for "anything fits". */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";

const types = ["null", "boolean", "object", "array", "number", "integer", "string"];
const schemaKeywords = ["not", "if", "then", "else", "items", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties", "propertyNames"];
const schemaListKeywords = ["allOf", "anyOf", "oneOf", "prefixItems"];
const schemaMapKeywords = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
const numberKeywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
const countKeywords = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"];
const textKeywords = ["$ref", "$id", "$anchor", "pattern", "format"];

/** The first keyword whose value has not the form the standard gives it, with its place; or undefined. */
export function findShapeProblem(schema: Json, path = ""): string | undefined {
  if (typeof schema === "boolean") return undefined;
  if (!isJsonObject(schema)) return `${path || "the schema"} must be an object, or true or false`;
  for (const [keyword, value] of Object.entries(schema)) {
    const problem = keywordProblem(schema, keyword, value, path === "" ? keyword : `${path}.${keyword}`);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function keywordProblem(schema: JsonObject, keyword: string, value: Json, at: string): string | undefined {
  if (keyword === "type") {
    const named = Array.isArray(value) ? value : [value];
    const unknown = named.find((name) => typeof name !== "string" || !types.includes(name));
    return unknown === undefined ? undefined : `${at}: ${JSON.stringify(unknown)} is not a type; use one of ${types.join(", ")}`;
  }
  if (schemaKeywords.includes(keyword)) return Array.isArray(value) && keyword === "items" ? undefined : findShapeProblem(value, at);
  if (schemaListKeywords.includes(keyword)) {
    if (!Array.isArray(value) || value.length === 0) return `${at} must be a list of schemas`;
    return first(value.map((item, index) => () => findShapeProblem(item, `${at}[${index}]`)));
  }
  if (schemaMapKeywords.includes(keyword)) {
    if (!isJsonObject(value)) return `${at} must be an object of schemas`;
    return first(
      Object.entries(value).map(
        ([name, item]) =>
          () =>
            findShapeProblem(item, `${at}.${name}`),
      ),
    );
  }
  if (keyword === "required" && !(Array.isArray(value) && value.every((name) => typeof name === "string"))) return `${at} must be a list of names`;
  if (keyword === "enum" && !Array.isArray(value)) return `${at} must be a list`;
  if (numberKeywords.includes(keyword) && typeof value !== "number") return `${at} must be a number`;
  if (countKeywords.includes(keyword) && !(Number.isInteger(value) && (value as number) >= 0)) return `${at} must be a whole number from 0`;
  if (textKeywords.includes(keyword) && typeof value !== "string") return `${at} must be a text`;
  if (keyword === "uniqueItems" && typeof schema["uniqueItems"] !== "boolean") return `${at} must be true or false`;
  return undefined;
}

function first(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const problem = check();
    if (problem !== undefined) return problem;
  }
  return undefined;
}
