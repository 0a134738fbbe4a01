/** What a window of usage says in all, per version and over time. */
import type { UsageCell } from "./usage-cells.ts";
import { addUsage, type UsageCounts } from "./usage-counts.ts";

/** Workflows made from a version in one hour. */
export interface MadeInHour {
  readonly version: number;
  readonly hourAt: number;
  readonly count: number;
}

export interface Usage {
  readonly counts: UsageCounts;
  readonly workflows: number;
}

export interface UsageReport {
  readonly total: Usage;
  /** Newest version first. */
  readonly versions: readonly (Usage & { readonly version: number })[];
  /** Oldest first; empty ones are left out. */
  readonly buckets: readonly (Usage & { readonly startAt: number })[];
}

/** `bucketMs` divides the time since the epoch, so buckets are hours or days of UTC. */
export function usageReport(cells: readonly UsageCell[], made: readonly MadeInHour[], bucketMs: number): UsageReport {
  const bucketOf = ({ hourAt }: { readonly hourAt: number }): number => Math.floor(hourAt / bucketMs) * bucketMs;
  const versions = grouped(cells, made, ({ version }) => version);
  const buckets = grouped(cells, made, bucketOf);
  return {
    total: usageOf(cells, made),
    versions: versions.sort(([a], [b]) => b - a).map(([version, usage]) => ({ version, ...usage })),
    buckets: buckets.sort(([a], [b]) => a - b).map(([startAt, usage]) => ({ startAt, ...usage })),
  };
}

type Keyed = { readonly version: number; readonly hourAt: number };

function grouped(cells: readonly UsageCell[], made: readonly MadeInHour[], keyOf: (item: Keyed) => number): [number, Usage][] {
  const cellsByKey = Map.groupBy(cells, keyOf);
  const madeByKey = Map.groupBy(made, keyOf);
  const keys = [...new Set([...cellsByKey.keys(), ...madeByKey.keys()])];
  return keys.map((key) => [key, usageOf(cellsByKey.get(key) ?? [], madeByKey.get(key) ?? [])]);
}

function usageOf(cells: readonly UsageCell[], made: readonly MadeInHour[]): Usage {
  return { counts: addUsage(...cells.map(({ counts }) => counts)), workflows: made.reduce((total, { count }) => total + count, 0) };
}
