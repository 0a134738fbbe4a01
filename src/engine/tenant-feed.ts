/**
 * News of all executions of one tenant in this process, read once for all streams that follow the tenant.
 *
 * Numbers order the events of one execution, nothing orders those of two, so there is no position that says "everything up to
 * here". What takes its place is a moment, the *watermark*: every event before it has surely been handed out. News come as
 * in `Progress`, by messages and from this process; a *look* at intervals finds every execution with an event after the
 * watermark (minus what is known already) and so whatever no message told, and only a finished look moves the
 * watermark: to the moment it began, minus the time that an event may need from being made to being committed.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionRecord } from "../store/execution-row.ts";
import type { TenantNewsRepository } from "../store/tenant-news-repository.ts";
import { Watcher } from "./feed.ts";
import type { Progress } from "./progress.ts";
import type { ReplicaNews } from "./replica-news.ts";

export interface TenantFeedsOptions {
  readonly repository: TenantNewsRepository;
  readonly progress: Progress;
  readonly news?: ReplicaNews;
  readonly clock: Clock;
  /** By the database-synchronised clock. */
  readonly now: () => number;
  readonly log: Log;
}

/** Longest time from the moment an event bears to its commit: it waits for the journal, and for a lease at most. */
const commitMsMax = 10_000;
/** Between two looks while messages are heard, and while not; a look that takes long comes seldom. */
const lookEveryMs = 2_000;
const lookEveryMsDeaf = 500;
const lookShare = 20;
/** News that come within it are read together. */
const gatherMs = 25;
const executionsPerReadMax = 200;
const changedMax = 10_000;
/** Longer than a watermark is old: who is known for longer without news is found by no look. */
const knownMs = 60_000;
/** Streams look at the clock this often. */
const tickMs = 500;

/** What happened to one execution. */
export interface TenantNews {
  /** As its row stood when the events were read. */
  readonly execution: ExecutionRecord;
  readonly events: readonly ExecutionEvent[];
}

export interface TenantSubscriber {
  readonly onNews: (news: readonly TenantNews[]) => void;
  readonly watcher: Watcher;
}

export class TenantFeeds {
  readonly options: TenantFeedsOptions;
  readonly #feeds = new Map<string, { readonly feed: TenantFeed; readonly close: () => void }>();

  constructor(options: TenantFeedsOptions) {
    this.options = options;
  }

  /** Tenants that somebody follows in this process. */
  get watched(): number {
    return this.#feeds.size;
  }

  /** Hands news to `onNews` once the feed is `ready`; `close` is to be called once. */
  subscribe(tenantId: string, onNews: TenantSubscriber["onNews"]): { readonly feed: TenantFeed; readonly watcher: Watcher; close(): void } {
    const opened = this.#feeds.get(tenantId) ?? this.#open(tenantId);
    const subscriber = { onNews, watcher: new Watcher() };
    opened.feed.subscribers.add(subscriber);
    return {
      feed: opened.feed,
      watcher: subscriber.watcher,
      close: () => {
        opened.feed.subscribers.delete(subscriber);
        if (opened.feed.subscribers.size > 0 || this.#feeds.get(tenantId) !== opened) return;
        this.#feeds.delete(tenantId);
        opened.close();
      },
    };
  }

  #open(tenantId: string): { readonly feed: TenantFeed; readonly close: () => void } {
    const feed = new TenantFeed(tenantId, this.options);
    const unlisten = this.options.progress.listenToTenants((tenant, executionId, first, last) => {
      if (tenant === tenantId) feed.heard(executionId, first, last);
    });
    const unwant = this.options.news?.want(tenantId);
    const opened = {
      feed,
      close: () => {
        unlisten();
        unwant?.();
        feed.stop();
      },
    };
    this.#feeds.set(tenantId, opened);
    return opened;
  }
}

interface Known {
  sequence: number;
  touchedAt: number;
}

export class TenantFeed {
  readonly tenantId: string;
  readonly subscribers = new Set<TenantSubscriber>();
  /** Resolves when every event that is committed from now on will be handed out. */
  readonly ready: Promise<void>;
  readonly #options: TenantFeedsOptions;
  readonly #stopping = new AbortController();
  /** How far the news of an execution were handed out. */
  readonly #known = new Map<string, Known>();
  #pending = new Map<string, { first: number; last: number }>();
  #watermark = 0;
  #looks = 0;
  #lookAt = 0;
  readonly #woken = new Watcher();

  constructor(tenantId: string, options: TenantFeedsOptions) {
    this.tenantId = tenantId;
    this.#options = options;
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    void this.#run(ready.resolve);
  }

  /** Every event that is older was handed out. Milliseconds since the epoch, by the database's clock. */
  get watermark(): number {
    return this.#watermark;
  }

  /** Looks that were finished. */
  get looks(): number {
    return this.#looks;
  }

