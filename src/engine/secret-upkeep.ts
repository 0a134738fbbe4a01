/**
 * What secrets need beside their use, once a minute: values whose time is over are deleted, and after a change of the master
 * key everything is wrapped anew, in small portions. Each portion stands by itself, so a stop, a crash or a second replica at
 * the same work costs nothing.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";

export interface SecretUpkeepOptions {
  /** Deletes some values that are no longer valid; returns how many. */
  readonly purge: () => Promise<number>;
  /** Wraps some keys anew. */
  readonly rewrap: () => Promise<{ readonly rewrapped: number; readonly unopened: number; readonly left: number }>;
  readonly clock: Clock;
  readonly log: Log;
}

const intervalMs = 60_000;
/** Between two portions, so that rewrapping never has more than a part of the database. */
const pauseMs = 20;

export class SecretUpkeep {
  readonly #options: SecretUpkeepOptions;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: SecretUpkeepOptions) {
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

  /** Everything there is to do now. Throws what the database throws; what was done before stays done. */
  async pass(): Promise<void> {
    const { purge, rewrap, clock, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted && (await purge()) > 0) await clock.sleep(pauseMs, signal).catch(() => undefined);
    let total = 0;
    while (!signal.aborted) {
      const { rewrapped, unopened, left } = await rewrap();
      total += rewrapped;
      if (unopened > 0) log.error({ unopened }, "wrapped keys do not open: their rows were changed by hand");
      if (rewrapped === 0) {
        if (left > 0) log.warn({ left }, "keys are wrapped with a master key that this server does not have, or cannot be opened");
        else if (total > 0) log.info({ rewrapped: total }, "all keys are wrapped with the current master key; former ones are no longer needed");
        return;
      }
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  }

  async #forever(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await this.pass().catch((error: unknown) => log.warn({ error: messageOf(error) }, "the upkeep of secrets is put off"));
      await clock.sleep(intervalMs, signal).catch(() => undefined);
    }
  }
}
