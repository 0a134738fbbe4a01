import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import { cancelExecution } from "../../src/domain/control.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { childEnd, eventFor } from "./outside.ts";
import { compile, fails, identity, type Order, type Script, type Simulated, type Simulation, simulate, simulationStartAt, succeeds } from "./simulate.ts";

const undo = { compensation: { step: { call: { body: "{{ original.input.body }}" } } } };
const call = (name: string, more: JsonObject = undo, body: JsonObject[string] = name): JsonObject => ({
  name,
  call: { body },
  retry_policy: { maximum_attempts: 1 },
  ...more,
});
const parallel = (name: string, branches: Record<string, JsonObject[]>, more: JsonObject = {}, outer: JsonObject = {}): JsonObject => ({
  name,
  parallel: { branches: Object.entries(branches).map(([branch, steps]) => ({ name: branch, steps })), ...more },
  ...outer,
});
const forEach = (name: string, items: string, steps: JsonObject[], more: JsonObject = {}, outer: JsonObject = {}): JsonObject => ({
  name,
  for_each: { items, steps, ...more },
  ...outer,
});
const run = (steps: JsonObject[], script: Script = {}, more: Simulation = {}, input: JsonObject = {}): Simulated =>
  simulate(compile({ steps }), { script, created: { input }, ...more });
/** Undone one after the other, branches too, so that there is one legal order. */
const runOneByOne = (steps: JsonObject[], script: Script = {}, more: Simulation = {}): Simulated =>
  simulate(compile({ steps, compensation_policy: { undo_order: "UNDO_ORDER_SEQUENTIAL" } }), { script, created: { input: {} }, ...more });
const called = ({ calls }: Simulated): string[] => calls.map(({ operation, path }) => (operation === "action" ? path : `undo ${path}`));
const resultOf = ({ state }: Simulated, path: string): unknown => state.steps.get(path)?.result;
const violations = (steps: JsonObject[]): string[] => {
  const parsed = parseDefinition({ steps }, new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]));
  return parsed.ok ? [] : parsed.fault.violations.map(({ field, reason }) => `${field} ${reason}`);
};

