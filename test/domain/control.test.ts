/** What callers and operators may do to a run, in which state, and what it means for what comes next. */
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import type { ControlCommand } from "../../src/domain/control-command.ts";
import { again, by, call, called, halt, isStuck, once, order, pivot, refusal, refused, run, stands, types, undoable, value, wait } from "./commanded.ts";
import { compile, fails, type Order, simulate, simulationStartAt, succeeds, unclear } from "./simulate.ts";

describe("pause", () => {
  const pause = order({ kind: "pause", ...by }, stands("a", "running"));

  it("lets the attempt in flight finish and begins nothing after it", () => {
    const paused = run([call("a"), call("b")], {}, [pause]);
    expect(called(paused)).toEqual(["a"]);
    expect(paused.state).toMatchObject({ paused: true, pause: { actor: "key_1", reason: "because" } });
    expect(paused.state.steps.get("a")?.status).toBe("completed");
    expect(paused.isParkedForGood).toBe(true);
  });

  it("goes on when it is resumed, from the ledger alone", () => {
    const paused = run([call("a"), call("b")], {}, [pause]);
    const resumed = again(paused, compile({ steps: [call("a"), call("b")] }), { kind: "resume", ...by });
    expect(called(resumed)).toEqual(["b"]);
    expect(resumed.state).toMatchObject({ status: "completed", paused: false, pause: undefined });
  });

  it("takes a timer that fired meanwhile when it is resumed", () => {
    const steps = [wait("sleep", "60s"), call("b")];
    const paused = run(steps, {}, [order({ kind: "pause", ...by }, stands("sleep", "waiting"))]);
    expect(paused.state.steps.get("sleep")?.status).toBe("waiting");
    const early = again(paused, compile({ steps }), { kind: "resume", ...by });
    expect(early.state.endedAt).toBe(simulationStartAt + 60_005);
    const dueAt = (paused.state.steps.get("sleep")?.wakeAt ?? 0) + 5_000;
    const late = simulate(compile({ steps }), {
      resumeFrom: [
        ...paused.ledger,
        { type: "variables_set", at: dueAt, stepPath: "", attempt: 0, payload: { variables: {} }, sequence: paused.ledger.length + 1 },
      ],
      orders: [order({ kind: "resume", ...by })],
    });
    expect(late.state).toMatchObject({ status: "completed", endedAt: dueAt + 5 });
  });

  it("does not stop the execution's own time", () => {
    const paused = run([undoable("a"), call("b")], {}, [pause], { created: { timeoutAt: simulationStartAt + 1_000 } });
    expect(paused.state).toMatchObject({ status: "compensating", saga: "compensating", paused: true });
    expect(called(paused)).toEqual(["a"]);
  });

  it("keeps a compensating execution compensating, and no undo is begun", () => {
    const steps = [undoable("a"), undoable("b"), call("c")];
    const paused = run(steps, { c: [fails()] }, [order({ kind: "pause", ...by }, stands("b", "compensating"))]);
    expect(called(paused)).toEqual(["a", "b", "c", "undo b"]);
    expect(paused.state).toMatchObject({ status: "compensating", paused: true });
    const resumed = again(paused, compile({ steps }), { kind: "resume", ...by });
    expect(called(resumed)).toEqual(["undo a"]);
    expect(resumed.state.status).toBe("compensated");
  });

  it("is asked twice and written once; ends refuse it", () => {
    const twice = run([call("a"), call("b")], {}, [
      pause,
      order({ kind: "pause", ...by }, stands("a", "running")),
      order({ kind: "resume", ...by }, stands("a", "completed")),
    ]);
    expect(types(twice).filter((type) => type === "execution_paused")).toHaveLength(1);
    expect(twice.state.status).toBe("completed");
    expect(refusal(twice.state, compile({ steps: [] }), { kind: "pause", ...by })).toMatchObject({
      reason: "EXECUTION_TERMINAL",
      metadata: { state: "COMPLETED" },
    });
    expect(refusal(twice.state, compile({ steps: [] }), { kind: "resume", ...by }).reason).toBe("EXECUTION_TERMINAL");
  });

  it("past the point of no return waits without an end", () => {
    const paused = run([call("p", pivot), call("b")], {}, [order({ kind: "pause", ...by }, (state) => state.pastPivot)], {
      created: { timeoutAt: simulationStartAt + 6 },
    });
    expect(paused).toMatchObject({ isParkedForGood: true, state: { saga: "completing", paused: true } });
  });
});

