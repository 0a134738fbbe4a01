/**
 * What secrets need beside their use: values whose time is over are deleted, and after a change of the master key everything is
 * wrapped anew, in small portions. Each portion stands by itself, so a stop, a crash or a second replica at the same work costs nothing.
 */
import type { Log } from "../base/log.ts";

export interface SecretUpkeepOptions {
  /** Deletes some values that are no longer valid; returns how many. */
  readonly purge: () => Promise<number>;
  /** Wraps some keys anew. */
  readonly rewrap: () => Promise<{ readonly rewrapped: number; readonly unopened: number; readonly left: number }>;
  readonly log: Log;
}

/** One portion, for `Periodic`; answers how much it found. Throws what the database throws; what was done before stays done. */
export function createSecretUpkeep({ purge, rewrap, log }: SecretUpkeepOptions): () => Promise<number> {
  let total = 0;
  return async () => {
    const purged = await purge();
    const { rewrapped, unopened, left } = await rewrap();
    total += rewrapped;
    if (unopened > 0) log.error({ unopened }, "wrapped keys do not open: their rows were changed by hand");
    if (rewrapped > 0) return purged + rewrapped;
    if (left > 0) log.warn({ left }, "keys are wrapped with a master key that this server does not have, or cannot be opened");
    else if (total > 0) log.info({ rewrapped: total }, "all keys are wrapped with the current master key; former ones are no longer needed");
    total = 0;
    return purged;
  };
}
