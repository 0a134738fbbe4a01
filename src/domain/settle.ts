/** What the outcome of an attempt means: which events it makes. */
import { findJsonFault, isJsonObject, type Json, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type CompiledRevision, type RetryPolicy, type Step, undoBudgetMs, undoRetryDefaults } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import { errorScopeOf } from "./execution.ts";
import type { ExecutionState } from "./execution-state.ts";
import { evaluateExpression } from "./expressions/evaluate-expression.ts";
import { type Failure, failure, matchesErrorName } from "./failure.ts";
import { findSchemaFault } from "./json-schema.ts";
import { decideRetry } from "./retry.ts";
import { scopeOf } from "./scope.ts";
import { afterSlowRetry } from "./slow-retry.ts";
import type { StepOutcome } from "./step-outcome.ts";

/** The run an outcome belongs to, and the moment it is known. */
export interface SettleContext {
  readonly revision: CompiledRevision;
  readonly state: ExecutionState;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface AttemptTarget {
  readonly step: Step;
  readonly path: string;
  readonly attempt: number;
}

/** Events of an action's outcome. `random` (0 ≤ random < 1) jitters a retry. */
export function settleAction(context: SettleContext, target: AttemptTarget, outcome: StepOutcome, random: number): NewEvent[] {
  const { state, now: at } = context;
  const { step, path: stepPath, attempt } = target;
  if (outcome.kind === "waiting") {
    const { kind: _, ...payload } = outcome;
    return [{ type: "step_waiting", at, stepPath, attempt, payload }];
  }
  const turned = state.cancel !== undefined || state.saga === "compensating";
  const checked = outcome.kind === "succeeded" ? checkResult(context, target, outcome.result) : fail(outcome.failure);
  if (checked.ok) {
    const events: NewEvent[] = [{ type: "step_succeeded", at, stepPath, attempt, payload: checked.value }];
    if (step.setsVariables && isJsonObject(checked.value.result)) {
      events.push({ type: "variables_set", at, stepPath, attempt, payload: { variables: checked.value.result } });
    }
    if (step.kind === "pivot" && !turned) events.push(sagaEvent(at, { state: "completing", stepPath }));
    else events.push(...afterSlowRetry(context.revision.definition, state, stepPath, at));
    return events;
  }
  const cause: Failure = { ...checked.fault, stepPath };
  // A result that is refused came from an action that did happen.
  const effect = outcome.kind === "failed" ? outcome.outcome : step.nature === "effect" ? "unknown" : "failed";
  // Aborted by its block, by a cancel or at the end of the execution's time: it is over, whatever a policy says.
  const told = outcome.kind === "failed" ? evidenceOf(outcome.inProgress ? { ...outcome, mayRunUntil: workEnd(step, at) } : outcome) : {};
  if (turned || cause.name === "CANCELED") {
    const { mayRunUntil } = told;
    const payload = { reason: cause.name, outcome: effect, ...(mayRunUntil === undefined ? {} : { mayRunUntil }) };
    return [{ type: "step_canceled", at, stepPath, attempt, payload }];
  }
  const postponed = postponedEnd(outcome, step.retry, budgetEnd(state.steps.get(stepPath)?.firstStartedAt, step.timeouts.scheduleToCloseMs));
  if (postponed !== undefined) {
    return [
      {
        type: "step_retry_scheduled",
        at,
        stepPath,
        attempt,
        payload: { failure: cause, outcome: effect, nextAttemptAt: postponed, putBack: true, ...waitOf(outcome) },
      },
    ];
  }
  if (outcome.kind === "failed" && outcome.inProgress) {
    const payload = { failure: cause, outcome: effect, nextAttemptAt: at + pollMs(outcome, step.retry), polled: true, mayRunUntil: workEnd(step, at) };
    return [{ type: "step_retry_scheduled", at, stepPath, attempt, payload }];
  }
  const decision = decideRetry(step.kind === "retriable" ? { ...step.retry, maximumAttempts: 0 } : step.retry, {
    failure: cause,
    attempt: attempt - (state.steps.get(stepPath)?.attemptsBefore ?? 0),
    retryAfterMs: outcome.kind === "failed" ? outcome.retryAfterMs : undefined,
    now: at,
    budgetEndsAt: budgetEnd(state.steps.get(stepPath)?.firstStartedAt, step.timeouts.scheduleToCloseMs),
    random,
    condition: retryCondition(context, target, cause),
  });
  if (decision.kind === "give_up") {
    const failed = failedEvent(context, target, cause, effect, told);
    return failed.type === "step_failed" && failed.payload.handled ? [failed, ...afterSlowRetry(context.revision.definition, state, stepPath, at)] : [failed];
  }
  return [{ type: "step_retry_scheduled", at, stepPath, attempt, payload: { failure: cause, outcome: effect, nextAttemptAt: decision.at, ...told } }];
}

/**
 * When an attempt that was not made is made, if it was put off and may wait: the policy does not refuse to wait for such a cause,
 * and the budget of all attempts lasts. Conditions and numbers of attempts are not asked: nothing was tried.
 */
function postponedEnd(outcome: StepOutcome, policy: RetryPolicy, budgetEndsAt: number | undefined): number | undefined {
  if (outcome.kind !== "failed" || outcome.postponedUntil === undefined) return undefined;
  if (policy.nonRetryableErrors.some((pattern) => matchesErrorName(pattern, outcome.failure.name))) return undefined;
  return budgetEndsAt !== undefined && outcome.postponedUntil >= budgetEndsAt ? undefined : outcome.postponedUntil;
}

/** What goes on by itself has its time, and as long again, before an undo begins. */
function workEnd({ timeouts: { startToCloseMs } }: Step, at: number): number {
  return at + startToCloseMs + Math.max(startToCloseMs, 5_000);
}

/** Time until the next question: what the other side asked for, else the policy's first interval; it does not grow. */
function pollMs(outcome: Extract<StepOutcome, { kind: "failed" }>, policy: RetryPolicy): number {
  return Math.max(outcome.retryAfterMs ?? policy.initialIntervalMs, limits.retryIntervalMsMin);
}

/** What the ledger keeps of how a failure became known. */
interface FailureEvidence {
  readonly reported?: boolean;
  readonly mayRunUntil?: number;
  readonly waitsFor?: string;
}

function evidenceOf(outcome: Extract<StepOutcome, { kind: "failed" }>): FailureEvidence {
  const { reported, mayRunUntil } = outcome;
  return { ...(reported ? { reported } : {}), ...(mayRunUntil === undefined ? {} : { mayRunUntil }), ...waitOf(outcome) };
}

/** Whose first success brings the next attempt forward. */
function waitOf(outcome: StepOutcome): { readonly waitsFor?: string } {
  return outcome.kind === "failed" && outcome.waitsFor !== undefined ? { waitsFor: outcome.waitsFor } : {};
}

/** The final failure of a step, with how its own declarations take it: the first catch that matches, else on_error. */
export function failedEvent(
  context: SettleContext,
  target: AttemptTarget,
  cause: Failure,
  outcome: "failed" | "unknown",
  told: FailureEvidence = {},
): NewEvent {
  const { step, path: stepPath, attempt } = target;
  const caughtBy = step.catches.findIndex((candidate) => {
    if (candidate.errors.length > 0 && !candidate.errors.some((pattern) => matchesErrorName(pattern, cause.name))) return false;
    return candidate.when === undefined || holds(context, target, candidate.when, cause);
  });
  const handled = caughtBy >= 0 ? { handled: true, caughtBy } : step.onError === "continue" ? { handled: true } : {};
  return { type: "step_failed", at: context.now, stepPath, attempt, payload: { failure: { stepPath, ...cause }, outcome, ...handled, ...told } };
}

/** Events of an undo's outcome: done, tried again, or stuck. */
export function settleUndo(context: SettleContext, target: AttemptTarget, outcome: StepOutcome, random: number): NewEvent[] {
  const { state, now: at } = context;
  const { step, path: stepPath, attempt } = target;
  const undo = state.steps.get(stepPath)?.undo;
  // An operator was quicker.
  if (undo?.status === "resolved" || undo?.abandoned) return [];
  const compensation = step.compensation;
  // 410 Gone on an undo: there is nothing left to take back.
  const gone = outcome.kind === "failed" && outcome.failure.name === "HTTP.410";
  if (outcome.kind === "succeeded" || gone) {
    const payload = outcome.kind === "succeeded" && outcome.nothingToUndo !== true ? { result: outcome.result } : { nothingToUndo: true };
    const events: NewEvent[] = [{ type: "compensation_succeeded", at, stepPath, attempt, payload }];
    // Stuck is left when the last undo that had spent its budget is done, not when any other one is.
    const holds = [...state.steps.values()].some((run) => run.path !== stepPath && run.undo?.status === "exhausted");
    if (state.saga === "stuck" && !holds) events.push(sagaEvent(at, { state: state.turn ? "compensating" : "running" }));
    return events;
  }
  const cause: Failure = { ...(outcome.kind === "failed" ? outcome.failure : failure("INTERNAL", "an undo cannot wait")), stepPath };
  const effect = outcome.kind === "failed" ? outcome.outcome : "failed";
  const policy = compensation?.retry ?? step.retry;
  const postponed = postponedEnd(outcome, policy, budgetEnd(undo?.firstStartedAt, compensation?.timeouts.scheduleToCloseMs));
  if (postponed !== undefined) {
    const payload = { failure: cause, outcome: effect, nextAttemptAt: postponed, putBack: true, ...waitOf(outcome) };
    return [{ type: "compensation_retry_scheduled", at, stepPath, attempt, payload }];
  }
  if (outcome.kind === "failed" && outcome.inProgress) {
    const payload = { failure: cause, outcome: effect, nextAttemptAt: at + pollMs(outcome, policy), polled: true };
    return [{ type: "compensation_retry_scheduled", at, stepPath, attempt, payload }];
  }
  const decision = decideRetry(policy, {
    failure: cause,
    attempt: attempt - (undo?.attemptsBefore ?? 0),
    retryAfterMs: outcome.kind === "failed" ? outcome.retryAfterMs : undefined,
    now: at,
    budgetEndsAt: budgetEnd(undo?.firstStartedAt, compensation?.timeouts.scheduleToCloseMs),
    random,
    // An undo has to succeed; but one that cannot even be rendered, or that its child refuses, will not be by asking again.
    always: !/^(EXPRESSION$|LIMIT\.|CHILD\.)/.test(cause.name),
  });
  if (decision.kind === "retry") {
    return [
      {
        type: "compensation_retry_scheduled",
        at,
        stepPath,
        attempt,
        payload: { failure: cause, outcome: effect, nextAttemptAt: decision.at, ...waitOf(outcome) },
      },
    ];
  }
  const slow = context.revision.definition.haltOnStuck ? {} : { nextAttemptAt: at + policy.maximumIntervalMs, ...waitOf(outcome) };
  const events: NewEvent[] = [{ type: "compensation_failed", at, stepPath, attempt, payload: { failure: cause, outcome: effect, exhausted: true, ...slow } }];
  if (state.saga !== "stuck") events.push(sagaEvent(at, { state: "stuck", failure: cause, stepPath }));
  return events;
}

/** Events of a confirmation's outcome: done, tried again, or stuck. */
export function settleConfirm(context: SettleContext, target: AttemptTarget, outcome: StepOutcome, random: number): NewEvent[] {
  const { state, now: at } = context;
  const { step, path: stepPath, attempt } = target;
  const { confirmation } = step;
  const confirm = state.steps.get(stepPath)?.confirm;
  if (confirm?.status === "resolved" || confirm?.abandoned) return [];
  if (outcome.kind === "succeeded") {
    const events: NewEvent[] = [{ type: "confirmation_succeeded", at, stepPath, attempt, payload: { result: outcome.result } }];
    if (state.saga === "stuck") events.push(sagaEvent(at, { state: "completing" }));
    return events;
  }
  const cause: Failure = { ...(outcome.kind === "failed" ? outcome.failure : failure("INTERNAL", "a confirmation cannot wait")), stepPath };
  const effect = outcome.kind === "failed" ? outcome.outcome : "failed";
  const policy = confirmation?.retry ?? undoRetryDefaults;
  const budgetEndsAt = budgetEnd(confirm?.firstStartedAt, confirmation?.timeouts.scheduleToCloseMs ?? undoBudgetMs);
  const postponed = postponedEnd(outcome, policy, budgetEndsAt);
  if (postponed !== undefined) {
    const payload = { failure: cause, outcome: effect, nextAttemptAt: postponed, putBack: true, ...waitOf(outcome) };
    return [{ type: "confirmation_retry_scheduled", at, stepPath, attempt, payload }];
  }
  if (outcome.kind === "failed" && outcome.inProgress) {
    const payload = { failure: cause, outcome: effect, nextAttemptAt: at + pollMs(outcome, policy), polled: true };
    return [{ type: "confirmation_retry_scheduled", at, stepPath, attempt, payload }];
  }
  const decision = decideRetry(policy, {
    failure: cause,
    attempt: attempt - (confirm?.attemptsBefore ?? 0),
    retryAfterMs: outcome.kind === "failed" ? outcome.retryAfterMs : undefined,
    now: at,
    budgetEndsAt,
    random,
    always: cause.name !== "EXPRESSION" && !cause.name.startsWith("LIMIT."),
  });
  if (decision.kind === "retry") {
    return [
      {
        type: "confirmation_retry_scheduled",
        at,
        stepPath,
        attempt,
        payload: { failure: cause, outcome: effect, nextAttemptAt: decision.at, ...waitOf(outcome) },
      },
    ];
  }
  const slow = context.revision.definition.haltOnStuck ? {} : { nextAttemptAt: at + policy.maximumIntervalMs, ...waitOf(outcome) };
  const events: NewEvent[] = [{ type: "confirmation_failed", at, stepPath, attempt, payload: { failure: cause, outcome: effect, exhausted: true, ...slow } }];
  if (state.saga !== "stuck") events.push(sagaEvent(at, { state: "stuck", failure: cause, stepPath }));
  return events;
}

function sagaEvent(at: number, payload: Extract<NewEvent, { type: "saga_state_changed" }>["payload"]): NewEvent {
  return { type: "saga_state_changed", at, stepPath: "", attempt: 0, payload };
}

/** Whether a result may be stored, fits its schema, and what it exports. */
export function checkResult(context: SettleContext, target: AttemptTarget, result: Json): Result<{ result: Json; exports?: JsonObject }, Failure> {
  const { step, path } = target;
  const fault = findJsonFault(result);
  if (fault) return fail(failure("SCHEMA", `the result of ${step.name} cannot be stored: ${fault.path || "it"} ${fault.problem}`));
  if (jsonBytes(result) > limits.resultBytesMax)
    return fail(failure("LIMIT.RESULT", `the result of ${step.name} is larger than ${limits.resultBytesMax} bytes`));
  const mismatch = step.resultSchema && findSchemaFault(step.resultSchema, result);
  if (mismatch) return fail(failure("SCHEMA", `the result of ${step.name} does not fit its result_schema: ${mismatch.path || "it"} ${mismatch.problem}`));
  if (step.exports.size === 0) return ok({ result });
  const exports: JsonObject = {};
  const scope = scopeOf(context.state, context.revision, path, { result });
  for (const [variable, expression] of step.exports) {
    const value = evaluateExpression(expression, scope, { executionId: context.state.executionId, stepPath: path });
    if (!value.ok) return value;
    exports[variable] = value.value;
  }
  return ok({ result, exports });
}

function retryCondition(context: SettleContext, target: AttemptTarget, cause: Failure): boolean | undefined {
  const { retryIf } = target.step.retry;
  return retryIf && holds(context, target, retryIf, cause);
}

/** An expression over the failure; one that itself fails does not hold. */
function holds(context: SettleContext, target: AttemptTarget, expression: NonNullable<Step["runIf"]>, cause: Failure): boolean {
  const scope = scopeOf(context.state, context.revision, target.path, { error: errorScopeOf(cause), attempt: target.attempt });
  const value = evaluateExpression(expression, scope, { executionId: context.state.executionId, stepPath: target.path });
  return value.ok && value.value === true;
}

function budgetEnd(firstStartedAt: number | undefined, budgetMs: number | undefined): number | undefined {
  return firstStartedAt === undefined || budgetMs === undefined ? undefined : firstStartedAt + budgetMs;
}
