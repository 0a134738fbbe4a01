/**
 * One watched execution in this process: the newest events in memory, once for all who watch it.
 *
 * A watcher holds no queue, only its position. What it asks for lies in the ring, or is read from the ledger in pages that
 * watchers at the same place share; so a thousand watchers cost one read and the memory of one.
 */
import type { Clock } from "../base/clock.ts";
import { type Json, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { LedgerPage } from "../store/execution-repository.ts";
import { readState } from "./read-execution.ts";

/** Reads the events after a number; fewer than there are when they are many or large. */
export type ReadPage = (afterSequence: number) => Promise<LedgerPage>;

export interface FeedOptions {
  readonly tenantId: string;
  readonly executionId: string;
  readonly clock: Clock;
  readonly read: ReadPage;
  /** Events arrived that do not follow those in memory: the ledger has to be read. */
  readonly onGap: (feed: Feed) => void;
  /** Events kept in memory. */
  readonly backlogMax: number;
}

/** A page or snapshot that one watcher read serves those who ask for the same shortly after. */
const sharedMs = 1_000;
const sharedPagesMax = 8;
/** Payloads kept in memory, as JSON text. */
const ringBytesMax = 8 * 1024 * 1024;

interface Shared<Value> {
  readonly at: number;
  readonly value: Promise<Value>;
}

export class Feed {
  readonly tenantId: string;
  readonly executionId: string;
  readonly #options: FeedOptions;
  readonly #watchers = new Set<Watcher>();
  readonly #pages = new Map<number, Shared<LedgerPage>>();
  readonly #snapshots = new Map<number, Shared<ExecutionState | undefined>>();
  /** Consecutive; ends with event number `last`. */
  #ring: ExecutionEvent[] = [];
  #ringBytes: number[] = [];
  #last = 0;
  /** Highest number that was heard of, perhaps not read yet. */
  heard = 0;
  /** Until then the ledger is asked often, because peers may not know yet that somebody watches. */
  readonly youngUntil: number;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.tenantId = options.tenantId;
    this.executionId = options.executionId;
    this.youngUntil = options.clock.monotonic() + youngMs;
  }

  /** Number of the newest event known here; 0 while nothing is. */
  get last(): number {
    return this.#last;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  watch(): Watcher {
    const watcher = new Watcher();
    this.#watchers.add(watcher);
    return watcher;
  }

  leave(watcher: Watcher): void {
    this.#watchers.delete(watcher);
  }

  wake(): void {
    for (const watcher of this.#watchers) watcher.wake();
  }

  /** Committed events, in order; those that are known already are passed over. */
  add(events: readonly ExecutionEvent[]): void {
    const news = events.filter((event) => event.sequence > this.#last);
    const first = news[0];
    if (!first) return;
    if (this.#last > 0 && first.sequence !== this.#last + 1) {
      this.heard = Math.max(this.heard, news.at(-1)?.sequence ?? 0);
      this.#options.onGap(this);
      return;
    }
    for (const event of news) {
      this.#ring.push(event);
      this.#ringBytes.push(jsonBytes(event.payload as Json));
    }
    this.#last = news.at(-1)?.sequence ?? this.#last;
    this.#trim();
    this.wake();
  }

  /** A reader has seen that the ledger reaches this far. */
  reached(sequence: number): void {
    if (sequence <= this.#last) return;
    this.#ring = [];
    this.#ringBytes = [];
    this.#last = sequence;
    this.wake();
  }

  /** The events after a number, as far as they are known; undefined when memory cannot tell. */
  since(sequence: number): readonly ExecutionEvent[] | undefined {
    if (this.#last === 0) return undefined;
    if (sequence >= this.#last) return [];
    const missing = this.#last - sequence;
    return missing <= this.#ring.length ? this.#ring.slice(-missing) : undefined;
  }

  /** As `since`, from the ledger. */
  page(afterSequence: number): Promise<LedgerPage> {
    const { clock, read } = this.#options;
    const known = this.#pages.get(afterSequence);
    // What one has read a moment ago may not be the end any more.
    if (known && clock.monotonic() - known.at < sharedMs) return known.value.then(({ events }) => ({ events, isLast: false }));
    this.#pages.delete(afterSequence);
    const value = read(afterSequence);
    const shared = { at: clock.monotonic(), value };
    this.#pages.set(afterSequence, shared);
    const drop = (): void => {
      if (this.#pages.get(afterSequence) === shared) this.#pages.delete(afterSequence);
    };
    // Where the ledger ends now it may go on a moment later, so an end is shared only while it is being read.
    void value.then(({ events }) => events.length === 0 && drop(), drop);
    if (this.#pages.size > sharedPagesMax) this.#pages.delete(this.#pages.keys().next().value as number);
    return value;
  }

  /**
   * The state as of event number `untilSequence`, or about now: what came in the last second may be missing and stands in
   * `since` or the next page. Undefined when there is no such execution. Not to be changed: it is shared.
   */
  async snapshot(untilSequence: number = Number.MAX_SAFE_INTEGER): Promise<ExecutionState | undefined> {
    const { clock } = this.#options;
    const known = this.#snapshots.get(untilSequence);
    if (known && clock.monotonic() - known.at < sharedMs) {
      const state = await known.value;
      if (untilSequence !== Number.MAX_SAFE_INTEGER || (state && this.since(state.sequence) !== undefined)) return state;
    }
    return await this.#fold(untilSequence, (after) => this.page(after));
  }

  /** As `snapshot`, from the ledger as it stands at this moment. */
  freshSnapshot(untilSequence: number = Number.MAX_SAFE_INTEGER): Promise<ExecutionState | undefined> {
    return this.#fold(untilSequence, this.#options.read);
  }

  #fold(untilSequence: number, read: ReadPage): Promise<ExecutionState | undefined> {
    const identity = { tenantId: this.tenantId, executionId: this.executionId };
    const value = readState(identity, read, untilSequence).then(({ state, complete }) => {
      if (state && complete) this.reached(state.sequence);
      return state;
    });
    const shared = { at: this.#options.clock.monotonic(), value };
    this.#snapshots.set(untilSequence, shared);
    const drop = (): void => {
      if (this.#snapshots.get(untilSequence) === shared) this.#snapshots.delete(untilSequence);
    };
    void value.then((state) => !state && drop(), drop);
    if (this.#snapshots.size > sharedPagesMax) this.#snapshots.delete(this.#snapshots.keys().next().value as number);
    return value;
  }

  /** Forgets what is no longer shared. */
  tidy(): void {
    const now = this.#options.clock.monotonic();
    for (const shared of [this.#pages, this.#snapshots]) {
      for (const [key, { at }] of shared) if (now - at >= sharedMs) shared.delete(key);
    }
  }

  #trim(): void {
    let bytes = this.#ringBytes.reduce((sum, size) => sum + size, 0);
    let drop = Math.max(0, this.#ring.length - this.#options.backlogMax);
    for (let index = 0; index < drop; index++) bytes -= this.#ringBytes[index] ?? 0;
    while (bytes > ringBytesMax && drop < this.#ring.length - 1) bytes -= this.#ringBytes[drop++] ?? 0;
    if (drop === 0) return;
    this.#ring = this.#ring.slice(drop);
    this.#ringBytes = this.#ringBytes.slice(drop);
  }
}

/** Twice the time within which a peer surely heard that somebody watches. */
const youngMs = limits.watchHeartbeatMs / 5;

/** Wakes one reader of a feed. What happens while it does not wait is not lost. */
export class Watcher {
  #woken = false;
  #resume: (() => void) | undefined;

  wake(): void {
    const resume = this.#resume;
    this.#resume = undefined;
    if (resume) resume();
    else this.#woken = true;
  }

  /** Resolves at the next `wake`, or at once when there was one since the last wait. */
  wait(): Promise<void> {
    if (!this.#woken) return new Promise((resolve) => (this.#resume = resolve));
    this.#woken = false;
    return Promise.resolve();
  }
}
