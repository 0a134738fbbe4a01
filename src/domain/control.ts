/** Commands of callers and operators: the events they make, or why they are refused in this state. */
import { AppError } from "../base/errors.ts";
import type { CompiledRevision } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution.ts";
import { failure } from "./failure.ts";
import { isTerminal } from "./states.ts";
import { decideEnd } from "./undo.ts";

export interface ControlRequest {
  readonly actor: string;
  readonly reason: string;
}

/** Cooperative: attempts in flight are aborted, then compensation runs by policy. Asked again it changes nothing. */
export function cancelExecution(state: ExecutionState, now: number, request: ControlRequest & { readonly compensate?: boolean }): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  if (state.cancel || state.saga === "compensating") return [];
  if (state.pastPivot) {
    return new AppError("PAST_PIVOT", "the point of no return has been passed; the execution can only go on to its end", { metadata: stateMetadata(state) });
  }
  const { actor, reason, compensate } = request;
  const payload = { actor, ...(reason === "" ? {} : { reason }), ...(compensate === undefined ? {} : { compensate }) };
  return [{ type: "execution_cancel_requested", at: now, stepPath: "", attempt: 0, payload }];
}

/** Hard: nothing is undone; effects that stand are listed in the end event. */
export function terminateExecution(state: ExecutionState, revision: CompiledRevision, now: number, request: ControlRequest): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  const cause = failure("CANCELED", `terminated by ${request.actor}: ${request.reason}`);
  const turn = { reason: "terminated" as const, failure: cause, stepPath: undefined };
  return [
    { type: "operator_acted", at: now, stepPath: "", attempt: 0, payload: { actor: request.actor, action: "terminate", reason: request.reason } },
    decideEnd({ definition: revision.definition, state, now, turn, undone: false }),
  ];
}

function terminalError(state: ExecutionState): AppError {
  return new AppError("EXECUTION_TERMINAL", `the execution has ended: ${state.status.toUpperCase()}`, { metadata: stateMetadata(state) });
}

function stateMetadata(state: ExecutionState): Record<string, string> {
  return { executionId: state.executionId, state: state.status.toUpperCase(), sagaState: state.saga.toUpperCase() };
}
