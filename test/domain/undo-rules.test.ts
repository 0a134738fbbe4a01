import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { cancelExecution, terminateExecution } from "../../src/domain/control.ts";
import type { ExecutionState } from "../../src/domain/execution-state.ts";
import { type Order, type Simulated, type Simulation, simulate, simulationStartAt } from "./simulate.ts";
import { compile, fails, type Script, succeeds, unclear } from "./simulated-steps.ts";

const undo = (more: JsonObject = {}, body: JsonObject[string] = null): JsonObject => ({ compensation: { step: { call: { body } }, ...more } });
const call = (name: string, more: JsonObject = undo()): JsonObject => ({ name, call: { body: `${name} input` }, ...more });
const once = { retry_policy: { maximum_attempts: 1 } };
const run = (definition: JsonObject, script: Script = {}, more: Simulation = {}): Simulated => simulate(compile(definition), { script, ...more });
const runSteps = (steps: JsonObject[], script: Script = {}, more: Simulation = {}): Simulated => run({ steps }, script, more);
const called = ({ calls }: Simulated): string[] => calls.map(({ operation, path }) => (operation === "action" ? path : `undo ${path}`));
const typesOf = ({ ledger }: Simulated, path = ""): string[] => ledger.filter(({ stepPath }) => stepPath === path).map(({ type }) => type);
const pivot: JsonObject = { compensation: { kind: "COMPENSATION_KIND_PIVOT" } };

describe("when a step fails", () => {
  it("the earlier ones are undone, last first, with what they were called with and gave back", () => {
    const body = { sent: "{{ original.input.body }}", got: "{{ original.result.id }}", why: "{{ error.name }}" };
    const simulated = runSteps([call("a", undo({}, body)), call("b", undo({}, body)), call("c")], {
      a: [succeeds({ id: 1 })],
      b: [succeeds({ id: 2 })],
      c: [fails("HTTP.422")],
    });
    expect(called(simulated)).toEqual(["a", "b", "c", "undo b", "undo a"]);
    expect(simulated.calls.slice(3).map(({ config }) => config["body"])).toEqual([
      { sent: "b input", got: 2, why: "HTTP.422" },
      { sent: "a input", got: 1, why: "HTTP.422" },
    ]);
    expect(simulated.calls[3]?.idempotencyKey).toBe("exe_00000000000000000000000001/b/compensate");
    expect(simulated.state).toMatchObject({
      status: "compensated",
      saga: "compensated",
      endReason: "step_failed",
      failedStep: "c",
      failure: { name: "HTTP.422" },
      standingEffects: [],
    });
  });

  it("one whose outcome nobody knows is undone first, told that it may not have run", () => {
    const simulated = runSteps([call("a"), call("b", { ...undo(), ...once })], { b: [unclear()] });
    expect(called(simulated)).toEqual(["a", "b", "undo b", "undo a"]);
    const started = simulated.ledger.filter(({ type }) => type === "compensation_started");
    expect(started.map(({ payload }) => "mayNotHaveRun" in payload && payload.mayNotHaveRun)).toEqual([true, false]);
  });

  it("one that surely had no effect is left alone unless it asks for its undo", () => {
    expect(called(runSteps([call("a"), call("b")], { b: [fails()] }))).toEqual(["a", "b", "undo a"]);
    expect(called(runSteps([call("a"), call("b", undo({ compensate_on_failure: true }))], { b: [fails()] }))).toEqual(["a", "b", "undo b", "undo a"]);
  });

  it("one whose earlier attempt may have had an effect is undone, though the last attempt surely had none", () => {
    const simulated = runSteps([call("a"), call("b")], { b: [unclear("NETWORK"), unclear("NETWORK"), fails("NETWORK")] });
    expect(called(simulated)).toEqual(["a", "b", "b", "b", "undo b", "undo a"]);
  });

  it("the last of two with unknown outcomes is undone first", () => {
    const a = call("a", { ...undo(), ...once, on_error: { action: "ON_ERROR_ACTION_CONTINUE" } });
    expect(called(runSteps([a, call("b", { ...undo(), ...once })], { a: [unclear()], b: [unclear()] }))).toEqual(["a", "b", "undo b", "undo a"]);
  });

  it("steps inside a conditional are undone in their place", () => {
    const block = { name: "block", conditional: { cases: [{ when: "true", steps: [call("b"), call("c")] }] } };
    expect(called(runSteps([call("a"), block, call("d"), call("e")], { e: [fails()] })).slice(5)).toEqual(["undo d", "undo c", "undo b", "undo a"]);
  });

  it("nothing to undo ends the run as failed, with its saga compensated", () => {
    expect(runSteps([call("a", {})], { a: [fails()] }).state).toMatchObject({ status: "failed", saga: "compensated", standingEffects: [] });
  });

  it("effects that declare no undo are listed as standing", () => {
    const simulated = runSteps([call("a", {}), { name: "look", call: { reads: true } }, call("b"), call("c")], { c: [fails()] });
    expect(simulated.state).toMatchObject({ status: "compensated", saga: "compensated", standingEffects: ["a"] });
  });

  it("KEEP_EFFECTS undoes nothing and says what stands", () => {
    const simulated = run({ on_failure: "FAILURE_POLICY_KEEP_EFFECTS", steps: [call("a"), call("b")] }, { b: [fails()] });
    expect(called(simulated)).toEqual(["a", "b"]);
    expect(simulated.state).toMatchObject({ status: "failed", saga: "failed", standingEffects: ["a"] });
  });

  it("all undos start at once if the definition says PARALLEL", () => {
    const simulated = run({ compensation_policy: { undo_order: "UNDO_ORDER_PARALLEL" }, steps: [call("a"), call("b"), call("c")] }, { c: [fails()] });
    expect(new Set(simulated.calls.slice(3).map(({ sentAt }) => sentAt)).size).toBe(1);
    expect(simulated.state.status).toBe("compensated");
  });

  it("an undo that needs the action's output leaves the saga stuck when there is none", () => {
    const simulated = runSteps([call("a", { ...undo({ undo_requires_output: true }), ...once })], { a: [unclear()] });
    expect(called(simulated)).toEqual(["a"]);
    expect(simulated.state).toMatchObject({ status: "stuck", saga: "stuck" });
  });
});

