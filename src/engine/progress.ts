/**
 * News of executions for whoever watches them in this process, published after commit and never before.
 *
 * Each watched execution has one `Feed`. What is driven here is published to it at once. For what a peer drives, the peer
 * tells that there is something new (`ReplicaNews`) and the ledger is read, once for all watchers of this process and in
 * one statement for all executions that were told of together. Where nobody tells, or a message was lost, a look at
 * intervals finds it: every half second while no messages can be heard or the feed is new, else every few seconds.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { NewsRepository } from "../store/news-repository.ts";
import { Feed, type Watcher } from "./feed.ts";
import { type ListEvents, ledgerPageRows } from "./read-execution.ts";
import type { ReplicaNews } from "./replica-news.ts";

export interface ProgressOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly listEvents: ListEvents;
  readonly readNews: NewsRepository["readNews"];
  /** Absent: there are no other replicas to hear of. */
  readonly news?: ReplicaNews;
  /** 0 ≤ random < 1: spreads the ends of streams. */
  readonly random: () => number;
  readonly heartbeatMs?: number;
  readonly ageMsMax?: number;
  readonly backlogMax?: number;
}

/** Hears of everything that is committed here, for watches of a whole tenant. */
export type TenantListener = (tenantId: string, executionId: string, first: number, last: number) => void;

/** How often feeds look whether a look into the ledger is due, and how often their watchers look at the clock. */
const tickMs = 500;
/** Between two looks into the ledger while messages of other replicas are heard. */
const lookEveryMs = 5_000;
const positionsMax = 200;

export interface Watched {
  readonly feed: Feed;
  readonly watcher: Watcher;
  /** To be called once. */
  close(): void;
}

