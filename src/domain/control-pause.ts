/** Pause and resume: nothing new is begun while paused; reports, timers and the execution's own time go on. */
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

/** Asked again it changes nothing. */
function change(state: ExecutionState, paused: boolean, event: NewEvent): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  return state.paused === paused ? [] : [event];
}

function payloadOf({ actor, reason }: ControlRequest): { actor: string; reason?: string } {
  return reason === "" ? { actor } : { actor, reason };
}
