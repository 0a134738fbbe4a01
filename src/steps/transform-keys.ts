/** Sorting, grouping and thinning out a list by one key per element. `keys[i]` belongs to `list[i]`. */
import { canonicalJson, type Json } from "../base/json.ts";

/** Keys in ascending order: null < false < true < numbers < text by code unit; a list of keys compares key by key. Stable. */
export function sortByKeys(list: readonly Json[], keys: readonly Json[]): Json[] {
  const order = list.map((_, index) => index).sort((a, b) => compareKeys(keys[a] as Json, keys[b] as Json));
  return order.map((index) => list[index] as Json);
}

/** Whether a key has a place in that order; objects have none. */
export function isSortKey(key: Json): boolean {
  return Array.isArray(key) ? key.every((part) => rank(part) >= 0) : rank(key) >= 0;
}

/** The first element of each key, in order of appearance. */
export function distinctByKeys(list: readonly Json[], keys: readonly Json[]): Json[] {
  const seen = new Set<string>();
  return list.filter((_, index) => seen.size !== seen.add(canonicalJson(keys[index] as Json)).size);
}

/** Key → its elements, both in order of appearance. A number or boolean is its own text. */
export function groupByKeys(list: readonly Json[], keys: readonly Json[]): Json {
  const groups = Map.groupBy(list.keys(), (index) => String(keys[index]));
  return Object.fromEntries([...groups].map(([key, indexes]) => [key, indexes.map((index) => list[index] as Json)]));
}

export function isGroupKey(key: Json): boolean {
  return key !== null && typeof key !== "object";
}

function compareKeys(one: Json, other: Json): number {
  const left = Array.isArray(one) ? one : [one];
  const right = Array.isArray(other) ? other : [other];
  for (let index = 0; index < Math.min(left.length, right.length); index++) {
    const order = compareScalars(left[index] as Json, right[index] as Json);
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

function compareScalars(one: Json, other: Json): number {
  const byRank = rank(one) - rank(other);
  if (byRank !== 0 || one === null || other === null) return byRank;
  return one < other ? -1 : one > other ? 1 : 0;
}

function rank(key: Json): number {
  if (key === null) return 0;
  return ["boolean", "number", "string"].indexOf(typeof key) + 1 || -1;
}
