/**
 * The counters of this process as they were at moments of the last day, so that what they count can be told of a window: a counter
 * only grows, and what it grew by is what happened. Readings are taken every minute; those older than an hour are thinned out to
 * one in ten minutes, so a window may begin that much before it was asked to, and the answer says when.
 */
import type { Clock } from "../base/clock.ts";
import { grownHistogram, histogramPercentile } from "../base/histogram-window.ts";
import type { Histogram, HistogramValue, Labelled } from "../base/metrics.ts";
import type { CacheFigures, MeasuredDurations, ProcessFigures } from "../rpc/process-figures.ts";
import type { Instruments } from "./instruments.ts";

const minuteMs = 60_000;
const fineMs = 60 * minuteMs;
const coarseMs = 10 * minuteMs;
const keptMs = 24 * 60 * minuteMs + coarseMs;

interface Reading {
  readonly at: number;
  readonly monotonic: number;
  readonly journalCommit: HistogramValue;
  readonly sagaCoordination: HistogramValue;
  readonly eventLoopDelay: HistogramValue;
  readonly stepOverhead: ReadonlyMap<string, HistogramValue>;
  /** By cache and result, joined by a space. */
  readonly cacheReads: ReadonlyMap<string, number>;
}

export class ProcessHistory {
  readonly #instruments: Instruments;
  readonly #clock: Clock;
  #readings: readonly Reading[];

  /** The first reading is taken now, so `since` never answers of less than it could. */
  constructor(instruments: Instruments, clock: Clock) {
    this.#instruments = instruments;
    this.#clock = clock;
    this.#readings = [this.#read()];
  }

  /** Readings that are kept. */
  get size(): number {
    return this.#readings.length;
  }

  /** Takes a reading; to be called every minute. */
  note(): void {
    const now = this.#read();
    this.#readings = [...thinned(this.#readings, now.monotonic), now];
  }

  since(windowMs: number): ProcessFigures {
    const now = this.#read();
    const before = this.#readings.findLast(({ monotonic }) => monotonic <= now.monotonic - windowMs) ?? (this.#readings[0] as Reading);
    const { journalCommitSeconds, sagaCoordinationSeconds, eventLoopDelaySeconds, stepOverheadSeconds } = this.#instruments;
    return {
      from: before.at,
      to: now.at,
      journalCommit: measured(journalCommitSeconds, now.journalCommit, before.journalCommit),
      sagaCoordination: measured(sagaCoordinationSeconds, now.sagaCoordination, before.sagaCoordination),
      eventLoopDelay: measured(eventLoopDelaySeconds, now.eventLoopDelay, before.eventLoopDelay),
      stepOverhead: [...now.stepOverhead]
        .map(([type, value]) => ({ type, ...measured(stepOverheadSeconds.of(type), value, before.stepOverhead.get(type)) }))
        .filter(({ count }) => count > 0)
        .sort((a, b) => (a.type < b.type ? -1 : 1)),
      caches: cacheFigures(now.cacheReads, before.cacheReads),
    };
  }

  #read(): Reading {
    const { journalCommitSeconds, sagaCoordinationSeconds, eventLoopDelaySeconds, stepOverheadSeconds, cacheReads } = this.#instruments;
    return {
      at: this.#clock.now(),
      monotonic: this.#clock.monotonic(),
      journalCommit: journalCommitSeconds.read(),
      sagaCoordination: sagaCoordinationSeconds.read(),
      eventLoopDelay: eventLoopDelaySeconds.read(),
      stepOverhead: seriesOf(stepOverheadSeconds),
      cacheReads: seriesOf(cacheReads),
    };
  }
}

/** All of the last hour, of what is older the first of each ten minutes, and nothing that no window reaches. */
function thinned(readings: readonly Reading[], now: number): Reading[] {
  const kept: Reading[] = [];
  for (const reading of readings) {
    const age = now - reading.monotonic;
    const last = kept.at(-1);
    if (age > keptMs) continue;
    if (age <= fineMs || !last || Math.floor(last.monotonic / coarseMs) !== Math.floor(reading.monotonic / coarseMs)) kept.push(reading);
  }
  return kept;
}

/** The histogram only says where its buckets end. Seconds are counted, milliseconds told. */
function measured({ bounds }: Histogram, later: HistogramValue, earlier: HistogramValue | undefined): MeasuredDurations {
  const grown = grownHistogram(later, earlier);
  const at = (part: number): number | undefined => {
    const seconds = histogramPercentile(bounds, grown, part);
    return seconds === undefined ? undefined : seconds * 1000;
  };
  return { count: grown.count, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

function seriesOf<Value extends number | HistogramValue>(labelled: Labelled<{ add?: unknown; read(): Value }>): Map<string, Value> {
  return new Map(labelled.read().map(({ labels, value }) => [labels.join(" "), value as Value]));
}

function cacheFigures(later: ReadonlyMap<string, number>, earlier: ReadonlyMap<string, number>): CacheFigures[] {
  const reads = [...later].map(([key, count]) => {
    const [cache = "", result = ""] = key.split(" ");
    return { cache, hit: result === "hit", count: count - (earlier.get(key) ?? 0) };
  });
  return [...Map.groupBy(reads, ({ cache }) => cache)]
    .map(([cache, same]) => {
      const sum = (hit: boolean): number => same.reduce((total, read) => total + (read.hit === hit ? read.count : 0), 0);
      return { cache, hits: sum(true), misses: sum(false) };
    })
    .sort((a, b) => (a.cache < b.cache ? -1 : 1));
}
