/**
 * The one way to merge objects that others wrote: only own keys count and a key is always *defined*, never assigned, so
 * that a key `__proto__` is data like any other.
 */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";

/** `other` over `base`, key by key, objects inside each other too; for anything else the value of `other` wins. */
export function mergeJson(base: JsonObject, other: JsonObject): JsonObject {
  const merged = new Map<string, Json>(Object.entries(base));
  for (const [key, value] of Object.entries(other)) {
    const before = merged.get(key);
    merged.set(key, isJsonObject(before) && isJsonObject(value) ? mergeJson(before, value) : value);
  }
  return Object.fromEntries(merged);
}
