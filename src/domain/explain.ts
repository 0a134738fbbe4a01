/**
 * Why an execution does not move, or why it ended as it did: what it waits for, read off the folded state. Free of I/O; what
 * the state cannot know (which replica drives it) is handed in.
 */

import { isJsonObject } from "../base/json.ts";
import type { Blocker } from "./blocker.ts";
import { openChildren } from "./children.ts";
import type { Definition, Step } from "./definition.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { type TaskFact, taskBlockers } from "./explain-tasks.ts";
import type { Failure } from "./failure.ts";
import { patienceOf } from "./patience.ts";
import { type ExecutionStatus, isTerminal } from "./states.ts";

/** What the state does not know. */
export interface ExplainFacts {
  /** States of children, by id. */
  readonly children?: ReadonlyMap<string, ExecutionStatus>;
  readonly owner: { readonly replicaId: string; readonly address: string; readonly leaseEndsAt: number } | undefined;
  /** Its tasks in queues and at workers. */
  readonly tasks?: readonly TaskFact[];
}

export interface Explanation {
  /** One sentence or two for people. */
  readonly summary: string;
  readonly blockers: readonly Blocker[];
  /** The deepest cause of its failure. */
  readonly rootCause: Failure | undefined;
}

const blockersMax = 100;

export function explainExecution(definition: Definition, state: ExecutionState, facts: ExplainFacts, now: number): Explanation {
  const { failure } = state;
  const rootCause = failure && deepest(failure);
  if (isTerminal(state.status)) return { summary: endSummary(state, failure), blockers: [], rootCause };
  const blockers = [...ofExecution(state, now), ...taskBlockers(facts.tasks ?? []), ...childBlockers(state, facts), ...ofSteps(definition, state, now)].slice(
    0,
    blockersMax,
  );
  const summary = [openSummary(state, failure), ...flightSummary(definition, state), waitSummary(blockers, state), ownerSummary(facts)];
  return { summary: summary.filter((part) => part !== "").join(" "), blockers, rootCause };
}

function ofExecution(state: ExecutionState, now: number): Blocker[] {
  const blockers: Blocker[] = [];
  if (state.pause) {
    const { actor, reason } = state.pause;
    const message = `paused by ${actor}${reason === "" ? "" : `: ${reason}`}; resume it with ResumeExecution`;
    blockers.push({ stepPath: "", message, untilAt: undefined, cause: { kind: "pause", actor, reason } });
  }
  if (state.held !== undefined) blockers.push(queueBlocker(state.held));
  const startAt = state.info?.startAt;
  if (state.startedAt === undefined && startAt !== undefined && startAt > now) {
    blockers.push({ stepPath: "", message: `starts at ${timeText(startAt)}`, untilAt: startAt, cause: { kind: "timer", source: "start_delay" } });
  }
  if (state.saga === "stuck" && ![...state.steps.values()].some((run) => run.undo?.status === "exhausted")) {
    const { failure } = state;
    const message = `stuck${because(failure)}; retry the execution, or decide the step with CompleteStep, SkipStep or FailStep`;
    const operation = state.turn ? "compensate" : "action";
    blockers.push({ stepPath: failure?.stepPath ?? "", message, untilAt: undefined, cause: { kind: "operator", operation, failure } });
  }
  return blockers;
}

function queueBlocker(held: NonNullable<ExecutionState["held"]>): Blocker {
  const [reason, message] =
    held === "workflow_paused"
      ? ["its workflow is paused", "queued because its workflow is paused; it begins with ResumeWorkflow"]
      : ["as many executions run as its workflow allows", "queued because as many executions run as its workflow allows; it begins when one of them ends"];
  return { stepPath: "", message, untilAt: undefined, cause: { kind: "pause", actor: "workflow", reason } };
}

function ofSteps(definition: Definition, state: ExecutionState, now: number): Blocker[] {
  const blockers: Blocker[] = [];
  const goesForward = state.turn === undefined && state.saga !== "compensating";
  for (const run of state.steps.values()) {
    const step = definition.stepsByName.get(run.name);
    if (goesForward) blockers.push(...ofAction(step, run));
    blockers.push(...ofUndo(state, step, run, now));
  }
  return blockers;
}

function childBlockers(state: ExecutionState, { children }: ExplainFacts): Blocker[] {
  return openChildren(state).map(({ path: stepPath, operation, childId }) => {
    const child = children?.get(childId);
    const shown = child === undefined ? "is about to start" : `is ${child.toUpperCase()}`;
    const what = operation === "action" ? `${stepPath} waits for its child ${childId}` : `the undo of ${stepPath} waits for its child ${childId}`;
    return { stepPath, message: `${what}, which ${shown}`, untilAt: undefined, cause: { kind: "child", childId, state: child } };
  });
}

function ofAction(step: Step | undefined, run: StepRun): Blocker[] {
  const { path: stepPath, wakeAt: untilAt, failure } = run;
  if (run.status === "retrying") {
    const breaker = breakerOf(stepPath, failure, untilAt);
    if (breaker) return [breaker];
    const attempt = run.attempt + 1;
    const message = `attempt ${attempt} of ${stepPath} is due at ${timeText(untilAt)}${because(failure)}`;
    const maximumAttempts = step?.kind === "retriable" ? 0 : (step?.retry.maximumAttempts ?? 0);
    return [{ stepPath, message, untilAt, cause: { kind: "retry", operation: "action", attempt, maximumAttempts, failure } }];
  }
  if (run.status !== "waiting" || run.report) return [];
  if (run.awaits) {
    return run.awaits.map(({ eventType, correlationKey }) => {
      const key = correlationKey === undefined ? "sent to this execution" : `under the key ${correlationKey}`;
      const message = `${stepPath} waits for the event ${eventType} ${key}${untilAt === undefined ? "" : ` until ${timeText(untilAt)}`}`;
      return { stepPath, message, untilAt, cause: { kind: "event", eventType, correlationKey: correlationKey ?? "" } };
    });
  }
  return [{ stepPath, message: `${stepPath} waits until ${timeText(untilAt)}`, untilAt, cause: { kind: "timer", source: "delay" } }];
}

