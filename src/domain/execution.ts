/**
 * What is known of one execution: a fold over its ledger, and the only place that says what an event means. Live runs,
 * recovery, tests and dry runs all fold through `applyEvent`; a state rebuilt from the ledger equals the one that was
 * in memory when the last of its events was made.
 *
 * `applyEvent` changes the state it is given (its caller owns it): copying the step table for each of a thousand events
 * would make recovery quadratic. It reads nothing but its two arguments.
 */
import { invariant } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { noteChange } from "./change-stamp.ts";
import type { EventPayloads, ExecutionEvent } from "./events.ts";
import { applyOperator } from "./execution-operator.ts";
import { applyReopened, reopenRuns } from "./execution-reopened.ts";
import { type ExecutionIdentity, type ExecutionState, emptyExecution, type StepRun } from "./execution-state.ts";
import { applyUndoEvent, undoOnceMore } from "./execution-undo.ts";
import type { Failure } from "./failure.ts";
import { attemptOver, later, silentUntil } from "./patience.ts";
import { heardOf, waitFor } from "./reported.ts";
import type { OperationStatus, SagaStatus, StepStatus } from "./states.ts";

/** Folds a ledger from its first event. */
export function foldExecution(identity: ExecutionIdentity, events: Iterable<ExecutionEvent>): ExecutionState {
  const state = emptyExecution(identity);
  for (const event of events) applyEvent(state, event);
  return state;
}

export function applyEvent(state: ExecutionState, event: ExecutionEvent): void {
  invariant(event.sequence === state.sequence + 1, `event ${event.sequence} follows event ${state.sequence}`);
  state.sequence = event.sequence;
  noteChange(state, event.payload.change);
  switch (event.type) {
    case "execution_created":
      state.info = event.payload;
      state.createdAt = event.at;
      if (event.payload.saga?.prepared) state.saga = "initializing";
      state.held = event.payload.held;
      return;
    case "execution_started":
      state.startedAt = event.at;
      state.status = "running";
      state.variables = { ...event.payload.variables };
      return;
    case "execution_paused":
    case "execution_resumed":
      if (event.type === "execution_resumed" && event.payload.released) {
        state.held = undefined;
        return;
      }
      state.paused = event.type === "execution_paused";
      state.pause = state.paused ? { actor: event.payload.actor, reason: event.payload.reason ?? "", at: event.at } : undefined;
      return;
    case "execution_cancel_requested":
      state.cancel = event.payload;
      return;
    case "saga_state_changed":
      applySagaState(state, event.payload);
      return;
    case "execution_ended":
      applyEnd(state, event.payload, event.at);
      return;
    case "execution_reopened":
      for (const run of applyReopened(state, event.payload, event.at)) showToExpressions(state, run);
      return;
    case "variables_set":
      // An operator's null removes; a step's is a value.
      state.variables = Object.fromEntries(
        Object.entries({ ...state.variables, ...event.payload.variables }).filter(
          ([name, value]) => value !== null || event.payload.actor === undefined || !(name in event.payload.variables),
        ),
      );
      return;
    case "step_started":
    case "step_progressed":
    case "step_succeeded":
    case "step_failed":
    case "step_retry_scheduled":
    case "step_skipped":
    case "step_canceled":
    case "step_waiting":
      applyStepEvent(state, event);
      return;
    case "compensation_started":
    case "compensation_succeeded":
    case "compensation_retry_scheduled":
    case "compensation_failed":
    case "confirmation_started":
    case "confirmation_succeeded":
    case "confirmation_retry_scheduled":
    case "confirmation_failed":
      applyUndoEvent(requireRun(state, event.stepPath), event);
      noteChild(state, requireRun(state, event.stepPath));
      return;
    case "event_received":
      if (event.payload.signalId !== undefined) state.received.add(event.payload.signalId);
      return;
    case "step_enlisted":
      state.enlisted = [...state.enlisted, { name: event.stepPath, step: event.payload.step, selfDriven: event.payload.selfDriven === true }];
      return;
    case "operator_acted":
      applyOperator(state, event.payload, event.at);
      return;
    case "anomaly": {
      const run = state.steps.get(event.stepPath);
      if (run && event.payload.kind === "contradictory_report") run.contradictedBy = [...run.contradictedBy, event.attempt];
      return;
    }
    default:
      event satisfies never;
  }
}

type StepEvent = Exclude<Extract<ExecutionEvent, { type: `step_${string}` }>, { type: "step_enlisted" }>;