describe("parallel", () => {
  it("runs its branches side by side and gives each one's last result by name", () => {
    const simulated = run([parallel("both", { left: [call("a"), call("b")], right: [call("c")] })], {
      a: [succeeds("A", 10)],
      b: [succeeds("B", 10)],
      c: [succeeds("C", 15)],
    });
    expect(called(simulated)).toEqual(["a", "c", "b"]);
    expect(resultOf(simulated, "both")).toEqual({ left: "B", right: "C" });
    expect(simulated.state.endedAt).toBe(simulationStartAt + 20);
  });

  it("fails when a branch fails: the others are canceled, and what they did is undone with the rest, last first", () => {
    const simulated = run([call("before"), parallel("both", { left: [call("a"), call("b")], right: [call("c"), call("d")] })], {
      a: [succeeds("A", 1)],
      b: [fails()],
      c: [succeeds("C", 2)],
      d: [succeeds("D", 5_000)],
    });
    // Branches are undone side by side, each in reverse (that of d waits, because d was never heard of); then what came before.
    expect(called(simulated)).toEqual(["before", "a", "c", "b", "d", "undo a", "undo d", "undo c", "undo before"]);
    expect(simulated.state.steps.get("d")).toMatchObject({ action: "unknown", undo: { status: "succeeded" } });
    expect(simulated.state).toMatchObject({ status: "compensated", failedStep: "b" });
  });

  it("is undone branch beside branch, unless its definition wants one undo after the other", () => {
    const steps = [parallel("both", { left: [call("a"), call("b")], right: [call("c"), call("d")] }), call("no")];
    const script = {
      no: [fails()],
      "undo a": [succeeds("ok", 40)],
      "undo b": [succeeds("ok", 100)],
      "undo c": [succeeds("ok", 40)],
      "undo d": [succeeds("ok", 10)],
    };
    const beside = run(steps, script);
    const sentAt = (simulated: Simulated): Record<string, number> => {
      const undos = simulated.calls.filter(({ operation }) => operation === "compensate");
      return Object.fromEntries(undos.map(({ path, sentAt }) => [path, sentAt - (undos[0]?.sentAt ?? 0)]));
    };
    expect(sentAt(beside)).toEqual({ d: 0, b: 0, c: 10, a: 100 });
    expect(sentAt(runOneByOne(steps, script))).toEqual({ d: 0, b: 10, c: 110, a: 150 });
  });

  it("ANY ends with the fastest branch; losers are canceled and what they had done is undone before the next step", () => {
    const simulated = run([parallel("race", { slow: [call("a"), call("b")], fast: [call("c")] }, { join: "JOIN_MODE_ANY" }), call("after")], {
      a: [succeeds("A", 5)],
      b: [succeeds("B", 5_000)],
      c: [succeeds("C", 20)],
    });
    expect(called(simulated)).toEqual(["a", "c", "b", "undo b", "undo a", "after"]);
    expect(resultOf(simulated, "race")).toEqual({ fast: "C" });
    expect(simulated.state.status).toBe("completed");
  });

  it("AT_LEAST needs that many, tolerates the others' failures and fails when it has become impossible", () => {
    const branches = { a: [call("a")], b: [call("b")], c: [call("c")] };
    const two = { join: "JOIN_MODE_AT_LEAST", join_count: 2 };
    expect(run([parallel("most", branches, two)], { b: [fails()] }).state.status).toBe("completed");
    expect(run([parallel("most", branches, two)], { a: [fails()], b: [fails()] }).state).toMatchObject({ status: "compensated", failedStep: "a" });
  });

  it("waits for losers that it keeps, and takes their failures as they come", () => {
    const simulated = run([parallel("race", { slow: [call("a")], bad: [call("b")], fast: [call("c")] }, { join: "JOIN_MODE_ANY", keep_losers: true })], {
      a: [succeeds("A", 500)],
      b: [fails()],
      c: [succeeds("C", 1)],
    });
    expect(called(simulated)).toEqual(["a", "b", "c"]);
    expect(resultOf(simulated, "race")).toEqual({ fast: "C", slow: "A" });
  });

  it("cancels a branch that waits or is between two attempts", () => {
    const again = { ...undo, retry_policy: { maximum_attempts: 5, initial_interval: "60s" } };
    const simulated = run([parallel("both", { waits: [{ name: "w", delay: { duration: "600s" } }], retries: [call("r", again)], fails: [call("f")] })], {
      r: [{ outcome: { kind: "failed", outcome: "unknown", failure: { name: "HTTP.503", message: "" } } }],
      f: [fails("HTTP.422")],
    });
    expect([simulated.state.steps.get("w")?.status, called(simulated)]).toEqual(["canceled", ["r", "f", "undo r"]]);
    expect(simulated.state.endedAt).toBeLessThan(simulationStartAt + 1_000);
  });
});

