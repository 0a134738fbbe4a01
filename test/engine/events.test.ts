/** Events from outside against two replicas on one database: each dangerous order of store, register, look, park and die is made to happen. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import type { JsonObject } from "../../src/base/json.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import type { AppendRequest } from "../../src/store/journal.ts";
import type { SignalRepository } from "../../src/store/signal-repository.ts";
import { until } from "../store/journal-fixture.ts";
import { acme, openWorld, type TestEngine, type World } from "./engine-fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world[Symbol.asyncDispose]());

const wait = (name: string, more: JsonObject = {}): JsonObject => ({
  name,
  wait_for_event: { any_of: [{ event_type: "paid", correlation_key: "order-7" }], timeout: "3600s", ...more },
});
const event = (data: JsonObject[string] = null, more: { dedupId?: string; ttlMs?: number } = {}) => ({
  ...{ eventType: "paid", data, dedupId: more.dedupId ?? "", ttlMs: more.ttlMs, validateOnly: false },
});
const publish = (engine: TestEngine, data?: JsonObject[string]) => engine.signals.publish(acme, "order-7", event(data));
const uuidOf = (executionId: string): string => parseId("execution", executionId) ?? "";
const isParked = (executionId: string) =>
  until(world.place, "(select owner is null and state = 'waiting' from workflow_executions where id = $1)", [uuidOf(executionId)]);
const received = (ledger: readonly ExecutionEvent[]): unknown[] => ledger.flatMap((line) => (line.type === "event_received" ? [line.payload.data] : []));

async function count(table: string): Promise<number> {
  return Number((await world.place.pool.query(`select count(*) as rows from ${table}`)).rows[0]?.rows);
}

/** The ended ledger: gapless, one end, one event received, nothing registered any more. */
async function expectOnce(executionId: string, data: unknown): Promise<void> {
  const ledger = await world.ledgerWith(executionId, "execution_ended");
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  expect(ledger.filter(({ type }) => type === "execution_ended").map(({ payload }) => payload)).toMatchObject([{ state: "completed" }]);
  expect(received(ledger)).toEqual([data]);
  expect(await count("event_waits")).toBe(0);
}

/** A point in one engine's course where a test can hold it. */
function gate<Value = void>() {
  const reached = Promise.withResolvers<Value>();
  const open = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: () => open.resolve(),
    pass: async (value: Value): Promise<void> => {
      reached.resolve(value);
      await open.promise;
    },
  };
}
const begins = (request: AppendRequest): boolean => request.events.some(({ type }) => type === "step_waiting");

describe("an event", () => {
  it("that came before the wait is found by it", async () => {
    const one = await world.openEngine("one");
    expect((await publish(one, "early")).matched).toBe(0);
    await expectOnce(await one.start({ steps: [wait("w")] }), "early");
  });

  it("that came before it is found also by a wait that has no time", async () => {
    const one = await world.openEngine("one");
    await publish(one, "there");
    await world.place.pool.query("update signals set create_time = create_time - interval '1 minute'");
    await expectOnce(await one.start({ steps: [wait("w", { timeout: "0s" })] }), "there");
  });

  it("finds a parked execution, on whichever replica it is published; while parked nothing of it is in memory", async () => {
    const [one, two] = [await world.openEngine("one"), await world.openEngine("two")];
    const executionId = await one.start({ steps: [wait("w")] });
    await isParked(executionId);
    // The row is parked a moment before its engine lets go of it.
    await expect.poll(async () => [one.engine.driven, await count("event_waits")], { timeout: 20_000 }).toEqual([0, 1]);
    expect((await publish(two, "late")).matched).toBe(1);
    await expectOnce(executionId, "late");
  });

  it("reaches an execution that another replica drives", async () => {
    const [one, two] = [await world.openEngine("one"), await world.openEngine("two")];
    const branches = [
      { name: "a", steps: [wait("w")] },
      { name: "b", steps: [{ name: "c", call: {} }] },
    ];
    const executionId = await one.start({ steps: [{ name: "both", parallel: { branches } }] });
    const sent = await world.nextSent();
    expect((await publish(two, "there")).matched).toBe(1);
    await world.ledgerWith(executionId, "event_received");
    sent.succeed();
    await expectOnce(executionId, "there");
  });

  it("reaches every execution that waits for it and each wait that begins while it lives", async () => {
    const one = await world.openEngine("one");
    const waiting = await Promise.all([1, 2, 3].map(() => one.start({ steps: [wait("w")] })));
    for (const executionId of waiting) await isParked(executionId);
    expect((await publish(one, "all")).matched).toBe(3);
    for (const executionId of waiting) expect(received(await world.ledgerWith(executionId, "execution_ended"))).toEqual(["all"]);
    await expectOnce(await one.start({ steps: [wait("w")] }), "all");
  });

  it("whose time is over is found by no wait that begins later, but still by one that waited when it came", async () => {
    const looking = gate();
    const one = await world.openEngine("one", { signals: (real) => ({ ...real, match: (...wish) => looking.pass().then(() => real.match(...wish)) }) });
    const before = await one.start({ steps: [wait("w")] });
    await isParked(before);
    const published = one.signals.publish(acme, "order-7", event("short", { ttlMs: 0 }));
    await looking.reached;
    const after = await one.start({ steps: [wait("w")] });
    await isParked(after);
    looking.open();
    expect((await published).matched).toBe(2);
    expect(received(await world.ledgerWith(before, "execution_ended"))).toEqual(["short"]);
    await publish(one, "another");
    expect(received(await world.ledgerWith(after, "execution_ended"))).toEqual(["another"]);
  });

  it("is refused by a filter page by page until one is taken", async () => {
    const one = await world.openEngine("one");
    for (let index = 0; index < 40; index++) await publish(one, index);
    const picky = wait("w", { any_of: [{ event_type: "paid", correlation_key: "order-7", filter: "event.data == 37" }] });
    await expectOnce(await one.start({ steps: [picky] }), 37);
  });
});