function applyStepEvent(state: ExecutionState, event: StepEvent): void {
  const run = runAt(state, event.stepPath);
  if (event.attempt > run.attempt) run.attempt = event.attempt;
  switch (event.type) {
    case "step_started":
      // Sent by a process that died, and now sent again.
      if (run.action === "dispatched") {
        run.leftUnknown = true;
        run.mayRunUntil = later(run.mayRunUntil, run.attemptUntil);
      }
      // Of an attempt that is reported from outside the timers know how long it may run.
      run.attemptUntil = event.payload.deadlineAt === undefined || event.payload.reported ? undefined : silentUntil(event.at, event.payload.deadlineAt);
      run.report = event.payload.reported && waitFor(event.payload.reported, event.attempt, event.at, event.payload.deadlineAt);
      run.childId = run.report?.childId ?? run.childId;
      // Nobody has taken it yet, or another execution is at it.
      run.status = run.report?.from === "queue" ? "queued" : run.report?.from === "child" ? "waiting" : "running";
      run.begun = true;
      run.action = "dispatched";
      run.startedAt = event.at;
      run.firstStartedAt ??= event.at;
      run.wakeAt = undefined;
      run.input ??= event.payload.input;
      run.branch ??= event.payload.branch;
      break;
    case "step_waiting":
      run.status = "waiting";
      run.startedAt ??= event.payload.startedAt ?? event.at;
      run.firstStartedAt ??= run.startedAt;
      run.wakeAt = event.payload.wakeAt;
      run.input ??= event.payload.input;
      run.awaits = event.payload.events;
      if (run.awaits) {
        run.hasWaited = true;
        state.waits.add(run.path);
      }
      break;
    case "step_succeeded":
      // An operator's word is no report: what was never heard of may still be at work.
      if (run.attemptUntil !== undefined || run.report || event.payload.late) run.mayRunUntil = undefined;
      run.attemptUntil = undefined;
      if (event.payload.late) {
        run.action = "succeeded";
        run.result = event.payload.result;
        run.report = undefined;
        undoOnceMore(run);
        break;
      }
      finish(state, run, event, "completed", event.payload.copiedFrom === undefined ? "succeeded" : "skipped", event.payload.startedAt);
      run.result = event.payload.result;
      run.failure = undefined;
      run.input ??= event.payload.input;
      // An undo that is done or under way did not know of it.
      undoOnceMore(run);
      if (event.payload.exports) state.variables = { ...state.variables, ...event.payload.exports };
      break;
    case "step_failed":
      attemptOver(run, event.payload.outcome, event.payload.failure.name);
      if (event.payload.surely) {
        run.leftUnknown = false;
        run.mayRunUntil = undefined;
      }
      finish(
        state,
        run,
        event,
        "failed",
        run.leftUnknown ? "unknown" : event.payload.copiedFrom === undefined ? event.payload.outcome : "skipped",
        event.payload.startedAt,
      );
      run.failure = event.payload.failure;
      run.waitsFor = event.payload.waitsFor;
      run.handled = event.payload.handled === true;
      run.caughtBy = event.payload.caughtBy;
      run.input ??= event.payload.input;
      noteFailure(run, event);
      break;
    case "step_retry_scheduled":
      for (const reopened of reopenRuns(state, event.payload)) showToExpressions(state, reopened);
      run.waitsFor = event.payload.waitsFor;
      attemptOver(run, event.payload.outcome, event.payload.failure.name);
      run.status = "retrying";
      endWait(state, run);
      run.leftUnknown ||= event.payload.outcome === "unknown";
      run.action = event.payload.outcome;
      run.failure = event.payload.failure;
      run.wakeAt = event.payload.nextAttemptAt;
      run.report = undefined;
      if (event.payload.putBack) run.attempt = event.attempt - 1;
      if (event.payload.polled) run.attemptsBefore += 1;
      if (event.payload.slow) {
        run.slow = true;
        run.firstStartedAt = undefined;
        run.endedAt = undefined;
      }
      noteFailure(run, event);
      break;
    case "step_skipped":
      // What may have had an effect before it was left out still has to be undone.
      finish(state, run, event, "skipped", mayHaveRun(run) && !event.payload.surely ? "unknown" : "skipped", event.at);
      run.result = event.payload.result ?? null;
      run.failure = undefined;
      break;
    case "step_canceled":
      attemptOver(run, event.payload.outcome, event.payload.reason);
      finish(state, run, event, "canceled", run.leftUnknown ? "unknown" : (event.payload.outcome ?? run.action), run.startedAt);
      run.mayRunUntil = later(run.mayRunUntil, event.payload.mayRunUntil);
      break;
    case "step_progressed":
      applyProgress(run, event);
      break;
    default:
      event satisfies never;
  }
  noteChild(state, run);
  showToExpressions(state, run);
}

function noteChild(state: ExecutionState, run: StepRun): void {
  if ((run.report ?? run.undo?.report)?.childId !== undefined) state.children.add(run.path);
  else if (state.children.size > 0) state.children.delete(run.path);
}

function applyProgress(run: StepRun, { at, payload }: Extract<StepEvent, { type: "step_progressed" }>): void {
  const wait = payload.operation === undefined ? run.report : payload.operation === "compensate" ? run.undo?.report : run.confirm?.report;
  if (!wait) return;
  heardOf(wait, at, payload.heartbeatMs);
  if (wait === run.report) {
    run.status = "running";
    run.action = "in_progress";
  } else if (run.undo) {
    run.undo.status = "in_progress";
  }
}

