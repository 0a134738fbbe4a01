/** Lines (and pages, which a form feed ends) in which a pattern is found. The regex engine is linear, but its factor can be large, so the time is watched. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { Budget } from "../domain/expressions/budget.ts";
import { matchesPattern, patternFault } from "../domain/expressions/match-pattern.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { signalFailure } from "./signal-failure.ts";

const turnMsMax = 10;
/** CPU time for one file. */
const totalMsMax = 2_000;

/** What is wrong with a pattern, or undefined. */
export const patternProblem = patternFault;

export async function filterLines(text: string, pattern: string, clock: Clock, signal: AbortSignal): Promise<Result<string, Failure>> {
  const kept = await new LineFilter(pattern, clock, signal).keep(text.split(lineEnd));
  return kept.ok ? ok(kept.value.join("\n")) : kept;
}

export const lineEnd = /\r?\n|\f/;

/** Over the lines of one text, batch by batch. */
export class LineFilter {
  readonly #pattern: string;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  #spentMs = 0;
  #line = 0;

  constructor(pattern: string, clock: Clock, signal: AbortSignal) {
    this.#pattern = pattern;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** The lines in which the pattern is found. LIMIT.EXPRESSION when one of them, or all so far, cost too much. */
  async keep(lines: readonly string[]): Promise<Result<readonly string[], Failure>> {
    const kept: string[] = [];
    let turnStartedAt = this.#clock.monotonic();
    for (const line of lines) {
      this.#line++;
      try {
        if (matchesPattern(line, this.#pattern, new Budget(undefined))) kept.push(line);
      } catch (error) {
        return fail(failure("LIMIT.EXPRESSION", `the pattern costs too much on line ${this.#line}: ${messageOf(error)}`));
      }
      const turnMs = this.#clock.monotonic() - turnStartedAt;
      if (turnMs < turnMsMax) continue;
      this.#spentMs += turnMs;
      if (this.#spentMs > totalMsMax) return fail(failure("LIMIT.EXPRESSION", `the pattern needs more than ${totalMsMax} ms`));
      await nextTurn();
      if (this.#signal.aborted) return fail(signalFailure(this.#signal));
      turnStartedAt = this.#clock.monotonic();
    }
    this.#spentMs += this.#clock.monotonic() - turnStartedAt;
    return ok(kept);
  }
}
