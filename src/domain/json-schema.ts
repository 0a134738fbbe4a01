/**
 * JSON Schema (2020-12) of tenants, interpreted and never compiled to code: a schema is data from outside, and code made
 * of it would run with the server's rights.
 *
 * The interpreter itself trusts its schema: it runs patterns on a backtracking engine (27 characters against `^(a+)+$`
 * blocked the event loop for 4 s), follows references without counting (20 definitions that each name the next one
 * twice: a million visits) and compares unique items pair by pair. So it gets a prepared copy of the schema: patterns
 * run as RE2 through its table of formats, every visit of a subschema is counted, and long unique lists are refused.
 */
import { format as formats, type Schema, Validator } from "@cfworker/json-schema";
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { Budget } from "./expressions/budget.ts";
import { matchesPattern, patternFault } from "./expressions/match-pattern.ts";
import { findShapeProblem } from "./schema-shape.ts";

export interface SchemaFault {
  /** `a.b[2]`, empty for the value itself. */
  readonly path: string;
  readonly problem: string;
}

/** Visits of subschemas in one validation: about 100 ms. A list of 10,000 objects with five members each needs 60,000. */
const visitsMax = 100_000;
/** Elements of a list whose uniqueness is checked, pair by pair. */
const uniqueItemsMax = 1_000;
/** Faults that are looked at. */
const faultsMax = 500;
/** Characters of a text that is checked for a format; the checks are plain regular expressions. */
const formatCharactersMax = 4_096;

interface Prepared {
  readonly validator: Validator;
  /** Replaced patterns and formats by the name under which the interpreter meets them. */
  readonly checks: ReadonlyMap<string, (text: string) => boolean>;
  readonly hasUniqueItems: boolean;
  readonly counter: { visitsLeft: number };
}

const preparedSchemas = new WeakMap<JsonObject, Prepared>();

/** The first reason why `value` does not fit, or undefined. Throws nothing, not even for a schema that cannot be used. */
export function findSchemaFault(schema: JsonObject, value: Json): SchemaFault | undefined {
  return findSchemaFaults(schema, value)[0];
}

/** All reasons (of many, the first 500), most specific first for each place. */
export function findSchemaFaults(schema: JsonObject, value: Json): readonly SchemaFault[] {
  try {
    const prepared = preparedSchemas.get(schema) ?? prepare(schema);
    preparedSchemas.set(schema, prepared);
    if (prepared.hasUniqueItems && hasLongList(value)) {
      return [{ path: "", problem: `holds a list of more than ${uniqueItemsMax} elements, which is too long for uniqueItems` }];
    }
    return validate(prepared, value);
  } catch (error) {
    return [{ path: "", problem: `cannot be checked: ${reasonOf(error)}` }];
  }
}

/** Why `schema` cannot be used, or undefined: a reference that leads nowhere, a pattern that is none. */
export function findSchemaProblem(schema: JsonObject): string | undefined {
  const shape = findShapeProblem(schema);
  if (shape !== undefined) return shape;
  try {
    const prepared = prepare(schema);
    validate(prepared, {});
    return findLostReference(prepared.validator);
  } catch (error) {
    return reasonOf(error);
  }
}

/** A validation finds a lost reference only when a value leads there. */
function findLostReference(validator: Validator): string | undefined {
  const { lookup } = validator as unknown as { readonly lookup: Readonly<Record<string, Schema | boolean>> };
  for (const schema of Object.values(lookup)) {
    if (typeof schema !== "object" || schema.$ref === undefined) continue;
    const uri = (schema as { readonly __absolute_ref__?: string }).__absolute_ref__ ?? schema.$ref;
    if (!Object.hasOwn(lookup, uri)) return `reference "${schema.$ref.slice(0, 100)}" leads nowhere`;
  }
  return undefined;
}

function validate({ validator, checks, counter }: Prepared, value: Json): readonly SchemaFault[] {
  const table = formats as Record<string, (text: string) => boolean>;
  counter.visitsLeft = visitsMax;
  for (const [name, check] of checks) table[name] = check;
  try {
    const { valid, errors } = validator.validate(value);
    if (valid) return [];
    // Each failing keyword is reported along the whole way down to it; the deepest report names the cause.
    const looked = errors.slice(0, faultsMax);
    const deepest = looked.filter((error) => !looked.some((other) => other !== error && other.instanceLocation.startsWith(`${error.instanceLocation}/`)));
    return deepest.map((error) => ({ path: pathOf(error.instanceLocation), problem: wordsOf(error) }));
  } finally {
    counter.visitsLeft = Number.POSITIVE_INFINITY;
    for (const name of checks.keys()) delete table[name];
  }
}

/** What people get wrong most often, said of the place that leads the sentence. */
const sentences: readonly (readonly [RegExp, string])[] = [
  [/^Instance type "(.+?)" is invalid\. Expected (.+)$/, "is of type $1, expected $2"],
  [/^Instance does not have required property (".+")$/, "lacks the required property $1"],
  [/^Instance does not match any of (.+)$/, "must be one of $1"],
  [/^Instance (.+)$/, "$1"],
  [/^String (.+)$/, "$1"],
  [/^False boolean schema$/, "is not allowed"],
];