/** An attempt before may have had an effect, or somebody outside may be having it now. */
function mayHaveRun({ leftUnknown, action, report }: StepRun): boolean {
  return leftUnknown || action === "unknown" || report !== undefined;
}

function noteFailure(run: StepRun, event: Extract<StepEvent, { type: "step_failed" | "step_retry_scheduled" }>): void {
  const { reported, failure, mayRunUntil } = event.payload;
  if (reported) run.failuresReported = new Map([...(run.failuresReported ?? []), [event.attempt, failure]]);
  run.mayRunUntil = later(run.mayRunUntil, mayRunUntil);
}

function finish(state: ExecutionState, run: StepRun, event: StepEvent, status: StepStatus, action: OperationStatus, startedAt: number | undefined): void {
  run.status = status;
  run.action = action;
  run.startedAt ??= startedAt ?? event.at;
  run.firstStartedAt ??= run.startedAt;
  run.endedAt = event.at;
  run.wakeAt = undefined;
  run.report = undefined;
  endWait(state, run);
  run.outcomeSequence = event.sequence;
}

function endWait(state: ExecutionState, run: StepRun): void {
  if (!run.awaits) return;
  run.awaits = undefined;
  state.waits.delete(run.path);
}

/** Loop items are seen through their own scope (`scope.ts`); only plain paths stand under `steps`. */
function showToExpressions(state: ExecutionState, run: StepRun): void {
  if (run.path !== run.name) return;
  state.stepsScope[run.name] = stepScopeOf(run);
}

export function stepScopeOf(run: StepRun): JsonObject {
  return {
    result: run.result ?? null,
    status: run.status,
    error: run.failure ? errorScopeOf(run.failure) : null,
    attempts: run.attempt,
  };
}

/** The variable `error` of catches, retry conditions and compensations. */
export function errorScopeOf(failure: Failure): JsonObject {
  return { name: failure.name, message: failure.message, details: failure.details ?? null };
}

function applySagaState(state: ExecutionState, payload: EventPayloads["saga_state_changed"]): void {
  if (payload.completeWhenIdle) state.completeWhenIdle = true;
  if (payload.timeoutAt !== undefined && state.info) state.info = { ...state.info, timeoutAt: payload.timeoutAt };
  // Only its terms changed.
  if (payload.state === state.saga && payload.failure === undefined) return;
  const wasInitializing = state.saga === "initializing";
  state.saga = payload.state;
  state.stuck = payload.state === "stuck" ? payload.failure : undefined;
  if (payload.state === "compensating") {
    state.status = "compensating";
    state.failure ??= payload.failure;
    state.failedStep ??= payload.stepPath;
    state.turn ??= { reason: payload.endReason ?? "step_failed", failure: payload.failure, stepPath: payload.stepPath };
  } else if (payload.state === "stuck") {
    state.status = "stuck";
    state.failure ??= payload.failure;
    state.failedStep ??= payload.stepPath;
  } else if (payload.state === "completing" || payload.state === "running") {
    state.status = wasInitializing && state.startedAt === undefined ? "pending" : "running";
    state.failure = undefined;
    if (payload.state === "completing") state.pastPivot = true;
  }
}

function applyEnd(state: ExecutionState, payload: EventPayloads["execution_ended"], at: number): void {
  state.status = payload.state;
  state.endReason = payload.endReason;
  state.endedAt = at;
  state.output = payload.output;
  state.failure = payload.failure;
  state.failedStep = payload.failedStep;
  state.standingEffects = payload.standingEffects ?? [];
  state.saga = sagaEnd(payload);
}

/** The saga's end that goes with an execution's end (contract, States): an undeclared effect changes no state. */
function sagaEnd(payload: EventPayloads["execution_ended"]): SagaStatus {
  if (payload.state === "completed") return "completed";
  return payload.compensatableStanding === true ? "failed" : "compensated";
}

function runAt(state: ExecutionState, path: string): StepRun {
  const known = state.steps.get(path);
  if (known) return known;
  const run: StepRun = {
    path,
    name: path.slice(path.lastIndexOf("/") + 1),
    status: "pending",
    attempt: 0,
    attemptsBefore: 0,
    slow: false,
    startedAt: undefined,
    endedAt: undefined,
    firstStartedAt: undefined,
    wakeAt: undefined,
    waitsFor: undefined,
    input: undefined,
    result: undefined,
    failure: undefined,
    handled: false,
    caughtBy: undefined,
    begun: false,
    branch: undefined,
    action: "none",
    leftUnknown: false,
    attemptUntil: undefined,
    outcomeSequence: 0,
    report: undefined,
    failuresReported: undefined,
    contradictedBy: [],
    mayRunUntil: undefined,
    childId: undefined,
    awaits: undefined,
    hasWaited: false,
    undo: undefined,
    confirm: undefined,
  };
  state.steps.set(path, run);
  return run;
}

function requireRun(state: ExecutionState, path: string): StepRun {
  const run = state.steps.get(path);
  invariant(run, `step ${path} is undone before it ran`);
  return run;
}
