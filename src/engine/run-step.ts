/**
 * One attempt of one operation (action or undo) of a step: what it is called with, and calling it. What its outcome means
 * is for `domain/settle.ts` to say.
 */
import { invariant, messageOf } from "../base/errors.ts";
import { findJsonFault, isJsonObject, type Json, type JsonObject, storable } from "../base/json.ts";
import { Mask } from "../base/mask.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { carriedBy } from "../base/trace-context.ts";
import type { OperationKind } from "../domain/command.ts";
import type { CompiledRevision, Step, Timeouts } from "../domain/definition.ts";
import type { ExecutionState, StepRun } from "../domain/execution-state.ts";
import { evaluateExpression } from "../domain/expressions/evaluate-expression.ts";
import type { EvaluationContext, Expression, Scope, Template } from "../domain/expressions/expression.ts";
import { portableExpression } from "../domain/expressions/portable-expression.ts";
import { renderTemplate } from "../domain/expressions/render-template.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { causeOf, scopeOf, undoVariables } from "../domain/scope.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import type { AttemptAbout } from "../steps/attempt-about.ts";
import { maskedServices } from "../steps/masked-services.ts";
import type { AttemptSecrets, StepCall, StepHandler, StepServices } from "../steps/step-handler.ts";
import { attemptSecrets, noSecrets, type SecretSource } from "./attempt-secrets.ts";
import type { Destinations, Passage } from "./destinations.ts";

export interface StepEnvironment {
  readonly handlers: ReadonlyMap<string, StepHandler>;
  readonly services: StepServices;
  /** Absent: no slot has a secret. */
  readonly secrets?: SecretSource;
  /** Breakers and limits on the way out; absent: every call goes at once. */
  readonly destinations?: Destinations;
  /** By the database-synchronised clock. */
  readonly now: () => number;
  readonly monotonic: () => number;
}

/** Everything one attempt needs, fixed before it runs. */
export interface Attempt {
  readonly step: Step;
  /** The step that is carried out: the step itself, or the one that undoes or confirms it. */
  readonly leaf: Step;
  readonly path: string;
  readonly number: number;
  readonly operation: OperationKind;
  readonly config: JsonObject;
  readonly idempotencyKey: string;
  readonly deadlineAt: number;
  readonly scope: Scope;
  readonly handler: StepHandler;
  /** What it passes on its way out; undefined: it calls nobody. */
  readonly passage: Passage | undefined;
  /** Whose slots and bindings its secrets are found by. */
  readonly revision: CompiledRevision;
  readonly original?: StepCall["original"];
  /** An action of which an attempt before may have had its effect. */
  readonly mayHaveRun: boolean;
}

/** Renders what the attempt is called with. A failure means that nothing was called. */
export function prepareAttempt(
  environment: StepEnvironment,
  state: ExecutionState,
  revision: CompiledRevision,
  target: { readonly step: Step; readonly path: string; readonly attempt: number; readonly operation: OperationKind },
): Result<Attempt, Failure> {
  const { step, path, operation } = target;
  const leaf = leafOf(step, operation);
  invariant(leaf, `${path} declares the ${operation} that is called`);
  const handler = environment.handlers.get(leaf.type);
  invariant(handler, `step type ${leaf.type} has a handler`);
  const run = state.steps.get(path);
  const extra = operation !== "action" ? undoVariables(run?.input, run?.result, causeOf(state, operation)) : undefined;
  const scope = scopeOf(state, revision, path, extra);
  const context = contextOf(environment, state, path);
  const config = renderTemplate(leaf.config.rendered, scope, context);
  if (!config.ok) return fail(config.fault);
  const key = idempotencyKeyOf(step, state, target.path, operation, scope, context);
  if (!key.ok) return fail(key.fault);
  const passage = passageOf(handler, leaf, config.value, state.tenantId, scope, context);
  if (!passage.ok) return passage;
  const timeouts = timeoutsOf(step, leaf, operation);
  return ok({
    step,
    leaf,
    path,
    number: target.attempt,
    operation,
    config: isJsonObject(config.value) ? config.value : {},
    idempotencyKey: key.value,
    deadlineAt: deadlineOf(environment.now(), timeouts, operation === "action" ? run?.firstStartedAt : undefined, operation),
    scope,
    handler,
    passage: passage.value,
    revision,
    mayHaveRun: operation === "action" && target.attempt > 1 && (run?.leftUnknown === true || run?.action === "dispatched"),
    ...(operation === "action" ? {} : { original: originalOf(run) }),
  });
}

