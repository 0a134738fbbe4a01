import { describe, expect, it } from "vitest";
import { Histogram, Metrics } from "../../src/base/metrics.ts";

const named = { name: "m", help: "h" };

describe("a histogram", () => {
  it("counts a value in the first bucket whose bound it does not exceed, and above all bounds in the last", () => {
    const histogram = new Histogram([1, 2, 5]);
    for (const value of [0, 1, 1.5, 2, 5, 5.1, 1e9]) histogram.record(value);
    expect(histogram.read()).toEqual({ counts: [2, 2, 1, 2], sum: 0 + 1 + 1.5 + 2 + 5 + 5.1 + 1e9, count: 7 });
  });

  it("is read as it was, however it goes on", () => {
    const histogram = new Histogram([1]);
    const before = histogram.read();
    histogram.record(0);
    expect(before.count).toBe(0);
  });
});

describe("labels", () => {
  it("give one cell for each set of values, and values that look joined do not meet", async () => {
    const metrics = new Metrics();
    const counters = metrics.counters({ ...named, labels: ["a", "b"] });
    counters.of("x", "y").add();
    counters.of("x", "y").add(2);
    counters.of("x y", "").add();
    expect((await metrics.collect())[0]?.series).toEqual([
      { labels: ["x", "y"], value: 3 },
      { labels: ["x y", ""], value: 1 },
    ]);
  });

  it("are refused when one is missing", () => {
    const counters = new Metrics().counters({ ...named, labels: ["a", "b"] });
    expect(() => counters.of("x")).toThrow("2 label values");
  });

  it("are counted under `other` when there are too many, and lose no count", async () => {
    const metrics = new Metrics();
    const counters = metrics.counters({ ...named, labels: ["a"] });
    for (let index = 0; index < 5_000; index++) counters.of(`v${index}`).add();
    const series = (await metrics.collect())[0]?.series ?? [];
    expect(series.length).toBe(2_001);
    expect(series.at(-1)).toEqual({ labels: ["other"], value: 3_000 });
  });
});

describe("gauges", () => {
  it("are read at each collection; one that cannot be read is left out and the others stay", async () => {
    const metrics = new Metrics();
    let value = 1;
    metrics.gauge({ ...named, name: "a" }, () => value++);
    metrics.gauge({ ...named, name: "b" }, () => Promise.reject(new Error("the database is away")));
    metrics.gauge({ ...named, name: "c", label: "state" }, async () => new Map([["stuck", 2]]));
    await metrics.collect();
    expect(await metrics.collect()).toEqual([
      { name: "a", help: "h", kind: "gauge", labels: [], bounds: [], series: [{ labels: [], value: 2 }] },
      { name: "c", help: "h", kind: "gauge", labels: ["state"], bounds: [], series: [{ labels: ["stuck"], value: 2 }] },
    ]);
  });

  it("have a name of their own", () => {
    const metrics = new Metrics();
    metrics.counter(named);
    expect(() => metrics.gauge(named, () => 0)).toThrow("declared twice");
  });
});
