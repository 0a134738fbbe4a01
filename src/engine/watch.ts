/**
 * Follows one execution: a snapshot, then every event in order without gap or repeat, heartbeats in between, and the end.
 *
 * The ledger is the source; `Progress` only tells that there is something new, and carries it when nothing was missed. So a
 * watch is right on any replica: where the execution is driven here, news come at once; where it is not, the ledger is
 * asked at an interval. What is buffered for a slow reader is bounded; beyond that it is read from the ledger again.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution.ts";
import { isTerminal } from "../domain/states.ts";
import type { Progress } from "./progress.ts";
import { type ListEvents, ledgerPageRows, readExecution } from "./read-execution.ts";

export type WatchItem =
  | { readonly kind: "snapshot"; readonly state: ExecutionState }
  | { readonly kind: "event"; readonly event: ExecutionEvent }
  | { readonly kind: "heartbeat"; readonly lastSequence: number };

export interface WatchOptions {
  readonly progress: Progress;
  readonly clock: Clock;
  readonly listEvents: ListEvents;
}

export interface WatchRequest {
  readonly executionId: string;
  /** Events after this number are sent and the snapshot shows the state as of it; undefined starts from now. */
  readonly afterSequence: number | undefined;
  readonly signal: AbortSignal;
}

/** How often the ledger is asked when nobody in this process tells of news. */
const ledgerPollMs = 500;

/** Ends after the terminal event. Throws EXECUTION_NOT_FOUND before the first item, SEQUENCE_AHEAD for a number not reached. */
export async function* watchExecution(options: WatchOptions, caller: Caller, request: WatchRequest): AsyncGenerator<WatchItem> {
  const { executionId, signal } = request;
  const inbox = new Inbox();
  const unsubscribe = options.progress.subscribe(executionId, (events) => inbox.add(events));
  try {
    const state = await snapshot(options, caller, request);
    yield { kind: "snapshot", state };
    let position = state.sequence;
    let ended = isTerminal(state.status);
    let pending: readonly ExecutionEvent[] = [];
    let quietSince = options.clock.monotonic();
    for (;;) {
      for (const event of pending) {
        if (event.sequence <= position) continue;
        yield { kind: "event", event };
        position = event.sequence;
        ended = event.type === "execution_ended" || (ended && event.type !== "execution_reopened");
        quietSince = options.clock.monotonic();
      }
      if (ended && !inbox.hasNewsAfter(position)) {
        pending = await options.listEvents(caller, executionId, position, ledgerPageRows);
        if (pending.length === 0) return;
        continue;
      }
      if (signal.aborted) return;
      pending = inbox.takeAfter(position) ?? (await options.listEvents(caller, executionId, position, ledgerPageRows));
      if (pending.length > 0) continue;
      if (options.clock.monotonic() - quietSince >= limits.watchHeartbeatMs) {
        yield { kind: "heartbeat", lastSequence: position };
        quietSince = options.clock.monotonic();
      }
      await inbox.news(options.clock, ledgerPollMs, signal);
    }
  } finally {
    unsubscribe();
  }
}

/** The state as of `afterSequence`, or now. */
async function snapshot(options: WatchOptions, caller: Caller, { executionId, afterSequence }: WatchRequest): Promise<ExecutionState> {
  const state = await readExecution(options.listEvents, caller, executionId, afterSequence);
  if (!state) throw new AppError("EXECUTION_NOT_FOUND", `execution ${executionId} does not exist`, { metadata: { executionId } });
  if (afterSequence !== undefined && afterSequence > state.sequence) {
    throw new AppError("SEQUENCE_AHEAD", `after_sequence ${afterSequence} is ahead of the log, whose last event is ${state.sequence}`, {
      metadata: { lastSequence: String(state.sequence) },
    });
  }
  return state;
}

/** Committed news of this process, bounded; after an overflow the ledger is read instead. */
class Inbox {
  #events: ExecutionEvent[] = [];
  #overflowed = false;
  #wakeUp: () => void = () => undefined;

  add(events: readonly ExecutionEvent[]): void {
    if (this.#events.length + events.length > limits.watchBacklogMax) {
      this.#events = [];
      this.#overflowed = true;
    } else {
      this.#events.push(...events);
    }
    this.#wakeUp();
  }

  hasNewsAfter(position: number): boolean {
    return this.#overflowed || (this.#events.at(-1)?.sequence ?? 0) > position;
  }

  /** The events that follow `position` without a gap; undefined when only the ledger can tell. */
  takeAfter(position: number): readonly ExecutionEvent[] | undefined {
    const events = this.#events.filter((event) => event.sequence > position);
    this.#events = [];
    if (this.#overflowed || events.length === 0 || events[0]?.sequence !== position + 1) {
      this.#overflowed = false;
      return undefined;
    }
    return events;
  }

  async news(clock: Clock, durationMs: number, signal: AbortSignal): Promise<void> {
    if (this.#overflowed || this.#events.length > 0) return;
    const timer = new AbortController();
    const onAbort = (): void => timer.abort();
    signal.addEventListener("abort", onAbort, { once: true });
    const woken = new Promise<void>((resolve) => (this.#wakeUp = resolve));
    await Promise.race([clock.sleep(durationMs, timer.signal).catch(() => undefined), woken]);
    signal.removeEventListener("abort", onAbort);
    timer.abort();
  }
}

/** Resolves true when the execution has ended, false after `timeoutMs`. Throws EXECUTION_NOT_FOUND. */
export async function waitForEnd(options: WatchOptions, caller: Caller, executionId: string, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const timer = new AbortController();
  const onAbort = (): void => timer.abort();
  signal.addEventListener("abort", onAbort, { once: true });
  void options.clock.sleep(timeoutMs, timer.signal).then(onAbort, () => undefined);
  try {
    for await (const item of watchExecution(options, caller, { executionId, afterSequence: undefined, signal: timer.signal })) {
      if (item.kind === "snapshot" && isTerminal(item.state.status)) return true;
      if (item.kind === "event" && item.event.type === "execution_ended") return true;
    }
    return false;
  } finally {
    signal.removeEventListener("abort", onAbort);
    timer.abort();
  }
}
