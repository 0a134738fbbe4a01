/** `'%s has %d items'.format([a, b])`: clauses %s %d %f %e %b %o %x %X and %%. */
import { limits } from "../../base/limits.ts";
import type { Budget } from "./budget.ts";
import { keysOf } from "./compare.ts";
import { refuse } from "./function-table.ts";
import { LimitProblem, Problem } from "./problem.ts";
import { mapKeyOf, readKey } from "./read-key.ts";
import { formatDuration, formatTimestamp } from "./time.ts";
import { Duration, isList, kindOf, Timestamp, TypeName, Uint, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

const precisionDefault = 6;
const precisionMax = 100;

export function formatText(pattern: string, values: readonly Value[], budget: Budget): string {
  budget.chargeText(pattern.length, "decode");
  let used = 0;
  let length = 0;
  const clauses = /%(?:%|(?:\.(\d{1,4}))?(.))|[^%]+|%$/gsu;
  const pieces: string[] = [];
  for (const [piece, precision, clause] of pattern.matchAll(clauses)) {
    budget.charge(1);
    let text = piece;
    if (piece === "%%") text = "%";
    else if (piece.startsWith("%")) {
      if (clause === undefined) throw new Problem("format(): a `%` stands at the end; write `%%` for the sign itself");
      if (used >= values.length) throw new Problem(`format(): there are more clauses than the ${values.length} values`);
      text = formatClause(clause, values[used++] as Value, precision === undefined ? undefined : Number(precision), budget);
    }
    length += text.length;
    if (length > limits.templateTextBytesMax) throw new LimitProblem(`makes a text of more than ${limits.templateTextBytesMax} characters`);
    pieces.push(text);
  }
  if (used < values.length) throw new Problem(`format(): ${values.length} values are given, but only ${used} clauses`);
  return pieces.join("");
}

function formatClause(clause: string, value: Value, precision: number | undefined, budget: Budget): string {
  if (precision !== undefined && precision > precisionMax) throw new Problem(`format(): at most ${precisionMax} digits after the point`);
  switch (clause) {
    case "s":
      return formatAny(value, budget);
    case "d":
      return formatWhole(value);
    case "f":
    case "e":
      return formatDouble(clause, value, precision ?? precisionDefault);
    case "b":
      return typeof value === "boolean" ? String(Number(value)) : needWhole(value, "%b").toString(2);
    case "o":
      return needWhole(value, "%o").toString(8);
    case "x":
    case "X": {
      const hex = formatHex(value, budget);
      return clause === "x" ? hex : hex.toUpperCase();
    }
    default:
      throw new Problem(`format(): %${clause} is not a clause; use %s %d %f %e %b %o %x %X`);
  }
}

function formatAny(value: Value, budget: Budget): string {
  budget.charge(1);
  if (typeof value === "string") return value;
  if (typeof value === "number") return String(value);
  if (value === null || typeof value === "boolean") return String(value);
  if (value instanceof Timestamp) return formatTimestamp(value);
  if (value instanceof Duration) return formatDuration(value);
  if (value instanceof TypeName) return value.name;
  if (value instanceof Uint8Array) {
    budget.chargeText(value.length);
    return Buffer.from(value).toString("utf8");
  }
  if (isList(value)) return `[${bounded(value.map((item) => formatAny(item, budget)))}]`;
  if (kindOf(value) === "map") {
    const entries = keysOf(value).map((key) => `${formatAny(key, budget)}: ${formatAny(readKey(value, mapKeyOf(key) as Value) as Value, budget)}`);
    return `{${bounded(entries.sort())}}`;
  }
  const whole = wholeNumber(value);
  if (whole === undefined) throw refuse(value, "format() with %s", "a value that can be shown");
  return String(whole);
}

function bounded(pieces: readonly string[]): string {
  let length = 0;
  for (const piece of pieces) length += piece.length + 2;
  if (length > limits.templateTextBytesMax) throw new LimitProblem(`makes a text of more than ${limits.templateTextBytesMax} characters`);
  return pieces.join(", ");
}

function formatWhole(value: Value): string {
  if (typeof value === "number" && !Number.isFinite(value)) return String(value);
  return String(needWhole(value, "%d"));
}

function needWhole(value: Value, clause: string): bigint {
  const whole = wholeNumber(value);
  if (whole === undefined) throw refuse(value, `format() with ${clause}`, "an integer");
  return whole;
}

function formatDouble(clause: "f" | "e", value: Value, precision: number): string {
  const whole = value instanceof Uint || typeof value === "bigint" ? Number(wholeNumber(value)) : value;
  const double = whole === "NaN" || whole === "Infinity" || whole === "-Infinity" ? Number(whole) : whole;
  if (typeof double !== "number") throw refuse(value, `format() with %${clause}`, "a number");
  if (!Number.isFinite(double)) return String(double);
  if (clause === "e") return double.toExponential(precision).replace(/e([+-])(\d)$/, "e$10$2");
  // toFixed changes to an exponent from 1e21 on, where every double is an integer.
  if (Math.abs(double) >= 1e21) return `${BigInt(double)}${precision > 0 ? `.${"0".repeat(precision)}` : ""}`;
  return double.toFixed(precision);
}

function formatHex(value: Value, budget: Budget): string {
  if (typeof value === "string" || value instanceof Uint8Array) {
    budget.chargeText(value.length);
    return Buffer.from(value as Uint8Array).toString("hex");
  }
  return needWhole(value, "%x").toString(16);
}
