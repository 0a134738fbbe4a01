/** sub_workflow against two replicas on one database: each dangerous order of start, end, cancel, undo and die is made to happen. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatId, parseId } from "../../src/base/ids.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import type { AppendRequest } from "../../src/store/journal.ts";
import { ids, until } from "../store/journal-fixture.ts";
import { acme, openWorld, type World } from "./engine-fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world[Symbol.asyncDispose]());

/** Copes with an undo while the action may still run, so that no test has to wait for a deadline. */
const undo = { compensation: { step: { call: {} }, barrier: true } };
const call = (name: string, more: JsonObject = undo): JsonObject => ({ name, call: {}, retry_policy: { maximum_attempts: 1 }, ...more });
const cancel = { kind: "cancel" as const, actor: "key_1", reason: "enough" };
const uuidOf = (executionId: string): string => parseId("execution", executionId) ?? "";

/** A stored workflow, as its id. */
function workflow(steps: JsonObject[], rest: JsonObject = {}): string {
  const workflowId = ids.next("workflow");
  world.definitions.set(workflowId, { steps, ...rest });
  return workflowId;
}
const child = (name: string, workflowId: string, more: JsonObject = {}, outer: JsonObject = {}): JsonObject => ({
  name,
  sub_workflow: { workflow: workflowId, revision: 1, ...more },
  ...outer,
});

async function childrenOf(executionId: string): Promise<string[]> {
  const { rows } = await world.place.pool.query<{ id: string }>("select id from workflow_executions where parent_execution_id = $1 order by id", [
    uuidOf(executionId),
  ]);
  return rows.map(({ id }) => formatId("execution", id));
}
const count = async (sql: string): Promise<number> => Number((await world.place.pool.query(`select count(*) as rows from ${sql}`)).rows[0]?.rows);
const isParked = (executionId: string) =>
  until(world.place, "(select owner is null and state = 'waiting' from workflow_executions where id = $1)", [uuidOf(executionId)]);
const ended = (ledger: readonly ExecutionEvent[]) => ledger.flatMap((event) => (event.type === "execution_ended" ? [event.payload] : []));
const hasEnded = (executionId: string) => until(world.place, "(select end_time is not null from workflow_executions where id = $1)", [uuidOf(executionId)]);

async function endOf(executionId: string) {
  await hasEnded(executionId);
  const ledger = await world.ledgerOf(executionId);
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  return ended(ledger).at(-1);
}

function gate<Value = void>() {
  const reached = Promise.withResolvers<Value>();
  const open = Promise.withResolvers<void>();
  const pass = async (value: Value): Promise<void> => {
    reached.resolve(value);
    await open.promise;
  };
  return { reached: reached.promise, open: () => open.resolve(), pass };
}
const startsChild = (request: AppendRequest): boolean =>
  request.events.some((event) => event.type === "step_started" && event.payload.reported?.from === "child");
const isChildStart = (request: AppendRequest): boolean => request.start !== undefined && request.row?.parentExecutionId !== undefined;
const endsChild = (request: AppendRequest): boolean => request.events.some(({ type }) => type === "execution_ended") && (request.outbox?.length ?? 0) > 0;

