/**
 * The engine's spans, made with the OpenTelemetry API when a tracer was given.
 *
 * All spans of an execution are in the trace its start came with. A `step NAME` span is a child of the starting context and
 * not of the drive: a drive's span is lost when its process is killed, and its children would hang in the air. It is linked
 * to the `execution NAME` span of the drive that sent it, and that one to the start; so waits, restarts and replicas stay
 * connected by what the ledger stores.
 *
 * A step whose effect leaves the process has one span for each attempt, begun when it is sent. What only computes or waits
 * is recorded when it ends, from the times in the ledger, so that a wait of a week needs no span that stays open for a week.
 */

import { type Context, type Link, ROOT_CONTEXT, type Span, type SpanContext, SpanKind, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import type { OperationKind } from "../domain/command.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { Failure } from "../domain/failure.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import type { Attempt } from "../engine/run-step.ts";
import { type AttemptTelemetry, startingContext, traceparentOf } from "../engine/telemetry.ts";

const prefix = "pyairtable.workflow.";

/** A step's end as the ledger tells it. Times in milliseconds since the epoch. */
export interface EndedStep {
  readonly path: string;
  readonly type: string;
  readonly attempt: number;
  readonly operation: OperationKind;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly failure: Failure | undefined;
}

export class DriveSpans {
  readonly #tracer: Tracer;
  readonly #state: ExecutionState;
  readonly #parent: Context;
  readonly #span: Span;
  readonly #links: readonly Link[];
  readonly #execution: Record<string, string | number>;

  constructor(tracer: Tracer, state: ExecutionState, revision: CompiledRevision) {
    this.#tracer = tracer;
    this.#state = state;
    const start = remote(state);
    this.#parent = trace.setSpanContext(ROOT_CONTEXT, start);
    this.#execution = {
      [`${prefix}execution.id`]: state.executionId,
      [`${prefix}workflow.name`]: revision.workflowName,
      [`${prefix}workflow.revision`]: revision.revision,
      [`${prefix}correlation.id`]: state.info?.correlationId ?? "",
    };
    this.#span = tracer.startSpan(
      `execution ${revision.workflowName}`,
      { kind: SpanKind.INTERNAL, attributes: { ...this.#execution, [`${prefix}execution.first_sequence`]: state.sequence }, links: [{ context: start }] },
      this.#parent,
    );
    this.#links = [{ context: this.#span.spanContext() }];
  }

  get isRecording(): boolean {
    return this.#span.isRecording();
  }

  attempt(attempt: Attempt): AttemptTelemetry {
    const { path, operation, number } = attempt;
    const attributes = this.#attributes({ path, operation, type: attempt.leaf.type, attempt: number });
    const span = this.#tracer.startSpan(`step ${nameOf(path)}`, { kind: SpanKind.CLIENT, attributes, links: [...this.#links] }, this.#parent);
    return {
      traceparent: traceparentOf(contextOf(span.spanContext())),
      end(outcome: StepOutcome) {
        if (outcome.kind === "failed") fail(span, outcome.failure);
        span.end();
      },
    };
  }

  ended(step: EndedStep): void {
    const options = { kind: SpanKind.INTERNAL, attributes: this.#attributes(step), links: [...this.#links], startTime: step.startedAt };
    const span = this.#tracer.startSpan(`step ${nameOf(step.path)}`, options, this.#parent);
    if (step.failure) fail(span, step.failure);
    span.end(step.endedAt);
  }

  end(how: string): void {
    this.#span.setAttribute(`${prefix}drive.end`, how);
    this.#span.setAttribute(`${prefix}execution.state`, this.#state.status);
    if (how === "ended" && this.#state.failure) fail(this.#span, this.#state.failure);
    this.#span.end();
  }

  #attributes(step: Pick<EndedStep, "path" | "type" | "attempt" | "operation">): Record<string, string | number> {
    return {
      ...this.#execution,
      [`${prefix}step.name`]: nameOf(step.path),
      [`${prefix}step.path`]: step.path,
      [`${prefix}step.type`]: step.type,
      [`${prefix}step.attempt`]: step.attempt,
      [`${prefix}step.operation`]: step.operation,
    };
  }
}

function fail(span: Span, { name }: Failure): void {
  // The name only: messages may carry what others answered.
  span.setStatus({ code: SpanStatusCode.ERROR, message: name });
  span.setAttribute("error.type", name);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function remote(state: ExecutionState): SpanContext {
  const { traceId, spanId, flags } = startingContext(state);
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
}

function contextOf({ traceId, spanId, traceFlags }: SpanContext): { traceId: string; spanId: string; flags: string } {
  return { traceId, spanId, flags: traceFlags.toString(16).padStart(2, "0") };
}
