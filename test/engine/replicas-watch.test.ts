/** Many watchers of one execution that another replica drives: real journal, real messages, real ledger. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { Progress, type ProgressOptions } from "../../src/engine/progress.ts";
import { cut, ReplicaNews } from "../../src/engine/replica-news.ts";
import { TenantFeeds } from "../../src/engine/tenant-feed.ts";
import { type WatchItem, type WatchRequest, watchExecution } from "../../src/engine/watch.ts";
import { type ManyItem, resumeMsMax, watchMany } from "../../src/engine/watch-many.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createExecutionRepository } from "../../src/store/execution-repository.ts";
import type { AppendRequest } from "../../src/store/journal.ts";
import { createNewsRepository } from "../../src/store/news-repository.ts";
import { NotifyLink, notifyBytesMax } from "../../src/store/notify.ts";
import { createTenantNewsRepository } from "../../src/store/tenant-news-repository.ts";
import { openPlace, openReplica, type Place, type Replica, Writer } from "../store/journal-fixture.ts";
import { callerOf } from "../store/open-store.ts";

let place: Place;
let database: Database;
beforeAll(async () => {
  place = await openPlace();
  database = await openDatabase({ connection: place.database.connection, poolMax: 6, log: silentLog, applicationName: "watching" });
});
afterAll(async () => {
  await database.close();
  await place[Symbol.asyncDispose]();
});

const acme = callerOf("acme");

async function openNews(replicaId: string): Promise<{ news: ReplicaNews; stop(): Promise<void> }> {
  const up = Promise.withResolvers<void>();
  const options = { connection: place.database.connection, clock: systemClock, log: silentLog };
  const link = new NotifyLink({
    ...options,
    onPayload: (payload) => news.receive(payload),
    onUp: () => {
      news.connected();
      up.resolve();
    },
  });
  const news = new ReplicaNews({ replicaId, link, clock: systemClock, log: silentLog, hasPeers: () => true });
  link.start();
  await up.promise;
  return {
    news,
    async stop() {
      await news.stop();
      await link.stop();
    },
  };
}

interface World extends AsyncDisposable {
  readonly progress: Progress;
  readonly driver: Replica;
  /** Appends as the driving replica does, which then tells. */
  append(request: AppendRequest): Promise<void>;
}

async function openWorld(options: Partial<ProgressOptions> = {}): Promise<World> {
  const driver = await openReplica(place);
  const there = await openNews("driver");
  const here = await openNews("watcher");
  const executions = createExecutionRepository(database);
  const progress = new Progress({
    clock: systemClock,
    log: silentLog,
    listEvents: (...page) => executions.listEvents(...page),
    readNews: createNewsRepository(database).readNews,
    news: here.news,
    random: () => 0.5,
    ...options,
  });
  here.news.listen({ onProgress: (...news) => progress.heard(...news), onCommand: () => undefined, onAnswer: () => undefined, onDue: () => undefined });
  return {
    progress,
    driver,
    async append(request) {
      expect(await driver.journal.append(request)).toEqual({ kind: "committed" });
      const first = request.events[0]?.sequence;
      if (first !== undefined) there.news.tellProgress(request.tenantId, request.executionId, first, request.events.at(-1)?.sequence ?? first);
    },
    [Symbol.asyncDispose]: async () => {
      await there.stop();
      await here.stop();
      await driver[Symbol.asyncDispose]();
    },
  };
}

interface Reader {
  readonly items: WatchItem[];
  readonly done: Promise<unknown>;
  /** Resolves when that many items were read. */
  reached(count: number): Promise<void>;
}

function read(
  world: World,
  request: Partial<WatchRequest> & { executionId: string },
  onItem: (item: WatchItem) => Promise<void> | void = () => undefined,
): Reader {
  const items: WatchItem[] = [];
  const waiting = new Set<{ count: number; resolve: () => void }>();
  const done = (async () => {
    const watch = watchExecution(world.progress, acme, { afterSequence: undefined, signal: new AbortController().signal, ...request });
    for await (const item of watch) {
      items.push(item);
      for (const one of waiting) if (items.length >= one.count) one.resolve();
      await onItem(item);
    }
  })().then(
    () => undefined,
    (error: unknown) => error,
  );
  const reached = (count: number): Promise<void> => (items.length >= count ? Promise.resolve() : new Promise((resolve) => waiting.add({ count, resolve })));
  return { items, done, reached };
}

