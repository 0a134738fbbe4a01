/** CEL's math extension. */
import { compare } from "./compare.ts";
import type { Frame } from "./expression.ts";
import { type CelFunction, type FunctionTable, refuse } from "./function-table.ts";
import { checkedInt, checkedUint } from "./operators.ts";
import { Problem } from "./problem.ts";
import { isList, Uint, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

const argumentsMax = 4_096;

export const numberFunctions: FunctionTable = {
  "math.greatest": {
    usage: "math.greatest(a, b, …) or math.greatest(list)",
    arguments: [1, argumentsMax],
    call: (args, frame) => outermost(args, frame, "math.greatest()", 1),
  },
  "math.least": {
    usage: "math.least(a, b, …) or math.least(list)",
    arguments: [1, argumentsMax],
    call: (args, frame) => outermost(args, frame, "math.least()", -1),
  },
  "math.ceil": rounding("math.ceil", Math.ceil),
  "math.floor": rounding("math.floor", Math.floor),
  "math.round": rounding("math.round", (value) => Math.sign(value) * Math.round(Math.abs(value))),
  "math.trunc": rounding("math.trunc", Math.trunc),
  "math.abs": ofNumber("math.abs", Math.abs, (value) => (value < 0n ? -value : value)),
  "math.sign": ofNumber("math.sign", Math.sign, (value) => (value < 0n ? -1n : value > 0n ? 1n : 0n)),
  "math.sqrt": { usage: "math.sqrt(x)", arguments: [1, 1], call: ([value]) => Math.sqrt(toDouble(value as Value, "math.sqrt()")) },
  "math.isNaN": test("math.isNaN", Number.isNaN),
  "math.isInf": test("math.isInf", (value) => Math.abs(value) === Number.POSITIVE_INFINITY),
  "math.isFinite": test("math.isFinite", Number.isFinite),
  "math.bitAnd": bits("math.bitAnd", (a, b) => a & b),
  "math.bitOr": bits("math.bitOr", (a, b) => a | b),
  "math.bitXor": bits("math.bitXor", (a, b) => a ^ b),
  "math.bitNot": {
    usage: "math.bitNot(x)",
    arguments: [1, 1],
    call: ([value]) => (value instanceof Uint ? new Uint(BigInt.asUintN(64, ~value.value)) : ~needInteger(value as Value, "math.bitNot()")),
  },
  "math.bitShiftLeft": shift("math.bitShiftLeft", (value, by) => value << by),
  "math.bitShiftRight": shift("math.bitShiftRight", (value, by) => value >> by),
};

function outermost(args: readonly Value[], { budget }: Frame, name: string, sign: number): Value {
  const only = args[0] as Value;
  const values = args.length === 1 && isList(only) ? only : args;
  budget.chargeElements(values.length);
  if (values.length === 0) throw new Problem(`${name} needs at least one number`);
  let best = values[0] as Value;
  toDouble(best, name);
  for (const value of values.slice(1)) {
    toDouble(value, name);
    if (compare(value, best, budget) * sign > 0) best = value;
  }
  return best;
}

function rounding(name: string, round: (value: number) => number): CelFunction {
  return ofNumber(name, round, (value) => value);
}

function ofNumber(name: string, ofDouble: (value: number) => number, ofInteger: (value: bigint) => bigint): CelFunction {
  return {
    usage: `${name}(x)`,
    arguments: [1, 1],
    call: ([value]) => {
      if (typeof value === "number") return ofDouble(value);
      if (typeof value === "bigint") return checkedInt(ofInteger(value));
      if (value instanceof Uint) return checkedUint(ofInteger(value.value));
      throw refuse(value as Value, `${name}()`, "a number");
    },
  };
}

function test(name: string, holds: (value: number) => boolean): CelFunction {
  return { usage: `${name}(x)`, arguments: [1, 1], call: ([value]) => holds(toDouble(value as Value, `${name}()`)) };
}

function bits(name: string, combine: (a: bigint, b: bigint) => bigint): CelFunction {
  return {
    usage: `${name}(a, b)`,
    arguments: [2, 2],
    call: ([a, b]) => {
      if (a instanceof Uint && b instanceof Uint) return new Uint(combine(a.value, b.value));
      if (a instanceof Uint || b instanceof Uint) throw new Problem(`${name}() takes two ints or two uints`);
      return combine(needInteger(a as Value, `${name}()`), needInteger(b as Value, `${name}()`));
    },
  };
}

function shift(name: string, move: (value: bigint, by: bigint) => bigint): CelFunction {
  return {
    usage: `${name}(x, by)`,
    arguments: [2, 2],
    call: ([value, by]) => {
      const steps = needInteger(by as Value, `${name}()`);
      if (steps < 0n) throw new Problem(`${name}() does not take a negative number of bits`);
      const isUint = value instanceof Uint;
      const bitsOf = BigInt.asUintN(64, isUint ? value.value : needInteger(value as Value, `${name}()`));
      const moved = BigInt.asUintN(64, steps > 63n ? 0n : move(bitsOf, steps));
      return isUint ? new Uint(moved) : BigInt.asIntN(64, moved);
    },
  };
}

/** Integral JSON numbers count as int. */
function needInteger(value: Value, name: string): bigint {
  const whole = value instanceof Uint ? undefined : wholeNumber(value);
  if (whole === undefined) throw refuse(value, name, "an int");
  return checkedInt(whole);
}

function toDouble(value: Value, name: string): number {
  if (typeof value === "number") return value;
  const whole = wholeNumber(value);
  if (whole === undefined) throw refuse(value, name, "a number");
  return Number(whole);
}
