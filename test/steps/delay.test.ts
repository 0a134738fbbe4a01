import { expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { delay } from "../../src/steps/delay.ts";
import { attemptOf, failureIn, problemsOf, servicesOf, testNow } from "./step-call.ts";

async function wakeAfterMs(config: JsonObject, scope: JsonObject = {}): Promise<number | string> {
  const outcome = await delay.run(attemptOf(delay, config, scope), servicesOf());
  return outcome.kind === "waiting" ? outcome.wakeAt - testNow : failureIn(outcome).failure.name;
}

test.each([
  [{ duration: "1.5s" }, 1_500],
  [{ duration: "0s" }, 0],
  [{ duration: "31536000s" }, 31_536_000_000],
  [{ duration_expression: "duration('90s')" }, 90_000],
  [{ duration_expression: "{{ duration('1h30m') }}" }, 5_400_000],
  [{ duration_expression: "variables.seconds" }, 30_000],
  [{ duration_expression: "string(variables.seconds) + 's'" }, 30_000],
  [{ until: "timestamp('2026-03-01T12:00:10Z')" }, 10_000],
  [{ until: "variables.at" }, 60_000],
  [{ until: "'2026-03-01T12:00:00.250+00:00'" }, 250],
  [{ until: "'2020-01-01T00:00:00Z'" }, 0],
])("%j waits %d ms", async (config, expected) => {
  expect(await wakeAfterMs(config, { variables: { seconds: 30, at: "2026-03-01T13:01:00+01:00" } })).toBe(expected);
});

test.each([
  [{ duration_expression: "-1" }, "EXPRESSION"],
  [{ duration_expression: "'5 minutes'" }, "EXPRESSION"],
  [{ duration_expression: "null" }, "EXPRESSION"],
  [{ duration_expression: "missing.value" }, "EXPRESSION"],
  [{ duration_expression: "366 * 86400" }, "LIMIT.DURATION"],
  [{ until: "'2026-03-01T12:00:10'" }, "EXPRESSION"],
  [{ until: "'2026-99-01T12:00:10Z'" }, "EXPRESSION"],
  [{ until: "12345" }, "EXPRESSION"],
  [{ until: "'2030-01-01T00:00:00Z'" }, "LIMIT.DURATION"],
])("%j fails with %s", async (config, expected) => {
  expect(await wakeAfterMs(config)).toBe(expected);
});

test("refuses at save what cannot be one waiting time", () => {
  expect(problemsOf(delay, {})).toEqual(["duration: VALIDATION_FAILED"]);
  expect(problemsOf(delay, { duration: "1s", until: "now" })).toEqual(["duration: VALIDATION_FAILED"]);
  expect(problemsOf(delay, { duration: "-1s" })).toEqual(["duration: VALIDATION_FAILED"]);
  expect(problemsOf(delay, { duration: "31536001s" })).toEqual(["duration: LIMIT_EXCEEDED"]);
});
