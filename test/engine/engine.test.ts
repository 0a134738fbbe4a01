import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { until } from "../store/journal-fixture.ts";
import { acme, openWorld, type TestEngine, type World } from "./engine-fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world[Symbol.asyncDispose]());

const call = (name: string, more: JsonObject = {}): JsonObject => ({ name, call: {}, ...more });
const delay = (name: string, duration: string): JsonObject => ({ name, delay: { duration } });
const log = (name: string): JsonObject => ({ name, log: { message: name } });
const undo = { compensation: { step: { call: {} } } };
const uuidOf = (executionId: string): string => parseId("execution", executionId) ?? "";
const lines = (ledger: readonly ExecutionEvent[]): string[] =>
  ledger.map(({ type, stepPath, attempt }) => (stepPath === "" ? type : `${type} ${stepPath} ${attempt}`));

function expectGapless(ledger: readonly ExecutionEvent[]): void {
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  expect(ledger.filter(({ type }) => type === "execution_ended")).toHaveLength(1);
}

const dueNow = (executionId: string) => world.place.pool.query("update workflow_executions set wake_at = now() where id = $1", [uuidOf(executionId)]);
const isParked = (executionId: string) =>
  until(world.place, "(select owner is null and wake_at is not null from workflow_executions where id = $1)", [uuidOf(executionId)]);

describe("one engine", () => {
  it("drives an execution to its end: each intent is durable before its effect leaves", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a"), log("b"), call("c")] });
    for (const path of ["a", "c"]) {
      const sent = await world.nextSent();
      expect(sent).toMatchObject({ stepPath: path, attempt: 1, idempotencyKey: `${executionId}/${path}/action` });
      expect(lines(await world.ledgerOf(executionId)).at(-1)).toBe(`step_started ${path} 1`);
      sent.succeed(path);
    }
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    expectGapless(ledger);
    await expect.poll(() => one.appends).toHaveLength(3);
    expect(await world.rowOf(executionId)).toMatchObject({ state: "completed", owner: null, last_sequence: ledger.length });
    await until(world.place, "true");
    expect(one.engine.driven).toBe(0);
  });

  it("makes one commit for every step when the definition wants that", async () => {
    const one = await world.openEngine("one");
    const steps = Array.from({ length: 10 }, (_, index) => log(`s${index}`));
    const together = await one.start({ steps });
    await world.ledgerWith(together, "execution_ended");
    await expect.poll(() => one.appends).toHaveLength(1);
    const apart = await one.start({ durability: "DURABILITY_EVERY_STEP", steps });
    await world.ledgerWith(apart, "execution_ended");
    await expect.poll(() => one.appends).toHaveLength(11);
    const ended = one.appends.slice(1).map(({ request }) => request.events.filter(({ type }) => type === "step_succeeded").length);
    expect(ended).toEqual(Array(10).fill(1));
  });

  it("parks a long delay, keeps nothing of it in memory, and goes on when it is due", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [delay("wait", "3600s"), call("after")] });
    await isParked(executionId);
    const parked = await world.rowOf(executionId);
    expect(parked.state).toBe("waiting");
    expect(Math.round(((parked.wake_at?.getTime() ?? 0) - one.leases.now()) / 60_000)).toBe(60);
    one.skew.ms = 3_600_001;
    await dueNow(executionId);
    one.engine.wake();
    const sent = await world.nextSent();
    expect(await world.rowOf(executionId), "while it runs, its row says so").toMatchObject({ state: "running", owner: one.replicaId, wake_at: null });
    sent.succeed();
    expectGapless(await world.ledgerWith(executionId, "execution_ended"));
  });

  it("wakes by itself at the moment of a delay, not before", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [delay("wait", "4s")] });
    await isParked(executionId);
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    const [asked, woken] = ["step_waiting", "step_succeeded"].map((name) => ledger.find(({ type }) => type === name)?.at ?? 0) as [number, number];
    expect(woken - asked).toBeGreaterThanOrEqual(4_000);
  });

  it("parks again what was claimed before its moment", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [delay("wait", "3600s")] });
    await isParked(executionId);
    const { wake_at } = await world.rowOf(executionId);
    await dueNow(executionId);
    one.engine.wake();
    await until(world.place, "(select wake_at = $2 and owner is null from workflow_executions where id = $1)", [uuidOf(executionId), wake_at]);
    expect(lines(await world.ledgerOf(executionId)).at(-1)).toBe("step_waiting wait 1");
  });

  it("ends a run whose effect fails with a text that PostgreSQL cannot store", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a")] });
    (await world.nextSent()).fail("HTTP.422", "failed", "no \u0000 and half \ud800 of it");
    expect((await world.ledgerWith(executionId, "execution_ended")).at(-1)?.payload).toMatchObject({ state: "failed" });
    expect(await world.rowOf(executionId)).toMatchObject({ state: "failed" });
  });

  it.each<[string, JsonObject]>([
    ["output", { steps: [log("a")], outputs: { text: '{{ "no \\u0000" }}' } }],
    ["export", { variables: { text: "" }, steps: [{ ...log("a"), export: { text: '"no \\u0000"' } }] }],
    ["start value", { variables: { text: '{{ "no \\u0000" }}' }, steps: [log("a")] }],
  ])("ends a run whose %s PostgreSQL cannot store", async (_, definition) => {
    const one = await world.openEngine("one");
    const executionId = await one.start(definition).catch((error: unknown) => expect.fail(`the start was refused: ${error}`));
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    expect(ledger.at(-1)?.payload).toMatchObject({ state: "failed", failure: { name: "EXPRESSION" } });
  });
});

