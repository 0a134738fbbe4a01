/**
 * `matches()`: RE2 syntax on an engine whose time grows with the length of the text, never exponentially. The factor
 * is still large for hostile patterns (100 KB of text against `[ab]*a[ab]{500}[cd]` took 3 s here) and so is the
 * making of some programs (`[\pL\pN]{1,500}` 150 ms), so the size of the program is estimated first and paid for.
 */
import { RE2JS } from "@bufbuild/re2";
import type { Budget } from "./budget.ts";
import { LimitProblem, Problem } from "./problem.ts";

const patternBytesMax = 512;
/** Estimated instructions: 1,000 take up to 16 ms to make. */
const programSizeMax = 1_000;
/** A Unicode class is a few hundred ranges. */
const unicodeClassSize = 20;
/** Text characters × instructions that one operation pays for: at worst 0.2 µs each. */
const stepsPerOperation = 64;
const programsMax = 200;

interface Program {
  readonly regex: RE2JS;
  readonly size: number;
}

const programs = new Map<string, Program>();

/** Whether `pattern` (RE2 syntax, at most 512 bytes) is found in `text`. */
export function matchesPattern(text: string, pattern: string, budget: Budget): boolean {
  const program = programs.get(pattern) ?? make(pattern, budget);
  budget.charge(Math.ceil((text.length * program.size) / stepsPerOperation));
  return program.regex.test(text);
}

/** What is wrong with a pattern that is known at compile time, or undefined. */
export function patternFault(pattern: string): string | undefined {
  try {
    make(pattern, undefined);
    return undefined;
  } catch (error) {
    if (error instanceof Problem || error instanceof LimitProblem) return error.message;
    throw error;
  }
}

function make(pattern: string, budget: Budget | undefined): Program {
  if (Buffer.byteLength(pattern) > patternBytesMax) throw new LimitProblem(`uses a pattern of more than ${patternBytesMax} bytes`);
  const size = estimateSize(pattern);
  if (size > programSizeMax) throw new LimitProblem("uses a pattern whose repetitions are too large");
  budget?.charge(10 + size * 2);
  const program = { regex: compile(pattern), size };
  if (programs.size >= programsMax) programs.delete(programs.keys().next().value as string);
  programs.set(pattern, program);
  return program;
}

function compile(pattern: string): RE2JS {
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "";
    throw new Problem(`the pattern is not valid: ${reason.slice(0, 120).toWellFormed()}`);
  }
}

/** Instructions of the compiled pattern, roughly: repetitions multiply what they repeat. */
function estimateSize(pattern: string): number {
  const groups: number[] = [1];
  let atom = 0;
  for (const [piece] of pattern.matchAll(/\\[pP](?:\{[^}]*\}|.)|\\.|\[\^?\]?(?:\\.|\[:[^\]]*:\]|[^\]\\])*\]|\{\d+(?:,\d*)?\}|./gsu)) {
    const top = groups.length - 1;
    if (piece === "(") {
      groups.push(1);
      continue;
    }
    if (piece === ")" && top > 0) {
      atom = groups.pop() as number;
      groups[top - 1] = (groups[top - 1] as number) + atom;
      continue;
    }
    if (/^\{\d/.test(piece) && piece.length > 1) {
      const times = Math.max(1, ...(piece.match(/\d+/g) as string[]).map(Number));
      groups[top] = (groups[top] as number) + atom * (times - 1);
      atom *= times;
      continue;
    }
    atom = /\\[pP]/.test(piece) ? unicodeClassSize * (piece.match(/\\[pP]/g) as string[]).length : 1;
    groups[top] = (groups[top] as number) + atom;
  }
  return groups.reduce((sum, size) => sum + size, 0);
}
