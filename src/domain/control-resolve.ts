/**
 * What operators decide about a saga that cannot go on by itself: another budget, another address, or a decision about a step
 * whose truth nobody else will tell. Each is on record with who decided and why.
 */
import { AppError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import type { CommandContext } from "./command-context.ts";
import { type ControlRequest, operatorEvent, stateMetadata, terminalError } from "./control.ts";
import { stepAt } from "./control-paths.ts";
import { retryExecution } from "./control-retry.ts";
import { completeStep } from "./control-step.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { failure } from "./failure.ts";
import { addressesOf } from "./saga-address.ts";
import { isStepOver, isTerminal } from "./states.ts";
import { decideEnd, undoList } from "./undo.ts";

/** A stuck saga goes on at once with a new budget. */
export function retrySaga({ state, revision, now }: CommandContext, request: ControlRequest): NewEvent[] | AppError {
  if (state.status !== "stuck") {
    return new AppError("SAGA_NOT_STUCK", `the saga is ${state.saga.toUpperCase()}; only stuck ones are retried`, { metadata: stateMetadata(state) });
  }
  const reopened = retryExecution(state, revision, now, { ...request, steps: [] });
  if (reopened instanceof AppError) return reopened;
  return [operatorEvent(now, { ...request, action: "retry_saga" }), ...reopened.map((event) => notEarlier(event, state))];
}

/** A new budget never takes time away. */
function notEarlier(event: NewEvent, state: ExecutionState): NewEvent {
  if (event.type !== "execution_reopened") return event;
  return { ...event, payload: { ...event.payload, timeoutAt: Math.max(event.payload.timeoutAt ?? 0, state.info?.timeoutAt ?? 0) } };
}

export interface ReplaceRequest extends ControlRequest {
  readonly from: string;
  readonly to: string;
}

/** The endpoints of every step that were at `from` are at `to`; what waits for another try is tried at once. */
export function replaceParticipant(context: CommandContext, request: ReplaceRequest): NewEvent[] | AppError {
  const { state, revision, now } = context;
  if (isTerminal(state.status)) return terminalError(state);
  const { from, to } = request;
  if (from === to || !state.enlisted.some(({ step }) => addressesOf(step).includes(from))) return [];
  const moved = operatorEvent(now, { ...request, action: "replace_participant", result: { from, to } });
  if (state.status !== "stuck") return [moved];
  const reopened = retryExecution(state, revision, now, { ...request, steps: [] });
  return reopened instanceof AppError ? [moved] : [moved, ...reopened.map((event) => notEarlier(event, state))];
}

export type Resolution = "mark_done" | "mark_compensated" | "abandon";

export interface ResolveRequest extends ControlRequest {
  readonly path: string;
  readonly resolution: Resolution;
  readonly result?: Json;
}

export function resolveStep(context: CommandContext, request: ResolveRequest): NewEvent[] | AppError {
  const { state, revision } = context;
  const { path, resolution } = request;
  const run = state.steps.get(path);
  if (!stepAt(revision.definition, state, path)) {
    return new AppError("STEP_NOT_FOUND", `the saga has no step ${path}`, { metadata: { executionId: state.executionId, path } });
  }
  if (run && isDecided(run, resolution)) return [];
  if (isTerminal(state.status)) return stepConflict(state, run, path, "the saga has ended");
  if (state.turn) return resolveUndo(context, request, run);
  if (run?.confirm && run.confirm.endedAt === undefined) return resolveConfirm(context, request, run);
  if (run?.confirm?.status === "exhausted") return resolveConfirm(context, request, run);
  if (resolution === "mark_compensated") return stepConflict(state, run, path, "the saga does not turn back, so there is nothing to undo");
  return resolution === "mark_done" ? resolveAction(context, request) : abandonAction(context, request, run);
}

/** The same decision was taken before. */
function isDecided({ undo, confirm }: StepRun, resolution: Resolution): boolean {
  if (resolution === "abandon") return undo?.abandoned === true || confirm?.abandoned === true;
  return undo?.status === "resolved" || confirm?.status === "resolved";
}

function resolveUndo({ state, revision, now }: CommandContext, request: ResolveRequest, run: StepRun | undefined): NewEvent[] | AppError {
  const { path: stepPath, resolution } = request;
  const isDue = run && undoList(revision.definition, state).some((due) => due.run === run);
  const isOver = run?.undo?.abandoned === true || run?.undo?.status === "succeeded" || run?.undo?.status === "nothing_to_undo";
  if (!isDue || isOver) return stepConflict(state, run, stepPath, "its undo is not open");
  const attempt = run.undo?.attempt ?? 0;
  const decided: NewEvent =
    resolution === "abandon"
      ? { type: "compensation_failed", at: now, stepPath, attempt, payload: { failure: abandoned(request), outcome: "failed", abandoned: true } }
      : {
          type: "compensation_succeeded",
          at: now,
          stepPath,
          attempt,
          payload: { resolved: true, ...(request.result === undefined ? {} : { result: request.result }) },
        };
  return [audit(now, request), decided, ...goOn(state, now, "compensating")];
}

function resolveConfirm({ state, now }: CommandContext, request: ResolveRequest, run: StepRun): NewEvent[] | AppError {
  const { path: stepPath, resolution } = request;
  if (resolution === "mark_compensated") return stepConflict(state, run, stepPath, "it is being confirmed and can no longer be undone");
  const attempt = run.confirm?.attempt ?? 0;
  const decided: NewEvent =
    resolution === "abandon"
      ? { type: "confirmation_failed", at: now, stepPath, attempt, payload: { failure: abandoned(request), outcome: "failed", abandoned: true } }
      : { type: "confirmation_succeeded", at: now, stepPath, attempt, payload: { resolved: true } };
  return [audit(now, request), decided, ...goOn(state, now, "completing")];
}

/** The action counts as done, as CompleteStep would have it, under the name of this decision. */
function resolveAction(context: CommandContext, request: ResolveRequest): NewEvent[] | AppError {
  const { path, actor, reason } = request;
  const completed = completeStep(context, { path, actor, reason, result: request.result ?? null });
  if (completed instanceof AppError) return completed;
  return completed.map((event) => (event.type === "operator_acted" ? audit(context.now, request) : event));
}

/** The effect, if there is one, stays as it is, and so do those before it: the saga ends here. */
function abandonAction({ state, revision, now }: CommandContext, request: ResolveRequest, run: StepRun | undefined): NewEvent[] | AppError {
  if (state.status !== "stuck" || !(run?.status === "failed" || (run?.slow && !isStepOver(run.status))))
    return stepConflict(state, run, request.path, "only a step on which the saga is stuck can be abandoned");
  const turn = { reason: "operator" as const, failure: run.failure ?? abandoned(request), stepPath: request.path };
  return [audit(now, request), decideEnd({ definition: revision.definition, state, now, turn, undone: false })];
}

function audit(now: number, { actor, reason, path: stepPath, resolution, result }: ResolveRequest): NewEvent {
  return operatorEvent(now, { actor, reason, action: `resolve_step.${resolution}`, stepPath, ...(result === undefined ? {} : { result }) });
}

function goOn(state: ExecutionState, at: number, to: "compensating" | "completing"): NewEvent[] {
  return state.saga === "stuck" ? [{ type: "saga_state_changed", at, stepPath: "", attempt: 0, payload: { state: to } }] : [];
}

function abandoned({ reason, actor }: ResolveRequest): ReturnType<typeof failure> {
  return failure("CANCELED", `abandoned by ${actor}: ${reason}`);
}

function stepConflict(state: ExecutionState, run: StepRun | undefined, path: string, why: string): AppError {
  const metadata = { ...stateMetadata(state), path, stepState: (run?.status ?? "pending").toUpperCase() };
  return new AppError("STEP_STATE_CONFLICT", `step ${path} cannot be resolved: ${why}`, { metadata });
}
