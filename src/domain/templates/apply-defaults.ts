/** Filling in what a JSON Schema declares as `default`. The schema's other keywords are checked afterwards, defaults included. */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";

/**
 * `value` with every absent property that has a `default` filled in, inside objects and lists too. An absent object is not
 * made up because something inside it has a default. Reads `properties`, `items` and `default`; nothing is changed in place.
 */
export function applyDefaults(schema: Json | undefined, value: Json): Json {
  if (!isJsonObject(schema)) return value;
  if (Array.isArray(value)) return isJsonObject(schema["items"]) ? value.map((item) => applyDefaults(schema["items"], item)) : value;
  const properties = schema["properties"];
  if (!isJsonObject(value) || !isJsonObject(properties)) return value;
  // Built from entries, which defines keys instead of assigning them: a parameter may be called __proto__.
  const filled = new Map<string, Json>(Object.entries(value));
  for (const [name, property] of Object.entries(properties)) {
    const given = Object.hasOwn(value, name) ? value[name] : defaultOf(property);
    if (given !== undefined) filled.set(name, applyDefaults(property, given));
  }
  return Object.fromEntries(filled);
}

function defaultOf(schema: Json): Json | undefined {
  return isJsonObject(schema) && Object.hasOwn(schema, "default") ? structuredClone((schema as JsonObject)["default"]) : undefined;
}
