import { describe, expect, it } from "vitest";
import { grownHistogram, histogramPercentile } from "../../src/base/histogram-window.ts";
import { Histogram } from "../../src/base/metrics.ts";

const bounds = [1, 2, 4];

describe("a histogram between two readings", () => {
  it("has only what came in between", () => {
    const histogram = new Histogram(bounds);
    histogram.record(0.5);
    const earlier = histogram.read();
    histogram.record(3);
    histogram.record(9);
    expect(grownHistogram(histogram.read(), earlier)).toEqual({ counts: [0, 0, 1, 1], sum: 12, count: 2 });
    expect(grownHistogram(histogram.read(), undefined).count).toBe(3);
  });
});

describe("a percentile", () => {
  const of = (counts: number[], part: number) => histogramPercentile(bounds, { counts, sum: 0, count: counts.reduce((a, b) => a + b, 0) }, part);

  it("is read inside its bucket as if values lay evenly in it", () => {
    expect(of([10, 0, 0, 0], 0.5)).toBe(0.5);
    expect(of([0, 0, 4, 0], 0.5)).toBe(3);
    expect(of([2, 2, 0, 0], 0.5)).toBe(1);
    expect(of([1, 0, 1, 0], 0.99)).toBeCloseTo(3.96);
  });

  it("is the last bound for what lies above it, and nothing while there is nothing", () => {
    expect(of([0, 0, 0, 5], 0.5)).toBe(4);
    expect(of([0, 0, 0, 0], 0.5)).toBeUndefined();
  });
});
