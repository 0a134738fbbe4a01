/**
 * Time as a value that is handed in, so that a test can own it. Production code never calls `Date.now()` itself.
 * Timers of executions are decided by the database's clock (see `engine/leases.ts`, which measures its offset).
 */
import { setTimeout as sleepMs } from "node:timers/promises";

export interface Clock {
  /** Wall-clock time in milliseconds since the epoch. */
  now(): number;
  /** Milliseconds that never jump; only differences have a meaning. */
  monotonic(): number;
  /** Resolves after `durationMs`, or rejects with the signal's reason. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
}

/** What a timer can hold (24.8 days); it fires at once when it is given more. */
const timerMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (durationMs, signal) => {
    try {
      for (let leftMs = durationMs; ; leftMs -= timerMsMax) {
        await sleepMs(Math.min(leftMs, timerMsMax), undefined, signal ? { signal } : {});
        if (leftMs <= timerMsMax) return;
      }
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
  },
};
