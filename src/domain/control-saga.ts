/**
 * What the callers of a saga decide: that it turns back, that no more steps come, that it may begin, that it has more time.
 * Asked again each changes nothing; on a saga that has gone the other way each is refused with the state it is in.
 */
import { AppError } from "../base/errors.ts";
import { type ControlRequest, stateMetadata, terminalError } from "./control.ts";
import type { Definition } from "./definition.ts";
import type { EventPayloads, NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { joinedSteps } from "./saga-definition.ts";
import { isStepOver, isTerminal } from "./states.ts";

export interface AbortRequest extends ControlRequest {
  /** Its starter has rolled back: only a saga that has not begun is ended by that. */
  readonly rolledBack?: boolean;
}

/** The saga turns back; what runs is ended, what its callers carry out is waited for. */
export function abortSaga(state: ExecutionState, now: number, request: AbortRequest): NewEvent[] | AppError {
  if (isTerminal(state.status)) return state.turn ? [] : conflict(state, "it has ended and cannot turn back");
  if (state.turn || state.cancel) return [];
  if (state.pastPivot) {
    return new AppError("PAST_PIVOT", "the point of no return has been passed; the saga can only go on to its end", { metadata: stateMetadata(state) });
  }
  const { actor, reason, rolledBack } = request;
  if (rolledBack && (state.startedAt !== undefined || state.saga === "running")) return conflict(state, "it was submitted meanwhile");
  const payload = { actor, ...(reason === "" ? {} : { reason }), endReason: rolledBack ? ("checkback_no" as const) : ("aborted" as const) };
  return [{ type: "execution_cancel_requested", at: now, stepPath: "", attempt: 0, payload }];
}

/** No more steps come: it ends when those it has are done. With open steps only if it shall wait for them. */
export function completeSaga(state: ExecutionState, definition: Definition, now: number, request: { readonly whenIdle: boolean }): NewEvent[] | AppError {
  if (state.status === "completed") return [];
  if (!state.info?.saga) return conflict(state, "it belongs to a workflow's execution, which completes by itself");
  if (isTerminal(state.status) || state.turn || state.cancel) return conflict(state, "it turns back or has ended");
  if (state.saga === "initializing" || state.startedAt === undefined) return conflict(state, "it has not begun; submit it first");
  if (state.completeWhenIdle) return [];
  if (state.saga === "stuck") return conflict(state, "it is stuck; retry or resolve it first");
  const open = openSteps(state, definition);
  if (open.length > 0 && !request.whenIdle) {
    const message = `${open.length} steps are still open: ${open.slice(0, 10).join(", ")}; wait for them, or set when_idle`;
    return new AppError("OPEN_STEPS", message, { metadata: { ...stateMetadata(state), openSteps: String(open.length) } });
  }
  return [terms(now, { state: state.saga, completeWhenIdle: true })];
}

/** A prepared saga begins. */
export function submitSaga(state: ExecutionState, now: number): NewEvent[] | AppError {
  if (!state.info?.saga?.prepared) return conflict(state, "it was not started with mode PREPARED");
  if (isTerminal(state.status) || state.turn || state.cancel) return conflict(state, "it turns back or has ended");
  if (state.startedAt !== undefined || state.saga === "running") return [];
  // Its time was for waiting; what has committed gets it anew.
  const { timeoutAt } = state.info;
  const isOver = timeoutAt !== undefined && timeoutAt <= now;
  return [terms(now, { state: "running", ...(isOver ? { timeoutAt: now + (timeoutAt - state.createdAt) } : {}) })];
}

/** More time, never less. One that was never submitted and ran out of time waits again. */
export function extendSaga(state: ExecutionState, now: number, request: { readonly ttlMs: number }): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  const timeoutAt = now + request.ttlMs;
  if (timeoutAt <= (state.info?.timeoutAt ?? Number.POSITIVE_INFINITY)) return [];
  const ranOut = state.saga === "stuck" && state.startedAt === undefined && !state.turn;
  return [terms(now, { state: ranOut ? "initializing" : state.saga, timeoutAt })];
}

/** Names of the steps that joined and have no final outcome. */
function openSteps(state: ExecutionState, definition: Definition): string[] {
  return joinedSteps(definition).flatMap(({ name }) => (isStepOver(state.steps.get(name)?.status) ? [] : [name]));
}

export function conflict(state: ExecutionState, why: string): AppError {
  return new AppError("SAGA_STATE_CONFLICT", `the saga is ${state.saga.toUpperCase()}: ${why}`, {
    metadata: { ...stateMetadata(state), allowed: allowed(state) },
  });
}

/** What may be asked of it in this state, for the refusal. */
function allowed(state: ExecutionState): string {
  if (isTerminal(state.status)) return "";
  if (state.saga === "initializing") return "SubmitSaga,AbortSaga,ExtendSaga";
  if (state.turn || state.cancel) return "ReportStep,ExtendSaga,RetrySaga,ResolveStep,ReplaceParticipant";
  if (state.saga === "stuck") return "RetrySaga,ResolveStep,ReplaceParticipant,ExtendSaga,AbortSaga";
  return "EnlistStep,ReportStep,LeaveSaga,ExtendSaga,CompleteSaga,AbortSaga,ReplaceParticipant";
}

function terms(at: number, payload: EventPayloads["saga_state_changed"]): NewEvent {
  return { type: "saga_state_changed", at, stepPath: "", attempt: 0, payload };
}