describe("an undo that fails", () => {
  it("because it cannot be rendered is stuck at once: asking again gives the same", () => {
    const steps = [call("a", undo({}, "{{ original.result.missing }}")), call("b")];
    const simulated = run({ compensation_policy: { halt_on_stuck: true }, steps }, { a: [succeeds({})], b: [fails()] });
    expect(simulated.calls).toHaveLength(2);
    expect(simulated.state).toMatchObject({ status: "stuck", stuck: { name: "EXPRESSION" }, failure: { stepPath: "b" } });
  });

  it("is repeated until it works, and the next one waits for it", () => {
    const simulated = runSteps([call("a"), call("b"), call("c")], { c: [fails()], "undo b": [unclear(), fails("HTTP.404"), fails("NETWORK"), succeeds()] });
    expect(called(simulated).slice(3)).toEqual(["undo b", "undo b", "undo b", "undo b", "undo a"]);
    expect(typesOf(simulated, "b").filter((type) => type.startsWith("compensation"))).toHaveLength(8);
    expect(simulated.state.status).toBe("compensated");
  });

  it("counts as done when there is nothing left to undo (410)", () => {
    const simulated = runSteps([call("a"), call("b")], { b: [fails()], "undo a": [fails("HTTP.410")] });
    expect(simulated.state).toMatchObject({ status: "compensated" });
    expect(simulated.state.steps.get("a")?.undo?.status).toBe("nothing_to_undo");
  });

  it("leaves the saga stuck when its budget is spent, goes on slowly and ends by itself when it works", () => {
    const policy = { retry_policy: { maximum_attempts: 2, maximum_interval: "60s" } };
    const simulated = runSteps([call("a", undo(policy)), call("b")], { b: [fails()], "undo a": [unclear(), unclear(), unclear(), unclear(), succeeds()] });
    expect(typesOf(simulated).filter((type) => type === "saga_state_changed")).toHaveLength(3);
    const sent = simulated.calls.filter(({ operation }) => operation === "compensate").map(({ sentAt }) => sentAt);
    expect(sent.slice(2).map((at, index) => at - (sent[index + 1] ?? 0))).toEqual([60_005, 60_005, 60_005]);
    expect(simulated.state).toMatchObject({ status: "compensated", saga: "compensated" });
    expect(simulated.state.steps.get("a")).toMatchObject({ status: "compensated", undo: { status: "succeeded", attempt: 5 } });
  });

  it("stops for good when the definition says halt_on_stuck", () => {
    const simulated = run(
      { compensation_policy: { halt_on_stuck: true }, steps: [call("a", undo({ retry_policy: { maximum_attempts: 2 } })), call("b")] },
      { b: [fails()], "undo a": [fails()] },
    );
    expect(simulated.isParkedForGood).toBe(true);
    expect(simulated.state).toMatchObject({ status: "stuck", stuck: { stepPath: "a" }, failure: { stepPath: "b" } });
    expect(simulated.calls).toHaveLength(4);
  });

  it("goes on after a crash that met its slow repetition", () => {
    const steps = [call("a", undo({ retry_policy: { maximum_attempts: 1 } })), call("b")];
    const whole = runSteps(steps, { b: [fails()], "undo a": [unclear(), succeeds()] });
    const restart = whole.ledger.findLastIndex(({ type }) => type === "compensation_started");
    const resumed = runSteps(steps, {}, { resumeFrom: whole.ledger.slice(0, restart + 1) });
    expect(called(resumed)).toEqual(["undo a"]);
    expect(resumed.state.status).toBe("compensated");
  });

  it("is one whose input cannot be made, too", () => {
    const simulated = runSteps(
      [call("a", undo({ retry_policy: { maximum_attempts: 1, maximum_interval: "1s" } }, "{{ original.result.gone }}")), call("b")],
      { b: [fails()] },
      { turnsMax: 30, orders: [terminateAfter(5_000)] },
    );
    expect(simulated.state.steps.get("a")?.undo).toMatchObject({ status: "exhausted", failure: { name: "EXPRESSION" } });
    expect(simulated.state).toMatchObject({ status: "terminated", saga: "failed", standingEffects: ["a"] });
  });
});