describe("cancel with a grace period", () => {
  const cancel = (graceMs: number): Order => order({ kind: "cancel", ...by, graceMs }, stands("a", "running"));

  it("lets an attempt in flight end by itself and begins nothing new", () => {
    const simulated = run([undoable("a"), call("b")], { a: [succeeds("x", 800)] }, [cancel(1_000)]);
    expect(called(simulated)).toEqual(["a", "undo a"]);
    expect(simulated.state.steps.get("a")?.result).toBe("x");
    expect(simulated.state).toMatchObject({ status: "compensated", endReason: "canceled" });
  });

  it("aborts it when the grace is over", () => {
    const simulated = run([undoable("a"), call("b")], { a: [succeeds("x", 5_000)] }, [cancel(1_000)]);
    expect(simulated.state.steps.get("a")).toMatchObject({ action: "unknown", status: "compensated" });
    expect(simulated.ledger.find(({ type }) => type === "step_canceled")?.at).toBe(simulationStartAt + 1_000);
  });

  it("can be shortened, not prolonged", () => {
    const [first, longer, shorter] = [
      cancel(60_000),
      order({ kind: "cancel", ...by, graceMs: 90_000 }, (state) => state.cancel !== undefined),
      order({ kind: "cancel", ...by }, (state) => state.cancel !== undefined),
    ];
    const simulated = run([undoable("a")], { a: [succeeds("x", 20_000)] }, [first, longer, shorter]);
    expect(types(simulated).filter((type) => type === "execution_cancel_requested")).toHaveLength(2);
    expect(simulated.ledger.find(({ type }) => type === "step_canceled")?.at).toBe(simulationStartAt);
  });
});

