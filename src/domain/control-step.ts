/**
 * An operator decides a step by hand: leaves it out, completes it or fails it.
 *
 * Allowed while nobody carries the step out: before it begins, while it waits or is to be retried, and when the execution
 * is stuck on its failure. A running attempt is not overruled: it may be having its effect right now, so its outcome has to
 * be known first (pause the execution to keep a next attempt from beginning). The same decision again changes nothing.
 *
 * What an earlier attempt may have done stays on record: a step that was left out or failed by hand after an unclear
 * attempt is still undone when the execution turns back.
 */
import { AppError, violationsError } from "../base/errors.ts";
import { canonicalJson, findJsonFault, type Json } from "../base/json.ts";
import { type ControlRequest, operatorEvent, stateMetadata, terminalError } from "./control.ts";
import { placesAround, stepAt } from "./control-paths.ts";
import { reopening, retryable } from "./control-retry.ts";
import { failExecution } from "./decide.ts";
import type { CompiledRevision, Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import type { Failure } from "./failure.ts";
import { checkResult, failedEvent } from "./settle.ts";
import { isTerminal } from "./states.ts";

export interface StepRequest extends ControlRequest {
  readonly path: string;
}

interface Context {
  readonly state: ExecutionState;
  readonly revision: CompiledRevision;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

interface Target {
  readonly step: Step;
  readonly path: string;
  readonly attempt: number;
  readonly run: StepRun | undefined;
}

export function skipStep(context: Context, request: StepRequest & { readonly result?: Json }): NewEvent[] | AppError {
  const target = targetOf(context, request.path, (run) => run.status === "skipped" && sameJson(run.result, request.result ?? null));
  if (!("step" in target)) return target;
  const result = request.result ?? null;
  const fault = resultFault(result);
  if (fault) return fault;
  const { path: stepPath, attempt } = target;
  const payload = { reason: request.reason, ...(result === null ? {} : { result }) };
  return [
    operatorEvent(context.now, { ...request, action: "skip_step", stepPath, ...(result === null ? {} : { result }) }),
    { type: "step_skipped", at: context.now, stepPath, attempt, payload },
    ...unstuck(context, request),
  ];
}

export function completeStep(context: Context, request: StepRequest & { readonly result: Json }): NewEvent[] | AppError {
  const target = targetOf(context, request.path, (run) => run.status === "completed" && sameJson(run.result, request.result));
  if (!("step" in target)) return target;
  const { step, path: stepPath, attempt } = target;
  const checked = resultFault(request.result) ?? checkResult(context, target, request.result);
  if (checked instanceof AppError) return checked;
  if (!checked.ok) return violationsError([{ field: "result", reason: "VALIDATION_FAILED", description: checked.fault.message }]);
  const pivot: NewEvent[] =
    step.kind === "pivot" && !context.state.pastPivot
      ? [{ type: "saga_state_changed", at: context.now, stepPath: "", attempt: 0, payload: { state: "completing", stepPath } }]
      : unstuck(context, request);
  return [
    operatorEvent(context.now, { ...request, action: "complete_step", stepPath, result: request.result }),
    { type: "step_succeeded", at: context.now, stepPath, attempt, payload: checked.value },
    ...pivot,
  ];
}

export function failStep(context: Context, request: StepRequest & { readonly failure: Failure }): NewEvent[] | AppError {
  const { state, revision, now } = context;
  const wasStuckOn = (run: StepRun): boolean => state.saga === "stuck" && run.status === "failed";
  const target = targetOf(context, request.path, (run) => run.status === "failed" && !wasStuckOn(run) && run.failure?.name === request.failure.name);
  if (!("step" in target)) return target;
  const { step, path: stepPath, run } = target;
  if (state.saga === "stuck" && state.pastPivot) {
    return new AppError("PAST_PIVOT", "the point of no return has been passed: complete, skip or retry the step", { metadata: stateMetadata(state) });
  }
  // Who decides a task by hand does not see whether a worker has it.
  const unclear = run !== undefined && (run.leftUnknown || run.action === "unknown" || run.report !== undefined);
  const surely = step.kind === "pivot" && unclear;
  const failed = failedEvent({ revision, state, now }, target, { ...request.failure, stepPath }, unclear && !surely ? "unknown" : "failed");
  const event: NewEvent = surely && failed.type === "step_failed" ? { ...failed, payload: { ...failed.payload, surely } } : failed;
  const handled = event.type === "step_failed" && event.payload.handled === true;
  const after =
    state.saga !== "stuck" ? [] : handled ? unstuck(context, request) : [failExecution(haltless(context, step), state, request.failure, stepPath, now)];
  return [operatorEvent(now, { ...request, action: "fail_step", stepPath }), event, ...after];
}

/** The operator has looked: what held the execution at this step (HALT, an unclear pivot) holds it no longer. */
function haltless({ revision }: Context, step: Step): CompiledRevision["definition"] {
  const { definition } = revision;
  return {
    ...definition,
    stepsByName: new Map([...definition.stepsByName, [step.name, { ...step, onError: "fail", kind: step.kind === "pivot" ? undefined : step.kind }]]),
  };
}

/** Where the saga stood before it got stuck on the step; blocks around it that failed with it go on. */
function unstuck({ state, revision, now }: Context, { path, actor, reason }: StepRequest): NewEvent[] {
  if (state.saga !== "stuck") return [];
  const around = new Set(placesAround(revision.definition, path).map((place) => place.path));
  const inside = (run: StepRun): boolean => placesAround(revision.definition, run.path).some((place) => around.has(place.path));
  const again = retryable(state, revision.definition).filter((run) => run.path !== path && (around.has(run.path) || inside(run)));
  if (again.length > 0) {
    return [
      { type: "execution_reopened", at: now, stepPath: "", attempt: 0, payload: { from: "stuck", reason, actor, ...reopening(revision.definition, again) } },
    ];
  }
  return [{ type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload: { state: state.pastPivot ? "completing" : "running" } }];
}

/** The step that may be decided, nothing to do (the same decision was taken), or why it cannot be decided. */
function targetOf({ state, revision }: Context, path: string, isDecided: (run: StepRun) => boolean): Target | [] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  const { definition } = revision;
  const step = stepAt(definition, state, path);
  if (!step) return new AppError("STEP_NOT_FOUND", `the definition has no step ${path}`, { metadata: { executionId: state.executionId, path } });
  const run = state.steps.get(path);
  if (run && isDecided(run)) return [];
  const over = placesAround(definition, path).find((place) => isOver(state.steps.get(place.path)))?.path;
  const conflict = over === undefined ? conflictOf(state, step, run) : `the block ${over} is over`;
  if (conflict !== undefined) {
    const metadata = { ...stateMetadata(state), path, stepState: (run?.status ?? "pending").toUpperCase() };
    return new AppError("STEP_STATE_CONFLICT", `step ${path} cannot be decided: ${conflict}`, { metadata });
  }
  return { step, path, attempt: run?.attempt ?? 0, run };
}

function isOver(run: StepRun | undefined): boolean {
  return run !== undefined && run.caughtBy === undefined && (run.status === "completed" || run.status === "skipped" || run.status === "canceled");
}

function conflictOf(state: ExecutionState, step: Step, run: StepRun | undefined): string | undefined {
  if (state.turn || state.saga === "compensating") return "the execution is being undone; resolve the step instead";
  const status = run?.status ?? "pending";
  switch (status) {
    case "pending":
    case "queued":
    case "retrying":
      return undefined;
    case "waiting":
      return step.type === "sub_workflow" ? "it waits for its child; cancel or complete that one" : undefined;
    case "running":
      return step.block ? "it holds steps that are being carried out; decide those" : "an attempt is running; wait for its outcome";
    case "failed":
      return state.saga === "stuck" && run?.handled === false ? undefined : "it has failed";
    case "canceled":
      return state.saga === "stuck" ? undefined : "it was canceled";
    default:
      return `it is ${status.toUpperCase()}`;
  }
}

function resultFault(result: Json): AppError | undefined {
  const fault = findJsonFault(result);
  return fault && violationsError([{ field: fault.path === "" ? "result" : `result.${fault.path}`, reason: "VALIDATION_FAILED", description: fault.problem }]);
}

function sameJson(a: Json | undefined, b: Json): boolean {
  return canonicalJson(a ?? null) === canonicalJson(b);
}
