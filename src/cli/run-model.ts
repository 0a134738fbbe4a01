/** What is known of one execution while it is watched: a fold over snapshots and events, nothing else. */

import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import type { Execution, ExecutionSnapshot, ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { EndReason, ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { timeMs } from "./spans.ts";

export interface StepModel {
  readonly path: string;
  /** Field name of its kind, for example `http_request`; empty = not known. */
  type: string;
  state: StepState;
  attempt: number;
  startMs: number | undefined;
  endMs: number | undefined;
  nextAttemptMs: number | undefined;
  /** Error name of the last failure, action or undo. */
  failure: string;
  /** What it waits for, or its progress. */
  note: string;
}

export interface RunModel {
  id: string;
  workflow: string;
  revision: number;
  correlationId: string;
  state: ExecutionState;
  endReason: EndReason;
  startMs: number | undefined;
  endMs: number | undefined;
  /** By path, in the order in which they began. */
  readonly steps: Map<string, StepModel>;
  /** Everything up to this number is in here. */
  sequence: bigint;
}

export function newRunModel(): RunModel {
  return {
    id: "",
    workflow: "",
    revision: 0,
    correlationId: "",
    state: ExecutionState.UNSPECIFIED,
    endReason: EndReason.UNSPECIFIED,
    startMs: undefined,
    endMs: undefined,
    steps: new Map(),
    sequence: 0n,
  };
}

/** A snapshot replaces what was known. */
export function applySnapshot(model: RunModel, { execution, steps, sequence }: ExecutionSnapshot): void {
  if (execution) applyExecution(model, execution);
  const types = new Map([...model.steps.values()].map(({ path, type }) => [path, type]));
  model.steps.clear();
  // Newest first on the wire.
  for (const step of [...steps].reverse()) model.steps.set(step.path, stepModel(step, types.get(step.path)));
  model.sequence = sequence;
}

export function applyExecution(model: RunModel, execution: Execution): void {
  model.id = execution.id;
  model.workflow = execution.workflowName;
  model.revision = execution.revision;
  model.correlationId = execution.correlationId;
  model.state = execution.state;
  model.endReason = execution.endReason;
  model.startMs = timeMs(execution.startTime) ?? timeMs(execution.createTime);
  model.endMs = timeMs(execution.endTime);
}

export function stepModel(step: ExecutionStep, typeKnown = ""): StepModel {
  return {
    path: step.path,
    type: step.type || typeKnown,
    state: step.state,
    attempt: step.attempt,
    startMs: timeMs(step.startTime),
    endMs: timeMs(step.endTime),
    nextAttemptMs: timeMs(step.nextAttemptTime),
    failure: (step.compensationFailure ?? step.failure)?.name ?? "",
    note: "",
  };
}

export function applyEvent(model: RunModel, event: ExecutionEvent): void {
  if (!event.live && event.sequence > model.sequence) model.sequence = event.sequence;
  if (event.stepPath === "") applyToExecution(model, event);
  else applyToStep(stepAt(model, event.stepPath), event);
}

function applyToExecution(model: RunModel, { time, payload }: ExecutionEvent): void {
  switch (payload.case) {
    case "executionCreated":
      model.workflow = payload.value.workflowName;
      model.revision = payload.value.revision;
      model.correlationId = payload.value.correlationId;
      model.state = ExecutionState.PENDING;
      return;
    case "executionStarted":
    case "executionResumed":
      model.state = ExecutionState.RUNNING;
      model.startMs ??= timeMs(time);
      return;
    case "executionPaused":
      model.state = ExecutionState.PAUSED;
      return;
    case "executionReopened":
      model.state = payload.value.evidence === undefined ? ExecutionState.RUNNING : ExecutionState.COMPENSATING;
      model.endMs = undefined;
      return;
    case "executionEnded":
      model.state = payload.value.state;
      model.endReason = payload.value.endReason;
      model.endMs = timeMs(time);
  }
}

function stepAt(model: RunModel, path: string): StepModel {
  const known = model.steps.get(path);
  if (known) return known;
  const made: StepModel = {
    path,
    type: "",
    state: StepState.PENDING,
    attempt: 0,
    startMs: undefined,
    endMs: undefined,
    nextAttemptMs: undefined,
    failure: "",
    note: "",
  };
  model.steps.set(path, made);
  return made;
}

function applyToStep(step: StepModel, { attempt, time, payload }: ExecutionEvent): void {
  const at = timeMs(time);
  if (attempt > 0) step.attempt = attempt;
  const begin = (): void => {
    step.startMs ??= at;
    step.nextAttemptMs = undefined;
    step.note = "";
  };
  switch (payload.case) {
    case "stepStarted":
      begin();
      step.state = payload.value.reported?.from === "queue" ? StepState.QUEUED : StepState.RUNNING;
      step.endMs = undefined;
      return;
    case "stepProgressed":
      step.state = step.state === StepState.QUEUED ? StepState.RUNNING : step.state;
      step.note = [payload.value.percent === undefined ? "" : `${payload.value.percent} %`, payload.value.message].filter(Boolean).join(" ");
      return;
    case "stepWaiting":
      begin();
      step.state = StepState.WAITING;
      step.nextAttemptMs = timeMs(payload.value.wakeTime);
      step.note = payload.value.awaiting ? `for ${payload.value.awaiting}` : "";
      return;
    case "stepSucceeded":
    case "stepFailed":
      step.startMs ??= timeMs(payload.value.startedTime) ?? at;
      step.endMs = at;
      step.nextAttemptMs = undefined;
      step.note = "";
      step.state = payload.case === "stepSucceeded" ? StepState.COMPLETED : StepState.FAILED;
      if (payload.case === "stepFailed") step.failure = payload.value.failure?.name ?? "";
      return;
    case "stepSkipped":
      step.state = StepState.SKIPPED;
      step.endMs = at;
      return;
    case "stepCanceled":
      step.state = StepState.CANCELED;
      step.endMs = at;
      return;
    case "stepRetryScheduled":
      step.state = StepState.RETRYING;
      step.failure = payload.value.failure?.name ?? "";
      step.nextAttemptMs = timeMs(payload.value.nextAttemptTime);
      return;
    case "compensationStarted":
      step.state = StepState.COMPENSATING;
      step.nextAttemptMs = undefined;
      return;
    case "compensationSucceeded":
      step.state = StepState.COMPENSATED;
      return;
    case "compensationRetryScheduled":
      step.failure = payload.value.failure?.name ?? "";
      step.nextAttemptMs = timeMs(payload.value.nextAttemptTime);
      return;
    case "compensationFailed":
      step.state = StepState.COMPENSATION_FAILED;
      step.failure = payload.value.failure?.name ?? "";
      step.nextAttemptMs = timeMs(payload.value.nextAttemptTime);
  }
}
