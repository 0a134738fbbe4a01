/**
 * Virtual time and the processes that live in it. Code runs only when an event of its process comes up, so a killed process
 * stops at its next wait and a frozen one makes no step until it wakes; then everything that it missed comes at once.
 */
import type { Clock } from "../../src/base/clock.ts";

/** Whatever moves by itself: a replica's process, or the world around them (undefined). */
export class VirtualProcess {
  readonly name: string;
  dead = false;
  /** Virtual moment at which it goes on; 0 while it runs. */
  frozenUntil = 0;
  readonly #onDeath: (() => void)[] = [];

  constructor(name: string) {
    this.name = name;
  }

  kill(): void {
    if (this.dead) return;
    this.dead = true;
    for (const hear of this.#onDeath.splice(0)) hear();
  }

  onDeath(hear: () => void): void {
    if (this.dead) hear();
    else this.#onDeath.push(hear);
  }
}

interface Entry {
  at: number;
  readonly order: number;
  readonly process: VirtualProcess | undefined;
  run: (() => void) | undefined;
}

export class Scheduler {
  /** Virtual milliseconds since the start of the run. */
  now = 0;
  /** Events that came up so far. */
  steps = 0;
  #order = 0;
  readonly #heap: Entry[] = [];

  /** Runs once after `delayMs`, as part of `process`; answers how to call it off. */
  after(delayMs: number, process: VirtualProcess | undefined, run: () => void): () => void {
    const entry: Entry = { at: this.now + Math.max(0, delayMs), order: this.#order++, process, run };
    this.#push(entry);
    return () => {
      entry.run = undefined;
    };
  }

  /** Until `isDone` or nothing is left to happen; false when the virtual moment `untilMs` came first. */
  async run(isDone: () => boolean, untilMs: number): Promise<boolean> {
    while (!isDone()) {
      const entry = this.#pop();
      if (!entry) return false;
      const { process, run } = entry;
      if (!run || process?.dead) continue;
      if (process && process.frozenUntil > entry.at) {
        entry.at = process.frozenUntil;
        this.#push(entry);
        continue;
      }
      if (entry.at > untilMs) {
        this.#push(entry);
        return false;
      }
      this.now = Math.max(this.now, entry.at);
      this.steps += 1;
      run();
      // Everything that follows at once does so before the next event.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return true;
  }

  /** The clock of a process: its wall clock is off by `skewMs`, its monotonic one began at some time. */
  clockOf(process: VirtualProcess, skewMs: number): Clock {
    return {
      now: () => epochMs + this.now + skewMs,
      monotonic: () => this.now + 1_000_000 + skewMs,
      sleep: (durationMs, signal) =>
        new Promise((resolve, reject) => {
          if (signal?.aborted) return reject(signal.reason);
          const onAbort = (): void => {
            callOff();
            reject(signal?.reason);
          };
          const callOff = this.after(durationMs, process, () => {
            signal?.removeEventListener("abort", onAbort);
            resolve();
          });
          signal?.addEventListener("abort", onAbort, { once: true });
        }),
    };
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.push(entry) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(entry, heap[parent] as Entry)) break;
      heap[index] = heap[parent] as Entry;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): Entry | undefined {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (!first || !last || heap.length === 0) return first;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Entry, heap[child] as Entry)) child += 1;
      if (!isBefore(heap[child] as Entry, last)) break;
      heap[index] = heap[child] as Entry;
      index = child;
    }
    heap[index] = last;
    return first;
  }
}

/** The database's clock at the start of every simulated run: 2026-03-01T12:00:00Z. */
export const epochMs = Date.UTC(2026, 2, 1, 12);

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
