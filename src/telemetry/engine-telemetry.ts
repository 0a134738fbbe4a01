/** Counts what the engine tells, from the events that became durable, and records spans when there is a tracer. */

import type { Tracer } from "@opentelemetry/api";
import type { KnownCorrelations } from "../base/correlated-log.ts";
import type { Counter, Histogram, Labelled } from "../base/metrics.ts";
import type { OperationKind } from "../domain/command.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { Failure } from "../domain/failure.ts";
import type { Attempt } from "../engine/run-step.ts";
import { type AttemptTelemetry, type DriveTelemetry, type EngineTelemetry, newTraceparent, startingContext } from "../engine/telemetry.ts";
import type { Instruments } from "./instruments.ts";
import { DriveSpans } from "./spans.ts";

export interface EngineTelemetryOptions {
  readonly instruments: Instruments;
  /** Milliseconds that never jump. */
  readonly monotonic: () => number;
  /** Absent: no spans; attempts still carry the trace they belong to. */
  readonly tracer?: Tracer | undefined;
  readonly correlations?: Pick<KnownCorrelations, "note"> | undefined;
}

export function createEngineTelemetry(options: EngineTelemetryOptions): EngineTelemetry {
  const types = new StepTypeCells(options.instruments);
  return {
    drive(state, revision) {
      if (state.info) options.correlations?.note(state.executionId, state.info.correlationId);
      return new Drive(options, types, state, revision);
    },
  };
}

/** Events that end an attempt or a step, with the operation they speak of. */
const endings: Partial<Record<ExecutionEvent["type"], OperationKind>> = {
  step_succeeded: "action",
  step_failed: "action",
  step_canceled: "action",
  step_retry_scheduled: "action",
  compensation_succeeded: "compensate",
  compensation_failed: "compensate",
  compensation_retry_scheduled: "compensate",
  confirmation_succeeded: "confirm",
  confirmation_failed: "confirm",
  confirmation_retry_scheduled: "confirm",
};

/** A step's state after each event; the folded state may already be further. */
const finalStates = { step_succeeded: "completed", step_failed: "failed", step_canceled: "canceled", step_skipped: "skipped" } as const;

interface PendingAttempt {
  /** Time in the engine before it was sent. */
  readonly beforeMs: number;
  answeredAt: number | undefined;
}

class Drive implements DriveTelemetry {
  readonly #options: EngineTelemetryOptions;
  readonly #types: StepTypeCells;
  readonly #state: ExecutionState;
  readonly #revision: CompiledRevision;
  readonly #spans: DriveSpans | undefined;
  /** Effects under way and those whose outcome is not durable yet, by operation and path. */
  readonly #attempts = new Map<string, PendingAttempt>();
  #turnBeganAt = 0;
  /** When the effect answered whose outcome this turn folds; undefined: the turn follows from something else. */
  #turnAnsweredAt: number | undefined;
  #newestAnswerAt: number | undefined;

  constructor(options: EngineTelemetryOptions, types: StepTypeCells, state: ExecutionState, revision: CompiledRevision) {
    this.#options = options;
    this.#types = types;
    this.#state = state;
    this.#revision = revision;
    this.#spans = options.tracer && new DriveSpans(options.tracer, state, revision);
  }

  turn(): void {
    this.#turnBeganAt = this.#options.monotonic();
    this.#turnAnsweredAt = this.#newestAnswerAt;
    this.#newestAnswerAt = undefined;
  }

