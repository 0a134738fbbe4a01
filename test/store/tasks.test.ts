/** Task queues on the real database: who gets what, who keeps it, and what is given up. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { formatId } from "../../src/base/ids.ts";
import { listWorkers, noteWorkers, type SeenWorker } from "../../src/store/sql/task-workers.ts";
import { createTaskStore, type TaskStore } from "../../src/store/task-store.ts";
import { openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
let tasks: TaskStore;
beforeAll(async () => {
  store = await openStore(10);
  tasks = createTaskStore(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());
beforeEach(async () => {
  await store.database.pool.query("delete from tasks");
});

interface Row {
  readonly tenant?: string;
  readonly queue?: string;
  readonly type?: string;
  readonly labels?: object;
  /** Its place in the queue: lower comes first. */
  readonly place?: number;
  readonly closeMs?: number;
  readonly heartbeatMs?: number;
  /** End of the wait for a worker, from now. */
  readonly startByMs?: number;
}

/** As the journal writes it. Answers with the task's id. */
async function put({ tenant = "acme", queue = "q", type = "t", labels = {}, place = 0, closeMs = 60_000, heartbeatMs, startByMs }: Row = {}): Promise<string> {
  const { rows } = await store.database.pool.query<{ id: string }>(
    `insert into tasks (tenant_id, id, execution_id, step_path, operation, attempt, queue, task_type, required_labels, sort_time, idempotency_key, input,
       close_ms, heartbeat_ms, create_time, expire_time, start_before)
     values ($1, gen_random_uuid(), gen_random_uuid(), 'step', 'action', 1, $2, $3, $4, to_timestamp(1700000000 + $5), 'key', '{"n": 1}', $6, $7, now(),
       now() + $8 * interval '1 millisecond', now() + $8 * interval '1 millisecond') returning id`,
    [tenant, queue, type, JSON.stringify(labels), place, closeMs, heartbeatMs ?? null, startByMs ?? null],
  );
  return formatId("task", rows[0]?.id ?? "");
}

const ask = { tenantId: "acme", queue: "q", taskTypes: [], labels: {}, worker: "w", session: null, countMax: 10 };
const idsOf = (taken: readonly { readonly id: string }[]): string[] => taken.map(({ id }) => id);
/** The lease of everything taken is over. */
const age = () =>
  store.database.pool.query("update tasks set expire_time = clock_timestamp() - interval '1 second', deadline_time = deadline_time + interval '1 hour'");

describe("taking", () => {
  it("goes by the place in the queue, each task to one worker", async () => {
    const [late, early, middle] = [await put({ place: 9 }), await put({ place: 1 }), await put({ place: 5 })];
    expect(idsOf(await tasks.take({ ...ask, countMax: 2 }))).toEqual([early, middle]);
    expect(idsOf(await tasks.take({ ...ask, worker: "other" }))).toEqual([late]);
    expect(await tasks.take(ask)).toEqual([]);
  });

  it("by many at once hands out every task exactly once", async () => {
    const all = await Promise.all(Array.from({ length: 60 }, (_, place) => put({ place })));
    const taken: string[] = [];
    const worker = async (name: number): Promise<void> => {
      for (;;) {
        const got = await tasks.take({ ...ask, worker: `w${name}`, countMax: 3 });
        if (got.length === 0) return;
        taken.push(...idsOf(got));
      }
    };
    await Promise.all([0, 1, 2, 3, 4, 5].map(worker));
    expect(taken.sort()).toEqual(all.sort());
  });

  it("keeps to the tenant, the queue, the types and the labels", async () => {
    await put({ tenant: "other" });
    await put({ queue: "elsewhere" });
    const gpu = await put({ type: "render", labels: { gpu: "a100" } });
    expect(await tasks.take(ask)).toEqual([]);
    expect(await tasks.take({ ...ask, taskTypes: ["print"], labels: { gpu: "a100" } })).toEqual([]);
    expect(idsOf(await tasks.take({ ...ask, taskTypes: ["print", "render"], labels: { gpu: "a100", zone: "b" } }))).toEqual([gpu]);
  });

  it("passes over a task whose wait for a worker is over", async () => {
    await put({ startByMs: -1 });
    expect(await tasks.take(ask)).toEqual([]);
    expect(await tasks.expired(10)).toMatchObject([{ outcome: { kind: "expired", name: "TIMEOUT.SCHEDULE_TO_START", deadlineAt: 0 } }]);
  });

  it("undone because nobody heard of it leaves the task as it was", async () => {
    const id = await put({ startByMs: 60_000 });
    await tasks.take(ask);
    await tasks.giveBack("acme", [id], "somebody else");
    expect(await tasks.take(ask)).toEqual([]);
    await tasks.giveBack("acme", [id], "w");
    const { rows } = await store.database.pool.query("select worker, deadline_time, expire_time = start_before as bounded from tasks");
    expect(rows).toEqual([{ worker: null, deadline_time: null, bounded: true }]);
    expect(idsOf(await tasks.take(ask))).toEqual([id]);
  });
});