/** An attempt of an action lasts no longer than all of them together may. An undo is tried on slowly when its budget is spent. */
function deadlineOf(now: number, { startToCloseMs, scheduleToCloseMs }: Step["timeouts"], firstStartedAt: number | undefined, operation: string): number {
  const budgetEndsAt = operation === "action" && scheduleToCloseMs !== undefined ? (firstStartedAt ?? now) + scheduleToCloseMs : Number.POSITIVE_INFINITY;
  return Math.min(now + startToCloseMs, budgetEndsAt);
}

/** Where the call goes, and the breaker that watches it: by its destination unless the definition names something else. */
function passageOf(
  handler: StepHandler,
  leaf: Step,
  config: Json,
  tenantId: string,
  scope: Scope,
  context: EvaluationContext,
): Result<Passage | undefined, Failure> {
  const destination = isJsonObject(config) ? handler.destination?.(config) : undefined;
  if (destination === undefined) return ok(undefined);
  if (!leaf.breaker) return ok({ tenantId, destination, breaker: undefined });
  const key = leaf.breaker.key ? renderTemplate(leaf.breaker.key, scope, context) : ok(destination);
  if (!key.ok) return key;
  if (typeof key.value !== "string" || key.value === "" || key.value.length > breakerKeyCharactersMax) {
    return fail(failure("EXPRESSION", `circuit_breaker.key of step ${leaf.name} must give a text of 1 to ${breakerKeyCharactersMax} characters`));
  }
  return ok({ tenantId, destination, breaker: { key: key.value, policy: leaf.breaker } });
}

const breakerKeyCharactersMax = 512;

function leafOf(step: Step, operation: OperationKind): Step | undefined {
  if (operation === "action") return step;
  return operation === "compensate" ? step.compensation?.step : step.confirmation;
}

function timeoutsOf(step: Step, leaf: Step, operation: OperationKind): Timeouts {
  return operation === "compensate" ? (step.compensation?.timeouts ?? step.timeouts) : leaf.timeouts;
}

/** What an undo or a confirmation is told of its action. */
function originalOf(run: StepRun | undefined): NonNullable<StepCall["original"]> {
  const isKnown = run?.action === "succeeded";
  return {
    input: run?.input ?? null,
    output: isKnown ? (run.result ?? null) : null,
    mayNotHaveRun: !isKnown,
    generation: run?.undo?.generation ?? 0,
  };
}

/**
 * Constant over attempts, replicas and restarts (saga rule R2): `{execution}/{path}/{operation}` unless the definition names one;
 * with `#n` for undos that proof of a late success made necessary.
 */
function idempotencyKeyOf(
  step: Step,
  state: ExecutionState,
  path: string,
  operation: OperationKind,
  scope: Scope,
  context: EvaluationContext,
): Result<string, Failure> {
  if (operation === "compensate") {
    const generation = state.steps.get(path)?.undo?.generation ?? 0;
    return ok(`${state.executionId}/${path}/compensate${generation === 0 ? "" : `#${generation}`}`);
  }
  if (!step.idempotencyKey || operation === "confirm") return ok(`${state.executionId}/${path}/${operation}`);
  const rendered = renderTemplate(step.idempotencyKey, scope, context);
  if (!rendered.ok) return rendered;
  return typeof rendered.value === "string" && rendered.value !== ""
    ? ok(rendered.value)
    : fail(failure("EXPRESSION", `idempotency_key of step ${step.name} must give a text`));
}

/** Runs the handler. Never throws: what a handler throws by mistake may have had an effect. */
export async function carryOut(
  environment: StepEnvironment,
  state: ExecutionState,
  attempt: Attempt,
  signal: AbortSignal,
  traceparent: string | undefined,
): Promise<StepOutcome> {
  const answered = new AbortController();
  const mask = new Mask();
  const services = maskedServices(environment.services, mask, aboutOf(state, attempt));
  const secrets = attemptSecrets(environment.secrets ?? noSecrets, mask, state.tenantId, attempt.revision);
  try {
    const call = async (): Promise<StepOutcome> => {
      const answer = attempt.handler.run({ ...callOf(environment, state, attempt, signal, secrets), traceparent }, services);
      return Promise.race([answer, overdue(environment, signal, answered.signal)]);
    };
    const { passage } = attempt;
    const outcome = passage && environment.destinations ? await environment.destinations.through(passage, signal, call) : await call();
    return storableOutcome(mask.json(outcome as unknown as JsonObject) as unknown as StepOutcome);
  } catch (error) {
    if (signal.aborted && isJsonObject(signal.reason)) return { kind: "failed", failure: signal.reason as unknown as Failure, outcome: "unknown" };
    services.log.error({ type: attempt.leaf.type, error: messageOf(error) }, "a step handler threw");
    return { kind: "failed", failure: failure("INTERNAL", `step type ${attempt.leaf.type} failed unexpectedly`), outcome: "unknown" };
  } finally {
    answered.abort("answered");
  }
}

function aboutOf(state: ExecutionState, { path, number }: Attempt): AttemptAbout {
  return { executionId: state.executionId, correlationId: state.info?.correlationId ?? "", step: path, attempt: number };
}

/** How long a handler may take to notice that its attempt was ended. */
const abortGraceMs = 1_000;

/** What an attempt comes to whose handler does not listen to its signal. Never settles once the handler has answered. */
async function overdue(environment: StepEnvironment, signal: AbortSignal, answered: AbortSignal): Promise<StepOutcome> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true, signal: answered }));
  await environment.services.clock.sleep(abortGraceMs, answered).catch(() => new Promise(() => undefined));
  return { kind: "failed", failure: signal.reason as Failure, outcome: "unknown" };
}

