/** A watch that outlives its connection: it goes on after the last event it has seen, so nothing is missed and nothing comes twice. */
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import type { WatchExecutionResponse } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { reasonOf } from "./refusal.ts";

export type WatchItem = Exclude<WatchExecutionResponse["item"], { case: undefined }>;

export interface FollowOptions {
  /** Undefined = from now. */
  readonly afterSequence: bigint | undefined;
  readonly signal: AbortSignal;
  /** Hears that the connection broke and is tried again. */
  readonly onBroken: (error: ConnectError) => void;
  /** How long nobody may answer once the watch has begun. [5 min] */
  readonly silenceMsMax?: number;
}

const silenceMsDefault = 5 * 60_000;
const pauseMs = 200;
const pauseMsMax = 5_000;

/**
 * Ends with the execution. Throws the service's refusal; and UNAVAILABLE when nobody answers at the first try, or later for
 * `silenceMsMax`.
 */
export async function* follow(
  open: (afterSequence: bigint | undefined, signal: AbortSignal) => AsyncIterable<{ readonly item: WatchExecutionResponse["item"] }>,
  { afterSequence, signal, onBroken, silenceMsMax = silenceMsDefault }: FollowOptions,
): AsyncGenerator<WatchItem> {
  let after = afterSequence;
  let heardAt: number | undefined;
  for (let attempt = 0; ; attempt++) {
    try {
      for await (const { item } of open(after, signal)) {
        attempt = 0;
        heardAt = performance.now();
        if (item.case === undefined) continue;
        if (item.case === "snapshot") after = item.value.sequence;
        if (item.case === "event" && !item.value.live) {
          if (after !== undefined && item.value.sequence <= after) continue;
          after = item.value.sequence;
        }
        yield item;
      }
      return;
    } catch (thrown) {
      const error = ConnectError.from(thrown);
      if (signal.aborted || heardAt === undefined || !mayResume(error) || performance.now() - heardAt > silenceMsMax) throw error;
      if (attempt === 0) onBroken(error);
      await sleep(Math.min(pauseMs * 2 ** attempt, pauseMsMax), undefined, { signal });
    }
  }
}

/** The service said so, or it said nothing: the connection broke. */
export function mayResume(error: ConnectError): boolean {
  return error.code === Code.Unavailable || (reasonOf(error) === "" && error.code !== Code.Unauthenticated && error.code !== Code.PermissionDenied);
}