describe("for_each", () => {
  const orders = { orders: [{ id: 1 }, { id: 2 }, { id: 3 }] };

  it("runs its steps for every item in order, with the item in scope and paths that name it", () => {
    const simulated = run(
      [forEach("each", "trigger.data.orders", [call("a", undo, "{{item.id}}"), call("b", undo, "{{steps.a.result}} {{item_index}}")])],
      {},
      {},
      orders,
    );
    expect(called(simulated)).toEqual(["each[0]/a", "each[0]/b", "each[1]/a", "each[1]/b", "each[2]/a", "each[2]/b"]);
    expect(simulated.calls.map(({ config }) => config["body"])).toEqual([1, "each[0]/a done 0", 2, "each[1]/a done 1", 3, "each[2]/a done 2"]);
    expect(resultOf(simulated, "each")).toEqual(["each[0]/b done", "each[1]/b done", "each[2]/b done"]);
  });

  it("runs at most max_parallel items at once", () => {
    const simulated = run([forEach("each", "[1, 2, 3, 4, 5]", [call("a")], { max_parallel: 2 })], {}, {}, {});
    expect(simulated.calls.map(({ sentAt }) => sentAt - simulationStartAt)).toEqual([0, 0, 5, 5, 10]);
  });

  it("collects what its expression says, and null for failed items it tolerates", () => {
    const more = { collect: "{'n': item, 'r': steps.a.result}", tolerated_failure_count: 1 };
    const simulated = run([forEach("each", "[1, 2]", [call("a")], more)], { "each[0]/a": [fails()] });
    expect(resultOf(simulated, "each")).toEqual([null, { n: 2, r: "each[1]/a done" }]);
    expect(simulated.state.status).toBe("completed");
  });

  it("fails beyond what it tolerates; finished items are undone, last first", () => {
    const simulated = run([forEach("each", "[1, 2, 3]", [call("a"), call("b")])], { "each[1]/b": [fails()] });
    expect(called(simulated)).toEqual(["each[0]/a", "each[0]/b", "each[1]/a", "each[1]/b", "undo each[1]/a", "undo each[0]/b", "undo each[0]/a"]);
    expect(simulated.state).toMatchObject({ status: "compensated", failedStep: "each[1]/b" });
  });

  it("tolerates a percentage of the items", () => {
    const failing: Script = { "each[0]/a": [fails()], "each[1]/a": [fails()] };
    expect(run([forEach("each", "[1, 2, 3, 4]", [call("a")], { tolerated_failure_percentage: 50 })], failing).state.status).toBe("completed");
    expect(run([forEach("each", "[1, 2, 3, 4]", [call("a")], { tolerated_failure_percentage: 49 })], failing).state.status).not.toBe("completed");
  });

  it("of nothing gives an empty list, and refuses what is no list or too long", () => {
    expect(resultOf(run([forEach("each", "[]", [call("a")])]), "each")).toEqual([]);
    expect(run([forEach("each", "trigger.data.order", [call("a")])]).state.failure).toMatchObject({ name: "EXPRESSION" });
    const many = { many: Array.from({ length: 10_001 }, () => 0) };
    expect(run([forEach("each", "trigger.data.many", [call("a")])], {}, {}, many).state.failure).toMatchObject({ name: "LIMIT.ITEMS" });
  });

  it("nests: the inner item hides the outer one unless it has a name of its own", () => {
    const inner = forEach("lines", "order.lines", [call("a", undo, "{{order.id}}-{{item}}")], {});
    const simulated = run(
      [forEach("orders", "trigger.data.o", [inner], { item_variable: "order" })],
      {},
      {},
      {
        o: [
          { id: "x", lines: [1, 2] },
          { id: "y", lines: [3] },
        ],
      },
    );
    expect(simulated.calls.map(({ path, config }) => `${path} ${String(config["body"])}`)).toEqual([
      "orders[0]/lines[0]/a x-1",
      "orders[0]/lines[1]/a x-2",
      "orders[1]/lines[0]/a y-3",
    ]);
    expect(resultOf(simulated, "orders")).toEqual([["orders[0]/lines[0]/a done", "orders[0]/lines[1]/a done"], ["orders[1]/lines[0]/a done"]]);
  });

  it("is canceled with everything in it", () => {
    const orders = [
      {
        when: ({ steps }: { steps: ReadonlyMap<string, unknown> }) => steps.has("each[1]/a"),
        command: (state: Parameters<typeof cancelExecution>[0], _: unknown, now: number) => cancelExecution(state, now, { actor: "key_1", reason: "enough" }),
      },
    ];
    const simulated = run([forEach("each", "[1, 2, 3]", [call("a")])], {}, { orders });
    expect(called(simulated)).toEqual(["each[0]/a", "each[1]/a", "undo each[1]/a", "undo each[0]/a"]);
    expect(simulated.state).toMatchObject({ status: "compensated", endReason: "canceled" });
  });
});

describe("what a block's steps see", () => {
  it("is refused at save where a name is not in reach", () => {
    const uses = (step: string): JsonObject => ({ name: "use", log: { message: `{{steps.${step}.result}}` } });
    const line = (name: string): JsonObject => ({ name, log: { message: "x" } });
    expect(violations([forEach("each", "[1]", [line("inside")]), uses("inside")])).toEqual(["definition.steps[1].log.message UNKNOWN_VARIABLE"]);
    expect(violations([parallel("both", { a: [line("left")], b: [uses("left")] })])).toEqual([
      "definition.steps[0].parallel.branches[1].steps[0].log.message UNKNOWN_VARIABLE",
    ]);
    expect(violations([parallel("both", { a: [line("left")] }), uses("left"), { name: "item_user", log: { message: "{{item}}" } }])).toEqual([
      "definition.steps[2].log.message UNKNOWN_VARIABLE",
    ]);
    expect(violations([forEach("each", "[1]", [line("inside")], { item_variable: "steps" })])).toEqual([
      "definition.steps[0].for_each.item_variable VALIDATION_FAILED",
    ]);
  });
});

