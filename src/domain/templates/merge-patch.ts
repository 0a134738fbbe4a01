/** JSON merge patch (RFC 7396): objects are merged member by member, null removes a member, everything else replaces. */
import { isJsonObject, type Json } from "../../base/json.ts";

/** `target` with `patch` applied; neither is changed. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch;
  // Built from entries, which defines members instead of assigning them: one may be called __proto__.
  const merged = new Map<string, Json>(isJsonObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) merged.delete(key);
    else merged.set(key, mergePatch(merged.get(key), value));
  }
  return Object.fromEntries(merged);
}
