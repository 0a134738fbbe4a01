/**
 * Follows one execution: a snapshot, then every event in order without gap or repeat, heartbeats in between, and the end.
 *
 * The ledger is the source; the execution's `Feed` holds its newest events for all watchers of this process and tells when
 * there is something new. A watch is a position in that order and nothing else:
 *
 * - from the number it was given it reads the ledger until it meets what the feed holds (replay, never cut short);
 * - from then on it is live. A reader that keeps a live stream waiting while more events come than are kept in memory gets a
 *   fresh snapshot in their place and goes on after it, so nothing is buffered for it.
 */
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { isTerminal } from "../domain/states.ts";
import type { Feed } from "./feed.ts";
import type { Progress } from "./progress.ts";

export type WatchItem =
  /** Shared with other watchers: to be read, never changed. */
  | { readonly kind: "snapshot"; readonly state: ExecutionState }
  | { readonly kind: "event"; readonly event: ExecutionEvent; readonly correlationId: string }
  | { readonly kind: "heartbeat"; readonly lastSequence: number };

export interface WatchRequest {
  readonly executionId: string;
  /** Events after this number are sent and the snapshot shows the state as of it; undefined starts from now. */
  readonly afterSequence: number | undefined;
  /** Only these events; the terminal one passes always, because a stream must say that it is over. Absent or empty: all. */
  readonly eventTypes?: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/** A reader that takes longer than this for one item keeps the stream waiting. */
const slowMs = 500;
/** Delay of a reconnect after the age limit. */
const reconnectMs = 100;

/**
 * Ends after the terminal event. Throws EXECUTION_NOT_FOUND before the first item, SEQUENCE_AHEAD for a number not reached,
 * and SERVER_DRAINING when the stream has reached its age.
 */
export async function* watchExecution(progress: Progress, caller: Caller, request: WatchRequest): AsyncGenerator<WatchItem> {
  const { signal, eventTypes } = request;
  const { clock, heartbeatMs, backlogMax } = progress;
  const { feed, watcher, close } = progress.watch(caller, request.executionId);
  const onAbort = (): void => watcher.wake();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const endsAt = clock.monotonic() + progress.nextAgeMsMax();
    let state = await firstState(feed, request);
    let position = state.sequence;
    let ended = isTerminal(state.status);
    let live = request.afterSequence === undefined;
    // Before the first event nothing is known; that event says it then.
    let correlationId = state.info?.correlationId ?? "";
    yield { kind: "snapshot", state };
    let quietSince = clock.monotonic();
    for (;;) {
      if (signal.aborted) return;
      const now = clock.monotonic();
      if (now >= endsAt)
        throw new AppError("SERVER_DRAINING", "this stream has reached its age; call again with after_sequence", { retryAfterMs: reconnectMs });
      if (now - quietSince >= heartbeatMs) {
        yield { kind: "heartbeat", lastSequence: position };
        quietSince = clock.monotonic();
      }
      const inMemory = feed.since(position);
      const pending = inMemory ?? (await feed.page(position)).events;
      if (pending.length === 0) {
        if (!inMemory) feed.reached(position);
        if (ended && feed.last <= position) return;
        live = true;
        await watcher.wait();
        continue;
      }
      let slow = false;
      for (const event of pending) {
        if (signal.aborted) return;
        if (event.type === "execution_created") correlationId = event.payload.correlationId;
        if (!eventTypes?.size || eventTypes.has(event.type) || event.type === "execution_ended") {
          const offeredAt = clock.monotonic();
          yield { kind: "event", event, correlationId };
          quietSince = clock.monotonic();
          slow = quietSince - offeredAt >= slowMs;
        }
        position = event.sequence;
        ended = event.type === "execution_ended" || (ended && event.type !== "execution_reopened");
        if (slow && live && feed.last - position > backlogMax) break;
      }
      if (!slow || !live || feed.last - position <= backlogMax) continue;
      state = (await feed.snapshot()) ?? state;
      if (state.sequence <= position) continue;
      position = state.sequence;
      ended = isTerminal(state.status);
      yield { kind: "snapshot", state };
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    close();
  }
}

/** The state as of `afterSequence`, or now. */
async function firstState(feed: Feed, { executionId, afterSequence }: WatchRequest): Promise<ExecutionState> {
  const shared = await feed.snapshot(afterSequence);
  const state = shared && shared.sequence >= (afterSequence ?? 0) ? shared : await feed.freshSnapshot(afterSequence);
  if (!state) throw new AppError("EXECUTION_NOT_FOUND", `execution ${executionId} does not exist`, { metadata: { executionId } });
  if (afterSequence !== undefined && afterSequence > state.sequence) {
    throw new AppError("SEQUENCE_AHEAD", `after_sequence ${afterSequence} is ahead of the log, whose last event is ${state.sequence}`, {
      metadata: { lastSequence: String(state.sequence) },
    });
  }
  return state;
}

/** Resolves true when the execution has ended, false after `timeoutMs` or when one of `signals` aborts. Throws EXECUTION_NOT_FOUND. */
export async function waitForEnd(
  progress: Progress,
  caller: Caller,
  executionId: string,
  timeoutMs: number,
  signals: readonly AbortSignal[],
): Promise<boolean> {
  const timer = new AbortController();
  const onAbort = (): void => timer.abort(calledOff);
  for (const signal of signals) {
    if (signal.aborted) onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
  }
  void progress.clock.sleep(timeoutMs, timer.signal).then(onAbort, () => undefined);
  try {
    const request = { executionId, afterSequence: undefined, eventTypes: onlyEnds, signal: timer.signal };
    for await (const item of watchExecution(progress, caller, request)) {
      if (item.kind === "snapshot" && isTerminal(item.state.status)) return true;
      if (item.kind === "event" && item.event.type === "execution_ended") return true;
    }
    return false;
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", onAbort);
    timer.abort(calledOff);
  }
}

/** Without a reason an abort makes an exception with its stack. */
const calledOff = "called off";

const onlyEnds: ReadonlySet<string> = new Set(["execution_ended"]);
