/** `npm run bench -- NAME`: measures one part and writes `bench/results/NAME.json`. Benchmarks are commands, never timed tests. */
import { readdirSync } from "node:fs";

const names = readdirSync(import.meta.dirname)
  .filter((file) => file.endsWith(".bench.ts"))
  .map((file) => file.slice(0, -".bench.ts".length));
const name = process.argv[2] ?? "";
if (!names.includes(name)) {
  console.error(`usage: npm run bench -- ${names.join(" | ")}`);
  process.exit(2);
}
const bench = (await import(`./${name}.bench.ts`)) as { run(): Promise<void> };
await bench.run();
process.exit(0);