function wordsOf(error: { keyword: string; error: string }): string {
  const name = /"(pawf-[^"]*)"/.exec(error.error)?.[1];
  if (name?.startsWith("pawf-pattern")) return "does not match pattern";
  const words = error.error.replace(/"pawf-format-\d+-/, '"').replace(/\.$/, "");
  const [said, meant] = sentences.find(([pattern]) => pattern.test(words)) ?? [];
  return said && meant !== undefined ? words.replace(said, meant) : words;
}

/** Where subschemas stand. What is not listed (`const`, `enum`, `default`, `examples`) is data and stays as it is. */
const schemaKeywords = [
  "not",
  "if",
  "then",
  "else",
  "items",
  "contains",
  "additionalProperties",
  "additionalItems",
  "unevaluatedItems",
  "unevaluatedProperties",
  "propertyNames",
];
const listKeywords = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const mapKeywords = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

function prepare(schema: JsonObject): Prepared {
  const checks = new Map<string, (text: string) => boolean>();
  const counter = { visitsLeft: Number.POSITIVE_INFINITY };
  let hasUniqueItems = false;

  function copy(source: Json): Json {
    if (!isJsonObject(source)) return source;
    hasUniqueItems ||= source["uniqueItems"] === true;
    const entries = Object.entries(source).map(([key, value]): [string, Json] => [key, copyMember(key, value)]);
    const target = Object.fromEntries(entries) as JsonObject;
    const check = checkOf(source);
    delete target["pattern"];
    delete target["format"];
    if (check) {
      const name = `${check.name}-${checks.size}-${check.label}`;
      checks.set(name, check.test);
      target["format"] = name;
    }
    // The interpreter reads this member at each visit, and 2020-12 has no other use for it.
    Object.defineProperty(target, "$recursiveAnchor", { get: () => countVisit(counter), enumerable: false });
    return target;
  }

  function copyMember(key: string, value: Json): Json {
    if (listKeywords.includes(key) && Array.isArray(value)) return value.map(copy);
    if (schemaKeywords.includes(key)) return copy(value);
    if (!mapKeywords.includes(key) || !isJsonObject(value)) return value;
    if (key === "patternProperties") for (const pattern of Object.keys(value)) refuseSlowPattern(pattern);
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copy(member)]));
  }

  const validator = new Validator(copy(schema) as Schema, "2020-12", false);
  return { validator, checks, hasUniqueItems, counter };
}

function countVisit(counter: { visitsLeft: number }): undefined {
  if (--counter.visitsLeft < 0) throw new SchemaLimit(`more than ${visitsMax} steps are needed`);
  return undefined;
}

class SchemaLimit extends Error {}

/** `pattern` and `format` of one subschema as one test. Unknown formats are annotations, as the standard says. */
function checkOf(source: JsonObject): { name: string; label: string; test: (text: string) => boolean } | undefined {
  const pattern = source["pattern"];
  const format = source["format"];
  const known = typeof format === "string" && Object.hasOwn(formats, format) ? (formats as Record<string, (text: string) => boolean>)[format] : undefined;
  const testFormat = known && ((text: string): boolean => text.length <= formatCharactersMax && known(text));
  if (typeof pattern !== "string") return testFormat && { name: "pawf-format", label: String(format), test: testFormat };
  const fault = patternFault(pattern);
  if (fault) throw new SchemaLimit(`pattern "${pattern.slice(0, 60)}": ${fault}`);
  return { name: "pawf-pattern", label: "", test: (text) => matchesPattern(text, pattern, new Budget(undefined)) && (testFormat?.(text) ?? true) };
}

/** Property names cannot be routed through the table of formats; a pattern with one repetition and no group repeated is fast enough. */
function refuseSlowPattern(pattern: string): void {
  const fault = patternFault(pattern);
  if (fault) throw new SchemaLimit(`patternProperties "${pattern.slice(0, 60)}": ${fault}`);
  const repetitions = pattern.replace(/\\.|\[(?:\\.|[^\]])*\]/g, "x").match(/[*+{]/g)?.length ?? 0;
  if (repetitions > 1) throw new SchemaLimit(`patternProperties "${pattern.slice(0, 60)}": only one repetition is possible here`);
}

function hasLongList(value: Json): boolean {
  if (Array.isArray(value)) return value.length > uniqueItemsMax || value.some(hasLongList);
  return isJsonObject(value) && Object.values(value).some(hasLongList);
}

function reasonOf(error: unknown): string {
  if (error instanceof RangeError) return "a reference leads back to itself without end";
  return error instanceof Error ? (error.message.split("\n")[0] as string).slice(0, 200) : String(error);
}

/** `#/orders/0/id` → `orders[0].id`. */
function pathOf(instanceLocation: string): string {
  let path = "";
  for (const part of instanceLocation.replace(/^#\/?/, "").split("/")) {
    if (part === "") continue;
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path += /^\d+$/.test(key) ? `[${key}]` : path === "" ? key : `.${key}`;
  }
  return path;
}
