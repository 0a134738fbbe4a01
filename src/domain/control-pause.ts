/** Pause, resume and release: nothing new is begun while paused or queued; reports, timers and the execution's own time go on. */
import type { AppError } from "../base/errors.ts";
import { type ControlRequest, terminalError } from "./control.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { isTerminal } from "./states.ts";

export function pauseExecution(state: ExecutionState, now: number, request: ControlRequest): NewEvent[] | AppError {
  return change(state, true, { type: "execution_paused", at: now, stepPath: "", attempt: 0, payload: payloadOf(request) });
}

export function resumeExecution(state: ExecutionState, now: number, request: ControlRequest): NewEvent[] | AppError {
  return change(state, false, { type: "execution_resumed", at: now, stepPath: "", attempt: 0, payload: payloadOf(request) });
}

export interface ReleaseRequest extends ControlRequest {
  /** Only what was queued for this. */
  readonly of: NonNullable<ExecutionState["held"]>;
}

/** A queued execution may begin. One that is not queued, or for another reason, is left as it is; a pause of its own stays. */
export function releaseExecution(state: ExecutionState, now: number, request: ReleaseRequest): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  if (state.held !== request.of) return [];
  return [{ type: "execution_resumed", at: now, stepPath: "", attempt: 0, payload: { ...payloadOf(request), released: true } }];
}

/** Asked again it changes nothing. */
function change(state: ExecutionState, paused: boolean, event: NewEvent): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  return state.paused === paused ? [] : [event];
}

function payloadOf({ actor, reason }: ControlRequest): { actor: string; reason?: string } {
  return reason === "" ? { actor } : { actor, reason };
}
