/**
 * The row other readers see, derived from the folded state: written in the same statement as the events they follow
 * from, so they can never disagree with the ledger.
 */
import type { Json, JsonObject } from "../base/json.ts";
import type { ExecutionState } from "./execution-state.ts";
import type { Failure } from "./failure.ts";
import { addressesOf } from "./saga-address.ts";
import { type EndReason, type ExecutionStatus, isStepOver, isTerminal, type SagaStatus } from "./states.ts";

/** What an execution's row says after a batch of events. */
export interface ExecutionRow {
  readonly status: ExecutionStatus;
  readonly saga: SagaStatus;
  readonly endReason: EndReason | undefined;
  readonly failure: Failure | undefined;
  readonly failedStep: string | undefined;
  readonly standingEffects: readonly string[];
  readonly variables: JsonObject;
  readonly paused: boolean;
  readonly lastSequence: number;
  /** Set when the execution leaves memory until that moment; undefined while it is driven or when it ended. */
  readonly wakeAt: number | undefined;
  /** When the execution times out. */
  readonly expiresAt: number | undefined;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  /** Only where a retry changed it. */
  readonly revision?: number;
  readonly input?: Json;
  /** Read when the execution begins. */
  readonly rerunOf?: string;
  readonly parentExecutionId?: string;
  readonly rootExecutionId?: string;
  /** Only where steps joined: addresses of their participants, and how many have no final outcome. */
  readonly joined?: { readonly participants: readonly string[]; readonly openSteps: number };
  /** When whoever started a saga is asked whether it has committed, or hears of its end. */
  readonly noticeAt?: number;
}

/** `isReleased`: it leaves memory, until `wakeAt` or until something from outside comes. */
export function executionRow(state: ExecutionState, wakeAt?: number, isReleased = wakeAt !== undefined): ExecutionRow {
  const { rerunOf, parentExecutionId, rootExecutionId } = state.info ?? {};
  return {
    status: isReleased && state.status === "running" ? "waiting" : state.status,
    saga: state.saga,
    endReason: state.endReason ?? state.turn?.reason,
    failure: state.failure,
    failedStep: state.failedStep,
    standingEffects: state.standingEffects,
    variables: state.variables,
    paused: state.paused,
    lastSequence: state.sequence,
    wakeAt: isTerminal(state.status) ? undefined : wakeAt,
    expiresAt: state.info?.timeoutAt,
    startedAt: state.startedAt,
    endedAt: state.endedAt,
    ...state.overrides,
    ...(rerunOf === undefined ? {} : { rerunOf }),
    ...(parentExecutionId === undefined ? {} : { parentExecutionId }),
    ...(rootExecutionId === undefined ? {} : { rootExecutionId }),
    ...(state.enlisted.length === 0 ? {} : { joined: joinedOf(state) }),
    ...noticeOf(state),
  };
}

/** Whether its starter has committed is asked from ten seconds on; of the end it hears at once. */
function noticeOf({ info, saga, createdAt, endedAt }: ExecutionState): { noticeAt?: number } {
  if (!info?.saga?.checkBack) return {};
  if (endedAt !== undefined) return { noticeAt: endedAt };
  return saga === "initializing" ? { noticeAt: createdAt + checkBackAfterMs } : {};
}

/** A starter that has not submitted by then may have died in between. */
const checkBackAfterMs = 10_000;

function joinedOf({ enlisted, steps }: ExecutionState): NonNullable<ExecutionRow["joined"]> {
  const open = enlisted.filter(({ name }) => !isStepOver(steps.get(name)?.status));
  return { participants: [...new Set(enlisted.flatMap(({ step }) => addressesOf(step)))], openSteps: open.length };
}
