/** What the rules say of steps that other executions carry out, and of the executions that undo themselves for a parent. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import { childReferences, pinChildReferences } from "../../src/domain/child-references.ts";
import { type ChildFacts, childIdOf, childOutcome, failedChild, openChildren } from "../../src/domain/children.ts";
import { Answered } from "../../src/domain/control-command.ts";
import { compensateExecution } from "../../src/domain/control-compensate.ts";
import { reportOutcome } from "../../src/domain/control-report.ts";
import type { NewEvent } from "../../src/domain/events.ts";
import { applyEvent, foldExecution } from "../../src/domain/execution.ts";
import type { ExecutionState } from "../../src/domain/execution-state.ts";
import { outboxOf } from "../../src/domain/outbox.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { compile, fails, identity, type Order, type Simulated, type Simulation, simulate, simulationStartAt } from "./simulate.ts";

const child = (name: string, more: JsonObject = {}, outer: JsonObject = {}): JsonObject => ({
  name,
  sub_workflow: { workflow: "inner", revision: 2, ...more },
  ...outer,
});
const call = (name: string): JsonObject => ({
  name,
  call: { body: name },
  compensation: { step: { call: { body: name } } },
  retry_policy: { maximum_attempts: 1 },
});
const done: ChildFacts = { status: "completed", saga: "completed", output: { n: 1 }, failure: undefined };
const ends = (path: string, operation: "action" | "compensate", facts: ChildFacts = done, nothingToUndo = false): Order => ({
  when: (state) => openChildren(state).some((open) => open.path === path && open.operation === operation),
  command: (state, revision, now) => {
    const open = openChildren(state).find((one) => one.path === path);
    if (!open) return [];
    const undone = { kind: "succeeded" as const, result: null, ...(nothingToUndo ? { nothingToUndo } : {}) };
    const outcome = operation === "action" ? childOutcome(open.childId, facts, false) : undone;
    const answer = reportOutcome({ state, revision, now }, { ...open, outcome, random: 0 });
    return answer instanceof Answered ? [...answer.events] : answer;
  },
});
const run = (steps: JsonObject[], orders: Order[] = [], more: Simulation = {}): Simulated => simulate(compile({ steps }), { orders, ...more });
const violations = (steps: JsonObject[]): string[] => {
  const parsed = parseDefinition({ steps }, new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]));
  return parsed.ok ? [] : parsed.fault.violations.map(({ field, reason }) => `${field} ${reason}`);
};

describe("a step that a child carries out", () => {
  it("waits under an id that stands in the ledger before the child exists, and has the child's output as its result", () => {
    const simulated = run([child("sub", { input: { order: "{{trigger.data.order}}" } })], [ends("sub", "action")]);
    const started = simulated.ledger.find(({ type }) => type === "step_started");
    expect(started?.payload).toMatchObject({
      input: { input: { order: 7 } },
      reported: { from: "child", childId: childIdOf(identity.executionId, "sub", 1, simulationStartAt) },
    });
    expect(simulated.calls).toEqual([]);
    expect(simulated.state.steps.get("sub")).toMatchObject({ status: "completed", action: "succeeded", result: { n: 1 } });
    expect(simulated.state.children.size).toBe(0);
  });

  it("has one child over crashes, and another one for each attempt that follows a failure", () => {
    const failed: ChildFacts = { status: "failed", saga: "compensated", output: null, failure: { name: "HTTP.422", message: "no" } };
    const again = { retry_policy: { retryable_errors: ["CHILD.*"], maximum_attempts: 2, initial_interval: "1s", jitter: 0 } };
    const simulated = run(
      [child("sub", {}, again)],
      [ends("sub", "action", failed), { ...ends("sub", "action"), when: (state) => state.steps.get("sub")?.attempt === 2 }],
    );
    const ids = simulated.ledger.flatMap((event) => (event.type === "step_started" ? [event.payload.reported?.childId] : []));
    expect([simulated.state.status, new Set(ids).size]).toEqual(["completed", 2]);
    const cut = simulated.ledger.slice(0, simulated.ledger.findIndex(({ type }) => type === "step_started") + 1);
    expect(run([child("sub", {}, again)], [], { resumeFrom: cut }).ledger).toHaveLength(cut.length);
  });

  it.each([
    ["compensated", "compensated", "failed"],
    ["failed", "failed", "unknown"],
    ["terminated", "failed", "unknown"],
    ["timed_out", "compensated", "failed"],
  ] as const)("fails as CHILD when it ended %s, and is undone later only if something of it stands", (status, saga, outcome) => {
    const report = childOutcome("exe_1", { status, saga, output: null, failure: { name: "X", message: "y" } }, false);
    expect(report).toMatchObject({
      kind: "failed",
      outcome,
      failure: { name: `CHILD.${status.toUpperCase()}`, details: { execution_id: "exe_1" }, cause: { name: "X" } },
    });
  });

  it("is undone in its place, by the child that acted", () => {
    const simulated = run([call("a"), child("sub"), call("b"), call("bad")], [ends("sub", "action"), ends("sub", "compensate")], {
      script: { bad: [fails()] },
    });
    const undone = simulated.ledger.filter(({ type }) => type === "compensation_succeeded").map(({ stepPath }) => stepPath);
    expect(undone).toEqual(["b", "sub", "a"]);
    const ids = simulated.ledger.flatMap((event) =>
      event.type === "step_started" || event.type === "compensation_started" ? (event.payload.reported?.childId ?? []) : [],
    );
    expect(new Set(ids).size).toBe(1);
    expect(ids).toHaveLength(2);
  });

  it("is no effect to undo where it says so, is undone by a call where one is declared, and stands when it is detached", () => {
    const turned = (step: JsonObject, orders: Order[]) => run([step, call("bad")], orders, { script: { bad: [fails()] } }).state;
    const kept = turned(child("sub", {}, { compensation: { kind: "COMPENSATION_KIND_READONLY" } }), [ends("sub", "action")]);
    expect(kept).toMatchObject({ status: "failed", standingEffects: [] });
    const own = run([child("sub", {}, { compensation: { step: { call: { body: "{{original.result.n}}" } } } }), call("bad")], [ends("sub", "action")], {
      script: { bad: [fails()] },
    });
    expect(own.calls.filter(({ operation }) => operation === "compensate").map(({ config }) => config)).toEqual([{ body: 1 }]);
    expect(turned(child("sub", { detached: true }), [ends("sub", "action")])).toMatchObject({ standingEffects: ["sub"] });
  });
});

describe("what an execution tells others at its end", () => {
  const endOf = (simulated: Simulated, steps: JsonObject[], info: Partial<ExecutionState["info"]> = {}) => {
    const state = simulated.state;
    Object.assign(state, { info: { ...state.info, ...info } });
    return outboxOf(compile({ steps }).definition, state, simulated.ledger.slice(-1));
  };

  it("is nothing for a root without children, a look for its parent unless that does not wait, and an end for children that nobody waits for", () => {
    const plain = [{ name: "a", log: {} }];
    expect(endOf(run(plain), plain)).toEqual([]);
    expect(endOf(run(plain), plain, { parentExecutionId: "exe_9" })).toMatchObject([{ executionId: "exe_9", command: { kind: "look" } }]);
    expect(endOf(run(plain), plain, { parentExecutionId: "exe_9", detached: true })).toEqual([]);
    const loose = [child("one", { detached: true }), child("two", { detached: true, parent_close_policy: "PARENT_CLOSE_POLICY_ABANDON" }), child("three")];
    const over = run(loose, [ends("one", "action"), ends("two", "action"), ends("three", "action")]);
    expect(endOf(over, loose)).toMatchObject([{ executionId: over.state.steps.get("one")?.childId, command: { kind: "cancel", endReason: "parent" } }]);
  });
});

describe("compensate", () => {
  const request = { actor: "exe_9", reason: "the parent execution turned back" };

  it("opens a completed execution for nothing but its undo, once", () => {
    const revision = compile({ steps: [call("a"), call("b")] });
    const first = simulate(revision);
    const events = compensateExecution(first.state, revision, simulationStartAt + 1_000, request);
    expect(events).toMatchObject([{ type: "execution_reopened" }, { type: "saga_state_changed", payload: { state: "compensating", endReason: "parent" } }]);
    const reopened = Array.isArray(events) ? events : [];
    const ledger = [...first.ledger, ...reopened.map((event, index) => ({ ...event, sequence: first.ledger.length + 1 + index }))];
    const second = simulate(revision, { resumeFrom: ledger });
    expect(second.calls.map(({ operation, path }) => `${operation} ${path}`)).toEqual(["compensate b", "compensate a"]);
    expect(second.state).toMatchObject({ status: "compensated", endReason: "parent" });
    expect(compensateExecution(second.state, revision, 0, request)).toMatchObject({ answer: { nothingToUndo: true } });
    const midway = foldExecution(identity, ledger);
    expect(compensateExecution(midway, revision, 0, request)).toEqual([]);
  });

  it("leaves alone what has nothing to undo or keeps its effects, and refuses what passed its point of no return", () => {
    const pure = compile({ steps: [{ name: "l", log: {} }] });
    expect(compensateExecution(simulate(pure).state, pure, 0, request)).toMatchObject({ events: [], answer: { nothingToUndo: true } });
    const keeps = compile({ steps: [call("a"), call("bad")], on_failure: "FAILURE_POLICY_KEEP_EFFECTS" });
    expect(compensateExecution(simulate(keeps, { script: { bad: [fails()] } }).state, keeps, 0, request)).toMatchObject({ events: [] });
    const final = compile({ steps: [call("a"), { name: "p", call: {}, compensation: { kind: "COMPENSATION_KIND_PIVOT" } }] });
    expect(compensateExecution(simulate(final).state, final, 0, request)).toMatchObject({ reason: "PAST_PIVOT" });
  });

  it("does not overrule who terminates it while it undoes itself: its parent is told that it stands, and stuck at once", () => {
    const revision = compile({ steps: [call("a")] });
    const first = simulate(revision);
    const events = compensateExecution(first.state, revision, simulationStartAt + 1_000, request);
    const ended = { state: "terminated" as const, endReason: "terminated" as const };
    const end: NewEvent = { type: "execution_ended", at: simulationStartAt + 2_000, stepPath: "", attempt: 0, payload: ended };
    const more = [...(Array.isArray(events) ? events : []), end].map((event, index) => ({ ...event, sequence: first.ledger.length + 1 + index }));
    const terminated = foldExecution(identity, [...first.ledger, ...more]);
    expect(terminated.status).toBe("terminated");
    expect(compensateExecution(terminated, revision, 0, request)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "EXECUTION_TERMINAL" });

    const refuses: Order = {
      ...ends("sub", "compensate"),
      command(state, compiled, now) {
        const open = openChildren(state).find((one) => one.path === "sub");
        const outcome = failedChild("CHILD.NOT_COMPENSATED", "it was terminated", open?.childId ?? "");
        const answer = open && reportOutcome({ state, revision: compiled, now }, { ...open, outcome, random: 0 });
        return answer instanceof Answered ? [...answer.events] : [];
      },
    };
    const parent = run([child("sub"), call("bad")], [ends("sub", "action"), refuses], { script: { bad: [fails()] } });
    const afterUndo = parent.ledger.slice(parent.ledger.findIndex(({ type }) => type === "compensation_started") + 1);
    expect(afterUndo.slice(0, 2)).toMatchObject([{ type: "compensation_failed" }, { type: "saga_state_changed", payload: { state: "stuck" } }]);
  });

  it("cancels an execution that is still open", () => {
    const revision = compile({ steps: [{ name: "d", delay: { duration: "600s" } }] });
    const whole = simulate(revision);
    const open = foldExecution(identity, whole.ledger.slice(0, 3));
    const events = compensateExecution(open, revision, simulationStartAt, request);
    for (const event of Array.isArray(events) ? events : []) applyEvent(open, { ...event, sequence: open.sequence + 1 });
    expect(open.cancel).toMatchObject({ actor: "exe_9", endReason: "parent" });
  });
});

describe("at save", () => {
  it("a child without a workflow, with heartbeats, or as an undo is refused", () => {
    expect(violations([{ name: "s", sub_workflow: {} }])[0]).toBe("definition.steps[0].sub_workflow.workflow VALIDATION_FAILED");
    expect(violations([child("s", {}, { timeouts: { heartbeat: "5s" } })])).toEqual(["definition.steps[0].timeouts.heartbeat VALIDATION_FAILED"]);
    const undo = { name: "l", log: {}, compensation: { step: { sub_workflow: { workflow: "x" } } } };
    expect(violations([undo])).toEqual(["definition.steps[0].compensation.step COMPENSATION_INVALID"]);
  });

  it("references are found and pinned wherever a step may stand, and nowhere else", () => {
    const inLoop = { name: "each", for_each: { items: "[1]", steps: [child("in_loop")] } };
    const caught = { name: "c", log: {}, on_error: { catches: [{ steps: [child("in_catch")] }] } };
    const data = { name: "d", data_transform: { input: { name: "in_data", sub_workflow: { workflow: "inner" } } } };
    const source = { steps: [child("top", { revision: 0 }), inLoop, caught, data] };
    const found = childReferences(source);
    expect(found.map(({ step, path, revision }) => [step, path, revision])).toEqual([
      ["top", "steps[0].sub_workflow", 0],
      ["in_loop", "steps[1].for_each.steps[0].sub_workflow", 2],
      ["in_catch", "steps[2].on_error.catches[0].steps[0].sub_workflow", 2],
    ]);
    const pins = new Map(found.map(({ step }, index) => [step, { workflowId: `wfl_${index}`, revision: 9 }]));
    expect(childReferences(pinChildReferences(source, pins)).map(({ workflow, revision }) => [workflow, revision])).toEqual([
      ["wfl_0", 9],
      ["wfl_1", 9],
      ["wfl_2", 9],
    ]);
    expect((pinChildReferences(source, pins)["steps"] as JsonObject[])[3]).toEqual(data);
  });
});
