/**
 * A saga that is stuck going forward: on a RETRIABLE step whose budget is spent, or on a PIVOT of which nobody knows whether it happened.
 * It stays stuck, visible, and the step is tried on, with the same key, at the longest interval of its policy, until it succeeds or somebody
 * decides. Not with halt_on_stuck or on_error HALT, not in a block (it failed as a whole), not when trying again cannot help, not what a caller drives himself.
 */
import type { Definition, Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { matchesErrorName } from "./failure.ts";

export type SlowRetry =
  /** Nothing is tried by itself. */
  | { readonly kind: "none" }
  | { readonly kind: "wait"; readonly until: number; readonly run: StepRun }
  | { readonly kind: "again"; readonly events: readonly NewEvent[] }
  /** Its next attempt is planned or under way. */
  | { readonly kind: "open" };

export function slowRetryOf(definition: Definition, state: ExecutionState, now: number): SlowRetry {
  if (definition.haltOnStuck) return { kind: "none" };
  const runs = [...state.steps.values()];
  if (runs.some((run) => run.slow && run.status !== "failed")) return { kind: "open" };
  const failed = runs.flatMap((run) => {
    const step = run.path === run.name ? definition.stepsByName.get(run.name) : undefined;
    const isOthersToTry = step !== undefined && definition.joined?.selfDriven.includes(step) === true;
    return step && !isOthersToTry && goesOn(step, run) ? [{ run, at: (run.endedAt ?? now) + step.retry.maximumIntervalMs }] : [];
  });
  const next = failed.toSorted((a, b) => a.at - b.at)[0];
  if (!next) return { kind: "none" };
  return next.at > now ? { kind: "wait", until: next.at, run: next.run } : { kind: "again", events: triedOn(next.run, now) };
}

/** It is tried on now. */
export function triedOn({ path: stepPath, attempt, failure, action }: StepRun, now: number): NewEvent[] {
  if (!failure) return [];
  const payload = { failure, outcome: action === "unknown" ? action : ("failed" as const), nextAttemptAt: now, slow: true };
  return [{ type: "step_retry_scheduled", at: now, stepPath, attempt, payload }];
}

function goesOn(step: Step, { status, handled, failure, action }: StepRun): boolean {
  if (status !== "failed" || handled || step.block || step.onError === "halt") return false;
  if (step.kind !== "retriable" && !(step.kind === "pivot" && action === "unknown")) return false;
  const name = failure?.name ?? "";
  if (step.retry.nonRetryableErrors.some((pattern) => matchesErrorName(pattern, name))) return false;
  return name !== "EXPRESSION" && name !== "SCHEMA" && !name.startsWith("LIMIT.");
}

/** Where the saga goes on when the step on which it was stuck is over; nothing while another one holds it. */
export function afterSlowRetry({ steps, saga, turn, pastPivot }: ExecutionState, path: string, at: number): NewEvent[] {
  if (saga !== "stuck" || turn || !steps.get(path)?.slow) return [];
  const isHeld = [...steps.values()].some(
    ({ path: other, status, handled, undo, confirm }) =>
      other !== path && ((status === "failed" && !handled) || undo?.status === "exhausted" || confirm?.status === "exhausted"),
  );
  return isHeld ? [] : [{ type: "saga_state_changed", at, stepPath: "", attempt: 0, payload: { state: pastPivot ? "completing" : "running" } }];
}
