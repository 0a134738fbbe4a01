/** Commands of callers and operators: the events they make, or why they are refused in this state. */
import { AppError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import type { CompiledRevision } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { failure } from "./failure.ts";
import { isTerminal } from "./states.ts";
import { decideEnd } from "./undo.ts";

export interface ControlRequest {
  readonly actor: string;
  readonly reason: string;
}

export interface CancelRequest extends ControlRequest {
  /** Unset: as the definition says. */
  readonly compensate?: boolean;
  /** How long attempts in flight may take to end by themselves; none unless told. */
  readonly graceMs?: number;
  /** Why it ends, when its parent wants that. */
  readonly endReason?: "parent";
}

/**
 * Cooperative: nothing new is begun, attempts in flight are aborted when their grace is over, then compensation runs by
 * policy. Asked again it changes nothing, unless the grace shall end earlier.
 */
export function cancelExecution(state: ExecutionState, now: number, request: CancelRequest): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  const graceUntil = now + (request.graceMs ?? 0);
  if (state.saga === "compensating" || (state.cancel && graceUntil >= (state.cancel.graceUntil ?? 0))) return [];
  if (state.pastPivot) {
    return new AppError("PAST_PIVOT", "the point of no return has been passed; the execution can only go on to its end", { metadata: stateMetadata(state) });
  }
  const { actor, reason, compensate, graceMs, endReason } = request;
  const payload = {
    actor,
    ...(reason === "" ? {} : { reason }),
    ...(compensate === undefined ? {} : { compensate }),
    ...(graceMs === undefined || graceMs === 0 ? {} : { graceUntil }),
    ...(endReason === undefined ? {} : { endReason }),
  };
  return [{ type: "execution_cancel_requested", at: now, stepPath: "", attempt: 0, payload }];
}

/** Hard: nothing is undone; effects that stand are listed in the end event. */
export function terminateExecution(state: ExecutionState, revision: CompiledRevision, now: number, request: ControlRequest): NewEvent[] | AppError {
  if (isTerminal(state.status)) return terminalError(state);
  const cause = failure("CANCELED", `terminated by ${request.actor}: ${request.reason}`);
  const turn = { reason: "terminated" as const, failure: cause, stepPath: undefined };
  return [operatorEvent(now, { ...request, action: "terminate" }), decideEnd({ definition: revision.definition, state, now, turn, undone: false })];
}

/** What an operator decided, for the ledger; `result` is what was given along. */
export function operatorEvent(
  now: number,
  decision: ControlRequest & { readonly action: string; readonly stepPath?: string; readonly result?: Json },
): NewEvent {
  const { actor, action, reason, stepPath, result } = decision;
  const payload = {
    actor,
    action,
    ...(reason === "" ? {} : { reason }),
    ...(stepPath === undefined ? {} : { stepPath }),
    ...(result === undefined ? {} : { result }),
  };
  return { type: "operator_acted", at: now, stepPath: stepPath ?? "", attempt: 0, payload };
}

export function terminalError(state: ExecutionState): AppError {
  return new AppError("EXECUTION_TERMINAL", `the execution has ended: ${state.status.toUpperCase()}`, { metadata: stateMetadata(state) });
}

/** Facts that a refusal by state carries. */
export function stateMetadata(state: ExecutionState): Record<string, string> {
  return { executionId: state.executionId, state: state.status.toUpperCase(), sagaState: state.saga.toUpperCase() };
}
