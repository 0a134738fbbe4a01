/**
 * Operations whose outcome is reported from outside: by a worker that took a task, or by a service that acts by itself and
 * tells. Nothing in this process carries them out, so the execution can leave memory until the report or the silence.
 *
 * `queue`: a task waits for a worker. Its timers begin when it is taken, so they stand with the task (a row, database time)
 * and arrive here as a report that says "expired". `caller`: whoever was handed the token acts at once; the timers run from
 * the dispatch and stand in the ledger. `child`: another execution carries it out; it has its own time, and its end is the report.
 */
import { type Failure, failure } from "./failure.ts";
import { graceMs } from "./patience.ts";
import type { ReportTerms, ReportWait } from "./report-terms.ts";
import type { StepOutcome } from "./step-outcome.ts";

export function waitFor(terms: ReportTerms, attempt: number, at: number, deadlineAt: number | undefined): ReportWait {
  const { from, closeMs, heartbeatMs, childId } = terms;
  const timed = from === "caller";
  return {
    from,
    attempt,
    closeMs,
    deadlineAt: timed ? (deadlineAt ?? at + closeMs) : undefined,
    heartbeatMs,
    silentAt: timed && heartbeatMs !== undefined ? at + heartbeatMs : undefined,
    childId,
  };
}

/** It was heard of at `at`: silence counts anew. An interval it names is the one that counts; three silent ones are too many. */
export function heardOf(wait: ReportWait, at: number, intervalMs: number | undefined): void {
  if (intervalMs !== undefined) wait.heartbeatMs = 3 * intervalMs;
  if (wait.from === "caller" && wait.heartbeatMs !== undefined) wait.silentAt = at + wait.heartbeatMs;
}

/** When the attempt is given up if nobody reports; undefined while its timers stand with the task. */
export function expiryOf({ deadlineAt, silentAt }: ReportWait): number | undefined {
  if (deadlineAt === undefined) return undefined;
  return Math.min(deadlineAt, silentAt ?? deadlineAt);
}

export type ExpiryName = "TIMEOUT.SCHEDULE_TO_START" | "TIMEOUT.START_TO_CLOSE" | "TIMEOUT.HEARTBEAT";

/** What an attempt comes to that nobody reported: perhaps it had its effect, perhaps it is having it right now. */
export function expired(wait: ReportWait): Extract<StepOutcome, { kind: "failed" }> {
  const { deadlineAt, silentAt, closeMs } = wait;
  const silent = silentAt !== undefined && (deadlineAt === undefined || silentAt < deadlineAt);
  return expiredOutcome(silent ? "TIMEOUT.HEARTBEAT" : "TIMEOUT.START_TO_CLOSE", deadlineAt ?? 0, closeMs);
}

export function expiredOutcome(name: ExpiryName, deadlineAt: number, closeMs: number): Extract<StepOutcome, { kind: "failed" }> {
  // Nobody had taken it: surely no effect.
  if (name === "TIMEOUT.SCHEDULE_TO_START") return { kind: "failed", outcome: "failed", failure: failureOf(name) };
  return { kind: "failed", outcome: "unknown", failure: failureOf(name), mayRunUntil: deadlineAt + graceMs(closeMs) };
}

const sentences: Record<ExpiryName, string> = {
  "TIMEOUT.SCHEDULE_TO_START": "no worker took the task in time",
  "TIMEOUT.START_TO_CLOSE": "no outcome was reported in time",
  "TIMEOUT.HEARTBEAT": "nothing was heard of it for too long",
};

function failureOf(name: ExpiryName): Failure {
  return failure(name, sentences[name]);
}
