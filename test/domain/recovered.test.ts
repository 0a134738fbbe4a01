/** A participant answers again: what waits for another try at it is due at once, and nothing else changes. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { attemptsOf } from "../../src/domain/attempts.ts";
import { applyCommand } from "../../src/domain/control-command.ts";
import { destinationsAwaited } from "../../src/domain/control-recovered.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import { called } from "./commanded.ts";
import { compile, fails, type Script, type Simulated, simulate, succeeds, unclear } from "./simulate.ts";
import type { Reply } from "./simulated-steps.ts";

const day = 86_400_000;
const shop = "https://shop:443";
const patient = { retry_policy: { initial_interval: "86400s", maximum_interval: "86400s", maximum_attempts: 5, jitter: 0 } };
const call = (name: string, more: JsonObject = {}): JsonObject => ({ name, call: {}, ...more });
const undone = (name: string, more: JsonObject = {}): JsonObject => call(name, { compensation: { step: { call: {} }, ...more } });

/** It failed at a participant that is away. */
function away(key = shop, reply: Reply = unclear("HTTP.503", false)): Reply {
  return { ...reply, outcome: { ...(reply.outcome as Extract<StepOutcome, { kind: "failed" }>), waitsFor: key } };
}

/** Runs it, and says an hour after the first failure that this participant is back. */
function run(definition: JsonObject, script: Script, destination = shop): { readonly run: Simulated; readonly tookMs: number; readonly made: number } {
  const revision = compile(definition);
  let failedAt = 0;
  let made = 0;
  const simulated = simulate(revision, {
    script,
    orders: [
      {
        when: (state, now) => {
          const waits = destinationsAwaited({ state, revision, now }).size > 0;
          if (waits && failedAt === 0) failedAt = now;
          return waits;
        },
        command: (state, _, now) => {
          const events = applyCommand({ state, revision, now }, { kind: "recovered", destination });
          if (!Array.isArray(events)) throw new Error("refused");
          made = events.length;
          return events;
        },
      },
    ],
  });
  return { run: simulated, tookMs: (simulated.ledger.at(-1)?.at ?? 0) - (simulated.ledger[0]?.at ?? 0), made };
}

describe("a participant that is back", () => {
  it("gets the next attempt at once, under the same key and counted as any other", () => {
    const { run: simulated, tookMs } = run({ steps: [call("a", patient)] }, { a: [away(), succeeds()] });
    expect([simulated.state.status, called(simulated), simulated.calls.map(({ attempt }) => attempt)]).toEqual(["completed", ["a", "a"], [1, 2]]);
    expect(tookMs).toBeLessThan(day);
    expect(new Set(simulated.calls.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    // Nothing was tried when it was brought forward.
    const attempts = attemptsOf(
      simulated.ledger.filter(({ stepPath }) => stepPath === "a"),
      10,
    );
    expect(attempts.map(({ attempt, state }) => [attempt, state])).toEqual([
      [1, "unknown"],
      [2, "succeeded"],
    ]);
  });

  it("is not the one that others wait for, nor is what failed by itself brought forward", () => {
    for (const reply of [away("https://other:443"), unclear("HTTP.503", false)]) {
      const { tookMs, made } = run({ steps: [call("a", patient)] }, { a: [reply, succeeds()] });
      expect(made).toBe(0);
      expect(tookMs).toBeGreaterThanOrEqual(day);
    }
  });

  it("gets the undo at once, also one that has spent its budget: the saga is not stuck any more", () => {
    const retry = { retry_policy: { maximum_attempts: 1, initial_interval: "86400s", maximum_interval: "86400s", jitter: 0 } };
    for (const more of [{ retry_policy: { ...retry.retry_policy, maximum_attempts: 3 } }, retry]) {
      const { run: simulated, tookMs } = run({ steps: [undone("a", more), undone("b"), call("c")] }, { c: [fails()], "undo a": [away(), succeeds()] });
      expect([simulated.state.status, simulated.state.saga]).toEqual(["compensated", "compensated"]);
      expect(called(simulated)).toEqual(["a", "b", "c", "undo b", "undo a", "undo a"]);
      expect(tookMs).toBeLessThan(day);
    }
  });

  it("gets what the saga is stuck on going forward at once", () => {
    const step = call("a", { ...patient, compensation: { kind: "COMPENSATION_KIND_RETRIABLE" }, timeouts: { schedule_to_close: "1s" } });
    const pivot = call("p", { compensation: { kind: "COMPENSATION_KIND_PIVOT" } });
    const { run: simulated, tookMs } = run({ steps: [pivot, step] }, { a: [away(), succeeds()] });
    expect([simulated.state.status, called(simulated)]).toEqual(["completed", ["p", "a", "a"]]);
    expect(simulated.ledger.map(({ type }) => type)).toContain("saga_state_changed");
    expect(tookMs).toBeLessThan(day);
  });

  it("changes nothing twice, and nothing of what has ended", () => {
    const revision = compile({ steps: [call("a", patient)] });
    const { state } = run({ steps: [call("a", patient)] }, { a: [away(), succeeds()] }).run;
    expect(applyCommand({ state, revision, now: 0 }, { kind: "recovered", destination: shop })).toEqual([]);
  });
});
