/** The simulation bites: each way to break the engine's surroundings is found within the seeds of the short form. */
import { expect, it } from "vitest";
import { type Sabotage, sabotages } from "./sabotage.ts";
import { type SeedReport, simulateSeed } from "./simulate.ts";

it.each(sabotages)("finds %s", async (sabotage) => {
  expect(await firstFailing(sabotage)).toBeDefined();
});

async function firstFailing(sabotage: Sabotage): Promise<SeedReport | undefined> {
  for (let seed = 1; seed <= 2_000; seed++) {
    const report = await simulateSeed(seed, sabotage);
    if (report.violations.length > 0) return report;
  }
  return undefined;
}
