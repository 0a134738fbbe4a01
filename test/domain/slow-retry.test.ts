/** A saga that is stuck going forward goes on trying what must succeed, slowly, visibly, and only that. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { by, call, called, halt, isStuck, order, pivot, run, types, undoable } from "./commanded.ts";
import { fails, type Simulated, succeeds, unclear } from "./simulate.ts";

const retriable: JsonObject = { compensation: { kind: "COMPENSATION_KIND_RETRIABLE" } };
const paced = (attempts: number): JsonObject => ({ retry_policy: { maximum_attempts: attempts, maximum_interval: "60s", jitter: 0 } });
const stops: JsonObject = { compensation_policy: { halt_on_stuck: true } };
const pauses = ({ calls }: Simulated, path: string): number[] =>
  calls
    .filter((one) => one.path === path)
    .map(({ sentAt }) => sentAt)
    .flatMap((sentAt, index, all) => (index === 0 ? [] : [sentAt - (all[index - 1] as number)]));

describe("a RETRIABLE step past the point of no return", () => {
  it("is tried on at the longest interval while the saga stays stuck, and its success ends that", () => {
    const simulated = run(
      [call("pay", pivot), call("ship", { ...retriable, ...paced(2) }), call("tell", retriable)],
      { ship: [fails(), fails(), fails(), succeeds()] },
      [],
    );
    expect(called(simulated)).toEqual(["pay", "ship", "ship", "ship", "ship", "tell"]);
    expect(Math.min(...pauses(simulated, "ship"))).toBeGreaterThanOrEqual(60_000);
    expect(simulated.state).toMatchObject({ status: "completed", saga: "completed", stuck: undefined });
    const states = simulated.ledger.flatMap((event) => (event.type === "saga_state_changed" ? [event.payload.state] : []));
    expect(states).toEqual(["completing", "stuck", "completing"]);
  });

  it("gets a new budget of time for each slow try", () => {
    const brief = { ...retriable, ...paced(0), timeouts: { schedule_to_close: "90s" } };
    const simulated = run([call("pay", pivot), call("ship", brief)], { ship: [...Array(8).fill(unclear()), succeeds()] }, []);
    expect(simulated.state).toMatchObject({ status: "completed" });
    expect(types(simulated)).toContain("step_failed ship");
  });

  it.each<[string, JsonObject, JsonObject]>([
    ["halt_on_stuck", {}, stops],
    ["on_error HALT", halt, {}],
    ["an error that its policy does not try again", { retry_policy: { non_retryable_errors: ["*"] } }, {}],
  ])("waits for a person with %s", (_, more, definition) => {
    const simulated = run([call("pay", pivot), call("ship", { ...retriable, ...more })], { ship: [fails()] }, [], {}, definition);
    expect(called(simulated)).toEqual(["pay", "ship"]);
    expect(simulated.state).toMatchObject({ status: "stuck" });
  });

  it("is tried at once when an operator asks for it, and decided by hand while it waits", () => {
    const steps = [call("pay", pivot), call("ship", { ...retriable, ...paced(1) })];
    const waits = order({ kind: "retry", ...by, steps: [] }, isStuck);
    const asked = run(steps, { ship: [fails(), succeeds()] }, [waits]);
    expect(asked.state).toMatchObject({ status: "completed" });
    expect(pauses(asked, "ship")[0]).toBeLessThan(60_000);
    const done = run(steps, { ship: [fails()] }, [order({ kind: "complete_step", ...by, path: "ship", result: 1 }, isStuck)]);
    expect(done.state).toMatchObject({ status: "completed" });
  });
});

describe("a PIVOT of which nobody knows", () => {
  const steps = [undoable("hold"), call("pay", { ...pivot, ...paced(1) }), call("ship", retriable)];

  it("is asked again with the same key until it answers, and nothing is undone meanwhile", () => {
    const simulated = run(steps, { pay: [unclear(), unclear(), unclear(), succeeds()] }, []);
    expect(called(simulated)).toEqual(["hold", "pay", "pay", "pay", "pay", "ship"]);
    expect(pauses(simulated, "pay").every((pause) => pause >= 60_000)).toBe(true);
    expect(simulated.state).toMatchObject({ status: "completed" });
  });

  it("waits for a person with halt_on_stuck", () => {
    const simulated = run(steps, { pay: [unclear()] }, [], {}, stops);
    expect(called(simulated)).toEqual(["hold", "pay"]);
    expect(simulated.state).toMatchObject({ status: "stuck" });
  });
});

it("what may be undone or has no kind waits for a person, as before", () => {
  const simulated = run([call("pay", pivot), call("tell", paced(1))], { tell: [fails()] }, []);
  expect(called(simulated)).toEqual(["pay", "tell"]);
  expect(simulated.state).toMatchObject({ status: "stuck" });
});