export class Progress {
  readonly #options: ProgressOptions;
  readonly #feeds = new Map<string, Opened>();
  readonly #behind = new Set<Feed>();
  readonly #tenantListeners = new Set<TenantListener>();
  #reading: Promise<void> | undefined;
  #ticking: AbortController | undefined;
  #lookedAt = 0;
  #reads = 0;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  get clock(): Clock {
    return this.#options.clock;
  }

  /** Silence before a heartbeat. */
  get heartbeatMs(): number {
    return this.#options.heartbeatMs ?? limits.watchHeartbeatMs;
  }

  get backlogMax(): number {
    return this.#options.backlogMax ?? limits.watchBacklogMax;
  }

  /** Age at which a new stream is asked to reconnect: ±10 %, so that not all come at once. */
  nextAgeMsMax(): number {
    return (this.#options.ageMsMax ?? limits.watchAgeMsMax) * (0.9 + 0.2 * this.#options.random());
  }

  /** Executions that are watched in this process, for the metric. */
  get watched(): number {
    return this.#feeds.size;
  }

  /** Reads of the ledger for watchers so far, pages and looks together. */
  get reads(): number {
    return this.#reads;
  }

  /** Events that were committed here. */
  publish(tenantId: string, executionId: string, events: readonly ExecutionEvent[]): void {
    const first = events[0]?.sequence;
    const last = events.at(-1)?.sequence;
    if (first === undefined || last === undefined) return;
    if (this.#feeds.size > 0) this.#feeds.get(keyOf(tenantId, executionId))?.feed.add(events);
    for (const listener of this.#tenantListeners) listener(tenantId, executionId, first, last);
    this.#options.news?.tellProgress(tenantId, executionId, first, last);
  }

  /** A peer has committed events up to `last`. */
  heard(tenantId: string, executionId: string, first: number, last: number): void {
    for (const listener of this.#tenantListeners) listener(tenantId, executionId, first, last);
    const feed = this.#feeds.get(keyOf(tenantId, executionId))?.feed;
    if (!feed || feed.last >= last) return;
    feed.heard = Math.max(feed.heard, last);
    this.#readSoon(feed);
  }

  /** Returns how to stop it. */
  listenToTenants(listener: TenantListener): () => void {
    this.#tenantListeners.add(listener);
    return () => this.#tenantListeners.delete(listener);
  }

  /** Joins the feed of an execution. Whether there is such an execution shows at its first snapshot. */
  watch(caller: Caller, executionId: string): Watched {
    const key = keyOf(caller.tenantId, executionId);
    const { feed, unwant } = this.#feeds.get(key) ?? this.#open(key, caller, executionId);
    const watcher = feed.watch();
    return {
      feed,
      watcher,
      close: () => {
        feed.leave(watcher);
        if (feed.watchers > 0 || this.#feeds.get(key)?.feed !== feed) return;
        unwant?.();
        this.#feeds.delete(key);
        this.#behind.delete(feed);
        if (this.#feeds.size === 0) this.#ticking?.abort(new Error("nobody watches"));
      },
    };
  }

  #open(key: string, caller: Caller, executionId: string): Opened {
    const { tenantId } = caller;
    // Of the one who came first only the tenant matters here: the feed outlives that call.
    const reader: Caller = { tenantId, actor: "watch", scopes: new Set(), correlationId: "", requestId: "" };
    const feed = new Feed({
      tenantId,
      executionId,
      clock: this.#options.clock,
      backlogMax: this.backlogMax,
      onGap: (behind) => this.#readSoon(behind),
      read: (after) => {
        this.#reads += 1;
        return this.#options.listEvents(reader, executionId, after, ledgerPageRows);
      },
    });
    const opened = { feed, unwant: this.#options.news?.want(tenantId, executionId) };
    this.#feeds.set(key, opened);
    if (!this.#ticking) {
      this.#ticking = new AbortController();
      void this.#tick(this.#ticking);
    }
    return opened;
  }

  async #tick(ticking: AbortController): Promise<void> {
    const { clock } = this.#options;
    while (!ticking.signal.aborted) {
      await clock.sleep(tickMs, ticking.signal).catch(() => undefined);
      if (ticking.signal.aborted) break;
      const now = clock.monotonic();
      const all = !this.#options.news?.live || now - this.#lookedAt >= lookEveryMs;
      if (all) this.#lookedAt = now;
      for (const { feed } of this.#feeds.values()) {
        feed.tidy();
        feed.wake();
        if (all || now < feed.youngUntil) this.#readSoon(feed);
      }
    }
    if (this.#ticking === ticking) this.#ticking = undefined;
  }

  /** A feed that nothing is known of yet is brought up by its first snapshot. */
  #readSoon(feed: Feed): void {
    if (feed.last === 0) return;
    this.#behind.add(feed);
    this.#reading ??= this.#readBehind();
  }

  async #readBehind(): Promise<void> {
    while (this.#behind.size > 0) {
      // One turn of the event loop, so that feeds that are told of together are read together.
      await new Promise((resolve) => setImmediate(resolve));
      const feeds = [...this.#behind].slice(0, positionsMax);
      for (const feed of feeds) this.#behind.delete(feed);
      try {
        this.#reads += 1;
        const found = await this.#options.readNews(feeds.map((feed) => ({ ...identityOf(feed), afterSequence: feed.last })));
        for (const [index, feed] of feeds.entries()) this.#deliver(feed, found[index] ?? []);
      } catch (error) {
        this.#options.log.warn({ error: messageOf(error) }, "the ledger could not be read for watchers; it is asked again shortly");
        await this.#options.clock.sleep(tickMs);
      }
    }
    // Here and not when the promise settles: a feed that falls behind in between would wait for the next tick.
    this.#reading = undefined;
  }

  #deliver(feed: Feed, events: readonly ExecutionEvent[]): void {
    if (events.length === 0) return;
    feed.add(events);
    if (feed.last < feed.heard) this.#behind.add(feed);
  }
}

interface Opened {
  readonly feed: Feed;
  readonly unwant: (() => void) | undefined;
}

function identityOf({ tenantId, executionId }: Feed): { tenantId: string; executionId: string } {
  return { tenantId, executionId };
}

/** Tenants hold no line break. */
function keyOf(tenantId: string, executionId: string): string {
  return `${tenantId}\n${executionId}`;
}
