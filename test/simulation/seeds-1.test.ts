import { expect, it } from "vitest";
import { keptSeeds } from "./kept-seeds.ts";
import { expectWhole, range, sumOf } from "./seeds.ts";
import { simulateSeed } from "./simulate.ts";

it("seeds that once failed hold", async () => {
  await expectWhole(keptSeeds.map(({ seed }) => seed));
});

it("the same seed is the same run", async () => {
  for (const seed of range(100, 10)) expect(await simulateSeed(seed)).toEqual(await simulateSeed(seed));
});

it("1,000 seeds: nothing is lost, ends twice, has a gap, takes effect twice or goes back", async () => {
  const reports = await expectWhole(range(1, 1_000));
  expect(sumOf(reports, ({ executions }) => executions)).toBeGreaterThan(1_500);
  expect(sumOf(reports, ({ faults }) => faults.length)).toBeGreaterThan(1_000);
  expect(sumOf(reports, ({ repeats }) => repeats)).toBeGreaterThan(1_000);
  expect(sumOf(reports, ({ refusals }) => refusals)).toBeGreaterThan(20);
});
