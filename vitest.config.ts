import { defineConfig } from "vitest/config";

/** Projects by what they need: `unit` and `simulation` nothing, `integration` one PostgreSQL for the run and a database of its own per file. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/base/**/*.test.ts", "test/docs/**/*.test.ts", "test/domain/**/*.test.ts", "test/steps/**/*.test.ts", "test/rpc/**/*.test.ts"],
          testTimeout: 20_000,
        },
      },
      { test: { name: "simulation", include: ["test/simulation/**/*.test.ts"], testTimeout: 20_000 } },
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
          globalSetup: ["test/support/postgres.ts"],
          maxWorkers: 3,
          testTimeout: 30_000,
          hookTimeout: 30_000,
        },
      },
    ],
  },
});
