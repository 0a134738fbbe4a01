/** What readers are told of a run: why it does not move, what would be undone, what was tried, and what a rerun takes over. */
import { describe, expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { attemptsOf } from "../../src/domain/attempts.ts";
import { type ControlCommand, previewCommand } from "../../src/domain/control-command.ts";
import { placesAround, rootNameOf, stepAt } from "../../src/domain/control-paths.ts";
import { previewCompensation } from "../../src/domain/control-preview.ts";
import { copyResults, type RerunSource } from "../../src/domain/control-rerun.ts";
import type { NewEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { emptyExecution } from "../../src/domain/execution-state.ts";
import { type Explanation, explainExecution } from "../../src/domain/explain.ts";
import {
  compile,
  fails,
  identity,
  type Order,
  type Script,
  type Simulated,
  type Simulation,
  simulate,
  simulationStartAt,
  succeeds,
  unclear,
} from "./simulate.ts";

const by = { actor: "key_1", reason: "because" };
const call = (name: string, more: JsonObject = {}, body: Json = null): JsonObject => ({ name, call: { body }, ...more });
const undoable = (name: string, more: JsonObject = {}): JsonObject => call(name, { compensation: { step: call(`undo_${name}`) }, ...more });
const wait = (name: string, duration = "3600s"): JsonObject => ({ name, delay: { duration } });
const once = { retry_policy: { maximum_attempts: 1 } };
const order = (command: ControlCommand, when: Order["when"]): Order => ({
  when,
  command: (state, revision, now) => previewCommand({ state, revision, now }, command),
});
const noOwner = { owner: undefined };

/** The run as it was when the event of that type (and path) was the last one. */
function cut(simulated: Simulated, type: string, path = ""): Simulated {
  const end = simulated.ledger.findIndex((event) => event.type === type && event.stepPath === path) + 1;
  if (end === 0) throw new Error(`no ${type} ${path}`);
  const ledger = simulated.ledger.slice(0, end);
  return { ...simulated, ledger, state: foldExecution(identity, ledger) };
}
function run(steps: JsonObject[], script: Script = {}, more: Simulation = {}): Simulated {
  return simulate(compile({ steps }), { script, ...more });
}
const explain = (steps: JsonObject[], { state }: Simulated, now = simulationStartAt): Explanation =>
  explainExecution(compile({ steps }).definition, state, noOwner, now);

describe("explain", () => {
  it("names the timer of a delay and of a delayed start", () => {
    const steps = [wait("sleep", "60s")];
    const waiting = explain(steps, cut(run(steps), "step_waiting", "sleep"));
    expect(waiting.blockers).toMatchObject([{ stepPath: "sleep", untilAt: simulationStartAt + 60_000, cause: { kind: "timer", source: "delay" } }]);
    const delayed = explain(steps, cut(run(steps, {}, { created: { startAt: simulationStartAt + 9_000 } }), "execution_created"));
    expect(delayed.blockers).toMatchObject([{ stepPath: "", untilAt: simulationStartAt + 9_000, cause: { kind: "timer", source: "start_delay" } }]);
  });

  it("names the next attempt, its number and why the last one failed, for actions and undos", () => {
    const steps = [undoable("a", { retry_policy: { initial_interval: "10s", jitter: 0, maximum_attempts: 5 } }), call("b", once)];
    const retrying = explain(steps, cut(run(steps, { a: [unclear(), succeeds()] }), "step_retry_scheduled", "a"));
    expect(retrying.blockers).toMatchObject([
      {
        stepPath: "a",
        untilAt: simulationStartAt + 10_005,
        cause: { kind: "retry", operation: "action", attempt: 2, maximumAttempts: 5, failure: { name: "HTTP.503" } },
      },
    ]);
    const undoing = explain(steps, cut(run(steps, { b: [fails()], "undo a": [unclear(), succeeds()] }), "compensation_retry_scheduled", "a"));
    expect(undoing.blockers).toMatchObject([{ stepPath: "a", cause: { kind: "retry", operation: "compensate", attempt: 2, maximumAttempts: 0 } }]);
    expect(undoing.rootCause?.name).toBe("HTTP.422");
    expect(undoing.summary).toMatch(/^It is being undone because of HTTP.422/);
  });

  it("names who paused it beside what it waits for, and what is in flight", () => {
    const steps = [
      {
        name: "both",
        parallel: {
          branches: [
            { name: "l", steps: [wait("sleep", "60s")] },
            { name: "r", steps: [call("a")] },
          ],
        },
      },
    ];
    const paused = run(steps, {}, { orders: [order({ kind: "pause", ...by }, (state) => state.steps.get("a")?.status === "running")] });
    const explained = explain(steps, cut(paused, "execution_paused"));
    expect(explained.blockers.map(({ cause }) => cause)).toEqual([
      { kind: "pause", ...by },
      { kind: "timer", source: "delay" },
    ]);
    expect(explained.summary).toMatch(
      /Attempt 1 of a is in flight since 2026-03-01T12:00:00.000Z\. It waits: paused by key_1: because.* \(and 1 more\)\. No replica/,
    );
  });

  it("says what an operator has to decide when it is stuck", () => {
    const halted = [call("a", { ...once, on_error: { action: "ON_ERROR_ACTION_HALT" } })];
    expect(explain(halted, run(halted, { a: [fails()] })).blockers).toMatchObject([
      { stepPath: "a", cause: { kind: "operator", operation: "action", failure: { name: "HTTP.422" } } },
    ]);
    const steps = [call("a", { compensation: { step: call("undo_a"), retry_policy: { maximum_attempts: 1, maximum_interval: "60s" } } }), call("b", once)];
    const stuck = explain(steps, cut(run(steps, { b: [fails()], "undo a": [unclear(), succeeds()] }), "saga_state_changed"));
    expect(stuck.blockers).toEqual([]);
    const later = run(steps, { b: [fails()], "undo a": [unclear(), succeeds()] });
    const at = later.ledger.findIndex((event) => event.type === "saga_state_changed" && event.payload.state === "stuck") + 1;
    const shown = explainExecution(compile({ steps }).definition, foldExecution(identity, later.ledger.slice(0, at)), noOwner, simulationStartAt);
    expect(shown.blockers).toMatchObject([{ stepPath: "a", cause: { kind: "operator", operation: "compensate", failure: { name: "HTTP.503" } } }]);
    expect(shown.blockers[0]?.untilAt).toBeGreaterThan(simulationStartAt + 59_000);
  });

  it("tells how it ended, the deepest cause, and who drives it while it is open", () => {
    const steps = [call("a", once)];
    const ended = explain(steps, run(steps, { a: [fails("HTTP.409")] }));
    expect(ended).toMatchObject({ blockers: [], rootCause: { name: "HTTP.409" } });
    expect(ended.summary).toBe("It ended FAILED at step a because of HTTP.409: HTTP.409.");
    const open = cut(run(steps), "step_started", "a");
    const owner = { replicaId: "r1", address: "10.0.0.1:80", leaseEndsAt: simulationStartAt };
    expect(explainExecution(compile({ steps }).definition, open.state, { owner }, simulationStartAt).summary).toMatch(
      /Replica r1 \(10\.0\.0\.1:80\) drives it; its lease holds until 2026/,
    );
    expect(explainExecution(compile({ steps }).definition, emptyExecution(identity), noOwner, 0)).toMatchObject({ blockers: [], rootCause: undefined });
  });

  it("names at most a hundred", () => {
    const branches = Array.from({ length: 100 }, (_, index) => ({ name: `b${index}`, steps: [wait(`s${index}`)] }));
    const steps = [{ name: "p", parallel: { branches } }];
    const paused = run(steps, {}, { orders: [order({ kind: "pause", ...by }, (state) => state.steps.get("s99")?.status === "waiting")] });
    expect(explain(steps, cut(paused, "execution_paused")).blockers).toHaveLength(100);
  });
});

describe("preview of a compensation", () => {
  const steps = [undoable("a"), call("plain"), undoable("b"), call("reads", { compensation: { kind: "COMPENSATION_KIND_READONLY" } }), undoable("c", once)];
  const preview = ({ state }: Simulated, more: JsonObject = {}) => previewCompensation(compile({ ...more, steps }).definition, state);

  it("lists undos in reverse of completion, unclear ones first, and what would stay", () => {
    expect(preview(cut(run(steps), "step_started", "c"))).toEqual({
      compensations: [
        { path: "c", order: 1, by: "undo_c", mayNotHaveRun: true },
        { path: "b", order: 2, by: "undo_b", mayNotHaveRun: false },
        { path: "a", order: 3, by: "undo_a", mayNotHaveRun: false },
      ],
      standingEffects: ["plain"],
      pastPivot: false,
    });
    expect(
      preview(cut(run(steps), "step_started", "c"), { compensation_policy: { undo_order: "UNDO_ORDER_PARALLEL" } }).compensations.map(({ order }) => order),
    ).toEqual([1, 1, 1]);
  });

  it("on the way back lists what is left, at the end nothing", () => {
    const undone = run(steps, { c: [fails()] });
    expect(preview(cut(undone, "compensation_succeeded", "b")).compensations.map(({ path }) => path)).toEqual(["a"]);
    expect(preview(undone)).toEqual({ compensations: [], standingEffects: ["plain"], pastPivot: false });
  });

  it("past the point of no return nothing would be undone", () => {
    const list = [undoable("a"), call("p", { compensation: { kind: "COMPENSATION_KIND_PIVOT" } }), call("r")];
    const state = cut(run(list), "step_started", "r").state;
    expect(previewCompensation(compile({ steps: list }).definition, state)).toMatchObject({ compensations: [], pastPivot: true });
  });
});

describe("attempts of a step", () => {
  const attempts = ({ ledger }: Simulated, path: string, max = 100) =>
    attemptsOf(
      ledger.filter(({ stepPath }) => stepPath === path),
      max,
    );
  const steps = [undoable("a", { retry_policy: { maximum_attempts: 3, initial_interval: "1s", jitter: 0 } }), call("b", once)];

  it("tell each try of the action and of the undo with its times and failure", () => {
    const simulated = run(steps, { a: [unclear(), fails("HTTP.429"), succeeds()], b: [fails()], "undo a": [unclear(), succeeds()] });
    expect(attempts(simulated, "a")).toMatchObject([
      {
        operation: "action",
        attempt: 1,
        state: "unknown",
        startedAt: simulationStartAt,
        endedAt: simulationStartAt + 5,
        nextAttemptAt: simulationStartAt + 1_005,
        failure: { name: "HTTP.503" },
      },
      { operation: "action", attempt: 2, state: "failed", startedAt: simulationStartAt + 1_005 },
      { operation: "action", attempt: 3, state: "succeeded", failure: undefined },
      { operation: "compensate", attempt: 1, state: "unknown" },
      { operation: "compensate", attempt: 2, state: "succeeded" },
    ]);
    expect(attempts(simulated, "a", 2).map(({ operation, attempt }) => `${operation} ${attempt}`)).toEqual(["compensate 1", "compensate 2"]);
  });

  it("one whose process died is unknown, the one under way is dispatched", () => {
    const open = cut(run(steps), "step_started", "a");
    expect(attempts(open, "a")).toMatchObject([{ attempt: 1, state: "dispatched", endedAt: undefined }]);
    const resumed = simulate(compile({ steps }), { resumeFrom: open.ledger });
    expect(attempts(resumed, "a")).toMatchObject([
      { attempt: 1, state: "unknown" },
      { attempt: 2, state: "succeeded" },
    ]);
  });

  it("a step decided by hand was tried no more often than before", () => {
    const command: ControlCommand = { kind: "complete_step", ...by, path: "a", result: 1 };
    const simulated = run(steps, { a: [unclear()] }, { orders: [order(command, (state) => state.steps.get("a")?.status === "retrying")] });
    expect(attempts(simulated, "a")).toHaveLength(1);
    const before = run(
      [wait("s"), call("x")],
      {},
      {
        orders: [
          order({ ...command, path: "x" }, (state) => state.steps.has("s")),
          order({ ...command, path: "s" } as ControlCommand, (state) => state.steps.has("x")),
        ],
      },
    );
    expect(attempts(before, "x")).toEqual([]);
    expect(attempts(before, "s")).toMatchObject([{ attempt: 1, state: "succeeded" }]);
  });
});

describe("what a rerun copies", () => {
  const steps = [
    call("a", { export: { v: "result" } }),
    { name: "each", for_each: { items: "[1, 2]", steps: [call("item")] } },
    call("soft", { ...once, on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }),
    call("b", once),
  ];
  const definition = { variables: { v: 0 }, on_failure: "FAILURE_POLICY_KEEP_EFFECTS", steps };
  const script: Script = { a: [succeeds(7)], soft: [fails("HTTP.404")], b: [fails()] };
  const source = (simulated: Simulated, of: JsonObject = definition): RerunSource => ({
    state: simulated.state,
    events: simulated.ledger,
    definition: compile(of).definition,
  });
  const wish = { fromStep: "b", actor: "key_1", reason: "again", now: simulationStartAt + 5_000 };
  const copies = (answer: NewEvent[] | AppError): NewEvent[] => {
    if (answer instanceof AppError) throw answer;
    return answer;
  };

  it("is every outcome before the step, with exports, marked with its origin; items stay behind", () => {
    const events = copies(copyResults(compile(definition).definition, source(simulate(compile(definition), { script })), wish));
    expect(events.map(({ type, stepPath }) => `${type} ${stepPath}`)).toEqual([
      "operator_acted ",
      "step_succeeded a",
      "step_succeeded each",
      "step_failed soft",
    ]);
    const state = emptyExecution(identity);
    const created: NewEvent = {
      type: "execution_created",
      at: 0,
      stepPath: "",
      attempt: 0,
      payload: { workflowId: "w", workflowName: "w", revision: 1, input: null, correlationId: "c", triggerType: "rerun" },
    };
    const started: NewEvent = { type: "execution_started", at: 0, stepPath: "", attempt: 0, payload: { variables: { v: 0 } } };
    const ledger = [created, started, ...events].map((event, index) => ({ ...event, sequence: index + 1 }));
    const resumed = simulate(compile(definition), { resumeFrom: ledger, script: { b: [succeeds("now")] } });
    expect(state.steps.size).toBe(0);
    expect(resumed.calls.map(({ path }) => path)).toEqual(["b"]);
    expect(resumed.state).toMatchObject({ status: "completed", variables: { v: 7 }, output: "now" });
    expect(resumed.state.steps.get("a")?.action).toBe("skipped");
  });

  it("is never undone by the new run", () => {
    const undo = { steps: [undoable("a"), call("b", once)], on_failure: "FAILURE_POLICY_KEEP_EFFECTS" };
    const events = copies(copyResults(compile(undo).definition, source(simulate(compile(undo), { script: { b: [fails()] } }), undo), wish));
    const begun: NewEvent[] = [
      {
        type: "execution_created",
        at: 0,
        stepPath: "",
        attempt: 0,
        payload: { workflowId: "w", workflowName: "w", revision: 1, input: null, correlationId: "c", triggerType: "rerun" },
      },
      { type: "execution_started", at: 0, stepPath: "", attempt: 0, payload: {} },
    ];
    const again = simulate(compile({ steps: undo.steps }), {
      resumeFrom: [...begun, ...events].map((event, index) => ({ ...event, sequence: index + 1 })),
      script: { b: [fails()] },
    });
    expect(again.calls.map(({ path, operation }) => `${operation} ${path}`)).toEqual(["action b"]);
    expect(again.state).toMatchObject({ status: "failed", standingEffects: [] });
  });

  it("must have a result that still stands and be the same step", () => {
    const reasonOf = (answer: NewEvent[] | AppError): string => (answer instanceof AppError ? answer.reason : "none");
    const failed = simulate(compile(definition), { script });
    const other = (list: JsonObject[]) => compile({ ...definition, steps: list }).definition;
    expect(reasonOf(copyResults(compile(definition).definition, source(failed), { ...wish, fromStep: "item" }))).toBe("STEP_NOT_FOUND");
    expect(reasonOf(copyResults(other([call("new"), ...steps]), source(failed), wish))).toBe("REVISION_INCOMPATIBLE");
    expect(reasonOf(copyResults(other([...steps, call("z")]), source(failed), { ...wish, fromStep: "z" }))).toBe("STEP_STATE_CONFLICT");
    const turned = { steps: [undoable("a"), call("b", once)] };
    const undone = source(simulate(compile(turned), { script: { b: [fails()] } }), turned);
    expect(reasonOf(copyResults(undone.definition, undone, wish))).toBe("STEP_STATE_CONFLICT");
    const short = { steps: [call("a", once), call("b")] };
    const unfinished = source(simulate(compile(short), { script: { a: [fails()] } }), short);
    expect(reasonOf(copyResults(unfinished.definition, unfinished, wish))).toBe("STEP_STATE_CONFLICT");
    expect(copies(copyResults(unfinished.definition, unfinished, { ...wish, fromStep: "" })).map(({ type }) => type)).toEqual(["operator_acted"]);
  });
});

describe("paths", () => {
  const inner = { name: "inner", for_each: { items: "[1]", steps: [{ name: "choose", conditional: { cases: [{ when: "true", steps: [call("deep")] }] } }] } };
  const outer = { name: "outer", for_each: { items: "[1, 2]", steps: [inner, wait("nap", "1s")] }, on_error: { catches: [{ steps: [call("repair")] }] } };
  const { definition } = compile({ steps: [call("first"), outer] });

  it("tell what is around a step, through loops, blocks and catches", () => {
    expect(placesAround(definition, "outer[1]/inner[0]/deep").map(({ path }) => path)).toEqual(["outer[1]/inner[0]/choose", "outer[1]/inner", "outer"]);
    expect(placesAround(definition, "repair")).toEqual([{ path: "outer", as: "catch" }]);
    expect(placesAround(definition, "first")).toEqual([]);
    expect(rootNameOf(definition, "outer[1]/inner[0]/deep")).toBe("outer");
    expect(rootNameOf(definition, "first")).toBe("first");
  });

  it("are those of a step only where its loops have that item", () => {
    const { state } = cut(simulate(compile({ steps: [call("first"), outer] })), "step_waiting", "outer[0]/nap");
    const known = (path: string): boolean => stepAt(definition, state, path) !== undefined;
    expect(["first", "repair", "outer[0]/inner[0]/deep", "outer[1]/nap", "outer[0]/inner[0]/choose"].filter(known)).toHaveLength(5);
    expect(
      ["deep", "nap", "outer[2]/nap", "outer[0]/deep", "outer[1]/inner[0]/deep", "inner[0]/deep", "first/deep", "outer[0]/first", "x"].filter(known),
    ).toEqual([]);
  });
});
