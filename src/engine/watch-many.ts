/**
 * Follows all executions of a tenant that match a filter: those open now, then the events of all of them.
 *
 * A stream resumes at a moment, not at a number (see tenant-feed.ts): after a reconnect it sends again every event since then,
 * so nothing is lost and some events come twice, with the same numbers. A reader that lets more events pile up than are
 * kept for it gets a fresh snapshot in their place: what is open now, and what ended since it fell behind.
 *
 * A filter by state is about where an execution stands before or after an event, so a reader of `state = RUNNING` sees an
 * execution enter and leave.
 */
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionFilter } from "../store/execution-repository.ts";
import type { ExecutionRecord } from "../store/execution-row.ts";
import type { Watcher } from "./feed.ts";
import { matchesExecution, matchesIdentity } from "./match-execution.ts";
import type { TenantFeed, TenantFeeds, TenantNews } from "./tenant-feed.ts";

export type ManyItem =
  | { readonly kind: "snapshot"; readonly executions: readonly ExecutionRecord[]; readonly complete: boolean; readonly resumeAt: number | undefined }
  | { readonly kind: "event"; readonly executionId: string; readonly correlationId: string; readonly event: ExecutionEvent; readonly resumeAt: number }
  | { readonly kind: "heartbeat"; readonly resumeAt: number };

export interface WatchManyRequest {
  readonly filter: ExecutionFilter;
  /** Moment of the last item's `resumeAt`; undefined begins with a snapshot. */
  readonly resumeAt: number | undefined;
  /** Only these events. Empty: all. */
  readonly eventTypes: ReadonlySet<string>;
  readonly signal: AbortSignal;
}

/** How far back a stream resumes. */
export const resumeMsMax = 3_600_000;
/** Executions with events since then that one resume reads. */
const resumedExecutionsMax = 10_000;
/** Events that wait for a slow reader. */
const inboxEventsMax = 32 * limits.watchBacklogMax;
/** Executions of one snapshot message, and of one read when a resume replays. */
const snapshotRows = 100;
const replayRows = 50;
/** Between two snapshots for a reader that is always too slow. */
const snapshotEveryMs = 1_000;

/** Ends only by its age (SERVER_DRAINING) or the signal. Throws RESUME_EXPIRED. */
export async function* watchMany(feeds: TenantFeeds, caller: Caller, request: WatchManyRequest): AsyncGenerator<ManyItem> {
  const { clock, progress } = feeds.options;
  const stream = new Stream(feeds, caller.tenantId, request);
  const { signal } = request;
  const onAbort = (): void => stream.watcher.wake();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const endsAt = clock.monotonic() + progress.nextAgeMsMax();
    await stream.feed.ready;
    yield* request.resumeAt === undefined ? stream.snapshot(undefined) : stream.replay(request.resumeAt);
    // Whoever resumes hears at once that the stream is open and that nothing is missing, also when there is nothing new.
    let quietSince = request.resumeAt === undefined ? clock.monotonic() : Number.NEGATIVE_INFINITY;
    for (;;) {
      if (signal.aborted) return;
      if (clock.monotonic() >= endsAt) {
        throw new AppError("SERVER_DRAINING", "this stream has reached its age; call again with resume_token", { retryAfterMs: 100 });
      }
      const item = await stream.next();
      if (item === "nothing") {
        if (clock.monotonic() - quietSince >= progress.heartbeatMs) {
          yield { kind: "heartbeat", resumeAt: stream.resumeAt };
          quietSince = clock.monotonic();
        }
        await stream.watcher.wait();
      } else if (item === "behind") {
        yield* stream.snapshot(stream.resumeAt);
        quietSince = clock.monotonic();
      } else {
        yield item;
        quietSince = clock.monotonic();
      }
    }
  } finally {
    signal.removeEventListener("abort", onAbort);
    stream.close();
  }
}

interface Batch {
  readonly news: readonly TenantNews[];
  readonly watermark: number;
}

