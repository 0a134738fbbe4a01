/** Text counted in characters (code points), as CEL does, while JavaScript counts UTF-16 units. */
import type { Budget } from "./budget.ts";

const surrogate = /[\ud800-\udfff]/;

/** Number of characters. */
export function lengthOf(text: string, budget: Budget): number {
  budget.chargeText(text.length);
  return surrogate.test(text) ? pointsOf(text, budget).length : text.length;
}

/** The characters, or the text itself when every UTF-16 unit is one: both can be indexed and sliced alike. */
export function indexable(text: string, budget: Budget): string | readonly string[] {
  budget.chargeText(text.length);
  return surrogate.test(text) ? pointsOf(text, budget) : text;
}

export function pointsOf(text: string, budget: Budget): readonly string[] {
  budget.chargeText(text.length, "decode");
  return Array.from(text);
}

/** Characters from `start` to before `end`. */
export function slice(text: string | readonly string[], start: number, end: number): string {
  return typeof text === "string" ? text.slice(start, end) : text.slice(start, end).join("");
}

/** UTF-16 offset → number of characters before it, and back. */
export function pointIndex(text: string, unitIndex: number): number {
  return unitIndex < 0 || !surrogate.test(text) ? unitIndex : Array.from(text.slice(0, unitIndex)).length;
}
