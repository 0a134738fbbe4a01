/**
 * Starting many executions over a crash: a start whose answer did not arrive is sent again with the request id it had, so
 * that it is one execution however often it was asked for.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { check } from "./checks.ts";
import type { DemoContext } from "./context.ts";
import { inParallel } from "./in-parallel.ts";

/** Small and several at once, so that starts flow evenly and some are always under way. */
const batchMax = 50;
const batchesAtOnce = 8;
const retryMs = 100;
const patienceMs = 60_000;

export interface Starts {
  /** Ids of acknowledged executions, so far. */
  readonly ids: string[];
  /** Requests that were sent again because the connection broke. */
  repeated: number;
  /** Of these, the ones that had been accepted before the crash. */
  existing: number;
  /** When all are acknowledged. */
  readonly done: Promise<void>;
}

export function startMany(context: DemoContext, workflow: string, executions: number): Starts {
  const sizes = Array.from({ length: Math.ceil(executions / batchMax) }, (_, index) => Math.min(batchMax, executions - index * batchMax));
  const starts = { ids: [] as string[], repeated: 0, existing: 0 };
  const done = inParallel(sizes, batchesAtOnce, async (size) => {
    const requests = Array.from({ length: size }, () => ({ workflow, requestId: randomUUID() }));
    const deadline = performance.now() + patienceMs;
    let isRepeat = false;
    for (;;) {
      try {
        const { results } = await context.clients.workflows.batchStartExecutions({ requests });
        for (const { result, existing } of results) {
          check(result.case === "execution", `an execution was not started: ${result.case === "error" ? result.value.message : "no result"}`);
          starts.ids.push(result.value.id);
          if (existing) starts.existing++;
        }
        return;
      } catch (error) {
        if (!isConnectionLoss(error) || performance.now() > deadline) throw error;
        if (!isRepeat) starts.repeated += size;
        isRepeat = true;
        await sleep(retryMs);
      }
    }
  }).then(() => undefined);
  // Whoever waits for it sees the failure; until then it is not unhandled.
  done.catch(() => undefined);
  return Object.assign(starts, { done });
}

/** What a call sees of a killed server: refused, reset, or cut off. */
function isConnectionLoss(error: unknown): boolean {
  if (!(error instanceof ConnectError)) return false;
  return [Code.Unavailable, Code.Aborted, Code.Canceled, Code.Unknown, Code.Internal].includes(error.code);
}