describe("a command", () => {
  const cancel = { kind: "cancel", actor: "key_1", reason: "enough" } as const;

  it("cancels what is driven here: the effect is aborted, then undone", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a", { compensation: { ...undo.compensation, barrier: true } })] });
    const sent = await world.nextSent();
    await one.engine.control(acme, executionId, cancel);
    expect(sent.signal.aborted).toBe(true);
    const undoing = await world.nextSent();
    expect(undoing).toMatchObject({ stepPath: "a", operation: "compensate" });
    undoing.succeed();
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    expectGapless(ledger);
    expect(await world.rowOf(executionId)).toMatchObject({ state: "compensated" });
  });

  it("cancels what is parked, also through another engine", async () => {
    const one = await world.openEngine("one");
    const two = await world.openEngine("two");
    const executionId = await one.start({ steps: [delay("wait", "3600s")] });
    await isParked(executionId);
    await two.engine.control(acme, executionId, cancel);
    expectGapless(await world.ledgerWith(executionId, "execution_ended"));
    expect(await world.rowOf(executionId)).toMatchObject({ state: "canceled", owner: null });
  });

  it("is answered once the first of two is durable; the second changes nothing", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a")] });
    await world.nextSent();
    await Promise.all([one.engine.control(acme, executionId, cancel), one.engine.control(acme, executionId, cancel)]);
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    expect(ledger.filter(({ type }) => type === "execution_cancel_requested")).toHaveLength(1);
  });

  it("is refused with the state it met when the execution has ended", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [log("a")] });
    await world.ledgerWith(executionId, "execution_ended");
    await expect(one.engine.control(acme, executionId, cancel)).rejects.toMatchObject({ reason: "EXECUTION_TERMINAL" });
  });
});

describe("an execution whose engine lets go", () => {
  it("is driven on by the next one, with the same key and the next attempt", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a"), call("b")] });
    const first = await world.nextSent();
    one.engine.forgetAll();
    expect(first.signal.aborted).toBe(true);
    await one.stop();
    await world.openEngine("two");
    const again = await world.nextSent();
    expect(again).toMatchObject({ replica: "two", stepPath: "a", attempt: 2, idempotencyKey: first.idempotencyKey });
    again.succeed();
    (await world.nextSent()).succeed();
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    expectGapless(ledger);
    expect(lines(ledger)).toContain("step_succeeded a 2");
  });

  it("hears nothing of an answer that comes to an engine whose lease was taken", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a")] });
    const late = await world.nextSent();
    const two = await world.openEngine("two");
    await world.place.pool.query("update replicas set expire_time = clock_timestamp() - interval '1 second' where id = $1", [one.replicaId]);
    await until(world.place, "(select owner is distinct from $2 from workflow_executions where id = $1)", [uuidOf(executionId), one.replicaId]);
    late.succeed("too late");
    const again = await world.nextSent();
    expect(again).toMatchObject({ attempt: 2, idempotencyKey: late.idempotencyKey });
    again.succeed("in time");
    const ledger = await world.ledgerWith(executionId, "execution_ended");
    expectGapless(ledger);
    expect(ledger.filter(({ type }) => type === "step_succeeded").map(({ payload }) => payload)).toEqual([{ result: "in time" }]);
    expect(one.appends.every(({ request, outcome }) => outcome.kind === "committed" || request.events[0]?.sequence === 4)).toBe(true);
    expect(two.appends.every(({ outcome }) => outcome.kind === "committed")).toBe(true);
  });

  it("is taken up again by the same engine when its lease connection broke and came back", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a")] });
    await world.nextSent();
    await world.place.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pawf-lease' and datname = current_database()",
    );
    const again = await world.nextSent();
    expect(again).toMatchObject({ stepPath: "a", attempt: 2 });
    again.succeed();
    expectGapless(await world.ledgerWith(executionId, "execution_ended"));
  });

  it("is taken up again when its append met a conflict while the lease is held", async () => {
    const one = await world.openEngine("one");
    const executionId = await one.start({ steps: [call("a")] });
    const sent = await world.nextSent();
    await world.place.pool.query("insert into execution_events values ('acme', $1, 4, 'anomaly', '', 0, now(), '{\"kind\":\"x\",\"message\":\"x\"}')", [
      uuidOf(executionId),
    ]);
    sent.succeed();
    const again = await world.nextSent();
    expect(again).toMatchObject({ stepPath: "a", attempt: 2 });
    again.succeed();
    expectGapless(await world.ledgerWith(executionId, "execution_ended"));
  });
});

describe("two engines on one database", () => {
  it("never drive the same execution: ledgers are gapless and no attempt is sent twice", async () => {
    world.answerWith((sent) => setImmediate(() => sent.succeed()));
    const engines = [await world.openEngine("one"), await world.openEngine("two")] as [TestEngine, TestEngine];
    const steps = [call("a"), delay("wait", "3600s"), call("b"), log("c"), call("d")];
    const started = await Promise.all(Array.from({ length: 40 }, (_, index) => (engines[index % 2] as TestEngine).start({ steps })));
    for (const executionId of started) await isParked(executionId);
    for (const { skew } of engines) skew.ms = 3_600_001;
    await world.place.pool.query("update workflow_executions set wake_at = now() where owner is null");
    for (const { engine } of engines) engine.wake();
    for (const executionId of started) expectGapless(await world.ledgerWith(executionId, "execution_ended"));
    const keys = world.sent.map(({ idempotencyKey, attempt }) => `${idempotencyKey} ${attempt}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys).toHaveLength(40 * 3);
    for (const { appends } of engines) expect(appends.filter(({ outcome }) => outcome.kind !== "committed")).toEqual([]);
    expect(new Set(world.sent.map(({ replica }) => replica)).size).toBe(2);
  });
});
