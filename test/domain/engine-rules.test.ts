import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { type Simulated, type Simulation, simulate, simulationStartAt } from "./simulate.ts";
import { compile, fails, type Script, succeeds, unclear } from "./simulated-steps.ts";

function run(definition: JsonObject, script: Script = {}, more: Simulation = {}): Simulated {
  return simulate(compile(definition), { script, ...more });
}
const runSteps = (steps: JsonObject[], script: Script = {}): Simulated => run({ steps }, script);
const call = (name: string, more: JsonObject = {}, body: JsonObject[string] = null): JsonObject => ({ name, call: { body }, ...more });
const value = (name: string, text: JsonObject[string], more: JsonObject = {}): JsonObject => ({ name, value: { value: text }, ...more });
/** The ledger as `type path`, one line per event. */
const lines = ({ ledger }: Simulated): string[] => ledger.map(({ type, stepPath }) => (stepPath === "" ? type : `${type} ${stepPath}`));
const resultOf = (simulated: Simulated, path: string) => simulated.state.steps.get(path)?.result;
const called = ({ calls }: Simulated): string[] => calls.map(({ operation, path }) => (operation === "action" ? path : `undo ${path}`));
const pivot: JsonObject = { compensation: { kind: "COMPENSATION_KIND_PIVOT" } };

describe("a sequence of steps", () => {
  it("runs one after the other and ends with the last result", () => {
    const simulated = runSteps([call("a"), value("b", "{{ steps.a.result.n }}"), call("c")], { a: [succeeds({ n: 3 })], c: [succeeds("done")] });
    expect(lines(simulated)).toEqual([
      "execution_created",
      "execution_started",
      "step_started a",
      "step_succeeded a",
      "step_succeeded b",
      "step_started c",
      "step_succeeded c",
      "execution_ended",
    ]);
    expect(resultOf(simulated, "b")).toBe(3);
    expect(simulated.state).toMatchObject({ status: "completed", saga: "completed", endReason: "success", output: "done" });
  });

  it("writes an outcome and the next intent in one commit", () => {
    const { ledger, commits } = runSteps([call("a"), value("b", 1), call("c")]);
    const commitOf = (type: string, path: string): number =>
      commits.findIndex((end) => ledger.findIndex((event) => event.type === type && event.stepPath === path) < end);
    expect(commitOf("step_succeeded", "a")).toBe(commitOf("step_started", "c"));
    expect(commits).toHaveLength(3);
  });

  it("makes outputs from what the steps left, and keeps the order their author wrote", () => {
    const { state } = run({
      variables: { rate: 2 },
      steps: [value("a", 21)],
      outputs: { z: "{{ steps.a.result * variables.rate }}", a: "{{ trigger.data.order }}" },
    });
    expect(JSON.stringify(state.output)).toBe('{"z":42,"a":7}');
  });

  it("fails when an output cannot be made or does not fit its schema", () => {
    const gone = run({ steps: [value("a", {})], outputs: { x: "{{ steps.a.result.gone }}" } });
    expect(gone.state).toMatchObject({ status: "failed", failure: { name: "EXPRESSION" } });
    const unfit = run({
      steps: [value("a", "text")],
      outputs: { x: "{{ steps.a.result }}" },
      output_schema: { type: "object", properties: { x: { type: "number" } } },
    });
    expect(unfit.state).toMatchObject({ status: "failed", failure: { name: "SCHEMA" } });
  });

  it("fails when a start value cannot be made", () => {
    expect(run({ variables: { v: "{{ trigger.data.gone }}" }, steps: [call("a")] }).state).toMatchObject({ status: "failed", failure: { name: "EXPRESSION" } });
  });

  it("sends the same idempotency key with every attempt, or the one that is named", () => {
    const { calls } = runSteps([call("a"), call("b", { idempotency_key: "order-{{ trigger.data.order }}" })], { a: [unclear(), succeeds()] });
    expect(calls.map(({ idempotencyKey }) => idempotencyKey)).toEqual([
      "exe_00000000000000000000000001/a/action",
      "exe_00000000000000000000000001/a/action",
      "order-7",
    ]);
  });
});

