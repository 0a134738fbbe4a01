import { Problem, quoted } from "./problem.ts";
import { mapKeyOf } from "./read-key.ts";
import { kindOf, type MapKey, type Value } from "./value.ts";

/** Adds to a map that an expression makes; a key twice, or a value that cannot be one, is a problem. */
export function addEntry(map: Map<MapKey, Value>, key: Value, value: Value): void {
  const mapKey = mapKeyOf(key);
  if (mapKey === undefined) throw new Problem(`a ${kindOf(key)} cannot be the key of a map`);
  if (map.has(mapKey)) throw new Problem(`the map has the key ${quoted(String(mapKey))} twice`);
  map.set(mapKey, value);
}
