/** Executions, from a stored row (get, list) or from a folded state (watch). */

import { create, toBinary } from "@bufbuild/protobuf";
import { type Execution, ExecutionSchema, type ExecutionSnapshot, ExecutionSnapshotSchema } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { limits } from "../../base/limits.ts";
import type { Definition } from "../../domain/definition.ts";
import type { ExecutionState } from "../../domain/execution-state.ts";
import type { Failure } from "../../domain/failure.ts";
import { type ExecutionStatus, isTerminal } from "../../domain/states.ts";
import type { ExecutionRecord } from "../../store/execution-row.ts";
import { endReasonWords, executionStateWords, sagaStateWords } from "./enums.ts";
import { failureToMessage } from "./failure.ts";
import { fitExecution, fitSteps } from "./fit.ts";
import { begunSteps, type WireView } from "./step.ts";
import { timestampOf } from "./time.ts";
import { structFromJson, valueFromJson } from "./value.ts";

/** Paths that one message lists; `standing_effects` may be longer only in the ledger. */
export const standingEffectsMax = 1_000;
/** Steps of one snapshot; ListExecutionSteps has all. */
export const snapshotStepsMax = 1_000;
/** Where the caller named no priority. */

/** `basic` has no input, output and variables. `allowLarge`: they are sent whatever their size. */
export function executionToMessage(record: ExecutionRecord, view: WireView, allowLarge = false): Execution {
  const message = create(ExecutionSchema, {
    id: record.id,
    state: executionStateWords.valueOf(shownStatus(record.state, record.paused)),
    endReason: endReasonWords.valueOf(record.endReason),
    workflowId: record.workflowId ?? "",
    workflowName: record.workflowName,
    revision: record.revision,
    ...(view === "full" ? { input: structFromJson(record.input), output: valueFromJson(record.output), variables: record.variables } : {}),
    failure: failureToMessage(record.failure),
    failedStep: record.failedStep ?? "",
    executionKey: record.executionKey ?? "",
    correlationId: record.correlationId,
    paused: record.paused,
    lastSequence: BigInt(record.lastSequence),
    sagaState: sagaStateWords.valueOf(record.sagaState),
    standingEffects: record.standingEffects.slice(0, standingEffectsMax),
    parentExecutionId: record.parentExecutionId ?? "",
    rerunOf: record.rerunOf ?? "",
    labels: { ...record.labels },
    priority: record.priority,
    createTime: timestampOf(record.createdAt),
    startTime: timestampOf(record.startedAt),
    endTime: timestampOf(record.endedAt),
    nextWakeTime: timestampOf(record.wakeAt),
  });
  return allowLarge ? message : fitExecution(message);
}

/** The state as of its last folded event. */
export function executionFromState(state: ExecutionState, view: WireView = "full"): Execution {
  const { info } = state;
  const cause = causeOf(state);
  const message = create(ExecutionSchema, {
    id: state.executionId,
    state: executionStateWords.valueOf(shownStatus(waitingOr(state), state.paused)),
    endReason: endReasonWords.valueOf(state.endReason ?? state.turn?.reason),
    workflowId: info?.workflowId ?? "",
    workflowName: info?.workflowName ?? "",
    revision: info?.revision ?? 0,
    ...(view === "full" ? { input: structFromJson(info?.input), output: valueFromJson(state.output), variables: state.variables } : {}),
    failure: failureToMessage(cause.failure),
    failedStep: cause.stepPath ?? "",
    executionKey: info?.executionKey ?? "",
    correlationId: info?.correlationId ?? "",
    paused: state.paused,
    lastSequence: BigInt(state.sequence),
    sagaState: sagaStateWords.valueOf(state.saga),
    standingEffects: state.standingEffects.slice(0, standingEffectsMax),
    parentExecutionId: info?.parentExecutionId ?? "",
    rerunOf: info?.rerunOf ?? "",
    labels: { ...info?.labels },
    priority: info?.priority ?? limits.priorityDefault,
    createTime: info && timestampOf(state.createdAt),
    startTime: timestampOf(state.startedAt),
    endTime: timestampOf(state.endedAt),
    nextWakeTime: timestampOf(nextWakeAt(state)),
  });
  return fitExecution(message);
}

/** What a watch begins with. The definition, when it is at hand, adds type and kind of the steps. */
export function snapshotFromState(state: ExecutionState, definition?: Definition): ExecutionSnapshot {
  const execution = executionFromState(state);
  return create(ExecutionSnapshotSchema, {
    execution,
    steps: fitSteps(begunSteps(state, definition, snapshotStepsMax), toBinary(ExecutionSchema, execution).length),
    sequence: BigInt(state.sequence),
  });
}

/** PAUSED shows where nothing stronger is going on: a compensation keeps its state while paused. */
function shownStatus(status: ExecutionStatus, paused: boolean): ExecutionStatus {
  return paused && (status === "pending" || status === "running" || status === "waiting") ? "paused" : status;
}

/** A run of which every open step only waits for its time counts as waiting. A block is open as long as what it holds. */
function waitingOr(state: ExecutionState): ExecutionStatus {
  if (state.status !== "running") return state.status;
  let waits = false;
  for (const run of state.steps.values()) {
    if (run.status === "waiting" || run.status === "retrying") waits = true;
    else if ((run.status === "running" || run.status === "queued") && run.branch === undefined) return "running";
  }
  return waits ? "waiting" : "running";
}

/** What made it turn back outlives the trouble that the compensation itself may meet. */
function causeOf(state: ExecutionState): { failure: Failure | undefined; stepPath: string | undefined } {
  return { failure: state.failure, stepPath: state.failedStep };
}

function nextWakeAt(state: ExecutionState): number | undefined {
  if (isTerminal(state.status)) return undefined;
  const moments = state.status === "pending" ? [state.info?.startAt] : [...state.steps.values()].flatMap((run) => [run.wakeAt, run.undo?.wakeAt]);
  let earliest: number | undefined;
  for (const moment of moments) if (moment !== undefined && moment < (earliest ?? Infinity)) earliest = moment;
  return earliest;
}