const numbers = (items: readonly WatchItem[]): number[] => items.flatMap((item) => (item.kind === "event" ? [item.event.sequence] : []));
const range = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("a thousand watchers of one execution", () => {
  it("see every event once and in order, and the ledger is read for all of them together", async () => {
    await using world = await openWorld();
    const writer = new Writer();
    await world.append(writer.start());
    const readers = Array.from({ length: 1000 }, () => read(world, { executionId: writer.executionId }));
    await Promise.all(readers.map(({ reached }) => reached(1)));
    const readsToJoin = world.progress.reads;
    for (let step = 0; step < 50; step++) await world.append(writer.step(`s${step}`));
    await world.append(writer.end());
    expect(await Promise.all(readers.map(({ done }) => done))).toEqual(readers.map(() => undefined));
    for (const { items } of readers) {
      expect(items[0]).toMatchObject({ kind: "snapshot", state: { sequence: 2 } });
      expect(numbers(items)).toEqual(range(3, 53));
    }
    console.log(`1,000 watchers: ${readsToJoin} reads to join, ${world.progress.reads - readsToJoin} for 51 appends`);
    expect(readsToJoin).toBeLessThan(20);
    // One for each append that was told alone, and looks at intervals.
    expect(world.progress.reads - readsToJoin).toBeLessThan(70);
    expect(world.progress.watched).toBe(0);
  });

  it("share the pages of a long history that they replay", async () => {
    await using world = await openWorld();
    const writer = new Writer();
    await world.append(writer.start());
    for (let step = 0; step < 1500; step++) void world.driver.journal.append(writer.step(`s${step}`));
    await world.append(writer.end());
    const readers = Array.from({ length: 300 }, () => read(world, { executionId: writer.executionId, afterSequence: 0 }));
    await Promise.all(readers.map(({ done }) => done));
    for (const { items } of readers) expect(numbers(items)).toEqual(range(1, 1503));
    console.log(`300 replays of 1,503 events: ${world.progress.reads} reads`);
    expect(world.progress.reads).toBeLessThan(40);
  });
});

describe("a slow reader", () => {
  it("gets a fresh snapshot in place of what it missed, and goes on after it without a gap", async () => {
    await using world = await openWorld({ backlogMax: 16 });
    const writer = new Writer();
    await world.append(writer.start());
    const stalled = Promise.withResolvers<void>();
    const slow = read(world, { executionId: writer.executionId }, (item) => (item.kind === "event" && item.event.sequence === 3 ? stalled.promise : undefined));
    const quick = read(world, { executionId: writer.executionId });
    await Promise.all([slow.reached(1), quick.reached(1)]);
    for (let step = 0; step < 60; step++) await world.append(writer.step(`s${step}`));
    await quick.reached(61);
    await systemClock.sleep(600);
    stalled.resolve();
    await slow.reached(3);
    await world.append(writer.step("last"));
    await world.append(writer.end());
    await Promise.all([slow.done, quick.done]);
    expect(numbers(quick.items)).toEqual(range(3, 64));
    expect(slow.items.map(({ kind }) => kind)).toEqual(["snapshot", "event", "snapshot", "event", "event"]);
    expect(slow.items[2]).toMatchObject({ kind: "snapshot", state: { sequence: 62 } });
    expect(numbers(slow.items)).toEqual([3, 63, 64]);
  });

  it("that replays a history gets all of it, however slow it is", async () => {
    await using world = await openWorld({ backlogMax: 16 });
    const writer = new Writer();
    await world.append(writer.start());
    for (let step = 0; step < 60; step++) await world.append(writer.step(`s${step}`));
    await world.append(writer.end());
    const pause = (item: WatchItem): Promise<void> | void => (item.kind === "event" && item.event.sequence === 2 ? systemClock.sleep(600) : undefined);
    const reader = read(world, { executionId: writer.executionId, afterSequence: 0 }, pause);
    await reader.done;
    expect(numbers(reader.items)).toEqual(range(1, 63));
  });
});

