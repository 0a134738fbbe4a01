/**
 * A parent turns back and its child is undone in its place: an ended child is opened again for nothing but its undo. A child
 * that has nothing to undo is left as it ended.
 */
import { AppError } from "../base/errors.ts";
import { Answered } from "./answered.ts";
import { type ControlRequest, cancelExecution, stateMetadata } from "./control.ts";
import type { CompiledRevision } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { failure } from "./failure.ts";
import { isTerminal } from "./states.ts";
import { openUndos } from "./undo.ts";

/** Answers `nothingToUndo` where that is so. Asked again it changes nothing. An open execution is canceled: it then undoes itself. */
export function compensateExecution(state: ExecutionState, revision: CompiledRevision, now: number, request: ControlRequest): NewEvent[] | Answered | AppError {
  const { actor, reason } = request;
  if (!isTerminal(state.status)) return state.turn ? [] : cancelExecution(state, now, { actor, reason, endReason: "parent" });
  const { definition } = revision;
  const keeps = state.status !== "completed" && definition.onFailure === "keep_effects";
  if (keeps || openUndos(definition, state).length === 0) return new Answered([], { nothingToUndo: true });
  if (state.pastPivot) {
    return new AppError("PAST_PIVOT", "the child passed its point of no return; what it did stays", { metadata: stateMetadata(state) });
  }
  // Opening it again would overrule that, for as long as its parent asks.
  if (state.status === "terminated" && state.turn?.reason === "parent") {
    const message = "the child was terminated while it was being undone; what it did stays";
    return new AppError("EXECUTION_TERMINAL", message, { metadata: stateMetadata(state) });
  }
  const at = { at: now, stepPath: "", attempt: 0 };
  const cause = failure("CANCELED", reason);
  return [
    { type: "execution_reopened", ...at, payload: { from: state.status, reason, actor } },
    { type: "saga_state_changed", ...at, payload: { state: "compensating", endReason: "parent", failure: cause } },
  ];
}
