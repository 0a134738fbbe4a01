/** A watch that outlives its streams: it comes back where it was after a lost connection, a drained or a restarted server. */
import type { Client } from "@connectrpc/connect";
import type { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { toApiError, WorkflowApiError } from "./api-error.ts";
import { isPassing, pause, pauseMsAfter } from "./call-retry.ts";
import { linkSignals } from "./link-signals.ts";
import { type RunEvent, WatchPosition } from "./run-events.ts";

export interface WatchOptions {
  /** Events after this number; "now": a snapshot, then what comes. [0, from the first event] */
  readonly after?: number | "now";
  /** Only these events, for example ["step_failed"]; the terminal one comes always. [all] */
  readonly eventTypes?: readonly string[];
  /** Ends the watch: it throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** How long to try to come back while nothing answers. [300,000] */
  readonly unreachableMsMax?: number;
}

const pauseMsMax = 5_000;
const unreachableMsDefault = 300_000;

/**
 * Every event once, in order, with the state after it; ends when the execution has. Throws the service's refusals
 * (EXECUTION_NOT_FOUND, SCOPE_MISSING …), and UNAVAILABLE when nothing answered for `unreachableMsMax`.
 */
export async function* watchRun(
  workflows: Client<typeof WorkflowService>,
  closed: AbortSignal,
  executionId: string,
  { after = 0, eventTypes = [], signal, unreachableMsMax = unreachableMsDefault }: WatchOptions = {},
): AsyncGenerator<RunEvent, void, undefined> {
  const position = new WatchPosition(executionId, after === "now" ? undefined : BigInt(after));
  using stop = linkSignals(signal, closed);
  let heardAt = performance.now();
  for (let failures = 0; ; ) {
    // Ends the stream when the reader leaves in the middle of it.
    using stream = linkSignals(stop.signal);
    try {
      const { sequence, executionId } = position;
      const request = { executionId, eventTypes: [...eventTypes], ...(sequence === undefined ? {} : { afterSequence: sequence }) };
      for await (const message of workflows.watchExecution(request, { signal: stream.signal })) {
        failures = 0;
        const told = position.take(message);
        if (told) yield told;
        heardAt = performance.now();
        stop.signal.throwIfAborted();
      }
      if (position.hasEnded) return;
      throw new WorkflowApiError("the stream ended before the execution did", { code: "UNAVAILABLE" });
    } catch (thrown) {
      stop.signal.throwIfAborted();
      const error = toApiError(thrown);
      if (!isPassing(error)) throw error;
      if (position.hasEnded) return;
      const pauseMs = pauseMsAfter(++failures, error, pauseMsMax);
      if (performance.now() + pauseMs - heardAt >= unreachableMsMax) throw error;
      await pause(pauseMs, stop.signal);
    } finally {
      stream.abort("the reader left");
    }
  }
}
