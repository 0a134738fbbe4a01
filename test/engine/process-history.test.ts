/** What the counters of a process are told to have done in a window, by a clock that the test owns. */
import { describe, expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { Histogram, Metrics } from "../../src/base/metrics.ts";
import { watchEventLoop } from "../../src/telemetry/event-loop.ts";
import { createInstruments } from "../../src/telemetry/instruments.ts";
import { ProcessHistory } from "../../src/telemetry/process-history.ts";

const minuteMs = 60_000;

function world() {
  const instruments = createInstruments(new Metrics());
  let at = 1_000_000;
  const clock: Clock = { now: () => at, monotonic: () => at, sleep: async () => undefined };
  const history = new ProcessHistory(instruments, clock);
  /** Lets minutes pass, with a reading at the end of each, and `during` before it. */
  const pass = (minutes: number, during: () => void = () => undefined): void => {
    for (let minute = 0; minute < minutes; minute++) {
      at += minuteMs;
      during();
      history.note();
    }
  };
  return { instruments, history, pass, now: () => at };
}

describe("the figures of a process", () => {
  it("are those of the window, not of its whole life", () => {
    const { instruments, history, pass, now } = world();
    pass(10, () => instruments.journalCommitSeconds.record(0.2));
    pass(5, () => instruments.journalCommitSeconds.record(0.003));
    const lately = history.since(5 * minuteMs);
    expect(lately).toMatchObject({ from: now() - 5 * minuteMs, to: now(), journalCommit: { count: 5 } });
    expect(lately.journalCommit.p99).toBeLessThan(5);
    expect(history.since(60 * minuteMs)).toMatchObject({ from: 1_000_000, journalCommit: { count: 15 } });
    expect(history.since(60 * minuteMs).journalCommit.p95).toBeGreaterThan(100);
  });

  it("hold what was counted since the last reading, and nothing where nothing was", () => {
    const { instruments, history } = world();
    expect(history.since(minuteMs)).toMatchObject({ journalCommit: { count: 0, p50: undefined }, stepOverhead: [], caches: [] });
    instruments.stepOverheadSeconds.of("log").record(0.001);
    instruments.cacheReads.of("compiled", "hit").add(3);
    instruments.cacheReads.of("compiled", "miss").add();
    instruments.cacheReads.of("compiled", "invalid").add();
    expect(history.since(minuteMs)).toMatchObject({
      stepOverhead: [{ type: "log", count: 1 }],
      caches: [{ cache: "compiled", hits: 3, misses: 2 }],
    });
  });

  it("reach back a day with few readings, and windows begin at most ten minutes early", () => {
    const { history, pass, now } = world();
    pass(3 * 24 * 60);
    expect(history.size).toBeLessThan(220);
    for (const minutes of [1, 59, 61, 600, 24 * 60]) {
      const earlyMs = now() - history.since(minutes * minuteMs).from - minutes * minuteMs;
      expect(earlyMs, `${minutes} minutes`).toBeGreaterThanOrEqual(0);
      expect(earlyMs, `${minutes} minutes`).toBeLessThanOrEqual(10 * minuteMs);
    }
  });
});

it("the event loop's delay is what a timer comes later than asked", async () => {
  const delay = new Histogram([0.001, 1]);
  let at = 0;
  // Each look finds the clock 700 ms further than the one before.
  const stop = watchEventLoop(delay, { monotonic: () => (at += 700) });
  await expect.poll(() => delay.read().count).toBeGreaterThan(1);
  await stop();
  expect(delay.read().counts[1]).toBe(delay.read().count);
  expect(delay.read().sum / delay.read().count).toBeCloseTo(0.5);
});
