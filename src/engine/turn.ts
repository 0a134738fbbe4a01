/**
 * Carries out one command of `decide` as far as it can be done at once: evaluates, computes, or prepares an effect with its
 * intent. Answers with events; nothing here is durable yet and nothing has left the process.
 */
import { isJsonObject, type Json } from "../base/json.ts";
import { openBlock } from "../domain/blocks/open-block.ts";
import { childIdOf } from "../domain/children.ts";
import type { OperationKind } from "../domain/command.ts";
import { failExecution } from "../domain/decide.ts";
import type { CompiledRevision, Step } from "../domain/definition.ts";
import type { NewEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { evaluateExpression } from "../domain/expressions/evaluate-expression.ts";
import { renderTemplate } from "../domain/expressions/render-template.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { findSchemaFault } from "../domain/json-schema.ts";
import type { ReportTerms } from "../domain/report-terms.ts";
import { expired } from "../domain/reported.ts";
import { scopeOf } from "../domain/scope.ts";
import { failedEvent, settleAction, settleConfirm, settleUndo } from "../domain/settle.ts";
import { endOfWait } from "../domain/waits.ts";
import { type Attempt, carryOutNow, prepareAttempt, type StepEnvironment } from "./run-step.ts";

export interface TurnEnvironment extends StepEnvironment {
  /** 0 ≤ random < 1: jitter of retries. */
  readonly random: () => number;
}

export interface StepTurn {
  readonly events: readonly NewEvent[];
  /** To be sent once the events are durable. */
  readonly effect?: Attempt;
  /** Its outcome is reported from outside: nothing is sent from here. */
  readonly reported?: Attempt;
}

interface Target {
  readonly step: Step;
  readonly path: string;
  readonly attempt: number;
}

/** `execution_started` with the variables' start values; a failing value fails the execution. */
export function startEvents(environment: TurnEnvironment, state: ExecutionState, revision: CompiledRevision): NewEvent[] {
  const at = environment.now();
  const started = (variables?: Json): NewEvent => ({
    type: "execution_started",
    at,
    stepPath: "",
    attempt: 0,
    payload: isJsonObject(variables) ? { variables } : {},
  });
  const { definition } = revision;
  if (!definition.variables) return [started()];
  const variables = renderTemplate(definition.variables, scopeOf(state, revision, ""), evaluationOf(environment, state, ""));
  if (variables.ok) return [started(variables.value)];
  return [started(), failExecution(definition, state, variables.fault, undefined, at)];
}

/** The successful end with its output, or what a failing output does. */
export function endEvents(environment: TurnEnvironment, state: ExecutionState, revision: CompiledRevision): NewEvent[] {
  const at = environment.now();
  const { definition } = revision;
  const output = outputOf(environment, state, revision);
  if (typeof output !== "object" || output === null || !("fault" in output)) {
    return [{ type: "execution_ended", at, stepPath: "", attempt: 0, payload: { state: "completed", endReason: "success", output: output.value } }];
  }
  return [failExecution(definition, state, output.fault, undefined, at)];
}

function outputOf(environment: TurnEnvironment, state: ExecutionState, revision: CompiledRevision): { value: Json } | { fault: Failure } {
  const { definition } = revision;
  const last = definition.steps.at(-1);
  let value: Json = (last && state.steps.get(last.name)?.result) ?? null;
  if (definition.outputs) {
    const rendered = renderTemplate(definition.outputs, scopeOf(state, revision, ""), evaluationOf(environment, state, ""));
    if (!rendered.ok) return { fault: rendered.fault };
    value = rendered.value;
  }
  const mismatch = definition.outputSchema && findSchemaFault(definition.outputSchema, value);
  return mismatch ? { fault: failure("SCHEMA", `the output does not fit output_schema: ${mismatch.path || "it"} ${mismatch.problem}`) } : { value };
}

/** One attempt of a step's action. */
export function stepEvents(environment: TurnEnvironment, state: ExecutionState, revision: CompiledRevision, target: Target): StepTurn {
  const { step, path: stepPath, attempt } = target;
  const context = { revision, state, now: environment.now() };
  const run = state.steps.get(stepPath);
  const isFirst = attempt === 1 + (run?.attemptsBefore ?? 0) && run?.status !== "retrying"; // else it was put back, and its condition held
  if (isFirst && step.runIf) {
    const runs = evaluateExpression(step.runIf, scopeOf(state, revision, stepPath), evaluationOf(environment, state, stepPath));
    if (!runs.ok) return { events: [failedEvent(context, target, runs.fault, "failed")] };
    if (typeof runs.value !== "boolean") return { events: [failedEvent(context, target, notBoolean(`run_if of step ${step.name}`), "failed")] };
    if (!runs.value) return { events: [{ type: "step_skipped", at: context.now, stepPath, attempt, payload: { reason: "run_if is false" } }] };
  }
  if (step.nature === "block") return { events: [openBlock(context, target, environment.monotonic)] };
  const prepared = prepareAttempt(environment, state, revision, { ...target, operation: "action" });
  if (!prepared.ok) return { events: [failedEvent(context, target, prepared.fault, "failed")] };
  const prior = prepared.value;
  if (step.nature !== "effect") return { events: settleAction(context, target, carryOutNow(environment, state, prior), environment.random()) };
  const input = isFirst ? { input: prior.config } : {};
  const terms = reportTerms(prior, state, context.now);
  if (terms) {
    const payload = { ...input, idempotencyKey: prior.idempotencyKey, ...deadlineOf(prior, terms), reported: terms };
    return { events: [{ type: "step_started", at: context.now, stepPath, attempt, payload }], reported: prior };
  }
  const payload = { ...input, idempotencyKey: prior.idempotencyKey, deadlineAt: prior.deadlineAt };
  return { events: [{ type: "step_started", at: context.now, stepPath, attempt, payload }], effect: prior };
}

/** One attempt of a step's undo. An undo that only computes is settled at once, like any pure step. */
export function undoEvents(environment: TurnEnvironment, state: ExecutionState, revision: CompiledRevision, target: Target): StepTurn {
  const { path: stepPath, attempt } = target;
  const at = environment.now();
  const prepared = prepareAttempt(environment, state, revision, { ...target, operation: "compensate" });
  const mayNotHaveRun = state.steps.get(stepPath)?.action !== "succeeded" ? { mayNotHaveRun: true } : {};
  if (!prepared.ok) {
    const started: NewEvent = { type: "compensation_started", at, stepPath, attempt, payload: mayNotHaveRun };
    const outcome = { kind: "failed" as const, failure: prepared.fault, outcome: "failed" as const };
    return { events: [started, ...settleUndo({ revision, state, now: at }, target, outcome, environment.random())] };
  }
  const prior = prepared.value;
  const { generation = 0, attemptsBefore = 0 } = state.steps.get(stepPath)?.undo ?? {};
  const input = attempt === 1 + attemptsBefore ? { input: prior.config } : {};
  const terms = reportTerms(prior, state, at);
  const deadline = terms ? { ...deadlineOf(prior, terms), reported: terms } : { deadlineAt: prior.deadlineAt };
  const again = generation > 0 ? { generation } : {};
  const payload = { ...input, ...mayNotHaveRun, ...again, idempotencyKey: prior.idempotencyKey, ...deadline };
  const started: NewEvent = { type: "compensation_started", at, stepPath, attempt, payload };
  if (terms) return { events: [started], reported: prior };
  if (prior.leaf.nature === "effect") return { events: [started], effect: prior };
  const outcome = carryOutNow(environment, state, prior);
  return { events: [started, ...settleUndo({ revision, state, now: at }, target, outcome, environment.random())] };
}

/** Nobody reported in time, or no event came. */
export function expiryEvents(
  environment: TurnEnvironment,
  state: ExecutionState,
  revision: CompiledRevision,
  { step, path, operation }: { readonly step: Step; readonly path: string; readonly operation: OperationKind },
): NewEvent[] {
  const run = state.steps.get(path);
  const context = { revision, state, now: environment.now() };
  if (run?.status === "waiting" && run.awaits && operation === "action")
    return settleAction(context, { step, path, attempt: run.attempt }, endOfWait(step, run, context.now), environment.random());
  const wait = { action: run?.report, compensate: run?.undo?.report, confirm: run?.confirm?.report }[operation];
  if (!wait) return [];
  const settle = { action: settleAction, compensate: settleUndo, confirm: settleConfirm }[operation];
  return settle(context, { step, path, attempt: wait.attempt }, expired(wait), environment.random());
}

function reportTerms(prior: Attempt, state: ExecutionState, at: number): ReportTerms | undefined {
  const { step, leaf, operation } = prior;
  const { reportedFrom } = leaf;
  if (!reportedFrom) return undefined;
  if (reportedFrom === "child") return { from: reportedFrom, closeMs: step.timeouts.startToCloseMs, childId: childOf(prior, state, at) };
  const { startToCloseMs, heartbeatMs } = operation === "compensate" ? (step.compensation?.timeouts ?? step.timeouts) : leaf.timeouts;
  return { from: reportedFrom, closeMs: startToCloseMs, ...(heartbeatMs === undefined ? {} : { heartbeatMs }) };
}

/** A new one for each attempt of the action; its undo speaks to the one that carried it out. */
function childOf({ path, number, operation }: Attempt, state: ExecutionState, at: number): string {
  const known = operation === "action" ? undefined : state.steps.get(path)?.childId;
  return known ?? childIdOf(state.executionId, path, number, at);
}

/** A task's time begins when a worker takes it. */
function deadlineOf(prior: Attempt, terms: ReportTerms): { deadlineAt?: number } {
  return terms.from !== "caller" ? {} : { deadlineAt: prior.deadlineAt };
}

/** One attempt of a step's confirmation. */
export function confirmEvents(environment: TurnEnvironment, state: ExecutionState, revision: CompiledRevision, target: Target): StepTurn {
  const { path: stepPath, attempt } = target;
  const at = environment.now();
  const prepared = prepareAttempt(environment, state, revision, { ...target, operation: "confirm" });
  if (!prepared.ok) {
    const outcome = { kind: "failed" as const, failure: prepared.fault, outcome: "failed" as const };
    const started: NewEvent = { type: "confirmation_started", at, stepPath, attempt, payload: {} };
    return { events: [started, ...settleConfirm({ revision, state, now: at }, target, outcome, environment.random())] };
  }
  const prior = prepared.value;
  const terms = reportTerms(prior, state, at);
  const deadline = terms ? { ...deadlineOf(prior, terms), reported: terms } : { deadlineAt: prior.deadlineAt };
  const payload = { ...(attempt === 1 ? { input: prior.config } : {}), idempotencyKey: prior.idempotencyKey, ...deadline };
  return { events: [{ type: "confirmation_started", at, stepPath, attempt, payload }], ...(terms ? { reported: prior } : { effect: prior }) };
}

function notBoolean(what: string): Failure {
  return failure("EXPRESSION", `${what} must be true or false`);
}

function evaluationOf(
  environment: TurnEnvironment,
  state: ExecutionState,
  stepPath: string,
): { executionId: string; stepPath: string; monotonic: () => number } {
  return { executionId: state.executionId, stepPath, monotonic: environment.monotonic };
}
