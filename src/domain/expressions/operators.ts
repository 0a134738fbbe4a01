/**
 * Arithmetic. Two ints stay int (64 bits, overflow is a problem, division truncates); as soon as a JSON number is
 * involved both are doubles, so `trigger.data.amount * 2` just works. Doubles follow IEEE 754: 1.0 / 0 is infinite,
 * which no result may be.
 */
import { limits } from "../../base/limits.ts";
import type { Budget } from "./budget.ts";
import { compare, isEqual } from "./compare.ts";
import { LimitProblem, Problem } from "./problem.ts";
import { mapKeyOf, readKey } from "./read-key.ts";
import type { BinaryOperator } from "./syntax.ts";
import { shortDuration, shortTimestamp } from "./time.ts";
import { Duration, isList, kindOf, Timestamp, Uint, type Value } from "./value.ts";
import { intMax, intMin, uintMax } from "./whole-number.ts";

/** The value of `left operator right`; throws Problem. */
export function applyOperator(operator: BinaryOperator, left: Value, right: Value, budget: Budget): Value {
  switch (operator) {
    case "==":
      return isEqual(left, right, budget);
    case "!=":
      return !isEqual(left, right, budget);
    case "<":
      return compare(left, right, budget) < 0;
    case "<=":
      return compare(left, right, budget) <= 0;
    case ">":
      return compare(left, right, budget) > 0;
    case ">=":
      return compare(left, right, budget) >= 0;
    case "in":
      return isIn(left, right, budget);
    default:
      return calculate(operator, left, right) ?? combine(operator, left, right, budget) ?? refuse(operator, left, right);
  }
}

/** `-x` for int, double and duration. */
export function negate(value: Value): Value {
  if (typeof value === "number") return -value;
  if (typeof value === "bigint") return checkedInt(-value);
  if (value instanceof Duration) return shortDuration(-value.nanos);
  throw new Problem(`\`-\` does not take a ${kindOf(value)}`);
}

/** An int of 64 bits, or the problem that it is not one. */
export function checkedInt(value: bigint): bigint {
  if (value > intMax || value < intMin) throw new Problem("the result does not fit into an int of 64 bits");
  return value;
}

export function checkedUint(value: bigint): Uint {
  if (value > uintMax || value < 0n) throw new Problem("the result does not fit into a uint of 64 bits");
  return new Uint(value);
}

/** A text made by an expression; longer ones than a template may produce are refused before they exist. */
export function joinText(left: string, right: string, budget: Budget): string {
  const length = left.length + right.length;
  if (length > limits.templateTextBytesMax) throw new LimitProblem(`makes a text of more than ${limits.templateTextBytesMax} characters`);
  budget.chargeText(length);
  return left + right;
}

type Arithmetic = "+" | "-" | "*" | "/" | "%";

function calculate(operator: Arithmetic, left: Value, right: Value): Value | undefined {
  if (typeof left === "number" && typeof right === "number") return calculateDoubles(operator, left, right);
  if (typeof left === "bigint" && typeof right === "bigint") return checkedInt(calculateIntegers(operator, left, right));
  if (left instanceof Uint && right instanceof Uint) return checkedUint(calculateIntegers(operator, left.value, right.value));
  if (typeof left === "number") return isInteger(right) ? calculateDoubles(operator, left, toDouble(right)) : undefined;
  if (typeof right === "number") return isInteger(left) ? calculateDoubles(operator, toDouble(left), right) : undefined;
  return undefined;
}

function calculateDoubles(operator: Arithmetic, left: number, right: number): number {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
      return left / right;
    case "%":
      return left % right;
  }
}

function calculateIntegers(operator: Arithmetic, left: bigint, right: bigint): bigint {
  switch (operator) {
    case "+":
      return left + right;
    case "-":
      return left - right;
    case "*":
      return left * right;
    case "/":
    case "%":
      if (right === 0n) throw new Problem(operator === "/" ? "division by zero" : "remainder of a division by zero");
      return operator === "/" ? left / right : left % right;
  }
}

function combine(operator: Arithmetic, left: Value, right: Value, budget: Budget): Value | undefined {
  if (operator === "+") {
    if (typeof left === "string" && typeof right === "string") return joinText(left, right, budget);
    if (isList(left) && isList(right)) {
      budget.chargeElements(left.length + right.length);
      return [...left, ...right];
    }
    if (left instanceof Uint8Array && right instanceof Uint8Array) {
      budget.chargeText(left.length + right.length);
      return Buffer.concat([left, right]);
    }
    if (left instanceof Duration && right instanceof Duration) return shortDuration(left.nanos + right.nanos);
    if (left instanceof Timestamp && right instanceof Duration) return shortTimestamp(left.nanos + right.nanos);
    if (left instanceof Duration && right instanceof Timestamp) return shortTimestamp(left.nanos + right.nanos);
  }
  if (operator === "-") {
    if (left instanceof Duration && right instanceof Duration) return shortDuration(left.nanos - right.nanos);
    if (left instanceof Timestamp && right instanceof Timestamp) return shortDuration(left.nanos - right.nanos);
    if (left instanceof Timestamp && right instanceof Duration) return shortTimestamp(left.nanos - right.nanos);
  }
  return undefined;
}

function isIn(value: Value, holder: Value, budget: Budget): boolean {
  if (isList(holder)) {
    return holder.some((item, index) => {
      if (index % 8 === 0) budget.charge(1);
      return isEqual(item, value, budget);
    });
  }
  if (kindOf(holder) !== "map") throw new Problem(`\`in\` needs a list or a map, not a ${kindOf(holder)}`);
  return mapKeyOf(value) !== undefined && readKey(holder, value) !== undefined;
}

function isInteger(value: Value): value is bigint | Uint {
  return typeof value === "bigint" || value instanceof Uint;
}

/** Exact or refused: silently rounding an identifier of 19 digits would be worse than failing. */
function toDouble(value: bigint | Uint): number {
  const integer = typeof value === "bigint" ? value : value.value;
  const double = Number(integer);
  if (BigInt(double) !== integer) throw new Problem(`${integer} cannot be calculated with a decimal number exactly`);
  return double;
}

function refuse(operator: Arithmetic, left: Value, right: Value): never {
  const hint = operator === "+" && (typeof left === "string" || typeof right === "string") ? "; convert with string(x)" : "";
  throw new Problem(`\`${operator}\` does not take a ${kindOf(left)} and a ${kindOf(right)}${hint}`);
}
