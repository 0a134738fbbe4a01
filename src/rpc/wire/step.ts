/** Steps of an execution, from a folded state or from a stored row. */
import { create } from "@bufbuild/protobuf";
import { type ExecutionStep, ExecutionStepSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { type StepAttempt as StepAttemptMessage, StepAttemptSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { StepAttempt } from "../../domain/attempts.ts";
import type { Definition, Step } from "../../domain/definition.ts";
import type { ExecutionState, StepRun } from "../../domain/execution-state.ts";
import { joinedSteps } from "../../domain/saga-definition.ts";
import { compensationKindWords, operationStateWords, stepStateWords } from "./enums.ts";
import { failureToMessage } from "./failure.ts";
import { timestampOf } from "./time.ts";
import { valueFromJson } from "./value.ts";

/** How much of a resource a response carries; `basic` leaves out definitions and payloads. */
export type WireView = "basic" | "full";

/**
 * The steps of a folded state. Without a definition those that have begun, in the order in which they began, their types
 * unknown (empty). With one: all steps in its order, nested ones after the block that holds them, PENDING where nothing
 * happened yet; what the definition does not name (enlisted steps) comes last.
 */
export function stepsFromState(state: ExecutionState, definition?: Definition, view: WireView = "full"): ExecutionStep[] {
  const runs = [...state.steps.values()];
  if (!definition) return runs.map((run) => runToMessage(run, undefined, view));
  const runsByName = Map.groupBy(runs, ({ name }) => name);
  const steps = [...definition.steps.flatMap(withNested), ...joinedSteps(definition)];
  return [
    ...steps.flatMap((step) => runsByName.get(step.name)?.map((run) => runToMessage(run, step, view)) ?? pendingToMessage(step)),
    ...runs.filter(({ name }) => !definition.stepsByName.has(name)).map((run) => runToMessage(run, undefined, view)),
  ];
}

/** Only the steps that have begun, newest first: what a snapshot holds. The definition adds type and kind. */
export function begunSteps(state: ExecutionState, definition: Definition | undefined, countMax: number): ExecutionStep[] {
  return [...state.steps.values()]
    .slice(-countMax)
    .reverse()
    .map((run) => runToMessage(run, definition?.stepsByName.get(run.name), "full"));
}

const operations = { action: Operation.ACTION, compensate: Operation.COMPENSATE, confirm: Operation.CONFIRM } as const;

export function attemptToMessage({ operation, attempt, state, startedAt, endedAt, failure, nextAttemptAt }: StepAttempt): StepAttemptMessage {
  return create(StepAttemptSchema, {
    operation: operations[operation],
    attempt,
    state: operationStateWords.valueOf(state),
    startTime: timestampOf(startedAt),
    endTime: timestampOf(endedAt),
    failure: failureToMessage(failure),
    nextAttemptTime: timestampOf(nextAttemptAt),
  });
}

function withNested(step: Step): Step[] {
  return [step, ...step.sequences.flatMap(({ steps }) => steps.flatMap(withNested)), ...step.catches.flatMap(({ steps }) => steps.flatMap(withNested))];
}

function runToMessage(run: StepRun, step: Step | undefined, view: WireView): ExecutionStep {
  return create(ExecutionStepSchema, {
    path: run.path,
    name: run.name,
    type: step?.type ?? "",
    state: stepStateWords.valueOf(run.status),
    attempt: run.attempt,
    ...(view === "full" ? { input: valueFromJson(run.input), result: valueFromJson(run.result) } : {}),
    failure: failureToMessage(run.failure),
    startTime: timestampOf(run.firstStartedAt),
    endTime: timestampOf(run.endedAt),
    nextAttemptTime: timestampOf(nextAttemptAt(run)),
    actionState: operationStateWords.valueOf(run.action),
    compensationState: operationStateWords.valueOf(run.undo?.status ?? "none"),
    confirmationState: operationStateWords.valueOf(run.confirm?.status ?? "none"),
    kind: compensationKindWords.valueOf(step?.kind),
    compensationFailure: failureToMessage(run.undo?.failure),
  });
}

/** The end of a wait is no attempt; it shows in the execution's `next_wake_time`. */
function nextAttemptAt(run: StepRun): number | undefined {
  return run.undo?.wakeAt ?? (run.status === "retrying" ? run.wakeAt : undefined);
}

function pendingToMessage(step: Step): ExecutionStep {
  return create(ExecutionStepSchema, {
    path: step.name,
    name: step.name,
    type: step.type,
    state: stepStateWords.valueOf("pending"),
    actionState: operationStateWords.valueOf("none"),
    compensationState: operationStateWords.valueOf("none"),
    confirmationState: operationStateWords.valueOf("none"),
    kind: compensationKindWords.valueOf(step.kind),
  });
}
