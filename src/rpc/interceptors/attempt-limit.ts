/** Counts failed sign-ins per peer, so that guessing keys is slow and cheap to refuse. */
import type { Clock } from "../../base/clock.ts";

/** Failures of one peer in a minute before they are answered with RATE_LIMITED. */
const failuresPerMinuteMax = 300;
const windowMs = 60_000;
/** Peers that are remembered; the oldest is forgotten first. */
const peersMax = 10_000;

export interface AttemptLimit {
  /** Notes a failure. Milliseconds to wait when the peer had too many of them, else undefined. */
  fail(peer: string): number | undefined;
}

export function createAttemptLimit(clock: Clock, failuresMax: number = failuresPerMinuteMax): AttemptLimit {
  const windows = new Map<string, { endsAt: number; failures: number }>();
  return {
    fail(peer) {
      const now = clock.monotonic();
      let window = windows.get(peer);
      if (!window || window.endsAt <= now) {
        windows.delete(peer);
        const oldest = windows.size >= peersMax ? windows.keys().next().value : undefined;
        if (oldest !== undefined) windows.delete(oldest);
        window = { endsAt: now + windowMs, failures: 0 };
        windows.set(peer, window);
      }
      window.failures++;
      return window.failures > failuresMax ? window.endsAt - now : undefined;
    },
  };
}
