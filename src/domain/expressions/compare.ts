/** Equality and order of values. Numbers of all kinds compare by value; everything that is touched is paid for. */
import type { Budget } from "./budget.ts";
import { Problem } from "./problem.ts";
import { mapKeyOf, readKey } from "./read-key.ts";
import { Duration, kindOf, type MapKey, type Optional, Timestamp, type TypeName, Uint, type Value } from "./value.ts";

/** Whether two values are equal. Values of different types are not, except that numbers compare by value. */
export function isEqual(left: Value, right: Value, budget: Budget): boolean {
  const a = left instanceof Uint ? left.value : left;
  const b = right instanceof Uint ? right.value : right;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) {
    if (typeof a === "string" && typeof b === "string") budget.chargeText(Math.min(a.length, b.length));
    // biome-ignore lint/suspicious/noDoubleEquals: the one operator that compares bigint and number exactly
    return a === b || (isNumber(a) && isNumber(b) && a == b);
  }
  const kind = kindOf(a);
  if (kind !== kindOf(b)) return false;
  switch (kind) {
    case "list":
      return areEqualLists(a as readonly Value[], b as readonly Value[], budget);
    case "map":
      return areEqualMaps(a, b, budget);
    case "bytes":
      budget.chargeText((a as Uint8Array).length);
      return Buffer.compare(a as Uint8Array, b as Uint8Array) === 0;
    case "duration":
      return (a as Duration).nanos === (b as Duration).nanos;
    case "timestamp":
      return (a as Timestamp).nanos === (b as Timestamp).nanos;
    case "type":
      return (a as TypeName).name === (b as TypeName).name;
    case "optional":
      return areEqualOptionals(a as Optional, b as Optional, budget);
    default:
      return false;
  }
}

/** Negative, 0 or positive; NaN for a comparison with NaN. Throws Problem for values without an order. */
export function compare(left: Value, right: Value, budget: Budget): number {
  const a = left instanceof Uint ? left.value : left;
  const b = right instanceof Uint ? right.value : right;
  if (isNumber(a) && isNumber(b)) return a < b ? -1 : a > b ? 1 : Number.isNaN(Number(a)) || Number.isNaN(Number(b)) ? Number.NaN : 0;
  if (typeof a === "string" && typeof b === "string") {
    budget.chargeText(Math.min(a.length, b.length));
    return compareText(a, b);
  }
  if (typeof a === "boolean" && typeof b === "boolean") return Number(a) - Number(b);
  if ((a instanceof Duration && b instanceof Duration) || (a instanceof Timestamp && b instanceof Timestamp)) {
    return a.nanos < b.nanos ? -1 : a.nanos > b.nanos ? 1 : 0;
  }
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    budget.chargeText(Math.min(a.length, b.length));
    return Buffer.compare(a, b);
  }
  throw new Problem(`a ${kindOf(left)} and a ${kindOf(right)} have no order`);
}

/** Members of a map with text or other keys. */
export function keysOf(value: Value): readonly MapKey[] {
  return value instanceof Map ? [...(value as ReadonlyMap<MapKey, Value>).keys()] : Object.keys(value as object);
}

export function sizeOf(value: Value): number {
  return value instanceof Map ? value.size : Object.keys(value as object).length;
}

function isNumber(value: Value): value is number | bigint {
  return typeof value === "number" || typeof value === "bigint";
}

/** Order by code point. JavaScript orders by UTF-16 unit, which differs between U+E000–U+FFFF and astral characters. */
function compareText(a: string, b: string): number {
  if (a === b) return 0;
  let index = 0;
  while (a.charCodeAt(index) === b.charCodeAt(index)) index++;
  return rankOf(a.charCodeAt(index)) - rankOf(b.charCodeAt(index));
}

function rankOf(unit: number): number {
  if (Number.isNaN(unit)) return -1;
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}

function areEqualLists(a: readonly Value[], b: readonly Value[], budget: Budget): boolean {
  if (a.length !== b.length) return false;
  budget.chargeElements(a.length);
  return a.every((item, index) => isEqual(item, b[index] as Value, budget));
}

function areEqualMaps(a: Value, b: Value, budget: Budget): boolean {
  const keys = keysOf(a);
  budget.chargeElements(keys.length);
  if (keys.length !== sizeOf(b)) return false;
  return keys.every((key) => {
    const other = readKey(b, mapKeyOf(key) as Value);
    return other !== undefined && isEqual(readKey(a, key) as Value, other, budget);
  });
}

function areEqualOptionals(a: Optional, b: Optional, budget: Budget): boolean {
  if (a.value === undefined || b.value === undefined) return a.value === b.value;
  return isEqual(a.value, b.value, budget);
}
