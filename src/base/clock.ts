/**
 * Time as a value that is handed in, so that a test can own it. Production code never calls `Date.now()` itself.
 * Timers of executions are decided by the database's clock (see `engine/leases.ts`, which measures its offset).
 */
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
    for (let leftMs = durationMs; ; leftMs -= timerMsMax) {
      await timer(Math.min(leftMs, timerMsMax), signal);
      if (leftMs <= timerMsMax) return;
    }
  },
};

/** The timer of `node:timers/promises` makes an exception with its stack for each one that is called off: 3 % of a busy server's time. */
function timer(durationMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      clearTimeout(handle);
      reject(signal?.reason);
    };
    const handle = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, durationMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
