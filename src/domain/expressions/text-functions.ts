/** Methods of strings: CEL's own and its strings extension. Positions count characters from 0. */
import { limits } from "../../base/limits.ts";
import type { Budget } from "./budget.ts";
import { formatText } from "./format-text.ts";
import { type FunctionTable, needCount, needList, needText } from "./function-table.ts";
import { matchesPattern } from "./match-pattern.ts";
import { LimitProblem, Problem } from "./problem.ts";
import { indexable, pointIndex, pointsOf, slice } from "./text-points.ts";
import type { Value } from "./value.ts";

const spaces = "[ \\t\\n\\v\\f\\r\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const leadingSpaces = new RegExp(`^${spaces}+`);
const space = new RegExp(spaces);

export const textMethods: FunctionTable = {
  contains: {
    usage: "text.contains(part)",
    arguments: [2, 2],
    call: (args, { budget }) => searched(args, "contains()", budget, (text, part) => text.includes(part)),
  },
  startsWith: {
    usage: "text.startsWith(part)",
    arguments: [2, 2],
    call: (args, { budget }) => searched(args, "startsWith()", budget, (text, part) => text.startsWith(part)),
  },
  endsWith: {
    usage: "text.endsWith(part)",
    arguments: [2, 2],
    call: (args, { budget }) => searched(args, "endsWith()", budget, (text, part) => text.endsWith(part)),
  },
  matches: {
    usage: "text.matches(pattern)",
    arguments: [2, 2],
    call: (args, { budget }) => matchesPattern(needText(args, 0, "matches()"), needText(args, 1, "matches()"), budget),
  },
  charAt: {
    usage: "text.charAt(index)",
    arguments: [2, 2],
    call: (args, { budget }) => {
      const text = indexable(needText(args, 0, "charAt()"), budget);
      const index = bounded(needCount(args, 1, "charAt()"), text.length, "charAt()");
      return slice(text, index, index + 1);
    },
  },
  indexOf: { usage: "text.indexOf(part[, from])", arguments: [2, 3], call: (args, { budget }) => indexOf(args, budget) },
  lastIndexOf: { usage: "text.lastIndexOf(part[, from])", arguments: [2, 3], call: (args, { budget }) => lastIndexOf(args, budget) },
  lowerAscii: {
    usage: "text.lowerAscii()",
    arguments: [1, 1],
    call: (args, { budget }) => rewritten(args, "lowerAscii()", budget, (text) => text.replace(/[A-Z]+/g, (part) => part.toLowerCase())),
  },
  upperAscii: {
    usage: "text.upperAscii()",
    arguments: [1, 1],
    call: (args, { budget }) => rewritten(args, "upperAscii()", budget, (text) => text.replace(/[a-z]+/g, (part) => part.toUpperCase())),
  },
  trim: { usage: "text.trim()", arguments: [1, 1], call: (args, { budget }) => rewritten(args, "trim()", budget, trim) },
  replace: { usage: "text.replace(old, new[, times])", arguments: [3, 4], call: (args, { budget }) => replace(args, budget) },
  split: { usage: "text.split(separator[, pieces])", arguments: [2, 3], call: (args, { budget }) => split(args, budget) },
  substring: {
    usage: "text.substring(start[, end])",
    arguments: [2, 3],
    call: (args, { budget }) => {
      const text = indexable(needText(args, 0, "substring()"), budget);
      const start = bounded(needCount(args, 1, "substring()"), text.length, "substring()");
      const end = args.length === 2 ? text.length : bounded(needCount(args, 2, "substring()"), text.length, "substring()");
      if (start > end) throw new Problem("substring(): the start lies behind the end");
      return slice(text, start, end);
    },
  },
  join: { usage: "list.join([separator])", arguments: [1, 2], call: (args, { budget }) => join(args, budget) },
  format: {
    usage: "text.format([values])",
    arguments: [2, 2],
    call: (args, { budget }) => formatText(needText(args, 0, "format()"), needList(args, 1, "format()"), budget),
  },
};

export const textFunctions: FunctionTable = {
  "strings.quote": { usage: "strings.quote(text)", arguments: [1, 1], call: (args, { budget }) => rewritten(args, "strings.quote()", budget, quote) },
  matches: {
    usage: "matches(text, pattern)",
    arguments: [2, 2],
    call: (args, { budget }) => matchesPattern(needText(args, 0, "matches()"), needText(args, 1, "matches()"), budget),
  },
};

/** Reverses characters; shared with the list method of the same name. */
export function reverseText(text: string, budget: Budget): string {
  return [...pointsOf(text, budget)].reverse().join("");
}

function searched<Found>(args: readonly Value[], name: string, budget: Budget, search: (text: string, part: string) => Found): Found {
  const text = needText(args, 0, name);
  const part = needText(args, 1, name);
  budget.chargeText(text.length + part.length);
  return search(text, part);
}