describe("between the commit of a wait and its look", () => {
  it("an event that is stored is taken once, although both the publisher and the wait find each other", async () => {
    const committed = gate<AppendRequest>();
    const one = await world.openEngine("one", { afterAppend: (request) => (begins(request) ? committed.pass(request) : Promise.resolve()) });
    const two = await world.openEngine("two");
    const starting = one.start({ steps: [wait("w")] });
    await committed.reached;
    expect((await publish(two, "between")).matched).toBe(1);
    committed.open();
    await expectOnce(await starting, "between");
  });

  it("a wait whose commit is still under way while the publisher looks finds the event itself", async () => {
    const committing = gate<AppendRequest>();
    const one = await world.openEngine("one", { beforeAppend: (request) => (begins(request) ? committing.pass(request) : Promise.resolve()) });
    const starting = one.start({ steps: [wait("w")] });
    await committing.reached;
    expect((await publish(one, "unseen")).matched).toBe(0);
    committing.open();
    await expectOnce(await starting, "unseen");
  });

  it("a replica that is killed leaves the look to its successor", async () => {
    const looking = gate();
    const one = await world.openEngine("one", { signals: (real) => ({ ...real, find: (wish) => looking.pass().then(() => real.find(wish)) }) });
    const two = await world.openEngine("two", { isIdle: true });
    const executionId = await one.start({ steps: [wait("w")] });
    await looking.reached;
    await one.kill();
    looking.open();
    await publish(two, "for the successor");
    two.engine.start();
    await expectOnce(executionId, "for the successor");
  });

  it("a replica that stops leaves the execution due at once", async () => {
    const looking = gate();
    const one = await world.openEngine("one", { signals: (real) => ({ ...real, find: (wish) => looking.pass().then(() => real.find(wish)) }) });
    const executionId = await one.start({ steps: [wait("w")] });
    await looking.reached;
    await one.engine.stop(1_000);
    looking.open();
    const { rows } = await world.place.pool.query("select owner, wake_at < now() + interval '1 minute' as due from workflow_executions where id = $1", [
      uuidOf(executionId),
    ]);
    expect(rows).toEqual([{ owner: null, due: true }]);
    await publish(await world.openEngine("two"), "after the stop");
    await expectOnce(executionId, "after the stop");
  });

  it("a database that is away for a moment delays the look, it does not lose it", async () => {
    let failures = 2;
    const flaky = (real: SignalRepository): SignalRepository => ({
      ...real,
      find: (wish) => (failures-- > 0 ? Promise.reject(new Error("away")) : real.find(wish)),
    });
    const one = await world.openEngine("one", { signals: flaky });
    await publish(one, "patience");
    await expectOnce(await one.start({ steps: [wait("w")] }), "patience");
    expect(failures).toBeLessThan(0);
  });
});

describe("between the look and the parking", () => {
  it("an event is told to the run that is about to leave memory", async () => {
    const parking = gate<AppendRequest>();
    const one = await world.openEngine("one", {
      beforeAppend: (request) => (request.release && request.row?.status === "waiting" ? parking.pass(request) : Promise.resolve()),
    });
    const executionId = await one.start({ steps: [wait("w")] });
    await parking.reached;
    expect((await publish(one, "just in time")).matched).toBe(1);
    parking.open();
    await expectOnce(executionId, "just in time");
  });
});

