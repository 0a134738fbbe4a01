/**
 * Waits for events from outside: which event ends which wait, and what it means when none comes in time.
 *
 * An execution receives each event once. It goes to the oldest of its waits that takes it; other waits of the same execution
 * go on, as those of other executions that wait for it do. Nothing here knows where events come from.
 */
import type { Json, JsonObject } from "../base/json.ts";
import type { CompiledRevision, Step } from "./definition.ts";
import type { AwaitedEvent, NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { evaluateExpression } from "./expressions/evaluate-expression.ts";
import { failure } from "./failure.ts";
import { scopeOf } from "./scope.ts";
import { type SettleContext, settleAction } from "./settle.ts";
import { isTerminal } from "./states.ts";
import type { StepOutcome } from "./step-outcome.ts";

/** An event that was sent to an execution or published, as it is stored. */
export interface Signal {
  readonly signalId: string;
  readonly eventType: string;
  /** Key it was published under; undefined: it was sent to this execution. */
  readonly correlationKey: string | undefined;
  readonly data: Json;
  readonly dedupId: string | undefined;
  /** When the service took it, milliseconds since the epoch. */
  readonly receivedAt: number;
  /** Waits that begin later do not take it. */
  readonly expiresAt: number;
}

/** Whether events can end its waits. */
export function isReceiving(state: ExecutionState): boolean {
  return state.waits.size > 0 && !isTerminal(state.status) && !state.cancel && !state.turn;
}

/** Waits of the execution that an event can end, oldest first. */
export function openWaits(state: ExecutionState): StepRun[] {
  if (!isReceiving(state)) return [];
  return [...state.waits].flatMap((path) => state.steps.get(path) ?? []);
}

/**
 * The events that a signal makes; none when no open wait takes it or it was received before. Whether it came in time follows from
 * the moments at which the database took it and at which the wait began and ends, never from when somebody looked.
 */
export function receiveSignal(context: SettleContext, signal: Signal): NewEvent[] {
  const { state, revision, now } = context;
  if (state.received.has(signal.signalId)) return [];
  for (const run of openWaits(state)) {
    const step = revision.definition.stepsByName.get(run.name);
    const startedAt = run.startedAt ?? 0;
    const isOver = signal.expiresAt <= startedAt && signal.receivedAt < startedAt;
    const isLate = run.wakeAt !== undefined && signal.receivedAt > run.wakeAt;
    if (!step || isOver || isLate || !run.awaits?.some((awaited, position) => takes(state, revision, { step, run, awaited, position }, signal))) continue;
    const { signalId, eventType, correlationKey, data, dedupId, receivedAt } = signal;
    const payload = {
      eventType,
      data,
      ...(dedupId === undefined ? {} : { dedupId }),
      signalId,
      ...(correlationKey === undefined ? {} : { correlationKey }),
    };
    const result = { event_type: eventType, data, received_time: new Date(receivedAt).toISOString() };
    return [
      { type: "event_received", at: now, stepPath: run.path, attempt: run.attempt, payload },
      ...settleAction(context, { step, path: run.path, attempt: run.attempt }, { kind: "succeeded", result }, 0),
    ];
  }
  return [];
}

interface Alternative {
  readonly step: Step;
  readonly run: StepRun;
  readonly awaited: AwaitedEvent;
  readonly position: number;
}

/** A signal to this execution needs no key. A filter that cannot be evaluated does not hold. */
function takes(state: ExecutionState, revision: CompiledRevision, { step, run, awaited, position }: Alternative, signal: Signal): boolean {
  const { eventType, correlationKey } = signal;
  if (awaited.eventType !== eventType || (correlationKey !== undefined && awaited.correlationKey !== correlationKey)) return false;
  const filter = step.config.deferred.get(`any_of[${position}].filter`);
  if (filter?.kind !== "expression") return true;
  const scope = scopeOf(state, revision, run.path, { event: eventVariable(signal) });
  const verdict = evaluateExpression(filter, scope, { executionId: state.executionId, stepPath: run.path });
  return verdict.ok && verdict.value === true;
}

function eventVariable({ eventType, correlationKey, data, dedupId, receivedAt }: Signal): JsonObject {
  return {
    event_type: eventType,
    correlation_key: correlationKey ?? null,
    data,
    dedup_id: dedupId ?? null,
    received_time: new Date(receivedAt).toISOString(),
  };
}

/** What it means that the time of a wait is over. */
export function endOfWait(step: Step, run: StepRun, now: number): StepOutcome {
  if (!run.awaits) return { kind: "succeeded", result: { wake_time: new Date(run.wakeAt ?? now).toISOString() } };
  if (step.config.source["on_timeout"] === "TIMEOUT_ACTION_CONTINUE") return { kind: "succeeded", result: null };
  const awaited = run.awaits.map(({ eventType, correlationKey }) => `${eventType}${correlationKey === undefined ? "" : ` for ${correlationKey}`}`);
  return { kind: "failed", outcome: "failed", failure: failure("TIMEOUT.EVENT", `no event came in time; awaited: ${awaited.join(", ")}`) };
}
