/**
 * What the engine tells of its work, and the trace context it hands to effects. The engine knows neither metrics nor
 * spans: it calls this interface at the moments that matter, and `src/telemetry/` counts and traces.
 *
 * The trace of an execution is the one its start came with; it is stored in the ledger, so every attempt, on any replica
 * and after any restart, belongs to it. An execution that was started without one gets its own id as trace id: both are
 * 128 bits, so all replicas agree without asking.
 */
import { fewRandomBytes, parseId } from "../base/ids.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import type { Attempt } from "./run-step.ts";

export interface EngineTelemetry {
  /** This process begins to drive the execution: a start, or a claim after a wait, a restart or a takeover. */
  drive(state: ExecutionState, revision: CompiledRevision): DriveTelemetry;
}

export interface DriveTelemetry {
  /** A turn begins. What it decides and computes is durable with the next `committed`. */
  turn(): void;
  /** These events are durable; the state is the one after them. */
  committed(events: readonly ExecutionEvent[]): void;
  /** The effect leaves the process now; its intent is durable. */
  attempt(attempt: Attempt): AttemptTelemetry;
  /** The drive is over: ended, parked or lost. */
  end(how: string): void;
}

export interface AttemptTelemetry {
  /** W3C trace context of this attempt, to be sent with it. */
  readonly traceparent: string;
  end(outcome: StepOutcome): void;
}

export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly flags: string;
}

const form = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;

/** The context that the execution was started in. */
export function startingContext(state: ExecutionState): TraceContext {
  const match = form.exec(state.info?.traceparent ?? "");
  if (match) return { traceId: match[1] as string, spanId: match[2] as string, flags: match[3] as string };
  const digits = (parseId("execution", state.executionId) ?? "").replaceAll("-", "");
  // Sampled: an unsampled parent would switch off the traces of siblings that record by their own rules.
  return { traceId: digits, spanId: digits.slice(16), flags: "01" };
}

export function traceparentOf({ traceId, spanId, flags }: TraceContext): string {
  return `00-${traceId}-${spanId}-${flags}`;
}

/** A new span id in the same trace: what an attempt carries when nothing records spans. */
export function newTraceparent(start: TraceContext): string {
  return traceparentOf({ ...start, spanId: fewRandomBytes(8).toString("hex") });
}

/** Counts nothing and records nothing; attempts still carry the execution's trace. */
export const silentTelemetry: EngineTelemetry = {
  drive: (state) => ({
    turn: () => undefined,
    committed: () => undefined,
    attempt: () => ({ traceparent: newTraceparent(startingContext(state)), end: () => undefined }),
    end: () => undefined,
  }),
};