describe("a child", () => {
  it("runs as an execution of its own, with its parent's correlation, and its output is the step's result", async () => {
    const one = await world.openEngine("one");
    const inner = workflow([call("c", {})], { outputs: { sum: "{{trigger.data.n + 1}}" } });
    const parent = await one.start({ steps: [child("sub", inner, { input: { n: "{{trigger.data.start}}" } })] }, { start: 41 });
    const sent = await world.nextSent();
    await isParked(parent);
    expect(one.engine.driven).toBe(1);
    expect((await world.ledgerOf(sent.executionId))[0]?.payload).toMatchObject({
      ...{ parentExecutionId: parent, rootExecutionId: parent, depth: 1, triggerType: "parent", correlationId: "corr", input: { n: 41 } },
    });
    sent.succeed();
    expect(await endOf(parent)).toMatchObject({ state: "completed", output: { sum: 42 } });
    // Told and struck off beside the parent's own end.
    await expect.poll(() => count("execution_outbox")).toBe(0);
  });

  it("that fails is one failed step of its parent, which may handle it; what it had done it has undone itself", async () => {
    const one = await world.openEngine("one");
    world.answerWith((sent) => setImmediate(() => (sent.stepPath === "bad" ? sent.fail("HTTP.422") : sent.succeed())));
    const inner = workflow([call("good"), call("bad")]);
    const handled = { on_error: { catches: [{ errors: ["CHILD.COMPENSATED"], steps: [{ name: "plan_b", log: { message: "{{error.name}}" } }] }] } };
    const parent = await one.start({ steps: [child("sub", inner, {}, handled)] });
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    const ledger = await world.ledgerOf(parent);
    expect(ledger.find(({ type }) => type === "step_failed")?.payload).toMatchObject({
      ...{ outcome: "failed", handled: true },
      failure: { name: "CHILD.COMPENSATED", details: { execution_id: expect.stringMatching(/^exe_/) }, cause: { name: "HTTP.422" } },
    });
    expect(world.sent.map(({ stepPath, operation }) => `${operation} ${stepPath}`)).toEqual(["action good", "action bad", "compensate good"]);
  });

  it("is not started deeper than eight below, with an input its schema refuses, or of a revision that is gone", async () => {
    const one = await world.openEngine("one");
    let deepest = workflow([{ name: "bottom", log: {} }]);
    for (let depth = 0; depth < 8; depth++) deepest = workflow([child("sub", deepest)]);
    expect(await endOf(await one.start({ steps: [child("sub", deepest)] }))).toMatchObject({ failure: { name: expect.stringMatching(/^CHILD\./) } });
    const { rows } = await world.place.pool.query("select failure ->> 'name' as name from workflow_executions where failure ->> 'name' not like 'CHILD.%'");
    expect(rows).toEqual([{ name: "LIMIT.DEPTH" }]);
    const picky = workflow([], { input_schema: { type: "object", required: ["n"] } });
    expect(await endOf(await one.start({ steps: [child("sub", picky)] }))).toMatchObject({ failure: { name: "SCHEMA" } });
    expect(await endOf(await one.start({ steps: [child("sub", "wfl_01M84XF5YCEN3SNB41TB8SZ433")] }))).toMatchObject({ failure: { name: "CHILD.NOT_FOUND" } });
  });

  it("that is detached is started and not waited for; it is canceled when its parent ends, unless it may go on", async () => {
    const one = await world.openEngine("one");
    const inner = workflow([call("long")]);
    const abandon = { detached: true, parent_close_policy: "PARENT_CLOSE_POLICY_ABANDON" };
    const parent = await one.start({ steps: [child("kept", inner, abandon), child("dropped", inner, { detached: true }), call("hold", {})] });
    const sent = [await world.nextSent(), await world.nextSent(), await world.nextSent()];
    sent.find(({ stepPath }) => stepPath === "hold")?.succeed();
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    const results = (await world.ledgerOf(parent)).flatMap((event) => (event.type === "step_succeeded" ? [[event.stepPath, event.payload.result]] : []));
    const idOf = (path: string): string => (Object.fromEntries(results)[path] as { execution_id: string }).execution_id;
    const dropped = sent.find(({ executionId }) => executionId === idOf("dropped"));
    await until(world.place, "(select count(*) = 0 from execution_outbox)");
    expect(dropped?.signal.aborted).toBe(true);
    await world.nextSent().then((undoing) => undoing.succeed());
    expect(await endOf(idOf("dropped"))).toMatchObject({ state: "compensated", endReason: "parent" });
    sent.find(({ executionId }) => executionId === idOf("kept"))?.succeed();
    expect(await endOf(idOf("kept"))).toMatchObject({ state: "completed" });
  });
});