describe("a stream", () => {
  it("shows that it lives, with the number it has reached, also when every event is filtered out", async () => {
    await using world = await openWorld({ heartbeatMs: 300 });
    const writer = new Writer();
    await world.append(writer.start());
    const reader = read(world, { executionId: writer.executionId, eventTypes: new Set(["variables_set"]) });
    await reader.reached(1);
    for (let step = 0; step < 12; step++) {
      await world.append(writer.step(`s${step}`));
      await systemClock.sleep(100);
    }
    await world.append(writer.end());
    await reader.done;
    const beats = reader.items.flatMap((item) => (item.kind === "heartbeat" ? [item.lastSequence] : []));
    expect(beats.length).toBeGreaterThanOrEqual(2);
    expect(beats).toEqual(beats.toSorted((a, b) => a - b));
    expect(beats.at(-1)).toBeGreaterThan(2);
    expect(numbers(reader.items)).toEqual([15]);
  });

  it("ends at its age with a code that says: call again", async () => {
    await using world = await openWorld({ ageMsMax: 200 });
    const writer = new Writer();
    await world.append(writer.start());
    const reader = read(world, { executionId: writer.executionId });
    expect(await reader.done).toMatchObject({ reason: "SERVER_DRAINING", code: "UNAVAILABLE", retryAfterMs: expect.any(Number) });
  });

  it("spreads its age by a tenth, so that not all come back at once", () => {
    const ages = [0, 0.5, 0.999].map((random) =>
      new Progress({
        clock: systemClock as Clock,
        log: silentLog,
        listEvents: async () => ({ events: [], isLast: true }),
        readNews: async () => [],
        random: () => random,
      }).nextAgeMsMax(),
    );
    expect(ages.map((age) => Math.round(age / 60_000))).toEqual([27, 30, 33]);
  });
});

describe("a slow reader of a whole tenant", () => {
  it("gets a snapshot in place of what it missed: what is open, and what ended meanwhile", async () => {
    await using world = await openWorld();
    const tenantId = "busy";
    const feeds = new TenantFeeds({
      repository: createTenantNewsRepository(database),
      progress: world.progress,
      clock: systemClock,
      now: Date.now,
      log: silentLog,
    });
    const writers = Array.from({ length: 40 }, () => new Writer(tenantId));
    for (const writer of writers) await world.driver.journal.append(now(writer.start()));
    const stalled = Promise.withResolvers<void>();
    const items: ManyItem[] = [];
    const abort = new AbortController();
    const request = { filter: {}, resumeAt: undefined, eventTypes: new Set<string>(), signal: abort.signal };
    const joined = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const item of watchMany(feeds, callerOf(tenantId), request)) {
        items.push(item);
        joined.resolve();
        if (items.length === 1) await stalled.promise;
      }
    })();
    await joined.promise;
    const handed = new Map<string, number>();
    const besides = feeds.subscribe(tenantId, (news) => {
      for (const { execution, events } of news) handed.set(execution.id, events.at(-1)?.sequence ?? 0);
    });
    const append = async (request: AppendRequest): Promise<void> => {
      expect(await world.driver.journal.append(now(request))).toEqual({ kind: "committed" });
      const numbers = request.events.map(({ sequence }) => sequence);
      world.progress.heard(tenantId, request.executionId, numbers[0] ?? 0, numbers.at(-1) ?? 0);
    };
    for (let step = 0; step < 250; step++) await Promise.all(writers.map((writer) => append(writer.step(`s${step}`))));
    const [ending, ...others] = writers as [Writer, ...Writer[]];
    await append(ending.end());
    // Until everything was handed out, so that the slow reader has met its bound.
    await expect.poll(() => writers.filter(({ executionId, state }) => (handed.get(executionId) ?? 0) < state.sequence).length).toBe(0);
    besides.close();
    stalled.resolve();
    while (items.filter((item) => item.kind === "snapshot" && item.complete).length < 2) await systemClock.sleep(20);
    const events = items.filter((item) => item.kind === "event");
    expect(events).toEqual([]);
    const again = items.slice(1).flatMap((item) => (item.kind === "snapshot" ? item.executions : []));
    expect(new Set(again.map(({ id }) => id))).toEqual(new Set(writers.map(({ executionId }) => executionId)));
    expect(again.find(({ id }) => id === ending.executionId)).toMatchObject({ state: "completed", lastSequence: 253 });
    for (const writer of others) expect(again.find(({ id }) => id === writer.executionId)).toMatchObject({ lastSequence: 252 });
    await append((others[0] as Writer).end());
    while (!items.some((item) => item.kind === "event")) await systemClock.sleep(20);
    expect(items.at(-1)).toMatchObject({ kind: "event", executionId: others[0]?.executionId, event: { sequence: 253 } });
    abort.abort();
    await reading;
  });

  it("may not resume at a moment that is too long ago", async () => {
    await using world = await openWorld();
    const feeds = new TenantFeeds({
      repository: createTenantNewsRepository(database),
      progress: world.progress,
      clock: systemClock,
      now: Date.now,
      log: silentLog,
    });
    const request = { filter: {}, eventTypes: new Set<string>(), signal: new AbortController().signal };
    const late = watchMany(feeds, acme, { ...request, resumeAt: Date.now() - 2 * resumeMsMax });
    await expect(late.next()).rejects.toMatchObject({ reason: "RESUME_EXPIRED", code: "OUT_OF_RANGE" });
    expect(feeds.watched).toBe(0);
  });

  /** The writer's moments lie in the past; what is followed happens now. */
  function now(request: AppendRequest): AppendRequest {
    const row = request.row && { ...request.row, ...(request.row.endedAt === undefined ? {} : { endedAt: Date.now() }) };
    const events = request.events.map((event) => ({ ...event, at: Date.now() }));
    return { ...request, events, ...(row ? { row } : {}), ...(request.start ? { start: { ...request.start, createdAt: Date.now() } } : {}) };
  }
});

