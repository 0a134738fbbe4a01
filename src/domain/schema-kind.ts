/**
 * What a JSON Schema surely says of one place inside a value: enough to refuse an expression that can never work. Whatever a
 * combination (`anyOf`, `$ref`, `if` …) leaves open is left open here.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import type { Kind } from "./expressions/value.ts";

export type SchemaPlace =
  | { readonly kind: Kind | undefined }
  /** No value that fits the schema has this place. `depth`: how many keys of the path exist. */
  | { readonly missing: string; readonly depth: number };

/** Keywords after which more than the present schema would have to be read. */
const openKeywords = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "dependentSchemas", "patternProperties", "unevaluatedProperties"];

const kinds: Readonly<Record<string, Kind>> = {
  string: "string",
  boolean: "bool",
  object: "map",
  array: "list",
  number: "double",
  integer: "double",
  null: "null",
};

export function placeIn(schema: JsonObject, path: readonly (string | number)[]): SchemaPlace {
  let at: Json = schema;
  for (const [depth, key] of path.entries()) {
    if (!isJsonObject(at) || openKeywords.some((keyword) => isJsonObject(at) && Object.hasOwn(at, keyword))) return { kind: undefined };
    const type: Json | undefined = at["type"];
    if (type !== undefined && typeof type !== "string") return { kind: undefined };
    const wanted = typeof key === "string" ? "object" : "array";
    if (type !== undefined && type !== wanted)
      return { missing: `is of type ${type} and has no ${wanted === "object" ? `member "${key}"` : "elements"}`, depth };
    if (typeof key === "number") {
      if (at["prefixItems"] !== undefined) return { kind: undefined };
      at = at["items"] ?? {};
      continue;
    }
    const members: JsonObject = isJsonObject(at["properties"]) ? at["properties"] : {};
    if (!Object.hasOwn(members, key)) {
      return at["additionalProperties"] === false ? { missing: `has no member "${key}"; its schema names ${namesOf(members)}`, depth } : { kind: undefined };
    }
    at = members[key] as Json;
  }
  if (!isJsonObject(at) || openKeywords.some((keyword) => isJsonObject(at) && Object.hasOwn(at, keyword))) return { kind: undefined };
  return { kind: typeof at["type"] === "string" ? kinds[at["type"]] : undefined };
}

function namesOf(members: JsonObject): string {
  const names = Object.keys(members);
  if (names.length === 0) return "none";
  return names.slice(0, 10).join(", ") + (names.length > 10 ? " …" : "");
}
