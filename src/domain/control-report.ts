/**
 * A report from outside: what became of an operation, told by whoever holds a token of one of its attempts (rule R6).
 *
 * Success of any attempt that was issued is taken while the operation is open; a failure only from the newest one, since
 * an older one says nothing of what runs now. A repeat gets the answer that stands. What comes after the decision changes
 * no decision: success is kept as evidence and undone, a contradiction is put on record.
 */
import { AppError, violationsError } from "../base/errors.ts";
import { findJsonFault, type Json } from "../base/json.ts";
import { Answered } from "./answered.ts";
import type { Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { StepRun } from "./execution-state.ts";
import { contradiction, lateSuccess } from "./late-success.ts";
import { expiredOutcome } from "./reported.ts";
import { already, isTurned, type ReportDecision, type ReportedOutcome, type ReportRequest, recordedOf, staleToken } from "./reported-outcome.ts";
import { type SettleContext, settleAction, settleConfirm, settleUndo } from "./settle.ts";
import { isTerminal } from "./states.ts";
import type { StepOutcome } from "./step-outcome.ts";
import type { OperationRef } from "./task-token.ts";

export function reportOutcome(context: SettleContext, request: ReportRequest): Answered | AppError {
  const { state, revision } = context;
  const run = state.steps.get(request.path);
  const step = revision.definition.stepsByName.get(run?.name ?? "");
  if (!run || !step) return unknownToken();
  const fault = request.outcome.kind === "succeeded" || request.outcome.kind === "in_progress" ? valueFault(request.outcome) : undefined;
  if (fault) return fault;
  const report: Report = { ...context, run, step, request };
  switch (request.operation) {
    case "action":
      return request.attempt > run.attempt ? unknownToken() : ofAction(report);
    case "compensate":
      return request.attempt > (run.undo?.attempt ?? 0) ? unknownToken() : ofUndo(report);
    case "confirm":
      return request.attempt > (run.confirm?.attempt ?? 0) ? unknownToken() : ofConfirm(report);
    default:
      return request.operation satisfies never;
  }
}

interface Report extends SettleContext {
  readonly run: StepRun;
  readonly step: Step;
  readonly request: ReportRequest;
}

function ofAction(report: Report): Answered | AppError {
  const { state, run, request } = report;
  const { outcome, attempt } = request;
  const isOpen = !isTerminal(state.status) && (run.report !== undefined || run.status === "retrying");
  const isCurrent = isOpen && run.report?.attempt === attempt;
  if (outcome.kind === "succeeded") {
    if (isOpen) return settled(report, outcome, isTurned(state) ? "WILL_COMPENSATE" : "CONTINUE");
    return run.action === "succeeded" ? already(state, recordedOf(run)) : lateSuccess(report, run, request);
  }
  if (isCurrent) {
    if (outcome.kind === "recalled") return recalled(report);
    if (outcome.kind === "in_progress") return progressed(report, isTurned(state) ? "STOP" : "CONTINUE");
    return settled(report, outcome, isTurned(state) ? "STOP" : "CONTINUE");
  }
  const known = run.failuresReported?.get(attempt);
  if (known) return already(state, { kind: "failed", failure: known, outcome: "failed" });
  if (run.action === "succeeded" && outcome.kind === "failed") return contradiction(report, run, request);
  if (run.action === "succeeded" && outcome.kind === "in_progress") return already(state, recordedOf(run));
  return staleToken(report);
}

function ofUndo(report: Report): Answered | AppError {
  const { state, run, request } = report;
  const { outcome, attempt } = request;
  const { undo } = run;
  // The same attempt of an undo that a late success made worthless.
  const done =
    request.generation < (undo?.generation ?? 0) || undo?.status === "succeeded" || undo?.status === "nothing_to_undo" || undo?.status === "resolved";
  if (done) return already(state, { kind: "succeeded", result: null, ...(undo?.status === "nothing_to_undo" ? { nothingToUndo: true } : {}) });
  if (isTerminal(state.status)) return staleToken(report);
  if (outcome.kind === "succeeded") return settled(report, outcome, "CONTINUE");
  if (undo?.report?.attempt !== attempt || outcome.kind === "recalled") return staleToken(report);
  return outcome.kind === "in_progress" ? progressed(report, "CONTINUE") : settled(report, outcome, "CONTINUE");
}

function ofConfirm(report: Report): Answered | AppError {
  const { state, run, request } = report;
  const { outcome, attempt } = request;
  const { confirm } = run;
  if (confirm?.status === "succeeded" || confirm?.status === "resolved") return already(state, { kind: "succeeded", result: null });
  if (isTerminal(state.status)) return staleToken(report);
  if (outcome.kind === "succeeded") return settled(report, outcome, "CONTINUE");
  if (confirm?.report?.attempt !== attempt || outcome.kind === "recalled") return staleToken(report);
  return outcome.kind === "in_progress" ? progressed(report, "CONTINUE") : settled(report, outcome, "CONTINUE");
}

/** The operation is over, or tried again: what any outcome means is said once, in `settle.ts`. */
function settled(report: Report, told: Exclude<ReportedOutcome, { kind: "in_progress" | "recalled" }>, decision: ReportDecision): Answered {
  const { request, step } = report;
  const settle = { action: settleAction, compensate: settleUndo, confirm: settleConfirm }[request.operation];
  const target = { step, path: request.path, attempt: request.attempt };
  return new Answered(settle(report, target, outcomeOf(told), request.random), { decision });
}

function outcomeOf(told: Exclude<ReportedOutcome, { kind: "in_progress" | "recalled" }>): StepOutcome {
  switch (told.kind) {
    case "succeeded":
      return told;
    case "failed":
      return { ...told, reported: true };
    case "expired":
      return expiredOutcome(told.name, told.deadlineAt, told.closeMs);
    default:
      return told satisfies never;
  }
}

function progressed({ now, request }: Report, decision: ReportDecision): Answered {
  const { outcome, operation, path: stepPath, attempt } = request;
  if (outcome.kind !== "in_progress") return new Answered([], { decision });
  const { kind: _, ...told } = outcome;
  const payload = { ...told, ...(operation === "action" ? {} : { operation }) };
  return new Answered([{ type: "step_progressed", at: now, stepPath, attempt, payload }], { decision });
}

/** Nobody had it: surely no effect. Only asked for when it is no longer wanted. */
function recalled({ now, state, request }: Report): Answered {
  const { path: stepPath, attempt } = request;
  const reason = state.cancel?.reason ?? "no longer needed";
  const event: NewEvent = { type: "step_canceled", at: now, stepPath, attempt, payload: { reason, outcome: "failed" } };
  return new Answered([event], { decision: "STOP" });
}

/**
 * The task was not taken back: somebody has it and was told to stop. Nobody waits for his answer where the participant has a barrier; his
 * success is taken as evidence all the same.
 */
export function leftWithWorker({ state, revision, now }: SettleContext, { path: stepPath, operation, attempt }: OperationRef): NewEvent[] {
  const run = operation === "action" ? state.steps.get(stepPath) : undefined;
  const step = revision.definition.stepsByName.get(run?.name ?? "");
  if (run?.report?.attempt !== attempt || !step?.compensation?.barrier || isTerminal(state.status)) return [];
  const reason = state.cancel?.reason ?? "no longer needed";
  return [{ type: "step_canceled", at: now, stepPath, attempt, payload: { reason, outcome: "unknown" } }];
}

function valueFault(outcome: { readonly result?: Json; readonly details?: Json }): AppError | undefined {
  const fault = findJsonFault(outcome.result ?? outcome.details ?? null);
  const field = fault?.path ? `result.${fault.path}` : "result";
  return fault && violationsError([{ field, reason: "VALIDATION_FAILED", description: `${fault.problem}, which cannot be stored` }]);
}

function unknownToken(): AppError {
  return new AppError("TOKEN_INVALID", "the token belongs to no attempt of this execution; use the one that came with the task");
}
