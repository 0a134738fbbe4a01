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

describe("what must succeed and stands in a block", () => {
  const must = (name: string, more: JsonObject = {}): JsonObject => call(name, { ...retriable, ...paced(1), ...more });
  const branch = (name: string, ...steps: JsonObject[]): JsonObject => ({ name, steps });

  it("is tried on with its block, and what was canceled for it goes on", () => {
    const both = { name: "both", parallel: { branches: [branch("left", must("ship")), branch("right", must("bill"), must("tell"))] } };
    const simulated = run([call("pay", pivot), both, must("close")], { ship: [fails(), fails(), succeeds()], bill: [succeeds(null, 20_000)] }, []);
    expect(simulated.state).toMatchObject({ status: "completed", saga: "completed" });
    expect(called(simulated).toSorted()).toEqual(["bill", "bill", "close", "pay", "ship", "ship", "ship", "tell"].toSorted());
    expect(Math.min(...pauses(simulated, "ship"))).toBeGreaterThanOrEqual(60_000);
    const bills = simulated.calls.filter(({ path }) => path === "bill");
    expect(new Set(bills.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    const states = simulated.ledger.flatMap((event) => (event.type === "saga_state_changed" ? [event.payload.state] : []));
    expect(states).toEqual(["completing", "stuck", "completing"]);
  });

  it("is tried on by item: all that failed together, and those that were not begun follow", () => {
    const each = { name: "each", for_each: { items: "[1, 2, 3]", max_parallel: 2, steps: [must("ship")] } };
    const simulated = run([call("pay", pivot), each], { "each[0]/ship": [fails(), succeeds()], "each[1]/ship": [fails(), fails(), succeeds()] }, []);
    expect(simulated.state).toMatchObject({ status: "completed" });
    expect(simulated.state.steps.get("each")?.result).toHaveLength(3);
  });

  it("is tried on in blocks within blocks, with the case that was chosen", () => {
    const inner = { name: "which", conditional: { cases: [{ name: "yes", when: "true", steps: [must("ship")] }] } };
    const both = { name: "both", parallel: { branches: [branch("left", inner), branch("right", must("tell"))] } };
    const simulated = run([call("pay", pivot), both], { ship: [fails(), fails(), succeeds()] }, []);
    expect(simulated.state).toMatchObject({ status: "completed" });
    expect(called(simulated).filter((name) => name === "tell")).toHaveLength(1);
  });

  it("waits for a person when something else of its block failed that is not to be tried on", () => {
    const both = {
      name: "both",
      parallel: { branches: [branch("left", must("ship")), branch("right", call("look", { ...paced(1), call: { reads: true } }))] },
    };
    const simulated = run([call("pay", pivot), both], { ship: [fails()], look: [fails()] }, []);
    expect(simulated.state).toMatchObject({ status: "stuck" });
    expect(called(simulated)).toEqual(["pay", "ship", "look"]);
  });

  it("is left alone when its failure was tolerated", () => {
    const each = { name: "each", for_each: { items: "[1, 2]", tolerated_failure_count: 1, steps: [must("ship")] } };
    const simulated = run([call("pay", pivot), each, must("close")], { "each[0]/ship": [fails()], close: [fails(), succeeds()] }, []);
    expect(simulated.state).toMatchObject({ status: "completed" });
    expect(called(simulated)).toEqual(["pay", "ship", "ship", "close", "close"].map((name, index) => (name === "ship" ? `each[${index - 1}]/ship` : name)));
  });
});

describe("an operator's word", () => {
  const steps = [
    call("pay", pivot),
    call("ship", {
      ...retriable,
      retry_policy: { initial_interval: "1s", backoff_coefficient: 1, maximum_interval: "60s", jitter: 0 },
      timeouts: { schedule_to_close: "20s" },
    }),
  ];
  /** The slow attempt has failed, and its next one is planned. */
  const isPlanned = ({ steps: runs }: Simulated["state"]): boolean => runs.get("ship")?.slow === true && runs.get("ship")?.status === "retrying";
  const isOut = ({ steps: runs }: Simulated["state"]): boolean => runs.get("ship")?.slow === true && runs.get("ship")?.status === "running";
  const script = { ship: [...Array(22).fill(fails("HTTP.503")), succeeds()] };

  it.each([
    ["planned", isPlanned],
    ["under way", isOut],
  ])("during a slow attempt that is %s: RetrySaga gives a new budget and goes on", (_, when) => {
    const simulated = run(steps, script, [order({ kind: "retry_saga", ...by }, when)]);
    expect(simulated.refusals).toEqual([]);
    expect(simulated.state).toMatchObject({ status: "completed" });
    expect(types(simulated)).toContain("execution_reopened");
    expect(new Set(simulated.calls.filter(({ path }) => path === "ship").map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
  });

  it.each([
    ["planned", isPlanned],
    ["under way", isOut],
  ])("during a slow attempt that is %s: ABANDON ends the saga with what stands, once", (_, when) => {
    const abandon = { kind: "resolve_step", ...by, path: "ship", resolution: "abandon" } as const;
    const simulated = run(steps, script, [order(abandon, when)]);
    expect(simulated.refusals).toEqual([]);
    expect(simulated.state).toMatchObject({ status: "failed", endReason: "operator" });
    expect(simulated.state.standingEffects).toContain("pay");
    expect(types(simulated).filter((type) => type === "execution_ended")).toHaveLength(1);
  });
});