  heard(executionId: string, first: number, last: number): void {
    if ((this.#known.get(executionId)?.sequence ?? 0) >= last) return;
    const pending = this.#pending.get(executionId);
    if (pending) {
      pending.first = Math.min(pending.first, first);
      pending.last = Math.max(pending.last, last);
    } else this.#pending.set(executionId, { first, last });
    this.#woken.wake();
  }

  stop(): void {
    this.#stopping.abort(new Error("nobody watches the tenant"));
    this.#woken.wake();
  }

  async #run(onReady: () => void): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        if (this.#looks === 0) {
          await this.#begin();
          onReady();
        }
        await this.#readAll();
        if (clock.monotonic() >= this.#lookAt) await this.#look();
      } catch (error) {
        log.warn({ tenantId: this.tenantId, error: messageOf(error) }, "the ledger could not be read for the streams of a tenant; it is asked again shortly");
        await clock.sleep(tickMs, signal).catch(() => undefined);
      }
      for (const { watcher } of this.subscribers) watcher.wake();
      await this.#pause();
    }
    onReady();
  }

  /** Where every execution stands that has had news lately: those are no news to the streams that begin now. */
  async #begin(): Promise<void> {
    const { repository, now } = this.#options;
    const since = now() - commitMsMax;
    for (const { executionId, last } of await repository.changedSince(this.tenantId, since, changedMax)) this.#remember(executionId, last);
    this.#watermark = since;
    this.#looks = 1;
    this.#lookAt = this.#options.clock.monotonic() + lookEveryMs;
  }

  async #look(): Promise<void> {
    const { repository, now, clock, news } = this.#options;
    const startedAt = clock.monotonic();
    const beganAt = now();
    const changed = await repository.changedSince(this.tenantId, this.#watermark, changedMax);
    for (const { executionId, first, last } of changed) this.heard(executionId, first, last);
    await this.#readAll();
    // With more changes than one look shows, the next one begins at the same moment: those handed out are known by then.
    if (changed.length < changedMax) this.#watermark = Math.max(this.#watermark, beganAt - commitMsMax);
    this.#looks += 1;
    const tookMs = clock.monotonic() - startedAt;
    this.#lookAt = clock.monotonic() + Math.max(news?.live === false ? lookEveryMsDeaf : lookEveryMs, tookMs * lookShare);
    for (const [executionId, { touchedAt }] of this.#known) if (startedAt - touchedAt > knownMs) this.#known.delete(executionId);
  }

  async #readAll(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#pending.size > 0 && !signal.aborted) {
      await this.#read();
      if (this.#pending.size > 0) await this.#options.clock.sleep(gatherMs, signal).catch(() => undefined);
    }
  }

  /** Reads and hands out news of some executions. */
  async #read(): Promise<void> {
    const { repository } = this.#options;
    const taken = [...this.#pending].slice(0, executionsPerReadMax);
    for (const [executionId] of taken) this.#pending.delete(executionId);
    try {
      const positions = await this.#positions(taken);
      const ids = taken.map(([executionId]) => executionId);
      const events = await repository.readNews(positions);
      const executions = await repository.executions(this.tenantId, ids);
      const news: TenantNews[] = [];
      taken.forEach(([executionId, { last }], index) => {
        const execution = executions.get(executionId);
        const found = events[index] ?? [];
        const reached = found.at(-1)?.sequence;
        if (!execution || reached === undefined) return;
        this.#remember(executionId, reached);
        if (reached < last) this.heard(executionId, reached + 1, last);
        news.push({ execution, events: found });
      });
      if (news.length > 0) for (const { onNews } of this.subscribers) onNews(news);
    } catch (error) {
      for (const [executionId, { first, last }] of taken) this.heard(executionId, first, last);
      throw error;
    }
    for (const { watcher } of this.subscribers) watcher.wake();
  }

  /**
   * Where to read on. For an execution that is not known the message tells where its own news begin, but one before
   * it may have been lost: then it begins with the first event after the watermark.
   */
  async #positions(taken: readonly (readonly [string, { readonly first: number }])[]) {
    const unknown = taken.filter(([executionId, { first }]) => first > 1 && !this.#known.has(executionId)).map(([executionId]) => executionId);
    const { repository } = this.#options;
    const firsts = unknown.length > 0 ? await repository.firstSince(this.tenantId, unknown, this.#watermark) : new Map<string, number>();
    return taken.map(([executionId, { first }]) => ({
      tenantId: this.tenantId,
      executionId,
      afterSequence: this.#known.get(executionId)?.sequence ?? Math.min(first, firsts.get(executionId) ?? first) - 1,
    }));
  }

  #remember(executionId: string, sequence: number): void {
    const touchedAt = this.#options.clock.monotonic();
    const known = this.#known.get(executionId);
    if (!known) this.#known.set(executionId, { sequence, touchedAt });
    else {
      known.sequence = Math.max(known.sequence, sequence);
      known.touchedAt = touchedAt;
    }
  }

  /** Until there is news, but not longer than a tick; then a little longer, so that more comes along. */
  async #pause(): Promise<void> {
    const { clock } = this.#options;
    const timer = new AbortController();
    void clock.sleep(tickMs, timer.signal).then(
      () => this.#woken.wake(),
      () => undefined,
    );
    await this.#woken.wait();
    timer.abort(new Error("woken"));
    await clock.sleep(gatherMs, this.#stopping.signal).catch(() => undefined);
  }
}
