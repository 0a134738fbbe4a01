/** Plays seeds and says, for the first that fails, how to look at it. */
import { expect } from "vitest";
import { type SeedReport, simulateSeed, type WorldKind } from "./simulate.ts";

export async function expectWhole(seeds: Iterable<number>, kind: WorldKind = "plain"): Promise<readonly SeedReport[]> {
  const reports: SeedReport[] = [];
  for (const seed of seeds) {
    const report = await simulateSeed(seed, undefined, kind);
    expect(report.violations, `seed ${seed}; look at it with: npm run simulate -- --seed ${seed} --world ${kind}`).toEqual([]);
    reports.push(report);
  }
  return reports;
}

export function* range(first: number, count: number): Generator<number> {
  for (let seed = first; seed < first + count; seed++) yield seed;
}

/** What the seeds went through, so that a run without faults does not pass for a proof. */
export function sumOf(reports: readonly SeedReport[], count: (report: SeedReport) => number): number {
  return reports.reduce((sum, report) => sum + count(report), 0);
}
