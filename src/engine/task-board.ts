/**
 * Where workers wait for tasks. Whoever commits tasks says so here, peers say so through the news between replicas, and a look
 * at the tables at intervals (`task-clock.ts`) is the floor under both. So a task reaches a waiting worker at once, on
 * any replica, and workers that wait cost no query of their own.
 *
 * A hint wakes as many waiters as there are tasks; one that cannot use them (types, labels) hands the hint on.
 */
import type { NewTask, TakenTask } from "../domain/task.ts";
import type { TaskStore } from "../store/task-store.ts";
import { queueTopic, type ReplicaNews, taskEndTopic } from "./replica-news.ts";
import type { TaskPort } from "./run-tasks.ts";

/** A worker as it asks for tasks. */
export interface WorkerAsk {
  readonly tenantId: string;
  readonly worker: string;
  readonly queues: readonly string[];
  readonly taskTypes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** The stream it asks for; undefined for polls. */
  readonly session: string | undefined;
}

export interface TaskBoardOptions {
  readonly store: Pick<TaskStore, "take" | "recall">;
  readonly news: Pick<ReplicaNews, "tellTasks" | "tellTaskEnds" | "want">;
  /** Counts what was taken. */
  readonly onTaken?: (count: number) => void;
}

interface Waiter {
  readonly wake: (hint: Hint) => void;
}

/** Waiters of one queue; peers tell of its tasks as long as it stands. */
interface Place {
  readonly tenantId: string;
  readonly queue: string;
  readonly waiters: Set<Waiter>;
  readonly unwant: () => void;
}

export class TaskBoard implements TaskPort {
  readonly #options: TaskBoardOptions;
  readonly #places = new Map<string, Place>();
  /** By task id: whom its end makes room. */
  readonly #open = new Map<string, () => void>();
  /** Places where nobody waited at the last `tidy`. */
  readonly #empty = new Set<string>();
  #turn = 0;

  constructor(options: TaskBoardOptions) {
    this.#options = options;
  }

  changed(tenantId: string, opened: readonly NewTask[], closed: readonly string[]): void {
    const counts = new Map<string, number>();
    for (const { queue } of opened) counts.set(queue, (counts.get(queue) ?? 0) + 1);
    for (const [queue, count] of counts) {
      this.heardOf(tenantId, queue, count);
      this.#options.news.tellTasks(tenantId, queue, count);
    }
    if (closed.length === 0) return;
    for (const taskId of closed) this.ended(taskId);
    this.#options.news.tellTaskEnds(tenantId, closed);
  }

  async recall(tenantId: string, taskId: string): Promise<boolean> {
    return await this.#options.store.recall(tenantId, taskId);
  }

  /** Tasks wait in the queue: as many waiters look. */
  heardOf(tenantId: string, queue: string, count: number): void {
    const waiters = this.#places.get(keyOf(tenantId, queue))?.waiters;
    if (!waiters) return;
    const left = waiters.size;
    for (const waiter of [...waiters].slice(0, count)) waiter.wake({ queue, left: Math.ceil(left / count) });
  }

  /** The task's attempt is over, whoever ended it. */
  ended(taskId: string): void {
    const tell = this.#open.get(taskId);
    this.#open.delete(taskId);
    tell?.();
  }

  /** Calls `onEnd` once when the task is over; the returned function forgets it. */
  follow(taskId: string, onEnd: () => void): () => void {
    this.#open.set(taskId, onEnd);
    return () => void this.#open.delete(taskId);
  }

  /** Peers tell of ends of the tenant's tasks until the returned function is called. */
  wantEnds(tenantId: string): () => void {
    return this.#options.news.want(tenantId, taskEndTopic);
  }

  /** What waits for this worker now, at most `countMax`. Its queues are asked in turns. */
  async take(ask: WorkerAsk, countMax: number): Promise<readonly TakenTask[]> {
    const taken: TakenTask[] = [];
    const { queues, session, ...rest } = ask;
    const first = this.#turn++ % queues.length;
    for (const queue of [...queues.slice(first), ...queues.slice(0, first)]) {
      if (taken.length === countMax) break;
      taken.push(...(await this.#options.store.take({ ...rest, queue, session: session ?? null, countMax: countMax - taken.length })));
    }
    if (taken.length > 0) this.#options.onTaken?.(taken.length);
    return taken;
  }

  /** A place to wait at the worker's queues. */
  wait({ tenantId, queues }: WorkerAsk): TaskWait {
    const places = queues.map((queue) => this.#placeAt(tenantId, queue));
    let news = Promise.withResolvers<void>();
    let inHand: Hint | undefined;
    const leave = (): void => {
      for (const { waiters } of places) waiters.delete(waiter);
    };
    const waiter: Waiter = {
      wake: (hint) => {
        inHand = hint;
        leave();
        news.resolve();
      },
    };
    const pass = (hint: Hint | undefined): void => {
      if (hint) this.#handOn(tenantId, hint, waiter);
    };
    const wait: TaskWait = {
      look() {
        const hint = inHand;
        inHand = undefined;
        news = Promise.withResolvers();
        for (const { waiters } of places) waiters.add(waiter);
        return hint;
      },
      pass,
      async until(signal) {
        if (inHand || signal.aborted) return;
        const { promise, resolve } = news;
        const onAbort = (): void => resolve();
        signal.addEventListener("abort", onAbort, { once: true });
        await promise;
        signal.removeEventListener("abort", onAbort);
      },
      leave() {
        leave();
        const hint = inHand;
        inHand = undefined;
        pass(hint);
      },
    };
    return wait;
  }

  /** Queues that somebody waits at. */
  get awaited(): readonly { readonly tenantId: string; readonly queue: string }[] {
    return [...this.#places.values()].filter(({ waiters }) => waiters.size > 0).map(({ tenantId, queue }) => ({ tenantId, queue }));
  }

  /** Forgets queues that nobody has waited at since the last time. */
  tidy(): void {
    for (const [key, place] of this.#places) {
      if (place.waiters.size > 0) {
        this.#empty.delete(key);
      } else if (this.#empty.delete(key)) {
        place.unwant();
        this.#places.delete(key);
      } else {
        this.#empty.add(key);
      }
    }
  }

  #handOn(tenantId: string, { queue, left }: Hint, from: Waiter): void {
    if (left <= 1) return;
    for (const waiter of this.#places.get(keyOf(tenantId, queue))?.waiters ?? []) {
      if (waiter !== from) return waiter.wake({ queue, left: left - 1 });
    }
  }

  #placeAt(tenantId: string, queue: string): Place {
    const key = keyOf(tenantId, queue);
    const known = this.#places.get(key);
    if (known) return known;
    const place = { tenantId, queue, waiters: new Set<Waiter>(), unwant: this.#options.news.want(tenantId, queueTopic(queue)) };
    this.#places.set(key, place);
    return place;
  }
}

/** What is known of waiting work: it goes to as many waiters as there may be. */
export interface Hint {
  readonly queue: string;
  /** Waiters it may still be handed to. */
  readonly left: number;
}

export interface TaskWait {
  /** Stands at the queues from now on, so that a look at them misses nothing. Answers with the hint that led here. */
  look(): Hint | undefined;
  /** The hint led to nothing: it goes to the next one. */
  pass(hint: Hint | undefined): void;
  /** Resolves at the next hint (at once if one came since the last look), or when the signal aborts. */
  until(signal: AbortSignal): Promise<void>;
  /** Stands there no more; a hint in hand goes to the next one. */
  leave(): void;
}

function keyOf(tenantId: string, queue: string): string {
  return `${tenantId}\n${queue}`;
}