describe("variables", () => {
  it("take what a step exports", () => {
    const simulated = run(
      { variables: { total: 1 }, steps: [call("a", { export: { total: "result.sum + variables.total" } }), value("b", "{{ variables.total }}")] },
      { a: [succeeds({ sum: 4 })] },
    );
    expect(resultOf(simulated, "b")).toBe(5);
  });

  it("take what set_variables gives them and keep the others", () => {
    const simulated = run({
      variables: { a: 1, b: 1 },
      steps: [{ name: "set", set_variables: { variables: { a: "{{ variables.a + 1 }}" } } }, value("sum", "{{ variables.a + variables.b }}")],
    });
    expect(simulated.state).toMatchObject({ status: "completed", variables: { a: 2, b: 1 } });
    expect(resultOf(simulated, "sum")).toBe(3);
  });

  it("keep a null that set_variables gives them", () => {
    const simulated = run({
      variables: { a: 1 },
      steps: [{ name: "set", set_variables: { variables: { a: null, b: null } } }, value("none", "{{ variables.a == null && variables.b == null }}")],
    });
    expect(simulated.state).toMatchObject({ status: "completed", output: true, variables: { a: null, b: null } });
  });

  it("take what a delay exports", () => {
    const simulated = run({ variables: { woken: "" }, steps: [{ name: "wait", delay: { duration: "90s" }, export: { woken: "result.wake_time" } }] });
    expect(simulated.state.variables).toEqual({ woken: "2026-03-01T12:01:30.000Z" });
  });
});

describe("run_if", () => {
  it("skips a step whose condition is false, and its result reads as null", () => {
    const simulated = runSteps([call("a", { run_if: "trigger.data.order > 100" }), value("b", "{{ steps.a.result == null && steps.a.status == 'skipped' }}")]);
    expect(called(simulated)).toEqual([]);
    expect(resultOf(simulated, "b")).toBe(true);
  });

  it("fails the step when it is neither true nor false", () => {
    const { state } = runSteps([call("a", { run_if: "trigger.data.order" })]);
    expect(state).toMatchObject({ status: "failed", failedStep: "a", failure: { name: "EXPRESSION" } });
  });
});

describe("a conditional", () => {
  const branch = (order: number, cases: JsonObject[], more: JsonObject = {}): Simulated =>
    run(
      { steps: [{ name: "choose", conditional: { cases, ...more } }, value("after", "{{ steps.choose.result.matched }}")] },
      {},
      { created: { input: { order } } },
    );
  const cases = [
    { name: "big", when: "trigger.data.order > 100", steps: [call("ask")] },
    { name: "middle", when: "trigger.data.order > 10", steps: [call("note")] },
  ];

  it.each([
    [500, ["ask"], "big"],
    [50, ["note"], "middle"],
    [5, ["skip"], "else"],
  ])("runs the first case that holds, or else the rest: order %d", (order, sent, matched) => {
    const simulated = branch(order, cases, { else_steps: [call("skip")] });
    expect(called(simulated)).toEqual(sent);
    expect(resultOf(simulated, "after")).toBe(matched);
  });

  it("runs nothing when no case holds and there is no else", () => {
    const simulated = branch(5, cases);
    expect(called(simulated)).toEqual([]);
    expect(resultOf(simulated, "after")).toBe("else");
  });

  it("keeps the branch it chose, whatever later steps change", () => {
    const inner = {
      name: "choose",
      conditional: { cases: [{ when: "variables.go == 1", steps: [{ name: "flip", set_variables: { variables: { go: 2 } } }, call("second")] }] },
    };
    expect(called(run({ variables: { go: 1 }, steps: [inner] }))).toEqual(["second"]);
  });

  it("fails with the failure of the step in it, and a catch of its own takes that", () => {
    const block = (more: JsonObject): JsonObject => ({ name: "block", conditional: { cases: [{ when: "true", steps: [call("inner")] }] }, ...more });
    const script = { inner: [fails("HTTP.422")] };
    expect(runSteps([block({}), call("after")], script).state).toMatchObject({ status: "failed", failedStep: "inner", failure: { name: "HTTP.422" } });
    const caught = runSteps([block({ on_error: { catches: [{ errors: ["HTTP.4xx"], steps: [call("repair")] }] } }), call("after")], script);
    expect(called(caught)).toEqual(["inner", "repair", "after"]);
  });
});