/** One reader's place in the feed of its tenant. */
class Stream {
  readonly feed: TenantFeed;
  readonly watcher: Watcher;
  readonly close: () => void;
  readonly #feeds: TenantFeeds;
  readonly #request: WatchManyRequest;
  readonly #dynamic: boolean;
  #inbox: Batch[] = [];
  #inboxEvents = 0;
  #behind = false;
  /** Items of the batch in hand. */
  #items: { readonly executionId: string; readonly correlationId: string; readonly event: ExecutionEvent }[] = [];
  /** How far executions were shown by a snapshot or replay; what the feed hands out up to there is known. */
  #shown = new Map<string, number>();
  #shownUntilLook = 0;
  /** With a filter by state: open executions that match, as far as this reader was told. */
  readonly #inView = new Set<string>();
  #snapshotAt = Number.NEGATIVE_INFINITY;
  resumeAt = 0;

  constructor(feeds: TenantFeeds, tenantId: string, request: WatchManyRequest) {
    this.#feeds = feeds;
    this.#request = request;
    this.#dynamic = request.filter.states !== undefined || request.filter.sagaStates !== undefined;
    const { feed, watcher, close } = feeds.subscribe(tenantId, (news) => this.#take(news));
    this.feed = feed;
    this.watcher = watcher;
    this.close = close;
  }

  /** The next event, or that there is none, or that too many came to be kept. */
  async next(): Promise<ManyItem | "nothing" | "behind"> {
    for (;;) {
      const item = this.#items.shift();
      if (item) return { kind: "event", ...item, resumeAt: this.resumeAt };
      if (this.#behind) {
        const { clock } = this.#feeds.options;
        const waitMs = this.#snapshotAt + snapshotEveryMs - clock.monotonic();
        if (waitMs > 0) await clock.sleep(waitMs, this.#request.signal).catch(() => undefined);
        return "behind";
      }
      const batch = this.#inbox.shift();
      if (!batch) {
        this.resumeAt = Math.max(this.resumeAt, this.feed.watermark);
        return "nothing";
      }
      this.resumeAt = Math.max(this.resumeAt, batch.watermark);
      for (const { execution, events } of batch.news) {
        this.#inboxEvents -= events.length;
        if (this.#wants(execution)) this.#add(execution, events);
      }
    }
  }

  /** What is open, and (with `endedSince`) what ended since; resolves into the state after it. */
  async *snapshot(endedSince: number | undefined): AsyncGenerator<ManyItem> {
    const { repository, clock } = this.#feeds.options;
    const { tenantId } = this.feed;
    const { filter } = this.#request;
    // What is handed out from here on is not older than what the snapshot shows, or known by its number.
    this.#inbox = [];
    this.#items = [];
    this.#inboxEvents = 0;
    this.#behind = false;
    this.#inView.clear();
    const watermark = this.feed.watermark;
    this.#show();
    let last: readonly ExecutionRecord[] = [];
    for await (const page of pages((after) => repository.open(tenantId, filter, after, snapshotRows))) {
      if (last.length > 0) yield { kind: "snapshot", executions: last, complete: false, resumeAt: undefined };
      for (const execution of page) this.#see(execution);
      last = page;
    }
    if (endedSince !== undefined) {
      for await (const page of pages((after) => repository.ended(tenantId, filter, endedSince, after, snapshotRows))) {
        if (last.length > 0) yield { kind: "snapshot", executions: last, complete: false, resumeAt: undefined };
        for (const execution of page) this.#see(execution);
        last = page;
      }
    }
    this.#snapshotAt = clock.monotonic();
    this.resumeAt = watermark;
    yield { kind: "snapshot", executions: last, complete: true, resumeAt: watermark };
  }

  /** Every event since `resumeAt` of the executions that match. */
  async *replay(resumeAt: number): AsyncGenerator<ManyItem> {
    const { repository, now } = this.#feeds.options;
    const { tenantId } = this.feed;
    if (now() - resumeAt > resumeMsMax) throw expired();
    const watermark = this.feed.watermark;
    this.#show();
    if (this.#dynamic) {
      for await (const page of pages((after) => repository.open(tenantId, this.#request.filter, after, snapshotRows))) {
        for (const execution of page) this.#inView.add(execution.id);
      }
    }
    const changed = await repository.changedSince(tenantId, resumeAt, resumedExecutionsMax + 1);
    if (changed.length > resumedExecutionsMax) throw expired();
    for (let index = 0; index < changed.length; index += replayRows) {
      let rest = changed.slice(index, index + replayRows).map(({ executionId, first, last }) => ({ tenantId, executionId, afterSequence: first - 1, last }));
      const executions = await repository.executions(
        tenantId,
        rest.map(({ executionId }) => executionId),
      );
      rest = rest.filter(({ executionId }) => {
        const execution = executions.get(executionId);
        return execution !== undefined && matchesIdentity(this.#request.filter, execution);
      });
      while (rest.length > 0) {
        const found = await repository.readNews(rest);
        const more: typeof rest = [];
        for (const [at, position] of rest.entries()) {
          const events = found[at] ?? [];
          const reached = events.at(-1)?.sequence;
          if (reached === undefined) continue;
          this.#shown.set(position.executionId, reached);
          if (reached < position.last) more.push({ ...position, afterSequence: reached });
          const execution = executions.get(position.executionId) as ExecutionRecord;
          // Where it stood before is not known: an event that changes the state may have taken it out of view.
          const wanted = !this.#dynamic || matchesExecution(this.#request.filter, execution) || events.some(({ type }) => changesState.has(type));
          if (!wanted) continue;
          for (const event of this.#typed(events))
            yield { kind: "event", executionId: position.executionId, correlationId: execution.correlationId, event, resumeAt };
        }
        rest = more;
      }
    }
    this.resumeAt = Math.max(resumeAt, watermark);
  }

  /** Called by the feed: what does not fit is dropped together, and a snapshot takes its place. */
  #take(news: readonly TenantNews[]): void {
    if (this.#behind) return;
    const events = news.reduce((sum, one) => sum + one.events.length, 0);
    if (this.#inboxEvents + events > inboxEventsMax) {
      this.#behind = true;
      this.#inbox = [];
      this.#inboxEvents = 0;
      return;
    }
    this.#inbox.push({ news, watermark: this.feed.watermark });
    this.#inboxEvents += events;
  }

  #add(execution: ExecutionRecord, events: readonly ExecutionEvent[]): void {
    if (this.feed.looks > this.#shownUntilLook) this.#shown.clear();
    const shown = this.#shown.get(execution.id) ?? 0;
    const { correlationId } = execution;
    for (const event of this.#typed(events)) if (event.sequence > shown) this.#items.push({ executionId: execution.id, correlationId, event });
  }

  /** Whether the execution matches now, or did when this reader heard of it last. */
  #wants(execution: ExecutionRecord): boolean {
    const { filter } = this.#request;
    if (!this.#dynamic) return matchesIdentity(filter, execution);
    const wasInView = this.#inView.has(execution.id);
    const isInView = matchesExecution(filter, execution);
    if (isInView && execution.endedAt === undefined) this.#inView.add(execution.id);
    else this.#inView.delete(execution.id);
    return wasInView || isInView;
  }

  #typed(events: readonly ExecutionEvent[]): readonly ExecutionEvent[] {
    const { eventTypes } = this.#request;
    return eventTypes.size === 0 ? events : events.filter(({ type }) => eventTypes.has(type));
  }

  #show(): void {
    this.#shown = new Map();
    // The look under way may have begun before, so the one after it is the first that knows all that is shown now.
    this.#shownUntilLook = this.feed.looks + 2;
  }

  #see(execution: ExecutionRecord): void {
    this.#shown.set(execution.id, execution.lastSequence);
    if (this.#dynamic && execution.endedAt === undefined) this.#inView.add(execution.id);
  }
}

/** Events after which an execution's state may be another one. */
const changesState: ReadonlySet<string> = new Set([
  "execution_created",
  "execution_started",
  "execution_paused",
  "execution_resumed",
  "execution_ended",
  "execution_reopened",
  "saga_state_changed",
  "step_waiting",
  "step_retry_scheduled",
]);

async function* pages(read: (after: ExecutionRecord | undefined) => Promise<readonly ExecutionRecord[]>): AsyncGenerator<readonly ExecutionRecord[]> {
  let after: ExecutionRecord | undefined;
  for (;;) {
    const page = await read(after);
    if (page.length === 0) return;
    yield page;
    if (page.length < snapshotRows) return;
    after = page.at(-1);
  }
}

function expired(): AppError {
  return new AppError("RESUME_EXPIRED", "too much has happened since resume_token was made; begin again without it");
}
