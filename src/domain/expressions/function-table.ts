/** The shape of a function and what its arguments are asked for. */
import type { Frame } from "./expression.ts";
import { Problem } from "./problem.ts";
import { isList, type Kind, kindOf, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

export interface CelFunction {
  /** How it is written, for messages; `[…]` marks what may be left out. */
  readonly usage: string;
  /** Fewest and most arguments, the target of a method counted as the first. */
  readonly arguments: readonly [number, number];
  /** Whether the value depends on more than the arguments. */
  readonly usesContext?: boolean;
  /** Pays for its work beyond the call itself. Throws Problem for arguments it does not take. */
  readonly call: (args: readonly Value[], frame: Frame) => Value;
}

export type FunctionTable = Readonly<Record<string, CelFunction>>;

/** An argument of one kind, or the problem that it is another. */
export function needText(args: readonly Value[], index: number, name: string): string {
  const value = args[index] as Value;
  if (typeof value !== "string") throw refuse(value, name, "a string");
  return value;
}

export function needList(args: readonly Value[], index: number, name: string): readonly Value[] {
  const value = args[index] as Value;
  if (!isList(value)) throw refuse(value, name, "a list");
  return value;
}

/** An integer of any number kind that is small enough for an index or a count. */
export function needCount(args: readonly Value[], index: number, name: string): number {
  const value = wholeNumber(args[index] as Value);
  if (value === undefined) throw refuse(args[index] as Value, name, "an integer");
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) throw new Problem(`${name}: ${value} is out of range`);
  return Number(value);
}

export function refuse(value: Value, name: string, wanted: string): Problem {
  return new Problem(`${name} takes ${wanted}, not ${withArticle(kindOf(value))}`);
}

function withArticle(kind: Kind): string {
  if (kind === "null" || kind === "bytes") return kind;
  return /^[aeio]/.test(kind) ? `an ${kind}` : `a ${kind}`;
}
