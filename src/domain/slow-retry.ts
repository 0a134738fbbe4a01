/**
 * A saga that is stuck going forward: on a RETRIABLE step whose budget is spent, or on a PIVOT of which nobody knows whether it happened.
 * It stays stuck, visible, and the step is tried on, with the same key, at the longest interval of its policy, until it succeeds or somebody
 * decides. In a block everything of it that failed is tried on together, and what was canceled for that goes on. Not with halt_on_stuck or
 * on_error HALT, not when trying again cannot help, not what a caller drives himself.
 */
import { isBehind, placesAround } from "./control-paths.ts";
import type { Definition, Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { matchesErrorName } from "./failure.ts";
import { isStepOver } from "./states.ts";

export type SlowRetry =
  /** Nothing is tried by itself. */
  | { readonly kind: "none" }
  | { readonly kind: "wait"; readonly until: number; readonly unit: Unit }
  | { readonly kind: "again"; readonly events: readonly NewEvent[] }
  /** Its next attempt is planned or under way. */
  | { readonly kind: "open" };

export function slowRetryOf(definition: Definition, state: ExecutionState, now: number): SlowRetry {
  if (definition.haltOnStuck) return { kind: "none" };
  const runs = [...state.steps.values()];
  if (runs.some(isTriedSlowly)) return { kind: "open" };
  const next = unitsOf(definition, state, now).toSorted((a, b) => a.at - b.at)[0];
  if (!next) return { kind: "none" };
  return next.at > now ? { kind: "wait", until: next.at, unit: next } : { kind: "again", events: triedOn(next, now) };
}

/** What is tried on together: a step, or everything that failed in one block. */
interface Unit {
  readonly at: number;
  readonly runs: readonly StepRun[];
  /** Canceled when it failed. */
  readonly steps: readonly string[];
  /** That failed with it. */
  readonly blocks: readonly string[];
}

/** A block in which something failed that is not to be tried on would only fail again, so it waits for a person. */
function unitsOf(definition: Definition, state: ExecutionState, now: number): Unit[] {
  const open = [...state.steps.values()].filter((run) => (run.status === "failed" && !run.handled) || run.status === "canceled");
  const relevant = open.filter((run) => !isBehind(state, definition, run.path));
  const units = Map.groupBy(relevant, ({ path }) => placesAround(definition, path).findLast((place) => isFailed(state.steps.get(place.path)))?.path ?? path);
  return [...units.values()].flatMap((members): Unit[] => {
    const stepOf = ({ name }: StepRun): Step | undefined => definition.stepsByName.get(name);
    const failed = members.filter((run) => run.status === "failed" && !stepOf(run)?.block);
    if (failed.length === 0 || !failed.every((run) => isTriedOn(definition, stepOf(run), run))) return [];
    const times = failed.map((run) => (run.endedAt ?? now) + (stepOf(run)?.retry.maximumIntervalMs ?? 0));
    const blocks = members.filter((run) => run.status === "failed" && stepOf(run)?.block).map(({ path }) => path);
    return [{ at: Math.max(...times), runs: failed, blocks, steps: members.filter(({ status }) => status === "canceled").map(({ path }) => path) }];
  });
}

function isFailed(run: StepRun | undefined): boolean {
  return run?.status === "failed" && !run.handled;
}

function isTriedOn(definition: Definition, step: Step | undefined, run: StepRun): boolean {
  const isOthersToTry = step !== undefined && definition.joined?.selfDriven.includes(step) === true;
  return step !== undefined && !isOthersToTry && goesOn(step, run);
}

/** It is tried on now. */
export function triedOn({ runs, steps, blocks }: Unit, now: number): NewEvent[] {
  return runs.map(({ path: stepPath, attempt, failure, action }, index) => {
    const reopened = index > 0 ? {} : { ...(steps.length > 0 ? { steps } : {}), ...(blocks.length > 0 ? { blocks } : {}) };
    const cause = failure ?? { name: "INTERNAL", message: "the step failed without a failure" };
    const payload = { failure: cause, outcome: action === "unknown" ? action : ("failed" as const), nextAttemptAt: now, slow: true, ...reopened };
    return { type: "step_retry_scheduled", at: now, stepPath, attempt, payload };
  });
}

function goesOn(step: Step, { status, handled, failure, action }: StepRun): boolean {
  if (status !== "failed" || handled || step.block || step.onError === "halt") return false;
  if (step.kind !== "retriable" && !(step.kind === "pivot" && action === "unknown")) return false;
  const name = failure?.name ?? "";
  if (step.retry.nonRetryableErrors.some((pattern) => matchesErrorName(pattern, name))) return false;
  return name !== "EXPRESSION" && name !== "SCHEMA" && !name.startsWith("LIMIT.");
}

function isTriedSlowly({ slow, status }: StepRun): boolean {
  return slow && !isStepOver(status);
}

/** Where the saga goes on when the step on which it was stuck is over; nothing while another one holds it. */
export function afterSlowRetry(definition: Definition, state: ExecutionState, path: string, at: number): NewEvent[] {
  const { steps, saga, turn, pastPivot } = state;
  if (saga !== "stuck" || turn || !steps.get(path)?.slow) return [];
  const isHeld = [...steps.values()].some(
    (other) =>
      other.path !== path &&
      ((isFailed(other) && !isBehind(state, definition, other.path)) ||
        isTriedSlowly(other) ||
        other.undo?.status === "exhausted" ||
        other.confirm?.status === "exhausted"),
  );
  return isHeld ? [] : [{ type: "saga_state_changed", at, stepPath: "", attempt: 0, payload: { state: pastPivot ? "completing" : "running" } }];
}
