/**
 * The JSON form of a value, as proto JSON writes it: int and uint as numbers (refused beyond 2^53, where JSON readers
 * round), bytes as base64, durations `1.5s`, timestamps RFC 3339, an empty optional null, keys as text. Data that is
 * JSON already is not copied, only measured.
 */
import type { Json, JsonObject } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import { LimitProblem, Problem, quoted } from "./problem.ts";
import { formatDuration, formatTimestamp } from "./time.ts";
import { Duration, isList, type MapKey, Optional, Timestamp, TypeName, Uint, type Value } from "./value.ts";

export interface MeasuredJson {
  readonly json: Json;
  /** About what the JSON text needs; exact for text, 8 for a number. */
  readonly bytes: number;
}

/** Throws LimitProblem above `bytesMax` (as soon as it is known), Problem for what JSON or the database cannot hold. */
export function toJson(value: Value, bytesMax: number): MeasuredJson {
  const measure = { bytes: 0, bytesMax };
  return { json: convert(value, measure, limits.jsonDepthMax), bytes: measure.bytes };
}

interface Measure {
  bytes: number;
  readonly bytesMax: number;
}

function convert(value: Value, measure: Measure, depthLeft: number): Json {
  switch (typeof value) {
    case "string":
      return checkedText(value, measure);
    case "number":
      if (!Number.isFinite(value)) throw new Problem(`the result is ${value}, which JSON cannot hold (is something divided by zero?)`);
      add(8, measure);
      return value === 0 ? 0 : value;
    case "bigint":
      return exactNumber(value, measure);
    case "boolean":
      add(4, measure);
      return value;
  }
  if (value === null) {
    add(4, measure);
    return null;
  }
  if (value instanceof Uint) return exactNumber(value.value, measure);
  if (value instanceof Duration) return checkedText(formatDuration(value), measure);
  if (value instanceof Timestamp) return checkedText(formatTimestamp(value), measure);
  if (value instanceof TypeName) return checkedText(value.name, measure);
  if (value instanceof Optional) return convert(value.value ?? null, measure, depthLeft);
  if (value instanceof Uint8Array) {
    add(Math.ceil((value.length * 4) / 3), measure);
    return Buffer.from(value).toString("base64");
  }
  if (depthLeft <= 0) throw new LimitProblem(`makes a value nested deeper than ${limits.jsonDepthMax} levels`);
  add(2, measure);
  if (isList(value)) return convertList(value, measure, depthLeft - 1);
  return value instanceof Map ? convertMap(value, measure, depthLeft - 1) : convertObject(value as { readonly [key: string]: Value }, measure, depthLeft - 1);
}

function convertList(list: readonly Value[], measure: Measure, depthLeft: number): Json {
  let copy: Json[] | undefined;
  for (let index = 0; index < list.length; index++) {
    add(1, measure);
    const item = list[index] as Value;
    const json = convert(item, measure, depthLeft);
    if (json !== item) copy ??= list.slice(0, index) as Json[];
    copy?.push(json);
  }
  return copy ?? (list as Json[]);
}

function convertObject(object: { readonly [key: string]: Value }, measure: Measure, depthLeft: number): Json {
  let changed = false;
  const entries: [string, Json][] = [];
  for (const key of Object.keys(object)) {
    checkedText(key, measure);
    add(1, measure);
    const member = object[key] as Value;
    const json = convert(member, measure, depthLeft);
    changed ||= json !== member;
    entries.push([key, json]);
  }
  return changed ? fromEntries(entries) : (object as JsonObject);
}

function convertMap(map: ReadonlyMap<MapKey, Value>, measure: Measure, depthLeft: number): Json {
  const entries = new Map<string, Json>();
  for (const [key, member] of map) {
    const name = checkedText(String(key), measure);
    if (entries.has(name)) throw new Problem(`the map has two keys that JSON writes as ${quoted(name)}`);
    add(1, measure);
    entries.set(name, convert(member, measure, depthLeft));
  }
  return fromEntries(entries);
}

/** Object.fromEntries defines own members, so that a key `__proto__` is a key like any other. */
function fromEntries(entries: Iterable<readonly [string, Json]>): JsonObject {
  return Object.fromEntries(entries);
}

function exactNumber(value: bigint, measure: Measure): number {
  add(8, measure);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new Problem(`the result holds the integer ${value}, beyond 2^53 where JSON is not exact; use string(x)`);
  return number;
}

/** PostgreSQL refuses NUL and half surrogate pairs, so no expression may make them. */
function checkedText(text: string, measure: Measure): string {
  add(text.length + 2, measure);
  if (text.includes("\u0000")) throw new Problem("the result holds a NUL character (U+0000)");
  if (!text.isWellFormed()) throw new Problem("the result holds half of a surrogate pair");
  add(Buffer.byteLength(text) - text.length, measure);
  return text;
}

function add(bytes: number, measure: Measure): void {
  measure.bytes += bytes;
  if (measure.bytes > measure.bytesMax) throw new LimitProblem(`makes a value of more than ${measure.bytesMax} bytes`);
}
