/** RetryExecution: what runs again, with what, and when it is refused. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { applyCommand, type ControlCommand } from "../../src/domain/control-command.ts";
import { outlineOf } from "../../src/domain/control-retry.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { again, by, call, called, halt, isStuck, once, order, pivot, refusal, run, stands, types, undoable, value, wait } from "./commanded.ts";
import { compile, fails, identity, type Script, type Simulated, simulate, simulationStartAt, succeeds, unclear } from "./simulate.ts";

describe("retry", () => {
  const retry: ControlCommand = { kind: "retry", ...by, steps: [] };
  const keep = { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" };

  it("runs what failed again with a fresh budget and keeps the results before it", () => {
    const definition = { ...keep, steps: [call("a"), call("b", { retry_policy: { maximum_attempts: 2, initial_interval: "1s", jitter: 0 } }), call("c")] };
    const failed = simulate(compile(definition), { script: { b: [unclear()] } });
    expect(failed.state).toMatchObject({ status: "failed", failedStep: "b" });
    const retried = again(failed, compile(definition), retry, { b: [unclear(), unclear(), unclear(), succeeds("at last")] });
    expect(retried.calls.map(({ path, attempt }) => `${path} ${attempt}`)).toEqual(["b 3", "b 4", "c 1"]);
    expect(new Set([...failed.calls, ...retried.calls].filter(({ path }) => path === "b").map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    expect(retried.state).toMatchObject({ status: "completed", saga: "completed", failure: undefined, failedStep: undefined, standingEffects: [] });
    expect(types(retried).filter((type) => type === "execution_ended")).toHaveLength(2);
    expect(retried.calls[1]?.sentAt).toBe((retried.calls[0]?.sentAt ?? 0) + 1_005);
  });

  it("goes on after running out of time, with the whole time again", () => {
    const definition = { execution_timeout: "10s", steps: [call("a"), wait("sleep", "60s"), call("b")] };
    const late = simulate(compile(definition), { created: { timeoutAt: simulationStartAt + 10_000 } });
    expect(late.state.status).toBe("timed_out");
    const retried = again(late, compile({ ...definition, execution_timeout: "100s" }), retry);
    expect(called(retried)).toEqual(["b"]);
    expect(retried.state.status).toBe("completed");
  });

  it("evaluates start values and outputs again, with another input", () => {
    const start = { variables: { v: "{{ trigger.data.v }}" }, steps: [value("a", "{{ variables.v }}")] };
    const failed = simulate(compile(start));
    expect(failed.state.failure?.name).toBe("EXPRESSION");
    expect(again(failed, compile(start), { ...retry, input: { v: 5 } } as ControlCommand).state).toMatchObject({
      status: "completed",
      output: 5,
      overrides: { input: { v: 5 } },
    });
    const output = { steps: [value("a", 1)], outputs: { v: "{{ trigger.data.v }}" } };
    expect(again(simulate(compile(output)), compile(output), { ...retry, input: { v: 6 } } as ControlCommand).state.output).toEqual({ v: 6 });
  });

  it("opens blocks with what they had fixed, and runs what was canceled beside the failure", () => {
    const loop = { name: "orders", for_each: { items: "trigger.data.list", max_parallel: 3, steps: [call("charge", once), call("ship", once)] } };
    const definition = { ...keep, steps: [loop] };
    const failed = simulate(compile(definition), {
      created: { input: { list: [1, 2, 3, 4] } },
      script: { "orders[1]/charge": [fails()], "orders[2]/charge": [succeeds("slow", 50)] },
    });
    expect(failed.state.status).toBe("failed");
    const retried = again(failed, compile(definition), { ...retry, input: { list: [] } } as ControlCommand, { "orders[2]/charge": [succeeds("slow", 50)] });
    expect(retried.state.status).toBe("completed");
    expect(retried.state.output).toHaveLength(4);
    expect(called(retried)).toContain("orders[1]/charge");
    expect(called(retried)).not.toContain("orders[0]/charge");
  });

  it("runs only the named ones of what failed, or all that stands in a named block", () => {
    const loop = { name: "orders", for_each: { items: "[1, 2, 3]", max_parallel: 3, tolerated_failure_count: 1, steps: [call("charge", once)] } };
    const definition = { ...keep, steps: [loop] };
    const script = { "orders[0]/charge": [fails(), succeeds("0")], "orders[2]/charge": [fails(), succeeds("2")] };
    const failed = simulate(compile(definition), { script });
    const one = again(failed, compile(definition), { ...retry, steps: ["orders[2]/charge"] } as ControlCommand, script);
    expect(called(one)).toEqual(["orders[2]/charge"]);
    expect(one.state.output).toEqual([null, "orders[1]/charge done", "2"]);
    expect(called(again(failed, compile(definition), { ...retry, steps: ["orders"] } as ControlCommand, script))).toEqual([
      "orders[0]/charge",
      "orders[2]/charge",
    ]);
    expect(refusal(failed.state, compile(definition), { ...retry, steps: ["orders[1]/charge"] } as ControlCommand)).toMatchObject({
      reason: "EXECUTION_NOT_RETRYABLE",
      metadata: { stepState: "COMPLETED" },
    });
    expect(refusal(failed.state, compile(definition), { ...retry, steps: ["ghost"] } as ControlCommand).reason).toBe("STEP_NOT_FOUND");
  });

  it("takes what failed inside a conditional, and leaves what a catch took alone", () => {
    const definition = {
      ...keep,
      steps: [
        { name: "soft", conditional: { cases: [{ when: "true", steps: [call("inner", once)] }] }, on_error: { catches: [{ steps: [call("repair")] }] } },
        { name: "choose", conditional: { cases: [{ name: "one", when: "true", steps: [call("x"), call("y", once)] }] } },
      ],
    };
    const failed = simulate(compile(definition), { script: { inner: [fails()], y: [fails()] } });
    const retried = again(failed, compile(definition), retry);
    expect(called(retried)).toEqual(["y"]);
    expect(retried.state.steps.get("inner")?.status).toBe("failed");
    expect(retried.state.status).toBe("completed");
  });

  it("is refused for other ends, for open runs and once an undo was begun", () => {
    const revision = compile({ steps: [undoable("a"), call("b", once)] });
    const reasonFor = (simulated: Simulated): string | undefined => refusal(simulated.state, revision, retry).reason;
    const undone = simulate(revision, { script: { b: [fails()] } });
    expect(undone.state.status).toBe("compensated");
    expect(reasonFor(undone)).toBe("EXECUTION_NOT_RETRYABLE");
    expect(reasonFor(simulate(revision))).toBe("EXECUTION_NOT_RETRYABLE");
    expect(reasonFor(simulate(compile({ steps: [wait("s")] }), { orders: [order({ kind: "cancel", ...by }, stands("s", "waiting"))] }))).toBe(
      "EXECUTION_NOT_RETRYABLE",
    );
    const open = run([wait("s", "1s")], {}, [order(retry, stands("s", "waiting"))]);
    expect(open.refusals[0]).toMatchObject({ reason: "EXECUTION_NOT_RETRYABLE", metadata: { state: "RUNNING" } });
  });

  it("gives an undo that spent its budget a new one", () => {
    const steps = [
      call("a", { compensation: { step: call("undo_a"), retry_policy: { maximum_attempts: 2, initial_interval: "1s", jitter: 0 } } }),
      call("b", once),
    ];
    const definition = { steps, compensation_policy: { halt_on_stuck: true } };
    const script: Script = { b: [fails()], "undo a": [unclear(), unclear(), unclear(), succeeds()] };
    const stuck = simulate(compile(definition), { script });
    expect(stuck).toMatchObject({ isParkedForGood: true, state: { status: "stuck" } });
    const retried = again(stuck, compile(definition), retry, script);
    expect(retried.calls.map(({ attempt }) => attempt)).toEqual([3, 4]);
    expect(retried.state).toMatchObject({ status: "compensated", endReason: "step_failed", failedStep: "b" });
  });

  it("goes on from HALT and from a failure past the pivot", () => {
    const steps = [undoable("a"), call("b", { ...halt, ...once }), call("p", pivot), call("c", once)];
    const script: Script = { b: [fails(), succeeds()], c: [fails(), succeeds()] };
    const halted = run(steps, script, [order(retry, isStuck), order(retry, (state) => isStuck(state) && state.pastPivot)]);
    expect(called(halted)).toEqual(["a", "b", "b", "p", "c", "c"]);
    expect(halted.state).toMatchObject({ status: "completed", saga: "completed" });
  });

  it("runs canceled items again in the same process, too", () => {
    const each = {
      name: "each",
      for_each: { items: "[0, 1, 2]", max_parallel: 3, steps: [{ name: "nap", delay: { duration: "1s" } }, call("charge", { ...halt, ...once })] },
    };
    const script: Script = {
      "each[0]/nap": [],
      "each[2]/charge": [fails(), succeeds("2")],
      "each[0]/charge": [succeeds("0", 50)],
      "each[1]/charge": [succeeds("1", 50)],
    };
    const simulated = run([each], script, [order(retry, isStuck)]);
    expect(simulated.state).toMatchObject({ status: "completed", output: ["0", "1", "2"] });
    expect(called(simulated)).toEqual(["each[0]/charge", "each[1]/charge", "each[2]/charge", "each[0]/charge", "each[1]/charge", "each[2]/charge"]);
  });

  it("goes on with a newer revision that still has what ran", () => {
    const old = compile({ ...keep, steps: [call("a"), call("b", once), call("c")] });
    const failed = simulate(old, { script: { b: [fails()] } });
    const newer = (steps: JsonObject[]): CompiledRevision => ({ ...compile({ ...keep, steps }), revision: 2 });
    const wish = (revision: CompiledRevision): ControlCommand => ({ ...retry, outline: outlineOf(revision) }) as ControlCommand;
    for (const steps of [[call("b")], [value("a", 1), call("b")]]) {
      expect(refusal(failed.state, old, wish(newer(steps)))).toMatchObject({ reason: "REVISION_INCOMPATIBLE", metadata: { steps: "a" } });
    }
    const fit = newer([call("a"), value("b", "mended"), call("d")]);
    const reopened = applyCommand({ state: failed.state, revision: old, now: simulationStartAt + 99 }, wish(fit));
    if (!Array.isArray(reopened)) throw reopened;
    const ledger = [...failed.ledger, ...reopened.map((event, index) => ({ ...event, sequence: failed.ledger.length + 1 + index }))];
    const retried = simulate(fit, { resumeFrom: ledger });
    expect(retried.state).toMatchObject({ status: "completed", info: { revision: 2 }, overrides: { revision: 2 } });
    expect(called(retried)).toEqual(["d"]);
    expect(foldExecution(identity, retried.ledger)).toEqual(retried.state);
  });

  it("refuses a revision whose conditional lacks the case that was chosen", () => {
    const choose = (name: string): JsonObject => ({ name: "choose", conditional: { cases: [{ name, when: "true", steps: [call("x", once)] }] } });
    const old = compile({ ...keep, steps: [choose("one")] });
    const failed = simulate(old, { script: { x: [fails()] } });
    const other = { ...compile({ ...keep, steps: [choose("two")] }), revision: 2 };
    expect(refusal(failed.state, old, { ...retry, outline: outlineOf(other) } as ControlCommand).reason).toBe("REVISION_INCOMPATIBLE");
  });

  it("gives the execution key back for good", () => {
    const definition = { ...keep, steps: [call("a", once)] };
    const failed = simulate(compile(definition), { script: { a: [fails()] }, created: { executionKey: "k" } });
    expect(again(failed, compile(definition), retry).state.info?.executionKey).toBeUndefined();
    const stuck = run([call("a", { ...halt, ...once })], { a: [fails()] }, [order(retry, isStuck)], { created: { executionKey: "k" } });
    expect(stuck.state.info?.executionKey).toBe("k");
  });
});
