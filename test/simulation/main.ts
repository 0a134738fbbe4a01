/** `npm run simulate -- --seeds 100000 [--seed N] [--sabotage name] [--world plain|outside]`: many seeds, or one with what happened in it. */
import { parseArgs } from "node:util";
import { outsideSabotages, type Sabotage, sabotages } from "./sabotage.ts";
import { simulateSeed } from "./simulate.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "2000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    sabotage: { type: "string" },
    world: { type: "string", default: "outside" },
  },
});
const sabotage = [...sabotages, ...outsideSabotages].find((name): name is Sabotage => name === values.sabotage);
if (values.sabotage !== undefined && !sabotage) throw new Error(`--sabotage is one of ${[...sabotages, ...outsideSabotages].join(", ")}`);
const startedAt = performance.now();
const totals = { steps: 0, virtualMs: 0, faults: 0, executions: 0, repeats: 0, refusals: 0 };
const failing: number[] = [];
const first = Number(values.seed ?? values.from);
const count = values.seed === undefined ? Number(values.seeds) : 1;
for (let seed = first; seed < first + count; seed++) {
  const report = await simulateSeed(seed, sabotage, values.world === "plain" ? "plain" : "outside");

  totals.steps += report.steps;
  totals.virtualMs += report.virtualMs;
  totals.faults += report.faults.length;
  totals.executions += report.executions;
  totals.repeats += report.repeats;
  totals.refusals += report.refusals;
  if (values.seed !== undefined) for (const line of [...report.faults, ...report.ledgers]) console.log(`  ${line}`);
  if (report.violations.length === 0) continue;
  failing.push(seed);
  console.log(`seed ${seed}: ${report.violations.slice(0, 3).join("\n  ")}`);
}
const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
console.log(`${count} seeds in ${seconds} s: ${failing.length} failing${failing.length > 0 ? ` (${failing.slice(0, 50).join(" ")})` : ""}`);
console.log(JSON.stringify(totals));
process.exitCode = failing.length > 0 && !sabotage ? 1 : 0;