describe("a publisher that is killed", () => {
  it("after it stored the event and before it looked who waits: another replica tells them", async () => {
    const stored = gate();
    const one = await world.openEngine("one", { signals: (real) => ({ ...real, match: (...wish) => stored.pass().then(() => real.match(...wish)) }) });
    const two = await world.openEngine("two");
    const executionId = await two.start({ steps: [wait("w")] });
    await isParked(executionId);
    const lost = publish(one, "orphan");
    lost.catch(() => undefined);
    await stored.reached;
    await one.kill();
    await expectOnce(executionId, "orphan");
    await until(world.place, "(select bool_and(delivered) from signals)");
  });

  it("after it told one of two: the other one is told, the first receives nothing twice", async () => {
    const one = await world.openEngine("one", { isIdle: true });
    const two = await world.openEngine("two");
    const both = await Promise.all([1, 2].map(() => two.start({ steps: [wait("w")] })));
    for (const executionId of both) await isParked(executionId);
    const told = gate();
    let controls = 0;
    const control = one.engine.control.bind(one.engine);
    one.engine.control = async (...wish) => (++controls === 2 ? told.pass().then(() => Promise.reject(new Error("killed"))) : control(...wish));
    await publish(one, "half told");
    await told.reached;
    await one.kill();
    told.open();
    for (const executionId of both) await world.ledgerWith(executionId, "execution_ended");
    for (const executionId of both) expect(received(await world.ledgerOf(executionId))).toEqual(["half told"]);
  });
});

describe("a publisher that froze after it stored the event", () => {
  it("a wait whose time is over meanwhile finds the event before it gives up", async () => {
    const frozen = gate();
    const one = await world.openEngine("one", {
      isIdle: true,
      signals: (real) => ({ ...real, match: (...wish) => frozen.pass().then(() => real.match(...wish)) }),
    });
    const two = await world.openEngine("two");
    const executionId = await two.start({ steps: [wait("w")] });
    await isParked(executionId);
    const published = publish(one, "in time");
    await frozen.reached;
    two.skew.ms = 3_600_001;
    await world.place.pool.query("update workflow_executions set wake_at = now() where id = $1", [uuidOf(executionId)]);
    two.engine.wake();
    await expectOnce(executionId, "in time");
    frozen.open();
    expect((await published).matched).toBe(0);
  });
});

describe("a driver that is killed", () => {
  it("after it found the event and before that is durable: its successor finds it again, and it counts once", async () => {
    const receiving = gate<AppendRequest>();
    const one = await world.openEngine("one", {
      beforeAppend: (request) => (request.events.some(({ type }) => type === "event_received") ? receiving.pass(request) : Promise.resolve()),
    });
    const two = await world.openEngine("two", { isIdle: true });
    await publish(two, "twice found");
    const executionId = await one.start({ steps: [wait("w")] });
    await receiving.reached;
    await one.kill();
    receiving.open();
    two.engine.start();
    await expectOnce(executionId, "twice found");
  });
});

describe("a signal to one execution", () => {
  it("is stored while nothing waits, taken by the wait to come, and by one wait only", async () => {
    const one = await world.openEngine("one");
    const anyKey = (name: string, timeout: string): JsonObject => ({ name, wait_for_event: { any_of: [{ event_type: "paid" }], timeout } });
    const steps = [{ name: "c", call: {} }, anyKey("first", "3600s"), { ...anyKey("second", "0.01s"), on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }];
    const executionId = await one.start({ steps });
    const sent = await world.nextSent();
    await one.signals.send(acme, executionId, async () => undefined, event("for you"));
    sent.succeed();
    await expectOnce(executionId, "for you");
    expect((await world.place.pool.query("select taken, delivered from signals")).rows).toEqual([{ taken: true, delivered: true }]);
  });

  it("goes to that execution alone", async () => {
    const one = await world.openEngine("one");
    const [mine, other] = [await one.start({ steps: [wait("w")] }), await one.start({ steps: [wait("w")] })];
    for (const executionId of [mine, other]) await isParked(executionId);
    expect((await one.signals.send(acme, mine, async () => undefined, event("mine"))).matched).toBe(1);
    expect(received(await world.ledgerWith(mine, "execution_ended"))).toEqual(["mine"]);
    expect(received(await world.ledgerOf(other))).toEqual([]);
  });
});
