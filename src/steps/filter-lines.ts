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
  const kept: string[] = [];
  let spentMs = 0;
  let turnStartedAt = clock.monotonic();
  for (const [index, line] of text.split(/\r?\n|\f/).entries()) {
    try {
      if (matchesPattern(line, pattern, new Budget(undefined))) kept.push(line);
    } catch (error) {
      return fail(failure("LIMIT.EXPRESSION", `the pattern costs too much on line ${index + 1}: ${messageOf(error)}`));
    }
    const turnMs = clock.monotonic() - turnStartedAt;
    if (turnMs < turnMsMax) continue;
    spentMs += turnMs;
    if (spentMs > totalMsMax) return fail(failure("LIMIT.EXPRESSION", `the pattern needs more than ${totalMsMax} ms`));
    await nextTurn();
    if (signal.aborted) return fail(signalFailure(signal));
    turnStartedAt = clock.monotonic();
  }
  return ok(kept.join("\n"));
}