  attempt(attempt: Attempt): AttemptTelemetry {
    const key = keyOf(attempt.operation, attempt.path);
    const sentAt = this.#options.monotonic();
    if (this.#turnAnsweredAt !== undefined) this.#options.instruments.sagaCoordinationSeconds.record((sentAt - this.#turnAnsweredAt) / 1000);
    const pending: PendingAttempt = { beforeMs: sentAt - this.#turnBeganAt, answeredAt: undefined };
    this.#attempts.set(key, pending);
    const span = this.#spans?.attempt(attempt);
    return {
      traceparent: span?.traceparent ?? newTraceparent(startingContext(this.#state)),
      end: (outcome) => {
        pending.answeredAt = this.#options.monotonic();
        this.#newestAnswerAt = pending.answeredAt;
        span?.end(outcome);
      },
    };
  }

  committed(events: readonly ExecutionEvent[]): void {
    if (events.length === 0) return;
    const committedAt = this.#options.monotonic();
    const { instruments } = this.#options;
    for (const event of events) {
      if (event.type === "execution_created") instruments.executionsStarted.add();
      else if (event.type === "execution_ended") {
        instruments.executionsFinished.of(event.payload.state).add();
        instruments.executionSeconds.record((event.at - this.#state.createdAt) / 1000);
      } else if (event.stepPath !== "") this.#stepEvent(event, committedAt);
    }
  }

  end(how: string): void {
    this.#spans?.end(how);
  }

  #stepEvent(event: ExecutionEvent, committedAt: number): void {
    // Only the time of the next attempt has changed.
    if ("recovered" in event.payload && event.payload.recovered) return;
    const { sagaAnomalies, undoAttempts } = this.#options.instruments;
    if (event.type === "anomaly") sagaAnomalies.of(event.payload.kind).add();
    const undo = undoOutcome(event);
    if (undo !== undefined) undoAttempts.of(undo).add();
    const operation = endings[event.type];
    const skipped = event.type === "step_skipped";
    if (operation === undefined && !skipped) return;
    const run = this.#state.steps.get(event.stepPath);
    // A rerun copies what another execution did; that was counted there.
    if (!run || ("copiedFrom" in event.payload && event.payload.copiedFrom !== undefined)) return;
    const type = this.#revision.definition.stepsByName.get(run.name)?.type ?? "other";
    const cells = this.#types.of(type);
    switch (event.type) {
      case "step_succeeded":
      case "step_failed":
      case "step_canceled":
      case "step_skipped":
        cells.finished(finalStates[event.type]).add();
        if (skipped) return;
        cells.seconds.record(Math.max(0, event.at - (run.firstStartedAt ?? event.at)) / 1000);
        cells.overhead.record(Math.max(0, this.#overheadMs(event, committedAt)) / 1000);
        break;
      case "step_retry_scheduled":
      case "compensation_retry_scheduled":
        this.#options.instruments.stepRetries.of(type, reasonOf(event.payload.failure)).add();
        break;
      default:
    }
    if (operation) this.#settled(event, operation, type, run.startedAt);
  }

  /** An effect spends time here before it is sent and after it answered; what only computes, from its turn's begin. */
  #overheadMs(event: ExecutionEvent, committedAt: number): number {
    const pending = this.#attempts.get(keyOf("action", event.stepPath));
    return pending?.answeredAt === undefined ? committedAt - this.#turnBeganAt : pending.beforeMs + committedAt - pending.answeredAt;
  }

  /** What no attempt of this drive has a span for gets one now: pure steps, waits, blocks. */
  #settled(event: ExecutionEvent, operation: OperationKind, type: string, startedAt: number | undefined): void {
    const wasSent = this.#attempts.delete(keyOf(operation, event.stepPath));
    if (wasSent || !this.#spans?.isRecording) return;
    const { stepPath: path, attempt, at } = event;
    const begun = operation === "action" ? Math.min(startedAt ?? at, at) : at;
    const failure = "failure" in event.payload ? event.payload.failure : undefined;
    this.#spans.ended({ path, type, attempt, operation, startedAt: begun, endedAt: at, failure });
  }
}

/** What came of an undo's attempt; undefined: none was made, or the event speaks of something else. */
function undoOutcome(event: ExecutionEvent): "succeeded" | "in_progress" | "failed" | undefined {
  switch (event.type) {
    case "compensation_succeeded":
      return event.payload.resolved ? undefined : "succeeded";
    case "compensation_retry_scheduled":
      if (event.payload.putBack) return undefined;
      return event.payload.polled ? "in_progress" : "failed";
    case "compensation_failed":
      return event.payload.abandoned ? undefined : "failed";
    default:
      return undefined;
  }
}

/** The cells of one step type, looked up once for each event. */
interface TypeCells {
  readonly seconds: Histogram;
  readonly overhead: Histogram;
  finished(state: string): Counter;
}

class StepTypeCells {
  readonly #instruments: Instruments;
  readonly #cells = new Map<string, TypeCells>();

  constructor(instruments: Instruments) {
    this.#instruments = instruments;
  }

  of(type: string): TypeCells {
    return this.#cells.get(type) ?? this.#add(type);
  }

  #add(type: string): TypeCells {
    const { stepSeconds, stepOverheadSeconds, stepsFinished } = this.#instruments;
    const cells: TypeCells = { seconds: stepSeconds.of(type), overhead: stepOverheadSeconds.of(type), finished: byState(stepsFinished, type) };
    this.#cells.set(type, cells);
    return cells;
  }
}

function byState(counters: Labelled<Counter>, type: string): (state: string) => Counter {
  const known = new Map<string, Counter>();
  return (state) => {
    let counter = known.get(state);
    if (!counter) {
      counter = counters.of(type, state);
      known.set(state, counter);
    }
    return counter;
  };
}

function keyOf(operation: OperationKind, path: string): string {
  return operation === "action" ? path : `undo ${path}`;
}

/** Error names of ours and codes of protocols; what tenants and workers name freely is one word. */
const listedReason =
  /^(?:NETWORK|EXPRESSION|SCHEMA|BREAKER_OPEN|CANCELED|INTERNAL|(?:TIMEOUT|LIMIT|CHILD)\.[A-Z_]+|GRPC\.[A-Z_]+|(?:HTTP|SMTP)\.[1-5]\d\d|HTTP\.REJECTED)$/;

export function reasonOf({ name }: Failure): string {
  if (listedReason.test(name)) return name;
  return /^(?:WORKER|USER)\./.test(name) ? name.slice(0, name.indexOf(".")) : "other";
}