describe("a retry", () => {
  const policy = { initial_interval: "1s", backoff_coefficient: 2, maximum_interval: "5s", maximum_attempts: 5, jitter: 0 };
  const gaps = ({ calls }: Simulated): number[] => calls.slice(1).map((sent, index) => sent.sentAt - (calls[index]?.sentAt ?? 0) - 5);

  it("waits longer each time up to the cap, and counts the first attempt", () => {
    const simulated = runSteps([call("a", { retry_policy: policy })], { a: [unclear()] });
    expect(gaps(simulated)).toEqual([1_000, 2_000, 4_000, 5_000]);
    expect(simulated.state.steps.get("a")).toMatchObject({ status: "failed", attempt: 5 });
  });

  it.each([0, 0.25, 0.5, 0.999])("is jittered between the half and the whole of the delay: chance %d", (random) => {
    const simulated = run({ steps: [call("a", { retry_policy: { ...policy, jitter: 0.5 } })] }, { a: [unclear(), succeeds()] }, { random: () => random });
    expect(gaps(simulated)[0]).toBe(Math.round(1_000 * (1 - 0.5 * random)));
  });

  it("waits at least as long as the other side asks, at most an hour", () => {
    const ask = (retryAfterMs: number): number[] =>
      gaps(
        runSteps([call("a", { retry_policy: policy })], {
          a: [fails("HTTP.429", {}), succeeds()].map((reply, index) => (index === 0 ? { outcome: { ...reply.outcome, retryAfterMs } } : reply)) as never,
        }),
      );
    expect(ask(30_000)).toEqual([30_000]);
    expect(ask(10)).toEqual([1_000]);
    expect(ask(86_400_000)).toEqual([3_600_000]);
  });

  it.each<[string, JsonObject, string, number]>([
    ["is not made for an error that says it is final", {}, "HTTP.422", 1],
    ["is made for an error the policy adds", { retryable_errors: ["HTTP.4xx"] }, "HTTP.422", 5],
    ["is not made for an error the policy excludes", { non_retryable_errors: ["HTTP.5xx"] }, "HTTP.503", 1],
    ["is not made when retry_if says no", { retry_if: "error.name != 'HTTP.503' || attempt < 3" }, "HTTP.503", 3],
  ])("%s", (_, more, name, attempts) => {
    expect(runSteps([call("a", { retry_policy: { ...policy, ...more } })], { a: [fails(name)] }).calls).toHaveLength(attempts);
  });

  it("ends with the budget of all attempts together", () => {
    const simulated = runSteps([call("a", { retry_policy: { ...policy, maximum_attempts: 0 }, timeouts: { schedule_to_close: "6s" } })], { a: [unclear()] });
    expect(simulated.calls).toHaveLength(3);
    expect(simulated.state.status).toBe("failed");
  });

  it("follows an attempt that took too long", () => {
    const simulated = runSteps([call("a", { retry_policy: policy, timeouts: { start_to_close: "2s" } })], {
      a: [succeeds("late", 60_000), succeeds("in time")],
    });
    expect(simulated.ledger.find(({ type }) => type === "step_retry_scheduled")).toMatchObject({
      payload: { failure: { name: "TIMEOUT.START_TO_CLOSE" }, outcome: "unknown" },
    });
    expect(simulated.state).toMatchObject({ status: "completed", output: "in time" });
  });
});

