/** One execution as a program holds it: an id, and what can be done with it from anywhere, also after a restart of the program. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { durationFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { toApiError, WorkflowApiError } from "./api-error.ts";
import { isPassing, pause, pauseMsAfter } from "./call-retry.ts";
import { linkSignals } from "./link-signals.ts";
import type { Plain } from "./plain.ts";
import type { RunEvent } from "./run-events.ts";
import { type RunStatus, runStatusOf, terminalStates } from "./run-status.ts";
import { type WatchOptions, watchRun } from "./run-watch.ts";

export interface CallOptions {
  /** All tries together. [the method's own: reads 10 s, writes 30 s, long polls 60 s] */
  readonly timeoutMs?: number;
  /** The call throws its reason. */
  readonly signal?: AbortSignal;
  /** Names a changing call; the same UUID again gives the first answer. [a new one, kept over the tries of this call] */
  readonly requestId?: string;
}

export interface CancelOptions extends CallOptions {
  readonly reason?: string;
  /** How long running steps may take to stop by themselves. [10 s] */
  readonly graceMs?: number;
}

export interface SignalOptions extends CallOptions {
  /** The same id twice on one execution is one event. */
  readonly dedupId?: string;
  /** How long it is kept when nothing waits for it yet. [24 h] */
  readonly ttlMs?: number;
}

export interface ResultOptions {
  readonly signal?: AbortSignal;
  /** DEADLINE_EXCEEDED after that; the execution goes on. [no bound] */
  readonly timeoutMs?: number;
  /** How long to try on while nothing answers. [300,000] */
  readonly unreachableMsMax?: number;
}

/** One long poll. */
const waitMs = 25_000;
/** A poll that is answered later than that is lost. */
const slackMs = 5_000;
const pauseMsMax = 5_000;

export class Run {
  /** `exe_…`, or `key:<execution_key>` for the newest run with that key. */
  readonly id: string;
  readonly #workflows: Client<typeof WorkflowService>;
  readonly #closed: AbortSignal;

  constructor(workflows: Client<typeof WorkflowService>, closed: AbortSignal, id: string) {
    this.#workflows = workflows;
    this.#closed = closed;
    this.id = id;
  }

  /** Every event of it from the first on, in order, once, until it has ended; connections and servers may come and go. */
  watch(options: WatchOptions = {}): AsyncGenerator<RunEvent, void, undefined> {
    return watchRun(this.#workflows, this.#closed, this.id, options);
  }

  /** Where it stands. */
  async status(options: CallOptions = {}): Promise<RunStatus> {
    const { execution } = await this.#workflows.getExecution({ executionId: this.id }, callOptions(options));
    return runStatusOf(present(execution));
  }

  /** Waits for the end; a server may stop or die meanwhile. Throws what `result` would for no outcome, and nothing for how it ended. */
  async ended(options: ResultOptions = {}): Promise<RunStatus> {
    return await this.#ended(options, false);
  }

  /** `isWhole`: with its output, however large. */
  async #ended({ signal, timeoutMs, unreachableMsMax = 300_000 }: ResultOptions, isWhole: boolean): Promise<RunStatus> {
    using stop = linkSignals(signal, this.#closed);
    const endsAt = performance.now() + (timeoutMs ?? Number.POSITIVE_INFINITY);
    let heardAt = performance.now();
    let executionId = this.id;
    for (let failures = 0; ; ) {
      const leftMs = Math.min(waitMs, endsAt - performance.now());
      if (leftMs <= 0)
        throw new WorkflowApiError(`execution ${this.id} has not ended in time; it goes on`, { code: "DEADLINE_EXCEEDED", reason: "DEADLINE_EXCEEDED" });
      try {
        const bounds = { signal: stop.signal, timeoutMs: Math.ceil(leftMs) + slackMs };
        const { execution } = await this.#workflows.waitExecution({ executionId, timeout: durationFromMs(Math.ceil(leftMs)) }, bounds);
        const status = runStatusOf(present(execution));
        if (terminalStates.has(status.state)) {
          if (!isWhole || !status.omittedFields.includes("output")) return status;
          const large = await this.#workflows.getExecution({ executionId: status.id, allowLarge: true }, bounds);
          return runStatusOf(present(large.execution));
        }
        executionId = status.id;
        failures = 0;
        heardAt = performance.now();
      } catch (thrown) {
        stop.signal.throwIfAborted();
        const error = toApiError(thrown);
        const pauseMs = pauseMsAfter(++failures, error, pauseMsMax);
        const isSilence = isPassing(error) || error.code === "DEADLINE_EXCEEDED";
        if (!isSilence || performance.now() + pauseMs - heardAt >= unreachableMsMax) throw error;
        await pause(Math.min(pauseMs, Math.max(0, endsAt - performance.now())), stop.signal);
      }
    }
  }

  /** Waits for the end and gives the output, however large. Anything but COMPLETED throws EXECUTION_FAILED with `executionId`, `state`, `error` and `step` in its metadata. */
  async result(options: ResultOptions = {}): Promise<Plain> {
    const { state, output, failure, failedStep, id, endReason } = await this.#ended(options, true);
    if (state === "COMPLETED") return output ?? null;
    const metadata = { executionId: id, state, endReason: endReason ?? "", error: failure?.name ?? "", step: failedStep ?? failure?.step ?? "" };
    const message = failure ? `${failure.name}: ${failure.message}` : `it ended ${state}`;
    throw new WorkflowApiError(`execution ${id} did not complete: ${message}`, { code: "FAILED_PRECONDITION", reason: "EXECUTION_FAILED", metadata });
  }

  /** Stops it and undoes what it did, as its definition says. */
  async cancel({ reason = "", graceMs, ...options }: CancelOptions = {}): Promise<void> {
    const grace = graceMs === undefined ? {} : { gracePeriod: durationFromMs(graceMs) };
    await this.#workflows.cancelExecution({ executionId: this.id, reason, requestId: options.requestId ?? "", ...grace }, callOptions(options));
  }

  /** Sends it an event that a `wait_for_event` step of it waits for, or will. */
  async signal(eventType: string, data: JsonValue = null, { dedupId = "", ttlMs, ...options }: SignalOptions = {}): Promise<void> {
    const ttl = ttlMs === undefined ? {} : { ttl: durationFromMs(ttlMs) };
    const request = { executionId: this.id, eventType, data: fromJson(ValueSchema, data), dedupId, requestId: options.requestId ?? "", ...ttl };
    await this.#workflows.signalExecution(request, callOptions(options));
  }
}

/** What Connect reads of the options. */
export function callOptions({ timeoutMs, signal }: CallOptions): { timeoutMs?: number; signal?: AbortSignal } {
  return { ...(timeoutMs === undefined ? {} : { timeoutMs }), ...(signal ? { signal } : {}) };
}

export function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new WorkflowApiError("the service answered without the execution; is it older than this client?", { code: "INTERNAL" });
  return value;
}
