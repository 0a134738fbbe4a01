/** Numbers of three kinds (JSON double, int, uint) seen as one. */
import { Uint, type Value } from "./value.ts";

/** The integer that a number of any kind stands for, or undefined when it is not an integer. */
export function wholeNumber(value: Value): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "number") return Number.isInteger(value) ? BigInt(value) : undefined;
  return value instanceof Uint ? value.value : undefined;
}

export const intMax = (1n << 63n) - 1n;
export const intMin = -(1n << 63n);
export const uintMax = (1n << 64n) - 1n;