function rewritten(args: readonly Value[], name: string, budget: Budget, rewrite: (text: string) => string): string {
  const text = needText(args, 0, name);
  budget.chargeText(text.length, "decode");
  return rewrite(text);
}

function indexOf(args: readonly Value[], budget: Budget): bigint {
  const text = needText(args, 0, "indexOf()");
  const from = args.length === 2 ? 0 : bounded(needCount(args, 2, "indexOf()"), text.length, "indexOf()");
  const fromUnit = unitIndex(text, from, budget);
  return BigInt(
    pointIndex(
      text,
      searched(args, "indexOf()", budget, (whole, part) => whole.indexOf(part, fromUnit)),
    ),
  );
}

function lastIndexOf(args: readonly Value[], budget: Budget): bigint {
  const text = needText(args, 0, "lastIndexOf()");
  const fromUnit = args.length === 2 ? text.length : unitIndex(text, bounded(needCount(args, 2, "lastIndexOf()"), text.length, "lastIndexOf()"), budget);
  return BigInt(
    pointIndex(
      text,
      searched(args, "lastIndexOf()", budget, (whole, part) => whole.lastIndexOf(part, fromUnit)),
    ),
  );
}

function unitIndex(text: string, index: number, budget: Budget): number {
  return slice(indexable(text, budget), 0, index).length;
}

function bounded(index: number, length: number, name: string): number {
  if (index < 0 || index > length) throw new Problem(`${name}: position ${index} is outside the text (${length} characters)`);
  return index;
}

function trim(text: string): string {
  let end = text.length;
  while (end > 0 && space.test(text[end - 1] as string)) end--;
  return text.slice(0, end).replace(leadingSpaces, "");
}

function replace(args: readonly Value[], budget: Budget): string {
  const text = needText(args, 0, "replace()");
  const old = needText(args, 1, "replace()");
  const next = needText(args, 2, "replace()");
  const times = args.length === 4 ? needCount(args, 3, "replace()") : -1;
  const pieces = piecesOf(text, old, times < 0 ? Number.POSITIVE_INFINITY : times, budget);
  // Between characters means also before the first and after the last one.
  if (old === "" && text !== "" && times !== 0) {
    pieces.unshift("");
    if (times < 0 || pieces.length <= times) pieces.push("");
    else pieces.splice(times, pieces.length, pieces.slice(times).join(""));
  } else if (old === "" && times !== 0) {
    return next;
  }
  return joined(pieces, next, budget);
}

/** `pieces` is the most that come back; the last one then holds the rest. */
function split(args: readonly Value[], budget: Budget): readonly string[] {
  const text = needText(args, 0, "split()");
  const separator = needText(args, 1, "split()");
  const pieces = args.length === 3 ? needCount(args, 2, "split()") : -1;
  if (pieces === 0) return [];
  return piecesOf(text, separator, pieces < 0 ? Number.POSITIVE_INFINITY : pieces - 1, budget);
}

/** `text` cut at the first `cutsMax` separators; an empty separator cuts between characters. */
function piecesOf(text: string, separator: string, cutsMax: number, budget: Budget): string[] {
  budget.chargeText(text.length);
  if (separator === "") {
    const points = pointsOf(text, budget);
    budget.chargeElements(points.length);
    if (points.length <= cutsMax + 1) return [...points];
    return [...points.slice(0, cutsMax), points.slice(cutsMax).join("")];
  }
  const pieces: string[] = [];
  let from = 0;
  while (pieces.length < cutsMax) {
    const at = text.indexOf(separator, from);
    if (at < 0) break;
    if (pieces.length % 8 === 0) budget.charge(1);
    pieces.push(text.slice(from, at));
    from = at + separator.length;
  }
  pieces.push(text.slice(from));
  return pieces;
}

function join(args: readonly Value[], budget: Budget): string {
  const list = needList(args, 0, "join()");
  const separator = args.length === 2 ? needText(args, 1, "join()") : "";
  budget.chargeElements(list.length);
  for (let index = 0; index < list.length; index++) needText(list, index, "join() of a list");
  return joined(list as readonly string[], separator, budget);
}

/** The length is known before the text exists. */
function joined(pieces: readonly string[], separator: string, budget: Budget): string {
  let length = separator.length * Math.max(0, pieces.length - 1);
  for (const piece of pieces) length += piece.length;
  if (length > limits.templateTextBytesMax) throw new LimitProblem(`makes a text of more than ${limits.templateTextBytesMax} characters`);
  budget.chargeText(length);
  return pieces.join(separator);
}

const quotedCharacters = new Map([
  ["\u0007", "\\a"],
  ["\b", "\\b"],
  ["\t", "\\t"],
  ["\n", "\\n"],
  ["\v", "\\v"],
  ["\f", "\\f"],
  ["\r", "\\r"],
  ['"', '\\"'],
  ["\\", "\\\\"],
]);

function quote(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that must be escaped
  return `"${text.replace(/[\u0007-\r"\\]/g, (character) => quotedCharacters.get(character) as string)}"`;
}
