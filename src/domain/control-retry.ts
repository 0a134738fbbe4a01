/**
 * RetryExecution: an execution that failed, ran out of time or is stuck goes on. What succeeded keeps its result; what
 * failed or was canceled runs again with a fresh budget, and so do the blocks around it, with the case and the items they
 * had fixed. Nothing that has been undone can be gone on with, hence only while nothing was.
 */
import { AppError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import { type ControlRequest, stateMetadata } from "./control.ts";
import { isBehind, placesAround, stepNameOf } from "./control-paths.ts";
import type { CompiledRevision, Definition } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";

/** What has to be known of another revision; the command may be applied where that revision is not loaded. */
export interface RevisionOutline {
  readonly revision: number;
  readonly executionTimeoutMs: number;
  /** By step name: its type, then the names of its cases or branches. */
  readonly steps: Readonly<Record<string, readonly string[]>>;
}

export interface RetryRequest extends ControlRequest {
  /** Paths to run again; empty means all that failed. */
  readonly steps: readonly string[];
  /** Another revision to go on with. */
  readonly outline?: RevisionOutline;
  /** Replaces the input from here on; it fits the revision's schema. */
  readonly input?: Json;
}

export function outlineOf({ revision, definition }: CompiledRevision): RevisionOutline {
  const steps = [...definition.stepsByName.values()].map((step) => [step.name, [step.type, ...step.sequences.map(({ name }) => name)]] as const);
  return { revision, executionTimeoutMs: definition.executionTimeoutMs, steps: Object.fromEntries(steps) };
}

export function retryExecution(state: ExecutionState, revision: CompiledRevision, now: number, request: RetryRequest): NewEvent[] | AppError {
  const { definition } = revision;
  const why = whyNotRetryable(state, definition);
  if (why !== undefined) return new AppError("EXECUTION_NOT_RETRYABLE", why, { metadata: stateMetadata(state) });
  if (request.outline) {
    const unfit = [...state.steps.values()].filter((run) => mustFit(run) && !fits(run, definition, request.outline as RevisionOutline)).map(({ path }) => path);
    if (unfit.length > 0) {
      const named = unfit.slice(0, 10).join(", ");
      const message = `revision ${request.outline.revision} cannot go on from here: it lacks or changes steps that have run: ${named}`;
      return new AppError("REVISION_INCOMPATIBLE", message, { metadata: { ...stateMetadata(state), steps: named } });
    }
  }
  const chosen = choose(state, definition, request);
  if (chosen instanceof AppError) return chosen;
  const { actor, reason, outline, input } = request;
  const payload = {
    from: state.status,
    reason,
    actor,
    ...reopening(
      definition,
      chosen.filter((run) => !outline || outline.steps[run.name] !== undefined),
    ),
    timeoutAt: now + (outline ?? definition).executionTimeoutMs,
    ...(outline === undefined ? {} : { revision: outline.revision }),
    ...(input === undefined ? {} : { input }),
  };
  return [{ type: "execution_reopened", at: now, stepPath: "", attempt: 0, payload }];
}

function whyNotRetryable(state: ExecutionState, definition: Definition): string | undefined {
  if (state.status === "stuck") return undefined;
  if (state.status !== "failed" && state.status !== "timed_out") {
    return `only FAILED, TIMED_OUT and STUCK executions can be retried; this one is ${state.status.toUpperCase()}`;
  }
  const undone = [...state.steps.values()].find((run) => run.undo !== undefined && !isBehind(state, definition, run.path));
  return undone && `the undo of step ${undone.path} was begun; start the execution anew with RerunExecution`;
}

/** What runs again: everything that failed or was canceled and stands in no block that is over, or those of it that were named. */
function choose(state: ExecutionState, definition: Definition, request: RetryRequest): StepRun[] | AppError {
  const again = state.turn ? (state.status === "stuck" ? [] : retryable(state, definition)) : retryable(state, definition);
  if (request.steps.length === 0) return again;
  const named = new Set(request.steps);
  for (const path of named) {
    if (again.some((run) => run.path === path)) continue;
    const run = state.steps.get(path);
    if (!run) return new AppError("STEP_NOT_FOUND", `step ${path} has not run in this execution`, { metadata: { executionId: state.executionId, path } });
    const metadata = { ...stateMetadata(state), path, stepState: run.status.toUpperCase() };
    return new AppError("EXECUTION_NOT_RETRYABLE", `step ${path} is ${run.status.toUpperCase()}; only steps that failed or were canceled run again`, {
      metadata,
    });
  }
  const around = new Set(request.steps.flatMap((path) => placesAround(definition, path).map((place) => place.path)));
  return again.filter((run) => named.has(run.path) || around.has(run.path) || placesAround(definition, run.path).some((place) => named.has(place.path)));
}

/** Runs that failed with nobody handling it or were canceled, where the blocks around them are still open. */
export function retryable(state: ExecutionState, definition: Definition): StepRun[] {
  return [...state.steps.values()].filter(
    (run) =>
      ((run.status === "failed" && !run.handled) || run.status === "canceled" || (run.slow && run.status === "retrying")) &&
      definition.stepsByName.has(run.name) &&
      !isBehind(state, definition, run.path),
  );
}

/** Blocks that were opened go on with what they had fixed; everything else begins anew. */
export function reopening(definition: Definition, runs: readonly StepRun[]): { readonly steps?: readonly string[]; readonly blocks?: readonly string[] } {
  const isOpenBlock = (run: StepRun): boolean => run.begun && definition.stepsByName.get(run.name)?.block !== undefined;
  const steps = runs.filter((run) => !isOpenBlock(run)).map(({ path }) => path);
  const blocks = runs.filter(isOpenBlock).map(({ path }) => path);
  return { ...(steps.length > 0 ? { steps } : {}), ...(blocks.length > 0 ? { blocks } : {}) };
}

/** Whatever has a result, may have had an effect or holds what it had fixed must be the same step there. */
function mustFit(run: StepRun): boolean {
  return (
    run.status === "completed" || run.leftUnknown || run.branch !== undefined || ["succeeded", "unknown", "dispatched", "in_progress"].includes(run.action)
  );
}

function fits(run: StepRun, definition: Definition, outline: RevisionOutline): boolean {
  const [type, ...sequences] = outline.steps[stepNameOf(run.path)] ?? [];
  return type === definition.stepsByName.get(run.name)?.type && (run.branch === undefined || sequences.includes(run.branch));
}