describe("an operator's word on a step", () => {
  const skip = (path: string, result?: Json): ControlCommand => ({ kind: "skip_step", ...by, path, ...(result === undefined ? {} : { result }) });
  const complete = (path: string, result: Json): ControlCommand => ({ kind: "complete_step", ...by, path, result });
  const fail = (path: string, name = "USER.no"): ControlCommand => ({ kind: "fail_step", ...by, path, failure: { name, message: "no" } });

  it("leaves out a step that waits, with the result expressions shall see", () => {
    const simulated = run([wait("sleep"), value("b", "{{ steps.sleep.result.n }}")], {}, [order(skip("sleep", { n: 4 }), stands("sleep", "waiting"))]);
    expect(simulated.state.steps.get("sleep")).toMatchObject({ status: "skipped", result: { n: 4 } });
    expect(simulated.state.output).toBe(4);
    expect(simulated.ledger.find(({ type }) => type === "operator_acted")?.payload).toEqual({
      actor: "key_1",
      action: "skip_step",
      reason: "because",
      stepPath: "sleep",
      result: { n: 4 },
    });
  });

  it("leaves out a step before it begins, and fails or completes it as well", () => {
    const when = stands("a", "running");
    const simulated = run([call("a"), call("b"), call("c", { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }), call("d")], {}, [
      order(skip("b"), when),
      order(fail("c"), when),
      order(complete("d", "made"), when),
    ]);
    expect(called(simulated)).toEqual(["a"]);
    expect(simulated.state).toMatchObject({ status: "completed", output: "made" });
  });

  it("completes a step that is to be retried; its exports are made and it is undone like any other", () => {
    const simulated = run(
      [undoable("a", { export: { got: "result.id" } }), call("b", once)],
      { a: [unclear()], b: [fails()] },
      [order(complete("a", { id: 9 }), stands("a", "retrying"))],
      {},
      { variables: { got: 0 } },
    );
    expect(called(simulated)).toEqual(["a", "b", "undo a"]);
    expect(simulated.state).toMatchObject({ status: "compensated", variables: { got: 9 } });
  });

  it("undoes a step that was left out or failed after an unclear attempt", () => {
    for (const command of [skip("a"), fail("a")]) {
      const simulated = run([undoable("a"), call("b", once)], { a: [unclear()], b: [fails()] }, [order(command, stands("a", "retrying"))]);
      expect(called(simulated).at(-1)).toBe("undo a");
      expect(simulated.state.status).toBe("compensated");
    }
    const sure = run([undoable("a"), call("b", once)], { a: [fails("HTTP.429")], b: [fails()] }, [order(skip("a"), stands("a", "retrying"))]);
    expect(called(sure)).toEqual(["a", "b"]);
    expect(sure.state.status).toBe("failed");
  });

  it("checks a result against the step's schema", () => {
    const steps = [wait("sleep"), call("a", { result_schema: { type: "object", required: ["id"] } })];
    const simulated = run(steps, {}, [order(complete("a", {}), stands("sleep", "waiting"))], { created: { timeoutAt: simulationStartAt + 10 } });
    expect(simulated.refusals[0]).toMatchObject({ reason: "VALIDATION_FAILED", violations: [{ field: "result" }] });
  });

  it("does not overrule a running attempt, an end or another decision; the same one again is nothing", () => {
    const orders = [
      order(skip("a"), stands("a", "running")),
      order(skip("a"), stands("a", "completed")),
      order(complete("a", "a done"), stands("a", "completed")),
      order(complete("a", "else"), stands("a", "completed")),
      order(skip("ghost"), stands("a", "completed")),
      order(skip("orders[3]/a"), stands("a", "completed")),
    ];
    const simulated = run([call("a"), wait("sleep", "1s")], {}, orders);
    expect(refused(simulated)).toEqual(["STEP_STATE_CONFLICT", "STEP_STATE_CONFLICT", "STEP_STATE_CONFLICT", "STEP_NOT_FOUND", "STEP_NOT_FOUND"]);
    expect(simulated.refusals[0]?.metadata).toMatchObject({ path: "a", stepState: "RUNNING" });
    expect(types(simulated)).not.toContain("operator_acted a");
    expect(refusal(simulated.state, compile({ steps: [call("a")] }), skip("a")).reason).toBe("EXECUTION_TERMINAL");
  });

  it("does not overrule a block that runs, nor steps of one that is over; items need a loop that has them", () => {
    const loop = { name: "orders", for_each: { items: "[1, 2]", steps: [wait("nap", "10s"), call("charge")] } };
    const choose = { name: "choose", conditional: { cases: [{ when: "true", steps: [call("yes")] }], else_steps: [call("no")] } };
    const when = stands("orders[0]/nap", "waiting");
    const orders = [skip("orders"), skip("no"), skip("charge"), skip("orders[7]/charge"), skip("orders[1]/charge", 5)].map((command) => order(command, when));
    const simulated = run([choose, loop], {}, orders);
    expect(refused(simulated)).toEqual(["STEP_STATE_CONFLICT", "STEP_STATE_CONFLICT", "STEP_NOT_FOUND", "STEP_NOT_FOUND"]);
    expect(called(simulated)).toEqual(["yes", "orders[0]/charge"]);
    expect(simulated.state.steps.get("orders")?.result).toEqual(["orders[0]/charge done", 5]);
  });

  it("ends what HALT holds: completed it goes on, failed it turns back", () => {
    const steps = [undoable("a"), call("b", { ...halt, ...once }), call("c")];
    const script = { b: [fails()] };
    const completed = run(steps, script, [order(complete("b", 1), isStuck)]);
    expect(called(completed)).toEqual(["a", "b", "c"]);
    expect(completed.state).toMatchObject({ status: "completed", saga: "completed", failure: undefined });
    const failed = run(steps, script, [order(fail("b"), isStuck)]);
    expect(called(failed)).toEqual(["a", "b", "undo a"]);
    expect(failed.state).toMatchObject({ status: "compensated", failure: { name: "USER.no" } });
    const kept = run(steps, script, [order(fail("b"), isStuck)], {}, { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" });
    expect(kept.state).toMatchObject({ status: "failed", standingEffects: ["a"] });
  });

  it("opens the blocks around a step that HALT held, and what was canceled beside it", () => {
    const both = {
      name: "both",
      parallel: {
        branches: [
          { name: "l", steps: [call("l1", { ...halt, ...once })] },
          { name: "r", steps: [wait("nap", "1s"), call("r2")] },
        ],
      },
    };
    const simulated = run([both, call("after")], { l1: [fails()] }, [order(complete("l1", "L"), isStuck)]);
    expect(called(simulated)).toEqual(["l1", "r2", "after"]);
    expect(simulated.state.steps.get("both")).toMatchObject({ status: "completed", result: { l: "L", r: "r2 done" } });
  });

  it("passes the point of no return, and decides one whose outcome is unclear", () => {
    const passed = run([wait("sleep"), call("p", pivot), call("c", once)], { c: [fails()] }, [
      order(complete("p", 1), stands("sleep", "waiting")),
      order(skip("sleep"), stands("sleep", "waiting")),
    ]);
    expect(passed).toMatchObject({ isParkedForGood: true, state: { pastPivot: true, status: "stuck" } });
    const unclearPivot = [undoable("a"), call("p", { ...pivot, ...once })];
    const went = run(unclearPivot, { p: [unclear()] }, [order(complete("p", 1), isStuck)]);
    expect(went.state).toMatchObject({ status: "completed", pastPivot: true });
    const turned = run(unclearPivot, { p: [unclear()] }, [order(fail("p"), isStuck)]);
    expect(called(turned)).toEqual(["a", "p", "undo a"]);
    const late = run([call("p", pivot), call("c", once)], { c: [fails()] }, [order(fail("c"), isStuck)]);
    expect(refused(late)).toEqual(["PAST_PIVOT"]);
  });

  it("is refused while the execution is being undone", () => {
    const simulated = run([undoable("a"), call("b", once)], { b: [fails()] }, [order(skip("a"), (state) => state.saga === "compensating")]);
    expect(refused(simulated)).toEqual(["STEP_STATE_CONFLICT"]);
  });
});

describe("update_variables", () => {
  const update = (variables: JsonObject): ControlCommand => ({ kind: "update_variables", ...by, variables });

  it("merges at top level, null removes, later steps see it", () => {
    const simulated = run(
      [wait("sleep", "1s"), value("b", "{{ variables }}")],
      {},
      [order(update({ a: { n: 2 }, b: null, c: 3 }), stands("sleep", "waiting"))],
      {},
      { variables: { a: 1, b: 1, d: null } },
    );
    expect(simulated.state.output).toEqual({ a: { n: 2 }, c: 3, d: null });
    expect(types(simulated)).toContain("operator_acted");
  });

  it("refuses names that no expression could read", () => {
    const simulated = run([wait("sleep", "1s")], {}, [order(update({ a: 1, "a b": 1 }), stands("sleep", "waiting"))]);
    expect(refused(simulated)).toEqual(["VALIDATION_FAILED"]);
    expect(simulated.state.variables).toEqual({});
  });

  it("keeps the bound and refuses an end", () => {
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`v${index}`, index]));
    const simulated = run([wait("sleep", "1s")], {}, [order(update(many), stands("sleep", "waiting"))]);
    expect(refused(simulated)).toEqual(["LIMIT_EXCEEDED"]);
    expect(refusal(simulated.state, compile({ steps: [] }), update({ a: 1 })).reason).toBe("EXECUTION_TERMINAL");
  });
});
