/** What is shown of one execution: a fold over the events of its watch, nothing else. */
import { toJson } from "@bufbuild/protobuf";
import { timestampMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Step, WorkflowDefinition } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Failure } from "#gen/pyairtable/workflow/v1/failure_pb.js";

export type StepStatus = "pending" | "running" | "waiting" | "retrying" | "completed" | "failed" | "skipped" | "undoing" | "undone";

export interface StepView {
  readonly name: string;
  /** Field name of its kind, for example `http_request`. */
  readonly type: string;
  /** Blocks around it. */
  readonly depth: number;
  status: StepStatus;
  attempt: number;
  startedAt: number | undefined;
  endedAt: number | undefined;
  /** Error names of the attempts that failed, in order. */
  readonly causes: string[];
  /** What the other side said with the last failure. */
  reason: string | undefined;
  undoStartedAt: number | undefined;
  undoEndedAt: number | undefined;
}

export interface RunView {
  readonly executionId: string;
  readonly steps: ReadonlyMap<string, StepView>;
  /** Name of the final state, for example `COMPLETED`; undefined while it runs. */
  state: string | undefined;
  startedAt: number | undefined;
  endedAt: number | undefined;
  correlationId: string;
  readonly undone: string[];
}

export function newRunView(executionId: string, definition: WorkflowDefinition): RunView {
  const steps = new Map<string, StepView>();
  collect(definition.steps, 0, steps);
  return { executionId, steps, state: undefined, startedAt: undefined, endedAt: undefined, correlationId: "", undone: [] };
}

function collect(steps: readonly Step[], depth: number, found: Map<string, StepView>): void {
  for (const { name, kind } of steps) {
    const type = (kind.case ?? "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    found.set(name, {
      name,
      type,
      depth,
      status: "pending",
      attempt: 0,
      startedAt: undefined,
      endedAt: undefined,
      causes: [],
      reason: undefined,
      undoStartedAt: undefined,
      undoEndedAt: undefined,
    });
    if (kind.case !== "conditional") continue;
    for (const branch of kind.value.cases) collect(branch.steps, depth + 1, found);
    collect(kind.value.elseSteps, depth + 1, found);
  }
}

/** Steps that have begun, or that no branch keeps from beginning. */
export function visibleSteps(view: RunView): StepView[] {
  return [...view.steps.values()].filter((step) => step.status !== "pending" || (step.depth === 0 && view.state === undefined));
}

export function applyToView(view: RunView, event: ExecutionEvent): void {
  const at = event.time ? timestampMs(event.time) : 0;
  const { payload } = event;
  switch (payload.case) {
    case "executionCreated":
      view.correlationId = payload.value.correlationId;
      view.startedAt = at;
      return;
    case "executionEnded":
      view.state = ExecutionState[payload.value.state];
      view.endedAt = at;
      return;
  }
  const step = view.steps.get(event.stepPath);
  if (!step) return;
  if (event.attempt > step.attempt && !payload.case?.startsWith("compensation")) step.attempt = event.attempt;
  switch (payload.case) {
    case "stepStarted":
      step.status = "running";
      step.startedAt ??= at;
      return;
    case "stepWaiting":
      step.status = "waiting";
      step.startedAt ??= payload.value.startedTime ? timestampMs(payload.value.startedTime) : at;
      return;
    case "stepRetryScheduled":
      step.status = "retrying";
      noteFailure(step, payload.value.failure);
      return;
    case "stepSucceeded":
      step.startedAt ??= payload.value.startedTime ? timestampMs(payload.value.startedTime) : at;
      step.status = "completed";
      step.endedAt = at;
      return;
    case "stepFailed":
      step.startedAt ??= payload.value.startedTime ? timestampMs(payload.value.startedTime) : at;
      step.status = "failed";
      step.endedAt = at;
      noteFailure(step, payload.value.failure);
      return;
    case "stepSkipped":
      step.status = "skipped";
      return;
    case "compensationStarted":
      step.status = "undoing";
      step.undoStartedAt ??= at;
      return;
    case "compensationSucceeded":
      step.status = "undone";
      step.undoEndedAt = at;
      view.undone.push(step.name);
      return;
  }
}

function noteFailure(step: StepView, failure: Failure | undefined): void {
  step.causes.push(failure?.name ?? "?");
  // What http_request keeps of a refusal: {status, body}; the siblings answer {error, message}.
  const details = failure?.details && (toJson(ValueSchema, failure.details) as { body?: { error?: string } } | null);
  step.reason = details?.body?.error;
}
