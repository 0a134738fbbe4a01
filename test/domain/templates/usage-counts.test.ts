import { describe, expect, it } from "vitest";
import { cellsOf, replaceUsage, type UsageCell } from "../../../src/domain/templates/usage-cells.ts";
import {
  addUsage,
  bucketOfDuration,
  durationOfBucket,
  durationPercentile,
  mostFailingStep,
  noUsage,
  successRate,
  type UsageCounts,
} from "../../../src/domain/templates/usage-counts.ts";
import { usageReport } from "../../../src/domain/templates/usage-report.ts";
import { fc } from "../../support/property.ts";

const counts: fc.Arbitrary<UsageCounts> = fc
  .array(fc.record({ ms: fc.integer({ min: 1, max: 1e9 }), step: fc.constantFrom("a", "b", "c"), completed: fc.boolean(), at: fc.nat(1e6) }), { maxLength: 20 })
  .map((runs) =>
    addUsage(
      ...runs.map(({ ms, step, completed, at }) => ({
        started: 1,
        ended: 1,
        completed: completed ? 1 : 0,
        durations: completed ? { [bucketOfDuration(ms)]: 1 } : {},
        failedSteps: completed ? {} : { [step]: 1 },
        lastStartedAt: at,
      })),
    ),
  );

describe("usage counts", () => {
  it("add up the same in any order and grouping, nothing added changes nothing, and what was added can be taken out", () => {
    fc.assert(
      fc.property(counts, counts, counts, (a, b, c) => {
        expect(addUsage(a, addUsage(b, c))).toEqual(addUsage(addUsage(a, b), c));
        expect(addUsage(a, b)).toEqual(addUsage(b, a));
        expect(addUsage(a, noUsage)).toEqual(a);
        const { lastStartedAt: _, ...expected } = addUsage(a, c);
        expect(replaceUsage(addUsage(a, b), b, c)).toMatchObject(expected);
      }),
    );
  });

  it("give percentiles at most 1 % away from the true ones, however they were merged", () => {
    const runs = fc.array(fc.integer({ min: 1, max: 4e10 }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(runs, fc.constantFrom(0.5, 0.95, 0.99), (durations, part) => {
        const all = addUsage(...durations.map((ms) => ({ ...noUsage, durations: { [bucketOfDuration(ms)]: 1 } })));
        const sorted = [...durations].sort((a, b) => a - b);
        const truth = sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] as number;
        const found = durationPercentile(all.durations, part) as number;
        expect(Math.abs(found - truth) / truth).toBeLessThanOrEqual(0.0101);
      }),
    );
  });

  it("know their rate, their worst step, and that there is nothing to know", () => {
    expect(successRate({ ended: 4, completed: 3 })).toBe(0.75);
    expect(successRate(noUsage)).toBe(0);
    expect(mostFailingStep({ a: 2, b: 3, c: 3 })).toBe("b");
    expect(mostFailingStep({})).toBeUndefined();
    expect(durationPercentile({}, 0.5)).toBeUndefined();
    expect(durationOfBucket(bucketOfDuration(0))).toBe(1);
  });
});

it("a report has totals, versions from the newest, and buckets from the oldest", () => {
  const hour = 3_600_000;
  const cells: UsageCell[] = cellsOf(
    [
      { templateUuid: "t", version: 1, hourAt: 0, started: 2, lastStartedAt: 5 },
      { templateUuid: "t", version: 2, hourAt: 25 * hour, started: 3, lastStartedAt: 9 },
    ],
    [{ templateUuid: "t", version: 1, hourAt: hour, completed: true, bucket: 0, failedStep: null, count: 2 }],
  );
  const report = usageReport(cells, [{ version: 2, hourAt: 26 * hour, count: 4 }], 24 * hour);
  expect(report.total).toMatchObject({ counts: { started: 5, ended: 2, completed: 2, lastStartedAt: 9 }, workflows: 4 });
  expect(report.versions.map(({ version, counts, workflows }) => [version, counts.started, workflows])).toEqual([
    [2, 3, 4],
    [1, 2, 0],
  ]);
  expect(report.buckets.map(({ startAt, counts, workflows }) => [startAt / hour, counts.started, counts.ended, workflows])).toEqual([
    [0, 2, 2, 0],
    [24, 3, 0, 4],
  ]);
});
