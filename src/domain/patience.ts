/**
 * How long an attempt that nobody has heard of may still be at work (saga rule R7): until its deadline, which the
 * participant knows, plus a grace of as long again. Before that its undo could be overtaken by the action it takes back.
 *
 * Everything here follows from the ledger, so every replica waits until the same moment.
 */
import { limits } from "../base/limits.ts";
import type { StepRun } from "./execution-state.ts";

/** An action whose end is not known may go on for as long again as it was given. */
export function graceMs(closeMs: number): number {
  return Math.max(limits.undoGraceMsMin, closeMs);
}

/** End of deadline and grace of an attempt that began at `startedAt`; all in milliseconds since the epoch. */
export function silentUntil(startedAt: number, deadlineAt: number): number {
  return deadlineAt + graceMs(deadlineAt - startedAt);
}

/**
 * Names under which the other side has answered, however unclear: it is not at work any more. A gateway that gave up (502,
 * 504), a broken connection or silence say nothing of that.
 */
const answered = /^(HTTP\.(?!502|504)|GRPC\.(?!UNAVAILABLE$|DEADLINE_EXCEEDED$|CANCELLED$)|SMTP\.|WORKER\.|SCHEMA$|LIMIT\.|EXPRESSION$)/;

/** The attempt under way is over: with an answer, or without. */
export function attemptOver(run: StepRun, outcome: "failed" | "unknown" | undefined, name: string): void {
  if (outcome !== "failed" && !answered.test(name)) run.mayRunUntil = later(run.mayRunUntil, run.attemptUntil);
  run.attemptUntil = undefined;
}

/** What operators decide of a step whose attempt may be out. */
export const decidesStep = /^(skip|complete|fail)_step$|^resolve_step\.mark_done$/;

/**
 * An operator decides a step at `at` whose report is awaited. Whoever carries it out does not hear of that and may be at it for a
 * whole attempt from now: when a worker took the task is not known here.
 */
export function decidedByHand(run: StepRun, at: number): void {
  const { report } = run;
  if (!report || report.from === "child") return;
  run.leftUnknown = true;
  run.mayRunUntil = later(run.mayRunUntil, (report.deadlineAt ?? at + report.closeMs) + graceMs(report.closeMs));
  run.report = undefined;
}

/** Before this moment the step must not be undone; undefined: it may. */
export function patienceOf(run: StepRun): number | undefined {
  return later(run.mayRunUntil, run.attemptUntil);
}

export function later(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}
