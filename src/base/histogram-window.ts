/** What a histogram took in between two readings, and percentiles of it. */
import type { HistogramValue } from "./metrics.ts";

/** `later` without what was there `earlier`; both are readings of one histogram that only grows. */
export function grownHistogram(later: HistogramValue, earlier: HistogramValue | undefined): HistogramValue {
  if (!earlier) return later;
  return {
    counts: later.counts.map((count, index) => count - (earlier.counts[index] ?? 0)),
    sum: later.sum - earlier.sum,
    count: later.count - earlier.count,
  };
}

/**
 * The value that the given part (0 to 1) did not exceed, read between the ends of its bucket as if values lay evenly in it. What lies
 * above the last bound counts as that bound. Undefined while there is nothing.
 */
export function histogramPercentile(bounds: readonly number[], { counts, count }: HistogramValue, part: number): number | undefined {
  if (count === 0) return undefined;
  const wanted = count * part;
  let below = 0;
  for (const [bucket, within] of counts.entries()) {
    if (within > 0 && below + within >= wanted) {
      const from = bounds[bucket - 1] ?? 0;
      const to = bounds[bucket] ?? from;
      return from + (to - from) * Math.max(0, (wanted - below) / within);
    }
    below += within;
  }
  return bounds.at(-1);
}
