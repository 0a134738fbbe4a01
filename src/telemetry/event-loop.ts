/** How long the event loop keeps what is due waiting: a timer that does nothing but look how late it is. */
import type { Clock } from "../base/clock.ts";
import type { Histogram } from "../base/metrics.ts";

const everyMs = 200;

/** Records the delay in seconds, five times a second; the returned function ends that. */
export function watchEventLoop(delaySeconds: Histogram, clock: Pick<Clock, "monotonic">): () => Promise<void> {
  let armedAt = clock.monotonic();
  const timer = setInterval(() => {
    const now = clock.monotonic();
    delaySeconds.record(Math.max(0, now - armedAt - everyMs) / 1000);
    armedAt = now;
  }, everyMs);
  timer.unref();
  return async () => clearInterval(timer);
}
