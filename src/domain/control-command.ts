/**
 * What callers and operators may ask of an execution, as data: a command can stand in the inbox of another replica, so it
 * carries no closure. `applyCommand` is the one place that says what each kind does.
 *
 * Commands are stored as JSON for as long as their answer is awaited (seconds), also across a rolling update: a field may be
 * added as optional, and a kind that this release does not know is refused, not guessed.
 *
 * A new kind: one member of the union, one case below, its rule in a `control*.ts` beside this file.
 */

import { AppError } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import { Answered } from "./answered.ts";
import { earlierAnswer, stamped } from "./change-stamp.ts";
import type { CommandContext } from "./command-context.ts";
import { type CancelRequest, type ControlRequest, cancelExecution, terminalError, terminateExecution } from "./control.ts";
import { compensateExecution } from "./control-compensate.ts";
import { type EnlistRequest, enlistStep, type LeaveRequest, leaveSaga } from "./control-enlist.ts";
import { pauseExecution, type ReleaseRequest, releaseExecution, resumeExecution } from "./control-pause.ts";
import { type RecoveredRequest, recoverDestination } from "./control-recovered.ts";
import { reportOutcome } from "./control-report.ts";
import { type ReplaceRequest, type ResolveRequest, replaceParticipant, resolveStep, retrySaga } from "./control-resolve.ts";
import { type RetryRequest, retryExecution } from "./control-retry.ts";
import { type AbortRequest, abortSaga, completeSaga, extendSaga, submitSaga } from "./control-saga.ts";
import { completeStep, failStep, type StepRequest, skipStep } from "./control-step.ts";
import { updateVariables } from "./control-variables.ts";
import type { ChangeStamp, NewEvent } from "./events.ts";
import type { Failure } from "./failure.ts";
import type { ReportRequest } from "./reported-outcome.ts";
import { isTerminal } from "./states.ts";

export type ControlCommand = Verb & {
  /**
   * Of a command that a caller gave: who it was, by which rpc. With `key`, the caller may repeat it: it is carried out once, however often
   * and through whichever replica it is given.
   */
  readonly change?: Omit<ChangeStamp, "answer">;
};

type Verb =
  | ({ readonly kind: "cancel" } & CancelRequest)
  | ({ readonly kind: "terminate" } & ControlRequest)
  | ({ readonly kind: "pause" } & ControlRequest)
  | ({ readonly kind: "resume" } & ControlRequest)
  | ({ readonly kind: "release" } & ReleaseRequest)
  | ({ readonly kind: "retry" } & RetryRequest)
  | ({ readonly kind: "skip_step"; readonly result?: Json } & StepRequest)
  | ({ readonly kind: "complete_step"; readonly result: Json } & StepRequest)
  | ({ readonly kind: "fail_step"; readonly failure: Failure } & StepRequest)
  | ({ readonly kind: "update_variables"; readonly variables: JsonObject } & ControlRequest)
  /** What became of an operation that is carried out elsewhere. */
  | ({ readonly kind: "report" } & ReportRequest)
  /** Its parent turns back: what it did is undone, also after its end. */
  | ({ readonly kind: "compensate" } & ControlRequest)
  /** What it waits for may be there: whoever drives it reads that. Changes nothing by itself. */
  | { readonly kind: "look" }
  /** A participant answers again: what waits for another try at it is due. */
  | ({ readonly kind: "recovered" } & RecoveredRequest)
  | ({ readonly kind: "abort_saga" } & AbortRequest)
  | { readonly kind: "complete_saga"; readonly whenIdle: boolean }
  | { readonly kind: "submit_saga" }
  | { readonly kind: "extend_saga"; readonly ttlMs: number }
  | ({ readonly kind: "enlist_step" } & EnlistRequest)
  | ({ readonly kind: "leave_saga" } & LeaveRequest)
  | ({ readonly kind: "retry_saga" } & ControlRequest)
  | ({ readonly kind: "resolve_step" } & ResolveRequest)
  | ({ readonly kind: "replace_participant" } & ReplaceRequest);

export { Answered } from "./answered.ts";

/**
 * The events that a command makes (none when it changes nothing), with an answer where it has one, or why it is refused in
 * this state. `context`: a state that all earlier events led to, and the revision it runs.
 */
export function applyCommand(context: CommandContext, command: ControlCommand): readonly NewEvent[] | Answered | AppError {
  const { change } = command;
  const earlier = change?.key === undefined ? undefined : earlierAnswer(context.state, change.key);
  if (earlier) return earlier;
  const made = decideCommand(context, command);
  return made instanceof AppError || !change ? made : stamped(made, change);
}

function decideCommand(context: CommandContext, command: ControlCommand): readonly NewEvent[] | Answered | AppError {
  const { state, revision, now } = context;
  switch (command.kind) {
    case "cancel":
      return cancelExecution(state, now, command);
    case "terminate":
      return terminateExecution(state, revision, now, command);
    case "pause":
      return pauseExecution(state, now, command);
    case "resume":
      return resumeExecution(state, now, command);
    case "release":
      return releaseExecution(state, now, command);
    case "retry":
      return retryExecution(state, revision, now, command);
    case "skip_step":
      return skipStep(context, command);
    case "complete_step":
      return completeStep(context, command);
    case "fail_step":
      return failStep(context, command);
    case "update_variables":
      return updateVariables(state, now, command);
    case "report":
      return reportOutcome(context, command);
    case "compensate":
      return compensateExecution(state, revision, now, command);
    case "look":
      return isTerminal(state.status) ? terminalError(state) : [];
    case "recovered":
      return recoverDestination(context, command);
    case "abort_saga":
      return abortSaga(state, now, command);
    case "complete_saga":
      return completeSaga(state, revision.definition, now, command);
    case "submit_saga":
      return submitSaga(state, now);
    case "extend_saga":
      return extendSaga(state, now, command);
    case "enlist_step":
      return enlistStep(context, command);
    case "leave_saga":
      return leaveSaga(context, command);
    case "retry_saga":
      return retrySaga(context, command);
    case "resolve_step":
      return resolveStep(context, command);
    case "replace_participant":
      return replaceParticipant(context, command);
    default:
      return unknownCommand(command);
  }
}

/** The events alone, for who only wants to see what a command would do. */
export function previewCommand(context: CommandContext, command: ControlCommand): readonly NewEvent[] | AppError {
  const made = applyCommand(context, command);
  return made instanceof Answered ? made.events : made;
}

/** A command of a newer release, met during a rolling update. */
function unknownCommand(command: never): AppError {
  const { kind } = command as { readonly kind: string };
  return new AppError("FEATURE_DISABLED", `this replica does not know the command ${kind} yet; try again when the update is complete`, { retryAfterMs: 5_000 });
}