const waits = (name: string, key: string): JsonObject => ({
  name,
  wait_for_event: { any_of: [{ event_type: "go", correlation_key: key }], timeout: "60s" },
});
const child = (name: string): JsonObject => ({ name, sub_workflow: { workflow: "other", revision: 1 } });

/** Every block inside every other, three deep, with an effect before, in and after each, with waits for events and children. */
const nested: JsonObject[] = [
  call("first"),
  parallel("p", {
    left: [
      call("l1"),
      waits("w1", "l"),
      forEach("rounds", "[1, 2]", [
        call("i1"),
        child("sub"),
        {
          name: "choice",
          conditional: {
            cases: [{ name: "even", when: "item == 2", steps: [call("e1"), parallel("inner", { x: [call("x1"), child("deep")], y: [call("y1")] })] }],
            else_steps: [call("o1")],
          },
        },
        call("i2"),
      ]),
      call("l2"),
    ],
    right: [
      call("r1"),
      {
        name: "pick",
        conditional: {
          cases: [{ name: "yes", when: "true", steps: [forEach("small", "['a', 'b']", [call("s1"), waits("w2", "{{item}}")], { max_parallel: 2 })] }],
        },
      },
    ],
  }),
  call("last"),
];

describe("blocks nested three deep", () => {
  const keys: Record<string, string> = { w1: "l", "small[0]/w2": "a", "small[1]/w2": "b" };
  const children = ["rounds[0]/sub", "rounds[1]/sub", "rounds[1]/deep"];
  /** What comes from outside, but for the step that shall fail. */
  const outside = (failing = ""): Order[] => [
    ...Object.entries(keys).flatMap(([path, key]) => (path === failing ? [] : [eventFor(path, "go", key)])),
    ...children.flatMap((path) => [childEnd(path, "action", path === failing), childEnd(path, "compensate")]),
  ];
  const whole = run(nested, {}, { orders: outside() });
  const calls = whole.calls.map(({ path }) => path);
  const effects = [...calls, ...children];

  it("run to their end", () => {
    expect(whole.state.status).toBe("completed");
    expect(calls).toHaveLength(15);
    expect(whole.ledger.filter(({ type }) => type === "event_received")).toHaveLength(3);
  });

  it.each([...effects, ...Object.keys(keys)])("fail at %s and undo what happened, last first", (failing) => {
    const simulated = runOneByOne(nested, { [failing]: [fails()] }, { orders: outside(failing) });
    expect(simulated.state).toMatchObject({ status: failing === "first" ? "failed" : "compensated", failedStep: failing });
    const happened = simulated.ledger.filter(({ type, stepPath }) => type === "step_succeeded" && effects.includes(stepPath)).map(({ stepPath }) => stepPath);
    const canceled = simulated.ledger
      .filter(({ type }) => type === "step_canceled")
      .map(({ stepPath }) => stepPath)
      .filter((path) => effects.includes(path));
    const undone = simulated.ledger.filter(({ type }) => type === "compensation_succeeded").map(({ stepPath }) => stepPath);
    expect(undone.filter((path) => !canceled.includes(path))).toEqual(happened.toReversed());
    expect(new Set(undone)).toEqual(new Set([...happened, ...canceled]));
  });

  it("go on from a ledger cut wherever a crash can cut it, and end as before", () => {
    for (const cut of whole.groups.slice(0, -1)) {
      const resumed = run(nested, {}, { orders: outside(), resumeFrom: whole.ledger.slice(0, cut) });
      expect(resumed.state.status, `cut after ${cut}`).toBe("completed");
      expect(foldExecution(identity, resumed.ledger).steps.get("p")?.result).toEqual(resultOf(whole, "p"));
    }
  });
});