const asked = { actor: "key_1", reason: "changed my mind" };
const cancelWhen = (when: Order["when"], compensate?: boolean): Order => ({
  when,
  command: (state, _, now) => cancelExecution(state, now, compensate === undefined ? asked : { ...asked, compensate }),
});
const terminateAfter = (afterMs: number): Order => ({
  when: (_, now) => now >= simulationStartAt + afterMs,
  command: (state, revision, now) => terminateExecution(state, revision, now, asked),
});
const isRunning =
  (path: string) =>
  (state: ExecutionState): boolean =>
    state.steps.get(path)?.status === "running";

describe("cancel", () => {
  it("aborts what runs, undoes it and all before it", () => {
    const simulated = runSteps([call("a"), call("b")], { b: [succeeds("late", 20_000)] }, { orders: [cancelWhen(isRunning("b"))] });
    expect(called(simulated)).toEqual(["a", "b", "undo b", "undo a"]);
    expect(typesOf(simulated, "b")).toContain("step_canceled");
    expect(simulated.state).toMatchObject({ status: "compensated", endReason: "canceled", failure: { name: "CANCELED", message: "changed my mind" } });
  });

  it.each<[string, JsonObject, Script, string]>([
    ["waits", { name: "b", delay: { duration: "600s" } }, {}, "waiting"],
    ["is between two attempts", call("b"), { b: [fails("NETWORK")] }, "retrying"],
  ])("ends a run at once whose step %s", (_, step, script, status) => {
    const simulated = runSteps([call("a"), step, call("c")], script, { orders: [cancelWhen((state) => state.steps.get("b")?.status === status)] });
    expect(called(simulated).at(-1)).toBe("undo a");
    expect(simulated.state).toMatchObject({ status: "compensated", endReason: "canceled" });
    expect(simulated.state.steps.get("b")?.status).toBe("canceled");
  });

  it("undoes nothing when the caller wants that", () => {
    const simulated = runSteps([call("a"), { name: "b", delay: { duration: "600s" } }], {}, { orders: [cancelWhen((state) => state.steps.has("b"), false)] });
    expect(simulated.state).toMatchObject({ status: "canceled", saga: "failed", standingEffects: ["a"] });
  });

  it("before the start leaves nothing behind", () => {
    const simulated = runSteps([call("a")], {}, { created: { startAt: simulationStartAt + 60_000 }, orders: [cancelWhen(() => true)] });
    expect(simulated.state).toMatchObject({ status: "canceled", saga: "compensated" });
    expect(simulated.calls).toEqual([]);
  });

  it("asked twice changes nothing, and after the end is refused", () => {
    const atEnd = (state: ExecutionState): boolean => state.saga === "compensating";
    const simulated = runSteps(
      [call("a"), call("b")],
      { b: [succeeds(null, 1_000)] },
      { orders: [cancelWhen(isRunning("b")), cancelWhen(isRunning("b")), cancelWhen(atEnd)] },
    );
    expect(typesOf(simulated).filter((type) => type === "execution_cancel_requested")).toHaveLength(1);
    expect(simulated.refusals).toEqual([]);
    expect(cancelExecution(simulated.state, 0, asked)).toMatchObject({ reason: "EXECUTION_TERMINAL", metadata: { state: "COMPENSATED" } });
  });

  it("is refused after the point of no return, also while the run is stuck there", () => {
    const late = runSteps([call("a"), call("pay", pivot), call("c", {})], {}, { orders: [cancelWhen(isRunning("c"))] });
    expect(late.refusals).toMatchObject([{ reason: "PAST_PIVOT" }]);
    expect(late.state.status).toBe("completed");
    const stuck = runSteps([call("a"), call("pay", pivot), call("c", {})], { c: [fails()] });
    expect(cancelExecution(stuck.state, 0, asked)).toMatchObject({ reason: "PAST_PIVOT" });
  });
});

