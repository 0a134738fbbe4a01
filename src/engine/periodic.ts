/**
 * Work that is done again and again beside everything else. Nothing about it is urgent: a pass that fails is told and tried again
 * with the next one, and each pass leaves what it did, so a stop, a crash or a second replica at the same work costs nothing.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

export interface PeriodicOptions {
  /** For the log: "the purge of files". */
  readonly name: string;
  /** One portion; answers how much it found. While it finds something, the next portion follows after a short rest. */
  readonly work: () => Promise<number>;
  readonly intervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** Rest between two portions, so that they never have more than a part of the database. */
const restMs = 20;

export class Periodic {
  readonly #options: PeriodicOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: PeriodicOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#forever();
  }

  /** Ends after the portion under way. May be called twice. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#loop;
  }

  async #forever(): Promise<void> {
    const { name, work, intervalMs, clock, log } = this.#options;
    const { signal } = this.#stopping;
    const rest = (ms: number): Promise<void> => clock.sleep(ms, signal).catch(() => undefined);
    while (!signal.aborted) {
      try {
        while (!signal.aborted && (await work()) > 0) await rest(restMs);
      } catch (error) {
        log.warn({ error: messageOf(error) }, `${name} is put off`);
      }
      await rest(intervalMs);
    }
  }
}