function ofUndo(state: ExecutionState, step: Step | undefined, run: StepRun, now: number): Blocker[] {
  const { path: stepPath, undo } = run;
  if (!undo) return step && state.turn ? ofPatience(step, run, now) : [];
  const { failure, wakeAt: untilAt } = undo;
  if (undo.status === "exhausted") {
    const slowly = untilAt === undefined ? "" : ` It is still tried slowly, next at ${timeText(untilAt)}.`;
    const message = `the undo of ${stepPath} has spent its budget${because(failure)}; retry the execution or resolve the step.${slowly}`;
    return [{ stepPath, message, untilAt, cause: { kind: "operator", operation: "compensate", failure } }];
  }
  if (untilAt === undefined || untilAt <= now) return [];
  const breaker = breakerOf(stepPath, failure, untilAt);
  if (breaker) return [breaker];
  const attempt = undo.attempt + 1;
  const message = `attempt ${attempt} to undo ${stepPath} is due at ${timeText(untilAt)}${because(failure)}`;
  const maximumAttempts = step?.compensation?.retry.maximumAttempts ?? 0;
  return [{ stepPath, message, untilAt, cause: { kind: "retry", operation: "compensate", attempt, maximumAttempts, failure } }];
}

/** Its action was never heard of and may still be at work. */
function ofPatience(step: Step, run: StepRun, now: number): Blocker[] {
  const { path: stepPath, failure } = run;
  const untilAt = patienceOf(run);
  if (!step.compensation?.step || step.compensation.barrier || untilAt === undefined || untilAt <= now) return [];
  const message = `the undo of ${stepPath} waits until ${timeText(untilAt)}: nothing was heard of its action, which may be at work until then`;
  const { maximumAttempts } = step.compensation.retry;
  return [{ stepPath, message, untilAt, cause: { kind: "retry", operation: "compensate", attempt: 1, maximumAttempts, failure } }];
}

function breakerOf(stepPath: string, failure: Failure | undefined, untilAt: number | undefined): Blocker | undefined {
  if (failure?.name !== "BREAKER_OPEN") return undefined;
  const key = isJsonObject(failure.details) ? String(failure.details["key"] ?? "") : "";
  const message = `${stepPath} waits for the circuit breaker of ${key}, which is open until ${timeText(untilAt)}`;
  return { stepPath, message, untilAt, cause: { kind: "breaker", key } };
}

function endSummary(state: ExecutionState, failure: Failure | undefined): string {
  const where = state.failedStep === undefined ? "" : ` at step ${state.failedStep}`;
  const standing = state.standingEffects.length === 0 ? "" : ` Effects that stand: ${state.standingEffects.slice(0, 10).join(", ")}.`;
  return `It ended ${state.status.toUpperCase()}${where}${because(failure)}.${standing}`;
}

function openSummary(state: ExecutionState, failure: Failure | undefined): string {
  switch (state.status) {
    case "compensating":
      return `It is being undone${because(failure)}.`;
    case "stuck":
      return `It is stuck${because(state.stuck ?? failure)}.`;
    default:
      return state.cancel ? `It is being canceled by ${state.cancel.actor}.` : "";
  }
}

/** Attempts under way: they are no blockers, but what a waiting reader wants to know. */
function flightSummary(definition: Definition, state: ExecutionState): string[] {
  const flights: string[] = [];
  for (const run of state.steps.values()) {
    if (definition.stepsByName.get(run.name)?.block) continue;
    if (run.report?.from === "caller") flights.push(`the report of attempt ${run.attempt} of ${run.path} is awaited since ${timeText(run.startedAt)}`);
    else if (run.status === "running" && !run.report) flights.push(`attempt ${run.attempt} of ${run.path} is in flight since ${timeText(run.startedAt)}`);
    if (run.undo?.status === "dispatched" && !run.undo.report) flights.push(`attempt ${run.undo.attempt} to undo ${run.path} is in flight`);
  }
  if (flights.length === 0) return [];
  const more = flights.length > 3 ? `; and ${flights.length - 3} more` : "";
  return [`${capital(flights.slice(0, 3).join("; "))}${more}.`];
}

function waitSummary(blockers: readonly Blocker[], state: ExecutionState): string {
  const [first] = blockers;
  if (!first) return state.startedAt === undefined ? "It is about to start." : "";
  const more = blockers.length > 1 ? ` (and ${blockers.length - 1} more)` : "";
  return `It waits: ${first.message}${more}.`;
}

function ownerSummary({ owner }: ExplainFacts): string {
  return owner
    ? `Replica ${owner.replicaId} (${owner.address}) drives it; its lease holds until ${timeText(owner.leaseEndsAt)}.`
    : "No replica holds it in memory.";
}

function because(failure: Failure | undefined): string {
  return failure ? ` because of ${failure.name}: ${failure.message}` : "";
}

function timeText(at: number | undefined): string {
  return at === undefined ? "an unknown time" : new Date(at).toISOString();
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function deepest(failure: Failure): Failure {
  let at = failure;
  for (let depth = 0; at.cause && depth < 100; depth++) at = at.cause;
  return at;
}
