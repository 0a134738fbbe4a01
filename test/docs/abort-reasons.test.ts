/** An abort says why: without a reason whoever hears of it has a bare AbortError, and a platform's timeout looks to a step like a cancel. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { failure } from "../../src/domain/failure.ts";
import { failsAfter, signalFailure } from "../../src/steps/signal-failure.ts";

const bare = /\.abort\(\s*\)|AbortSignal\.(timeout|abort)\(/;

it("every abort of the service and of the SDK has a reason", () => {
  const root = join(import.meta.dirname, "../..");
  const files = ["src", "sdk"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.includes("node_modules"))
      .map((name) => join(folder, name)),
  );
  expect(files.length).toBeGreaterThan(400);
  const found = files.flatMap((file) =>
    readFileSync(join(root, file), "utf8")
      .split("\n")
      .flatMap((line, index) => (bare.test(line) ? [`${file}:${index + 1}: ${line.trim()}`] : [])),
  );
  expect(found).toEqual([]);
});

it("a time limit of our own ends as the failure it names, not as a cancel", async () => {
  const why = failure("NETWORK", "no answer in time");
  const signal = failsAfter(0, why);
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  expect(signalFailure(signal)).toEqual(why);
});