describe("on_error", () => {
  it("CONTINUE goes on and shows the failure to later steps", () => {
    const simulated = runSteps([call("a", { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }), value("b", "{{ steps.a.error.name }}")], {
      a: [fails("HTTP.404")],
    });
    expect(simulated.state).toMatchObject({ status: "completed", output: "HTTP.404" });
  });

  it.each<[string, string[]]>([
    ["HTTP.404", ["a", "missing"]],
    ["HTTP.418", ["a", "any"]],
    ["NETWORK", ["a", "network"]],
  ])("gives %s to the first catch whose errors and condition fit", (name, sent) => {
    const catches = [
      { errors: ["HTTP.4xx"], when: "error.name == 'HTTP.404'", steps: [call("missing")] },
      { errors: ["NETWORK"], steps: [call("network")] },
      { steps: [call("any")] },
    ];
    const a = call("a", { retry_policy: { maximum_attempts: 1 }, on_error: { catches } });
    const simulated = runSteps([a], { a: [fails(name)] });
    expect(called(simulated)).toEqual(sent);
    expect(simulated.state.status).toBe("completed");
  });

  it("shows the failure as `error` to the steps of the catch", () => {
    const a = call("a", { on_error: { catches: [{ steps: [value("note", "{{ error.name }}: {{ error.message }}")] }] } });
    const simulated = runSteps([a], { a: [fails("HTTP.404")] });
    expect(resultOf(simulated, "note")).toBe("HTTP.404: HTTP.404");
  });

  it("fails the run when a step of the catch fails", () => {
    const simulated = runSteps([call("a", { on_error: { catches: [{ steps: [call("repair")] }] } }), call("after")], {
      a: [fails()],
      repair: [fails("HTTP.409")],
    });
    expect(simulated.state).toMatchObject({ status: "failed", failedStep: "repair" });
    expect(called(simulated)).not.toContain("after");
  });

  it("HALT leaves the run stuck, with nothing undone", () => {
    const undo = { compensation: { step: { call: {} } } };
    const simulated = runSteps([call("a", undo), call("b", { on_error: { action: "ON_ERROR_ACTION_HALT" } })], { b: [fails()] });
    expect(simulated.state).toMatchObject({ status: "stuck", saga: "stuck", failure: { name: "HTTP.422" } });
    expect(simulated.isParkedForGood).toBe(true);
    expect(called(simulated)).toEqual(["a", "b"]);
  });
});

describe("the point of no return", () => {
  it("turns the saga to completing", () => {
    const simulated = runSteps([call("pay", pivot), call("ship", { compensation: { kind: "COMPENSATION_KIND_RETRIABLE" } })], {
      ship: [...Array(20).fill(unclear()), succeeds()],
    });
    expect(lines(simulated)).toContain("saga_state_changed");
    expect(simulated.calls.filter(({ path }) => path === "ship")).toHaveLength(21);
    expect(simulated.state).toMatchObject({ status: "completed", saga: "completed" });
  });

  it("makes a later failure stuck instead of turning back", () => {
    const simulated = runSteps([call("hold", { compensation: { step: { call: {} } } }), call("pay", pivot), call("tell")], { tell: [fails()] });
    expect(simulated.state).toMatchObject({ status: "stuck", saga: "stuck" });
    expect(called(simulated)).toEqual(["hold", "pay", "tell"]);
  });

  it("turns back when the pivot surely failed, and is stuck when nobody knows", () => {
    const steps = [call("hold", { compensation: { step: { call: {} } } }), call("pay", pivot)];
    expect(called(runSteps(steps, { pay: [fails()] }))).toEqual(["hold", "pay", "undo hold"]);
    const unknown = run({ steps, compensation_policy: { halt_on_stuck: true } }, { pay: [unclear()] });
    expect(called(unknown)).not.toContain("undo hold");
    expect(unknown.state).toMatchObject({ status: "stuck" });
  });
});

describe("a delay", () => {
  it("waits until its moment, neither shorter nor as part of an attempt", () => {
    const simulated = runSteps([{ name: "wait", delay: { duration: "3600s" } }, call("a")]);
    expect(lines(simulated).slice(2, 5)).toEqual(["step_waiting wait", "step_succeeded wait", "step_started a"]);
    expect(simulated.calls[0]?.sentAt).toBe(simulationStartAt + 3_600_000);
  });

  it("is not needed for a start that is put off", () => {
    const simulated = run({ steps: [call("a")] }, {}, { created: { startAt: simulationStartAt + 60_000 } });
    expect(simulated.calls[0]?.sentAt).toBe(simulationStartAt + 60_000);
  });
});