/** A failure quotes what the other side said, which may hold what PostgreSQL refuses. Results are checked by the rules. */
function storableOutcome(outcome: StepOutcome): StepOutcome {
  if (outcome.kind !== "failed" || findJsonFault(outcome.failure) === undefined) return outcome;
  const { failure: cause } = outcome;
  const details = cause.details === undefined || findJsonFault(cause.details)?.problem.startsWith("is ") ? {} : { details: storable(cause.details) };
  return { ...outcome, failure: { name: cause.name, message: String(storable(cause.message)), ...details } };
}

/** As `carryOut`, for handlers that only compute and answer at once. */
export function carryOutNow(environment: StepEnvironment, state: ExecutionState, attempt: Attempt): StepOutcome {
  try {
    const outcome = attempt.handler.run(callOf(environment, state, attempt, neverAborted, noneToCompute), environment.services);
    invariant(!(outcome instanceof Promise), `step type ${attempt.leaf.type} answers at once`);
    return outcome;
  } catch (error) {
    environment.services.log.error(
      { executionId: state.executionId, step: attempt.path, type: attempt.leaf.type, error: messageOf(error) },
      "a step handler threw",
    );
    return { kind: "failed", failure: failure("INTERNAL", `step type ${attempt.leaf.type} failed unexpectedly`), outcome: "failed" };
  }
}

const neverAborted = new AbortController().signal;
/** What only computes sends nothing, so it has nothing to sign in with. */
const noneToCompute = attemptSecrets(noSecrets, new Mask(), "", { definition: { secretSlots: new Map() } });

function callOf(environment: StepEnvironment, state: ExecutionState, attempt: Attempt, signal: AbortSignal, secrets: AttemptSecrets): StepCall {
  const context = contextOf(environment, state, attempt.path);
  return {
    tenantId: state.tenantId,
    executionId: state.executionId,
    correlationId: state.info?.correlationId ?? "",
    stepPath: attempt.path,
    attempt: attempt.number,
    operation: attempt.operation,
    idempotencyKey: attempt.idempotencyKey,
    traceparent: state.info?.traceparent,
    carried: carriedBy(state.info),
    config: attempt.config,
    signal,
    deadlineAt: attempt.deadlineAt,
    original: attempt.original,
    mayHaveRun: attempt.mayHaveRun,
    ...(attempt.leaf.isParticipant ? { isParticipant: true } : {}),
    secrets,
    now: environment.now,
    evaluate: (path, extra) => {
      const compiled = attempt.leaf.config.deferred.get(path);
      return compiled ? evaluate(compiled, { ...attempt.scope, ...extra }, context) : ok(null);
    },
    portable: (path) => {
      const compiled = attempt.leaf.config.deferred.get(path);
      return compiled?.kind === "expression" ? portableExpression(compiled, attempt.scope, context) : undefined;
    },
  };
}

function evaluate(compiled: Expression | Template, scope: Scope, context: EvaluationContext): Result<Json, Failure> {
  return compiled.kind === "expression" ? evaluateExpression(compiled, scope, context) : renderTemplate(compiled, scope, context);
}

function contextOf(environment: StepEnvironment, state: ExecutionState, path: string): EvaluationContext {
  return { executionId: state.executionId, stepPath: path, monotonic: environment.monotonic };
}