describe("a crash", () => {
  it("before the child is started: the successor starts it, once", async () => {
    const started = gate<AppendRequest>();
    const one = await world.openEngine("one", { afterAppend: (request) => (startsChild(request) ? started.pass(request) : Promise.resolve()) });
    const two = await world.openEngine("two", { isIdle: true });
    const starting = one.start({ steps: [child("sub", workflow([{ name: "a", log: {} }]))] });
    starting.catch(() => undefined);
    const { executionId } = await started.reached;
    await one.kill();
    started.open();
    two.engine.start();
    expect(await endOf(executionId)).toMatchObject({ state: "completed" });
    expect(await childrenOf(executionId)).toHaveLength(1);
  });

  it("after the child's start is durable and before anybody knows: the successor finds that child and starts no other", async () => {
    const started = gate<AppendRequest>();
    const one = await world.openEngine("one", { afterAppend: (request) => (isChildStart(request) ? started.pass(request) : Promise.resolve()) });
    const two = await world.openEngine("two", { isIdle: true });
    const parent = await one.start({ steps: [child("sub", workflow([call("c", {})]))] });
    const { executionId } = await started.reached;
    await one.kill();
    started.open();
    two.engine.start();
    const sent = await world.nextSent();
    expect(sent).toMatchObject({ replica: "two", executionId, attempt: 2 });
    sent.succeed();
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    expect(await childrenOf(parent)).toEqual([executionId]);
  });

  it("of the start alone, under the same engine: whether it was written is looked at, never guessed", async () => {
    const starting = gate<AppendRequest>();
    let starts = 0;
    const beforeAppend = (request: AppendRequest): Promise<void> => {
      if (!isChildStart(request) || ++starts > 1) return Promise.resolve();
      return starting.pass(request).then(() => Promise.reject(new Error("the append is lost")));
    };
    const one = await world.openEngine("one", { beforeAppend });
    const parent = await one.start({ steps: [child("sub", workflow([{ name: "a", log: {} }]))] });
    const { executionId } = await starting.reached;
    one.engine.forgetAll();
    await until(world.place, "(select owner is null from workflow_executions where id = $1)", [uuidOf(parent)]);
    await until(world.place, "(select owner is not null from workflow_executions where id = $1)", [uuidOf(parent)]);
    starting.open();
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    expect(await childrenOf(parent)).toEqual([executionId]);
  });

  it("after the child ended and before its parent was told: another replica tells it", async () => {
    const over = gate<AppendRequest>();
    const one = await world.openEngine("one", { afterAppend: (request) => (endsChild(request) ? over.pass(request) : Promise.resolve()) });
    await world.openEngine("two");
    const parent = await one.start({ steps: [child("sub", workflow([call("c", {})]))] });
    const sent = await world.nextSent();
    await isParked(parent);
    sent.succeed();
    await over.reached;
    await one.kill();
    over.open();
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    await until(world.place, "(select count(*) = 0 from execution_outbox)");
  });

  it("of the parent's driver while the child runs elsewhere: its end finds the parent where it is driven then", async () => {
    const [one, two] = [await world.openEngine("one"), await world.openEngine("two")];
    const branches = [
      { name: "a", steps: [child("sub", workflow([{ name: "d", delay: { duration: "0.3s" } }, call("c", {})]))] },
      { name: "b", steps: [call("beside", {})] },
    ];
    const parent = await one.start({ steps: [{ name: "both", parallel: { branches } }] });
    const sent = [await world.nextSent(), await world.nextSent()];
    await one.kill();
    const again = [await world.nextSent(), await world.nextSent()];
    expect(sent.map(({ stepPath }) => stepPath).sort()).toEqual(["beside", "c"]);
    for (const attempt of again) attempt.succeed();
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    expect(two.engine.driven).toBe(0);
  });
});

describe("a parent", () => {
  it("that is canceled has its child undone before it goes on, also when it was parked and another replica is asked", async () => {
    const [one, two] = [await world.openEngine("one"), await world.openEngine("two")];
    const parent = await one.start({ steps: [call("before"), child("sub", workflow([call("inner"), call("hangs")]))] });
    (await world.nextSent()).succeed();
    (await world.nextSent()).succeed();
    const hanging = await world.nextSent();
    await isParked(parent);
    world.answerWith((sent) => setImmediate(() => sent.succeed()));
    await two.engine.control(acme, parent, cancel);
    expect(await endOf(parent)).toMatchObject({ state: "compensated", endReason: "canceled" });
    expect(hanging.signal.aborted).toBe(true);
    expect(world.sent.slice(3).map(({ stepPath }) => stepPath)).toEqual(["hangs", "inner", "before"]);
    expect(await endOf(hanging.executionId)).toMatchObject({ state: "compensated", endReason: "parent" });
  });

  it("whose branch lost cancels that branch's child and waits for its undo", async () => {
    const one = await world.openEngine("one");
    const branches = [
      { name: "slow", steps: [child("sub", workflow([call("inner"), call("hangs")]))] },
      { name: "fast", steps: [call("quick", {})] },
    ];
    const parent = await one.start({ steps: [{ name: "race", parallel: { branches, join: "JOIN_MODE_ANY" } }, call("after", {})] });
    const first = [await world.nextSent(), await world.nextSent()];
    first.find(({ stepPath }) => stepPath === "inner")?.succeed();
    await world.nextSent();
    world.answerWith((sent) => setImmediate(() => sent.succeed()));
    first.find(({ stepPath }) => stepPath === "quick")?.succeed();
    expect(await endOf(parent)).toMatchObject({ state: "completed" });
    expect(world.sent.slice(3).map(({ stepPath }) => stepPath)).toEqual(["hangs", "inner", "after"]);
    expect((await world.ledgerOf(parent)).find(({ type }) => type === "step_canceled")?.stepPath).toBe("sub");
  });

  it("that is terminated leaves no child behind, although it is gone when the child hears of it", async () => {
    const one = await world.openEngine("one");
    const parent = await one.start({ steps: [child("sub", workflow([call("inner")]))] });
    const inner = await world.nextSent();
    await isParked(parent);
    world.answerWith((sent) => setImmediate(() => sent.succeed()));
    await one.engine.control(acme, parent, { kind: "terminate", actor: "key_1", reason: "now" });
    expect(await endOf(inner.executionId)).toMatchObject({ state: "compensated", endReason: "parent" });
  });

  it("that lets its child go on alone is canceled at once", async () => {
    const one = await world.openEngine("one");
    const parent = await one.start({ steps: [child("sub", workflow([call("inner")]), { parent_close_policy: "PARENT_CLOSE_POLICY_ABANDON" })] });
    const inner = await world.nextSent();
    await isParked(parent);
    await one.engine.control(acme, parent, cancel);
    expect(await endOf(parent)).toMatchObject({ state: "canceled" });
    inner.succeed();
    expect(await endOf(inner.executionId)).toMatchObject({ state: "completed" });
  });
});