describe("terminate", () => {
  it("ends at once, undoes nothing and says what stands", () => {
    const simulated = runSteps(
      [call("a"), call("b", {}), { name: "wait", delay: { duration: "600s" } }],
      {},
      { orders: [{ ...terminateAfter(0), when: (state) => state.steps.has("wait") }] },
    );
    expect(called(simulated)).toEqual(["a", "b"]);
    expect(simulated.state).toMatchObject({ status: "terminated", endReason: "terminated", saga: "failed", standingEffects: ["a", "b"] });
    expect(typesOf(simulated).at(-1)).toBe("execution_ended");
  });
});

describe("the time of an execution", () => {
  const timeoutAt = simulationStartAt + 10_000;

  it("ends the step that runs and turns the saga", () => {
    const simulated = runSteps([call("a"), call("b")], { b: [succeeds("late", 20_000)] }, { created: { timeoutAt } });
    expect(called(simulated)).toEqual(["a", "b", "undo b", "undo a"]);
    expect(simulated.state).toMatchObject({ status: "compensated", endReason: "timeout", failure: { name: "TIMEOUT.EXECUTION" } });
    const b = simulated.ledger.find(({ type }) => type === "step_canceled");
    expect(b?.at).toBe(timeoutAt);
  });

  it("ends a wait", () => {
    const simulated = runSteps([{ name: "wait", delay: { duration: "600s" } }], {}, { created: { timeoutAt } });
    expect(simulated.state).toMatchObject({ status: "timed_out", endReason: "timeout", endedAt: timeoutAt });
  });

  it("does not turn back a run that is past the point of no return", () => {
    const simulated = runSteps([call("a"), call("pay", pivot), call("c", {})], { c: [succeeds("late", 20_000)] }, { created: { timeoutAt } });
    expect(called(simulated)).not.toContain("undo a");
    expect(["completed", "stuck"]).toContain(simulated.state.status);
  });
});