describe("messages", () => {
  it("are cut so that PostgreSQL takes them, and lose nothing", () => {
    const items = Array.from({ length: 1000 }, (_, index) => [`tenant-é-${index}`, `exe_${String(index).padStart(26, "0")}`, index, index + 1]);
    const payloads = cut("f0f0", "p", items);
    expect(payloads.length).toBeGreaterThan(5);
    for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThanOrEqual(notifyBytesMax);
    expect(payloads.flatMap((payload) => (JSON.parse(payload) as [string, string, unknown[]])[2])).toEqual(items);
  });

  it("are not sent for what nobody wants", async () => {
    const sent: string[] = [];
    const link = { up: true, send: async (payloads: readonly string[]) => sent.push(...payloads) > 0 };
    const news = new ReplicaNews({ replicaId: "a", link, clock: systemClock, log: silentLog, hasPeers: () => true });
    news.tellProgress("acme", "exe_1", 1, 3);
    news.receive(JSON.stringify(["b", "w", [["acme", "exe_1"]]]));
    news.tellProgress("acme", "exe_2", 1, 3);
    news.tellProgress("acme", "exe_1", 4, 5);
    news.tellProgress("acme", "exe_1", 6, 6);
    await news.stop();
    expect(sent).toEqual([JSON.stringify(["a", "p", [["acme", "exe_1", 4, 6]]])]);
  });

  it("of a key or a tenant that changed reach every other replica", async () => {
    const heard: string[][] = [];
    const peer = new ReplicaNews({ replicaId: "b", link: { up: false, send: async () => false }, clock: systemClock, log: silentLog, hasPeers: () => true });
    peer.listen({ onKeyRevoked: (keyId) => heard.push(["key", keyId]), onTenantChanged: (tenantId) => heard.push(["tenant", tenantId]) });
    const link = { up: true, send: async (payloads: readonly string[]) => payloads.every((payload) => peer.receive(payload) === undefined) };
    const news = new ReplicaNews({ replicaId: "a", link, clock: systemClock, log: silentLog, hasPeers: () => true });
    news.tellKeyRevoked("key_1");
    news.tellTenantChanged("acme");
    news.tellTenantChanged("rival");
    await news.stop();
    expect(heard).toEqual([
      ["key", "key_1"],
      ["tenant", "acme"],
      ["tenant", "rival"],
    ]);
  });

  it("that make no sense are passed over", () => {
    const heard: unknown[] = [];
    const news = new ReplicaNews({ replicaId: "a", link: { up: false, send: async () => false }, clock: systemClock, log: silentLog, hasPeers: () => true });
    const note = (...what: unknown[]): void => void heard.push(what);
    news.listen({ onProgress: note, onCommand: note, onAnswer: note, onDue: note });
    for (const payload of ["", "{", "null", "[]", '["b","p"]', '["b","p",[1]]', '["b","p",[["t","e","1",2]]]', '["b","q",[[]]]', '["a","d",[[]]]'])
      news.receive(payload);
    expect(heard).toEqual([]);
    news.receive('["b","d",[[]]]');
    expect(heard).toEqual([[]]);
  });
});
