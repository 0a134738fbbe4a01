/** Worlds with events, children, tasks and sagas: what holds in them, and that each way to break them is found. */
import { expect, it } from "vitest";
import { keptOutsideSeeds } from "./kept-seeds.ts";
import { outsideSabotages } from "./sabotage.ts";
import { expectWhole, range, sumOf } from "./seeds.ts";
import { simulateSeed } from "./simulate.ts";

it("500 seeds: an event is received once, a child is undone in its place, no success is dropped, nothing takes effect twice", async () => {
  const reports = await expectWhole(range(1, 500), "outside");
  expect(sumOf(reports, ({ executions }) => executions)).toBeGreaterThan(1_500);
  expect(sumOf(reports, ({ events }) => events)).toBeGreaterThan(100);
  expect(sumOf(reports, ({ children }) => children)).toBeGreaterThan(300);
  expect(sumOf(reports, ({ taskReports }) => taskReports)).toBeGreaterThan(700);
});

it("seeds that once failed hold", async () => {
  await expectWhole(
    keptOutsideSeeds.map(({ seed }) => seed),
    "outside",
  );
});

it("the same seed is the same run", async () => {
  for (const seed of range(100, 5)) expect(await simulateSeed(seed, undefined, "outside")).toEqual(await simulateSeed(seed, undefined, "outside"));
});

/** Where one that seldom shows was found last time; a search from the first seed costs seconds. */
const searchedFrom: Readonly<Record<string, number>> = { no_last_look: 400 };

it.each(outsideSabotages)("finds %s", async (sabotage) => {
  let found = false;
  const first = searchedFrom[sabotage] ?? 1;
  for (let seed = first; seed <= first + 1_000 && !found; seed++) found = (await simulateSeed(seed, sabotage, "outside")).violations.length > 0;
  expect(found).toBe(true);
});