describe("a completed child", () => {
  it("is undone as one step, in its place between the steps of its parent, and so is the child of the child", async () => {
    const [one] = [await world.openEngine("one"), await world.openEngine("two")];
    world.answerWith((sent) => setImmediate(() => (sent.stepPath === "last" ? sent.fail("HTTP.422") : sent.succeed())));
    const leaf = workflow([call("leaf")]);
    const middle = workflow([call("m1"), child("below", leaf), call("m2")]);
    const parent = await one.start({ steps: [call("p1"), child("sub", middle), call("p2"), call("last")] });
    expect(await endOf(parent)).toMatchObject({ state: "compensated", failedStep: "last" });
    const order = world.sent.map(({ operation, stepPath }) => (operation === "action" ? stepPath : `undo ${stepPath}`));
    expect(order).toEqual(["p1", "m1", "leaf", "m2", "p2", "last", "undo p2", "undo m2", "undo leaf", "undo m1", "undo p1"]);
    const [sub] = await childrenOf(parent);
    const ledger = await world.ledgerOf(sub as string);
    expect(ended(ledger)).toMatchObject([{ state: "completed" }, { state: "compensated", endReason: "parent" }]);
    expect(ledger.filter(({ type }) => type === "execution_reopened")).toHaveLength(1);
    const undone = (await world.ledgerOf(parent)).filter(({ type }) => type === "compensation_succeeded").map(({ stepPath }) => stepPath);
    expect(undone).toEqual(["p2", "sub", "p1"]);
  });

  it("with nothing to undo stays as it ended", async () => {
    const one = await world.openEngine("one");
    world.answerWith((sent) => setImmediate(() => sent.fail("HTTP.422")));
    const parent = await one.start({ steps: [child("sub", workflow([{ name: "a", log: {} }])), call("bad")] });
    expect(await endOf(parent)).toMatchObject({ state: "compensated" });
    expect((await world.ledgerOf(parent)).find(({ type }) => type === "compensation_succeeded")?.payload).toMatchObject({ nothingToUndo: true });
    expect(await count("workflow_executions where state = 'completed'")).toBe(1);
  });

  it("is undone once when the parent's driver is killed while it waits for the undo, and when it is killed before the child hears", async () => {
    const asked = gate<AppendRequest>();
    const isUndoStart = (request: AppendRequest): boolean => request.events.some(({ type, stepPath }) => type === "compensation_started" && stepPath === "sub");
    const one = await world.openEngine("one", { afterAppend: (request) => (isUndoStart(request) ? asked.pass(request) : Promise.resolve()) });
    const two = await world.openEngine("two", { isIdle: true });
    world.answerWith((sent) => sent.operation === "action" && setImmediate(() => (sent.stepPath === "bad" ? sent.fail("HTTP.422") : sent.succeed())));
    const parent = await one.start({ steps: [child("sub", workflow([call("inner")])), call("bad")] });
    await asked.reached;
    await one.kill();
    asked.open();
    two.engine.start();
    await expect.poll(() => world.sent.filter(({ operation }) => operation === "compensate")).toHaveLength(1);
    await isUndoParked(parent);
    two.engine.forgetAll();
    await until(world.place, "(select count(*) from execution_events where type = 'compensation_started' and step_path = 'inner') >= 2");
    const undoing = world.sent.filter(({ operation }) => operation === "compensate");
    expect(new Set(undoing.map(({ idempotencyKey }) => idempotencyKey)).size).toBe(1);
    undoing.at(-1)?.succeed();
    expect(await endOf(parent)).toMatchObject({ state: "compensated" });
    expect((await world.ledgerOf(parent)).filter(({ type, stepPath }) => type === "compensation_started" && stepPath === "sub")).toHaveLength(1);
  });
});

const isUndoParked = (executionId: string) =>
  until(world.place, "(select owner is null and state = 'compensating' from workflow_executions where id = $1)", [uuidOf(executionId)]);