describe("holding", () => {
  it("lasts as long as it is heard of, never past the deadline", async () => {
    const id = await put({ closeMs: 5_000, heartbeatMs: 1_000 });
    const [taken] = await tasks.take(ask);
    const held = await tasks.extend("acme", [{ taskId: id, hasNews: true, heartbeatMs: 3_600_000 }]);
    expect(held.get(id)?.expiresAt).toBe(taken?.deadlineAt);
    expect(await tasks.extend("other", [{ taskId: id, hasNews: false }])).toEqual(new Map());
    await age();
    expect(await tasks.extend("acme", [{ taskId: id, hasNews: false }])).toEqual(new Map());
  });

  it("tells the first sign of life, then news only, and not more often than every two seconds", async () => {
    const id = await put();
    await tasks.take(ask);
    const beat = async (hasNews: boolean) => (await tasks.extend("acme", [{ taskId: id, hasNews }])).get(id)?.tell;
    expect([await beat(false), await beat(true), await beat(false)]).toEqual([true, false, false]);
    await store.database.pool.query("update tasks set progress_time = now() - interval '3 seconds'");
    expect([await beat(false), await beat(true), await beat(true)]).toEqual([false, true, false]);
  });

  it("ends in silence or with its time, and the name says which", async () => {
    const silent = await put({ heartbeatMs: 10, closeMs: 3_600_000 });
    await tasks.take(ask);
    await expect
      .poll(async () => (await tasks.expired(10)).map(({ outcome }) => (outcome.kind === "expired" ? outcome.name : "")))
      .toEqual(["TIMEOUT.HEARTBEAT"]);
    await tasks.discard("acme", silent);
    await put({ closeMs: 10 });
    await tasks.take(ask);
    await expect
      .poll(async () => (await tasks.expired(10)).map(({ outcome }) => (outcome.kind === "expired" ? outcome.name : "")))
      .toEqual(["TIMEOUT.START_TO_CLOSE"]);
  });
});

it("a task is taken back while nobody has it; otherwise its worker is told; one that is gone was taken back before", async () => {
  const [waiting, held] = [await put({ place: 2 }), await put({ place: 1 })];
  expect(idsOf(await tasks.take({ ...ask, countMax: 1 }))).toEqual([held]);
  expect([await tasks.recall("acme", waiting), await tasks.recall("acme", held), await tasks.recall("acme", waiting)]).toEqual([true, false, true]);
  expect(await tasks.recall("other", held)).toBe(true);
  expect(await tasks.canceled("acme", [held])).toEqual([held]);
  expect((await tasks.extend("acme", [{ taskId: held, hasNews: false }])).get(held)?.cancelRequested).toBe(true);
  expect(await tasks.known("acme", [waiting, held])).toEqual(new Set([held]));
});

it("counts what waits, who has what, and how old the oldest is", async () => {
  await put({ queue: "a" });
  await put({ queue: "b" });
  await put({ queue: "b", place: -1 });
  await tasks.take({ ...ask, queue: "b", countMax: 1 });
  await tasks.note([{ tenantId: "acme", worker: "w", queues: ["b", "c"], taskTypes: [], labels: {} }]);
  const queues = await tasks.queues("acme", "", 10);
  expect(queues.map(({ queue, waiting, taken, workers }) => [queue, waiting, taken, workers])).toEqual([
    ["a", 1, 0, 0],
    ["b", 1, 1, 1],
    ["c", 0, 0, 1],
  ]);
  expect(queues[0]?.oldestAgeMs).toBeGreaterThanOrEqual(0);
  expect(await tasks.queues("other", "", 10)).toEqual([]);
  expect(await tasks.workers("acme", "", "b", 10)).toMatchObject([{ worker: "w", alive: true, taken: 1 }]);
  expect(await tasks.totals()).toMatchObject({ waiting: 2, taken: 1 });
  expect(
    await tasks.waiting([
      { tenantId: "acme", queue: "a" },
      { tenantId: "acme", queue: "c" },
    ]),
  ).toEqual([{ tenantId: "acme", queue: "a" }]);
});

it("a tenant's workers are remembered up to a bound: those it has are kept up, further ones are not written, others are not touched", async () => {
  const { pool } = store.database;
  const seen = (tenantId: string, worker: string, queue = "q"): SeenWorker => ({ tenantId, worker, queues: [queue], taskTypes: [], labels: {} });
  await noteWorkers(pool, [seen("bound", "a"), seen("bound", "b"), seen("bound-2", "a")], 2);
  await noteWorkers(pool, [seen("bound", "c"), seen("bound", "a", "other"), seen("bound-2", "c")], 2);
  const names = async (tenantId: string): Promise<string[]> =>
    (await listWorkers(pool, tenantId, 60_000, "", "", 10)).map(({ worker, queues }) => `${worker} ${queues}`);
  expect([await names("bound"), await names("bound-2")]).toEqual([
    ["a other", "b q"],
    ["a q", "c q"],
  ]);
});
