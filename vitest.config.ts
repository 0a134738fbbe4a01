import { tmpdir } from "node:os";
import { join } from "node:path";
import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";

// The tests start the service a hundred times; with this, Node compiles its modules once.
process.env["NODE_COMPILE_CACHE"] ??= join(tmpdir(), "pawf-test-compile-cache");

/** Longest first, so that no long file is left alone at the end: files that wait for leases, kills and whole processes. */
const longest = ["chaos/", "engine/replicas.", "saga/crash", "examples/demo", "service/watch-many", "service/telemetry", "engine/engine.", "examples/built-in"];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => longest.findIndex((part) => moduleId.includes(`/test/${part}`));
    const [known, others] = [files.filter((file) => rank(file) >= 0), files.filter((file) => rank(file) < 0)];
    return [...known.sort((a, b) => rank(a) - rank(b)), ...(await super.sort(others))];
  }
}

/** Whoever waits waits for a condition; on a busy machine a second is nothing, and only a red test waits that long. */
const patience = { testTimeout: 120_000, hookTimeout: 120_000, expect: { poll: { timeout: 60_000, interval: 20 } } };

/**
 * Projects by what they need: `unit` and `simulation` nothing but the processor, so they run first, as many at a time as there
 * are processors; `integration` one PostgreSQL for the run and a database of its own per file, and much waiting.
 */
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: "unit",
          include: [
            "test/base/**/*.test.ts",
            "test/cli/**/*.test.ts",
            "test/docs/**/*.test.ts",
            "test/domain/**/*.test.ts",
            "test/steps/**/*.test.ts",
            "test/rpc/**/*.test.ts",
          ],
          // Most of their time went into loading the same modules for each file.
          isolate: false,
          maxWorkers: 2,
          ...patience,
        },
      },
      { test: { name: "simulation", include: ["test/simulation/**/*.test.ts"], maxWorkers: 2, ...patience, testTimeout: 300_000 } },
      {
        test: {
          name: "integration",
          include: [
            "test/store/**/*.test.ts",
            "test/engine/**/*.test.ts",
            "test/service/**/*.test.ts",
            "test/saga/**/*.test.ts",
            "test/chaos/**/*.test.ts",
            "test/examples/**/*.test.ts",
            "test/sdk/**/*.test.ts",
          ],
          globalSetup: ["test/support/postgres.ts", "test/support/server-hosts.ts"],
          // Each file has a database and ports of its own; what they would load anew each time is a third of a second.
          isolate: false,
          sequence: { groupOrder: 1 },
          maxWorkers: 3,
          ...patience,
        },
      },
    ],
  },
});
