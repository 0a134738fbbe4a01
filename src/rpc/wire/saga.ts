/** The transactional view of an execution: which effects stand, which are undone. */
import { create } from "@bufbuild/protobuf";
import type { ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Saga, SagaSchema, type SagaSnapshot, SagaSnapshotSchema } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import type { Definition } from "../../domain/definition.ts";
import type { ExecutionState } from "../../domain/execution-state.ts";
import { isStepOver } from "../../domain/states.ts";
import type { ExecutionRecord } from "../../store/execution-row.ts";
import { endReasonWords, sagaStateWords } from "./enums.ts";
import { snapshotStepsMax, standingEffectsMax } from "./execution.ts";
import { failureToMessage } from "./failure.ts";
import { stepsFromState, type WireView } from "./step.ts";
import { timestampOf } from "./time.ts";

/** What a row does not hold: known only to who folded the ledger or read the step rows. */
export interface SagaExtras {
  readonly steps?: readonly ExecutionStep[];
  readonly openSteps?: number;
  readonly expiresAt?: number | undefined;
}

export function sagaToMessage(record: ExecutionRecord, extras: SagaExtras = {}): Saga {
  return create(SagaSchema, {
    id: record.id,
    state: sagaStateWords.valueOf(record.sagaState),
    endReason: endReasonWords.valueOf(record.endReason),
    paused: record.paused,
    correlationId: record.correlationId,
    openSteps: extras.openSteps ?? 0,
    steps: extras.steps?.slice(0, snapshotStepsMax) ?? [],
    standingEffects: record.standingEffects.slice(0, standingEffectsMax),
    failure: failureToMessage(record.failure),
    expireTime: timestampOf(extras.expiresAt),
    lastSequence: BigInt(record.lastSequence),
    createTime: timestampOf(record.createdAt),
    endTime: timestampOf(record.endedAt),
  });
}

/** Steps that have begun, in their order; `basic` has none. */
export function sagaFromState(state: ExecutionState, definition?: Definition, view: WireView = "full"): Saga {
  return create(SagaSchema, {
    id: state.executionId,
    state: sagaStateWords.valueOf(state.saga),
    endReason: endReasonWords.valueOf(state.endReason ?? state.turn?.reason),
    paused: state.paused,
    correlationId: state.info?.correlationId ?? "",
    openSteps: openStepsOf(state),
    steps: view === "full" ? stepsInOrder(state, definition) : [],
    standingEffects: state.standingEffects.slice(0, standingEffectsMax),
    failure: failureToMessage(state.stuck ?? state.failure),
    expireTime: timestampOf(state.info?.timeoutAt),
    lastSequence: BigInt(state.sequence),
    createTime: state.info && timestampOf(state.createdAt),
    endTime: timestampOf(state.endedAt),
  });
}

export function sagaSnapshotFromState(state: ExecutionState, definition?: Definition): SagaSnapshot {
  return create(SagaSnapshotSchema, { saga: sagaFromState(state, definition), sequence: BigInt(state.sequence) });
}

/** Steps whose action has no final outcome yet; one that joined counts before it begins. */
function openStepsOf(state: ExecutionState): number {
  const begun = [...state.steps.values()].filter(({ status }) => !isStepOver(status)).length;
  return begun + state.enlisted.filter(({ name }) => !state.steps.has(name)).length;
}

function stepsInOrder(state: ExecutionState, definition: Definition | undefined): ExecutionStep[] {
  // Those that joined are part of it before they begin.
  const joined = new Set(state.enlisted.map(({ name }) => name));
  return stepsFromState(state, definition)
    .filter(({ path }) => state.steps.has(path) || joined.has(path))
    .slice(0, snapshotStepsMax);
}
