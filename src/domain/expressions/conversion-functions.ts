/** Conversions between types, `type`, `dyn` and `size`. */
import { sizeOf } from "./compare.ts";
import type { Frame } from "./expression.ts";
import { type FunctionTable, refuse } from "./function-table.ts";
import { checkedInt, checkedUint, joinText } from "./operators.ts";
import { Problem, quoted } from "./problem.ts";
import { lengthOf } from "./text-points.ts";
import { formatDuration, formatTimestamp, parseDuration, parseTimestamp, secondsOf, shortDuration, shortTimestamp } from "./time.ts";
import { Duration, isList, kindOf, Timestamp, typeOf, Uint, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

const booleans = new Map<string, boolean>([
  ...["true", "True", "TRUE", "t", "1"].map((text) => [text, true] as const),
  ...["false", "False", "FALSE", "f", "0"].map((text) => [text, false] as const),
]);

export const conversionFunctions: FunctionTable = {
  int: { usage: "int(x)", arguments: [1, 1], call: ([value]) => toInt(value as Value) },
  uint: { usage: "uint(x)", arguments: [1, 1], call: ([value]) => toUint(value as Value) },
  double: { usage: "double(x)", arguments: [1, 1], call: ([value]) => toDouble(value as Value) },
  bool: { usage: "bool(x)", arguments: [1, 1], call: ([value]) => toBool(value as Value) },
  string: { usage: "string(x)", arguments: [1, 1], call: ([value], frame) => toText(value as Value, frame) },
  bytes: { usage: "bytes(x)", arguments: [1, 1], call: ([value], frame) => toBytes(value as Value, frame) },
  duration: { usage: "duration(x)", arguments: [1, 1], call: ([value]) => toDuration(value as Value) },
  timestamp: { usage: "timestamp(x)", arguments: [1, 1], call: ([value]) => toTimestamp(value as Value) },
  type: { usage: "type(x)", arguments: [1, 1], call: ([value]) => typeOf(value as Value) },
  dyn: { usage: "dyn(x)", arguments: [1, 1], call: ([value]) => value as Value },
  size: { usage: "size(x)", arguments: [1, 1], call: ([value], frame) => BigInt(measure(value as Value, frame)) },
};

function measure(value: Value, frame: Frame): number {
  if (typeof value === "string") return lengthOf(value, frame.budget);
  if (isList(value)) return value.length;
  if (value instanceof Uint8Array) return value.length;
  if (kindOf(value) !== "map") throw refuse(value, "size()", "a string, list, map or bytes");
  const size = sizeOf(value);
  frame.budget.chargeElements(size);
  return size;
}

function toInt(value: Value): Value {
  if (typeof value === "bigint") return value;
  if (value instanceof Uint) return checkedInt(value.value);
  if (typeof value === "number") return checkedInt(truncated(value, "int()"));
  if (typeof value === "string") return checkedInt(parseInteger(value, "int()"));
  if (value instanceof Timestamp) return secondsOf(value);
  if (value instanceof Duration) return value.nanos / 1_000_000_000n;
  throw refuse(value, "int()", "a number, string, timestamp or duration");
}

function toUint(value: Value): Value {
  if (value instanceof Uint) return value;
  if (typeof value === "bigint") return checkedUint(value);
  if (typeof value === "number") {
    if (value < 0) throw new Problem("the result does not fit into a uint of 64 bits");
    return checkedUint(truncated(value, "uint()"));
  }
  if (typeof value === "string") return checkedUint(parseInteger(value, "uint()"));
  throw refuse(value, "uint()", "a number or string");
}

function toDouble(value: Value): number {
  if (typeof value === "number") return value;
  const integer = wholeNumber(value);
  if (integer !== undefined) return Number(integer);
  if (typeof value !== "string") throw refuse(value, "double()", "a number or string");
  if (!/^[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Infinity|NaN)$/.test(value) || value.length > 400) throw new Problem(`${quoted(value)} is not a number`);
  return Number(value);
}

function toBool(value: Value): boolean {
  if (typeof value === "boolean") return value;
  const known = typeof value === "string" ? booleans.get(value) : undefined;
  if (known !== undefined) return known;
  throw typeof value === "string" ? new Problem(`${quoted(value)} is neither true nor false`) : refuse(value, "bool()", "a bool or string");
}

function toText(value: Value, frame: Frame): string {
  switch (typeof value) {
    case "string":
      return value;
    case "boolean":
    case "number":
    case "bigint":
      return String(Object.is(value, -0) ? "-0" : value);
  }
  if (value instanceof Uint) return String(value.value);
  if (value instanceof Duration) return formatDuration(value);
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (!(value instanceof Uint8Array)) throw refuse(value, "string()", "a scalar (for others use json.encode(x))");
  frame.budget.chargeText(value.length);
  try {
    return joinText(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(value), "", frame.budget);
  } catch (error) {
    if (error instanceof TypeError) throw new Problem("the bytes are not UTF-8 text");
    throw error;
  }
}

function toBytes(value: Value, frame: Frame): Uint8Array {
  if (value instanceof Uint8Array) return value;
  if (typeof value !== "string") throw refuse(value, "bytes()", "a string");
  frame.budget.chargeText(value.length);
  return Buffer.from(value, "utf8");
}

/** Numbers are seconds. */
function toDuration(value: Value): Duration {
  if (value instanceof Duration) return value;
  if (typeof value === "string") return parseDuration(value);
  const nanos = secondsToNanos(value);
  if (nanos === undefined) throw refuse(value, "duration()", "a string such as '1h30m' or a number of seconds");
  return shortDuration(nanos);
}

/** Numbers are seconds since 1970. */
function toTimestamp(value: Value): Timestamp {
  if (value instanceof Timestamp) return value;
  if (typeof value === "string") return parseTimestamp(value);
  const nanos = secondsToNanos(value);
  if (nanos === undefined) throw refuse(value, "timestamp()", "a string such as '2026-01-31T12:00:00Z' or a number of seconds since 1970");
  return shortTimestamp(nanos);
}

function secondsToNanos(value: Value): bigint | undefined {
  const seconds = wholeNumber(value);
  if (seconds !== undefined) return seconds * 1_000_000_000n;
  if (typeof value !== "number" || !Number.isFinite(value)) return undefined;
  return BigInt(Math.trunc(value)) * 1_000_000_000n + BigInt(Math.round((value % 1) * 1e9));
}

function truncated(value: number, name: string): bigint {
  if (!Number.isFinite(value)) throw new Problem(`${name} does not take ${value}`);
  // The largest double below 2^63 is the last that fits; 2^63 itself is what larger ints round to.
  if (Math.abs(value) >= 2 ** 63 && name === "int()") throw new Problem("the result does not fit into an int of 64 bits");
  return BigInt(Math.trunc(value));
}

function parseInteger(text: string, name: string): bigint {
  if (!/^[+-]?\d{1,20}$/.test(text)) throw new Problem(`${name}: ${quoted(text)} is not an integer`);
  return BigInt(text.replace(/^\+/, ""));
}
