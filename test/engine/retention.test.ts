/** What is deleted and, above all, what is not. Executions are written by the journal and made old by SQL from outside. */
import { randomUUID } from "node:crypto";
import { Client } from "pg";
import { afterEach, beforeEach, describe, expect, it, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { formatId, parseId } from "../../src/base/ids.ts";
import { silentLog } from "../../src/base/log.ts";
import { cutoffsOf, Retention, type RetentionBounds, type RetentionOptions } from "../../src/engine/retention.ts";
import { createRetentionStore, type RetentionPass, type RetentionStore } from "../../src/store/retention-store.ts";
import { logStep } from "../service/support/definitions.ts";
import { run, useServer } from "../service/support/fixture.ts";
import { refusal } from "../service/support/refusal.ts";
import { openPlace, openReplica, type Place, type Replica, Writer } from "../store/journal-fixture.ts";

const dayMs = 86_400_000;
const quick: Partial<RetentionBounds> = { pauseMsMin: 0 };

let place: Place;
let replica: Replica;
beforeEach(async () => {
  place = await openPlace();
  replica = await openReplica(place);
  await place.pool.query("insert into tenants (id) values ('acme'), ('other') on conflict do nothing");
});
afterEach(async () => {
  await replica[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

function retention(options: Partial<RetentionOptions> = {}): Retention {
  const store = createRetentionStore(place.database.connection);
  return new Retention({ store, clock: systemClock, log: silentLog, now: () => Date.now(), random: () => 0, bounds: quick, ...options });
}

/** A ledger that PostgreSQL cannot delete: what goes to the audit log of it is no text. */
async function undeletable(): Promise<string> {
  const uuid = await execution({ endedDaysAgo: 400 });
  const set = `update execution_events set type = 'operator_acted', payload = '{"change":{"actor":"a\\u0000b"}}' where execution_id = $1 and sequence = 1`;
  await place.pool.query(set, [uuid]);
  return uuid;
}

interface Wish {
  readonly tenantId?: string;
  /** Absent: it is still open. */
  readonly endedDaysAgo?: number;
  readonly state?: string;
  readonly workflow?: { readonly uuid: string; readonly revision: number };
  readonly parent?: string;
  readonly steps?: number;
}

/** Writes one execution with its ledger, steps and saga, and answers its uuid. */
async function execution(wish: Wish = {}): Promise<string> {
  const writer = new Writer(wish.tenantId ?? "acme");
  await replica.journal.append(writer.start());
  for (let index = 0; index < (wish.steps ?? 2); index++) await replica.journal.append(writer.step(`s${index}`));
  if (wish.endedDaysAgo === undefined) {
    await replica.journal.append(writer.park(Date.now() - 300 * dayMs));
  } else {
    await replica.journal.append(writer.end());
    await place.pool.query("update workflow_executions set end_time = now() - $2 * interval '1 day', state = $3 where id = $1", [
      ...[writer.uuid, wish.endedDaysAgo, wish.state ?? "completed"],
    ]);
  }
  await place.pool.query(
    "update workflow_executions set workflow_id = $2, revision = $3, parent_execution_id = $4, create_time = now() - interval '400 days' where id = $1",
    [...[writer.uuid, wish.workflow?.uuid ?? null, wish.workflow?.revision ?? 1, wish.parent ?? null]],
  );
  return writer.uuid;
}

/** A stored event; by default one that is kept for another day. */
async function signal(wish: { readonly executionUuid?: string; readonly overDaysAgo?: number; readonly tenantId?: string } = {}): Promise<void> {
  await place.pool.query(
    `insert into signals (tenant_id, id, execution_id, event_type, correlation_key, data, attempted_by, expire_time, purge_time)
     values ($1, $2, $3, 'paid', 'k', 'null', $2, now(), now() - $4 * interval '1 day')`,
    [wish.tenantId ?? "acme", randomUUID(), wish.executionUuid ?? null, wish.overDaysAgo ?? -1],
  );
}

/** A revision with this `retention` in its definition. */
async function revisionWith(retentionOfDefinition: object | undefined): Promise<{ uuid: string; revision: number }> {
  const uuid = randomUUID();
  const definition = { steps: [], ...(retentionOfDefinition ? { retention: retentionOfDefinition } : {}) };
  await place.pool.query("insert into workflow_revisions (tenant_id, workflow_id, revision, definition, digest) values ('acme', $1, 3, $2, '')", [
    ...[uuid, JSON.stringify(definition)],
  ]);
  return { uuid, revision: 3 };
}

async function survivors(): Promise<Set<string>> {
  const { rows } = await place.pool.query<{ id: string }>("select id from workflow_executions");
  return new Set(rows.map(({ id }) => id));
}

/** Every table of the schema that speaks of executions, with the column that names them. */
async function tablesOfExecutions(): Promise<{ table: string; column: string }[]> {
  const { rows } = await place.pool.query<{ table: string; column: string }>(
    `select table_name as table, column_name as column from information_schema.columns where table_schema = 'public' and column_name = 'execution_id'`,
  );
  return [...rows, { table: "workflow_executions", column: "id" }, { table: "workflow_instances", column: "id" }];
}

describe("a pass", () => {
  it("deletes 30 days after COMPLETED and 90 after any other end, and nothing that is younger or open", async () => {
    const kept = [
      await execution(),
      await execution({ endedDaysAgo: 29.99 }),
      ...(await Promise.all(["failed", "compensated", "canceled", "timed_out", "terminated"].map((state) => execution({ endedDaysAgo: 89.99, state })))),
    ];
    const gone = [
      await execution({ endedDaysAgo: 30.01 }),
      await execution({ endedDaysAgo: 3_000, tenantId: "other" }),
      ...(await Promise.all(["failed", "compensated", "canceled", "timed_out", "terminated"].map((state) => execution({ endedDaysAgo: 90.01, state })))),
    ];
    expect(await retention().pass()).toEqual({ ran: true, executions: gone.length, events: gone.length * 5 });
    expect(await survivors()).toEqual(new Set(kept));
    expect(await retention().pass()).toEqual({ ran: true, executions: 0, events: 0 });
  });

  it("goes by the definition of the execution's own revision", async () => {
    const short = await revisionWith({ completed: "172800s", failed: "259200s" });
    const long = await revisionWith({ completed: "31622400s" });
    const plain = await revisionWith(undefined);
    const kept = [
      await execution({ endedDaysAgo: 1.9, workflow: short }),
      await execution({ endedDaysAgo: 2.9, workflow: short, state: "failed" }),
      await execution({ endedDaysAgo: 360, workflow: long }),
      await execution({ endedDaysAgo: 29, workflow: plain }),
      await execution({ endedDaysAgo: 20, workflow: { ...short, revision: 2 } }),
    ];
    const gone = [
      await execution({ endedDaysAgo: 2.1, workflow: short }),
      await execution({ endedDaysAgo: 3.1, workflow: short, state: "failed" }),
      await execution({ endedDaysAgo: 367, workflow: long }),
      await execution({ endedDaysAgo: 91, workflow: long, state: "failed" }),
      await execution({ endedDaysAgo: 31, workflow: plain }),
    ];
    expect((await retention().pass()).executions).toBe(gone.length);
    expect(await survivors()).toEqual(new Set(kept));
  });

  it("keeps a tenant's executions no longer than the operator says of that tenant, and than the service's own bound", async () => {
    await place.pool.query("update tenants set retention_ms_max = $1 where id = 'acme'", [10 * dayMs]);
    const kept = [await execution({ endedDaysAgo: 9.9 }), await execution({ endedDaysAgo: 20, tenantId: "other" })];
    await execution({ endedDaysAgo: 10.1 });
    await execution({ endedDaysAgo: 10.1, state: "failed" });
    expect((await retention().pass()).executions).toBe(2);
    expect(await survivors()).toEqual(new Set(kept));
    expect((await retention({ retentionMsMax: 5 * dayMs }).pass()).executions).toBe(2);
  });

  it("agrees with the rule, execution by execution, however ends, policies and tenants are mixed", async () => {
    const policies = [undefined, { completed: "86400s" }, { failed: "604800s" }, { completed: "1000000s", failed: "9000000s" }];
    const revisions = await Promise.all(policies.map(revisionWith));
    const expected = new Set<string>();
    // Seeded by arithmetic: every combination of policy and state over ages around each bound.
    const ages = [0.5, 1.5, 6.9, 7.1, 11.5, 11.7, 29, 31, 89, 91, 104, 105];
    let executions = 0;
    for (const [index, policy] of policies.entries()) {
      for (const state of ["completed", "failed"]) {
        for (const endedDaysAgo of ages) {
          const uuid = await execution({ endedDaysAgo, state, workflow: revisions[index] as { uuid: string; revision: number }, steps: 0 });
          executions++;
          const wish = state === "completed" ? policy?.completed : policy?.failed;
          const keptDays = wish ? Math.max(1, Number.parseInt(wish, 10) / 86_400) : state === "completed" ? 30 : 90;
          if (endedDaysAgo < keptDays) expected.add(uuid);
        }
      }
    }
    const report = await retention().pass();
    expect(await survivors()).toEqual(expected);
    expect(report.executions).toBe(executions - expected.size);
  });

  it("takes an execution whole: no table that speaks of executions knows it afterwards, and the others' rows stand", async () => {
    const gone = await execution({ endedDaysAgo: 31 });
    const kept = await execution({ endedDaysAgo: 1 });
    await place.pool.query("insert into execution_commands (tenant_id, execution_id, id, command) values ('acme', $1, $2, '{}')", [gone, randomUUID()]);
    for (const uuid of [gone, kept]) {
      await place.pool.query("insert into event_waits values ('acme', $1, 'w', 1, 0, 'paid', 'k')", [uuid]);
      await place.pool.query("insert into execution_outbox values ('acme', $1, $2, 1, '{}', $2)", [uuid, randomUUID()]);
      await signal({ executionUuid: uuid });
    }
    await retention().pass();
    for (const { table, column } of await tablesOfExecutions()) {
      const { rows } = await place.pool.query<{ gone: number; kept: number }>(
        `select count(*) filter (where ${column} = $1)::int as gone, count(*) filter (where ${column} = $2)::int as kept from ${table}`,
        [gone, kept],
      );
      expect(rows[0]?.gone, table).toBe(0);
      if (/event|steps|executions|instances|signals|outbox/.test(table)) expect(rows[0]?.kept, table).toBeGreaterThan(0);
    }
  });

  it("keeps a child while its parent is open, because the parent may still have to undo it", async () => {
    const open = await execution();
    const over = await execution({ endedDaysAgo: 200 });
    const kept = await execution({ endedDaysAgo: 200, parent: open });
    await execution({ endedDaysAgo: 200, parent: over });
    await execution({ endedDaysAgo: 200, parent: randomUUID() });
    await retention().pass();
    expect(await survivors()).toEqual(new Set([open, kept]));
  });

  it("keeps a child of a child while the execution at the top is open, which may still have to undo both", async () => {
    const root = await execution();
    const child = await execution({ endedDaysAgo: 200, parent: root });
    const grandchild = await execution({ endedDaysAgo: 200, parent: child });
    await place.pool.query("update workflow_executions set root_execution_id = $1 where id = any($2)", [root, [child, grandchild]]);
    await retention().pass();
    expect(await survivors()).toEqual(new Set([root, child, grandchild]));
  });

  it("deletes events from outside whose time is over, of every tenant, however many there are", async () => {
    const over = `insert into signals (tenant_id, id, event_type, correlation_key, data, attempted_by, expire_time, purge_time)
      select t.id, gen_random_uuid(), 'old', 'k', 'null', gen_random_uuid(), now(), now() - interval '1 second' from tenants t, generate_series(1, 1200)`;
    await place.pool.query(over);
    await signal();
    await signal({ tenantId: "other" });
    await retention().pass();
    const { rows } = await place.pool.query("select tenant_id, event_type from signals order by tenant_id");
    expect(rows).toEqual([
      { tenant_id: "acme", event_type: "paid" },
      { tenant_id: "other", event_type: "paid" },
    ]);
  });

  it("leaves what is reopened between the look and the deletion, or locked by whoever is reopening it", async () => {
    const reopened = await execution({ endedDaysAgo: 200, state: "failed" });
    const locked = await execution({ endedDaysAgo: 200, state: "failed" });
    const gone = await execution({ endedDaysAgo: 200, state: "failed" });
    const real = createRetentionStore(place.database.connection);
    const holder = await place.pool.connect();
    const store: RetentionStore = {
      async open() {
        const pass = (await real.open()) as RetentionPass;
        return {
          ...pass,
          async findExpired(wish) {
            const found = await pass.findExpired(wish);
            if (found.length === 0) return found;
            expect(new Set(found.map(({ uuid }) => uuid))).toEqual(new Set([reopened, locked, gone]));
            await place.pool.query("update workflow_executions set end_time = null, state = 'running', wake_at = now() where id = $1", [reopened]);
            await holder.query("begin");
            await holder.query("select 1 from workflow_executions where id = $1 for update", [locked]);
            return found;
          },
        };
      },
    };
    expect((await retention({ store }).pass()).executions).toBe(1);
    await holder.query("rollback");
    holder.release();
    expect(await survivors()).toEqual(new Set([reopened, locked]));
  });

  it("works in bounded transactions; only an execution that is larger than the bound goes alone", async () => {
    for (let index = 0; index < 9; index++) await execution({ endedDaysAgo: 40 + index });
    await execution({ endedDaysAgo: 60, steps: 30 });
    const batches: [number, number][] = [];
    const observer = { deleted: (executions: number, events: number) => void batches.push([executions, events]) };
    await retention({ observer, bounds: { ...quick, executionsMax: 4, eventsMax: 16 } }).pass();
    expect(await survivors()).toEqual(new Set());
    expect(batches.reduce((sum, [executions]) => sum + executions, 0)).toBe(10);
    expect(batches.filter(([, events]) => events > 16)).toEqual([[1, 33]]);
    for (const [executions] of batches) expect(executions).toBeLessThanOrEqual(4);
  });

  it("is made by one replica at a time", async () => {
    await execution({ endedDaysAgo: 40 });
    const store = createRetentionStore(place.database.connection);
    const held = (await store.open()) as RetentionPass;
    expect(await retention().pass()).toEqual({ ran: false, executions: 0, events: 0 });
    await held.close();
    expect(await retention().pass()).toMatchObject({ ran: true, executions: 1 });
  });
});

describe("the loop", () => {
  it("passes by itself, and stops promptly in the middle of a long one", async () => {
    for (let index = 0; index < 5; index++) await execution({ endedDaysAgo: 40 });
    const first = Promise.withResolvers<void>();
    const observer = { deleted: () => first.resolve() };
    const bounds = { executionsMax: 1, pauseMsMin: 60_000, intervalMs: 3_600_000 };
    const loop = retention({ observer, bounds });
    loop.start();
    await first.promise;
    const askedAt = performance.now();
    await loop.stop();
    await loop.stop();
    expect(performance.now() - askedAt, "it waited for its pause").toBeLessThan(bounds.pauseMsMin);
    expect((await survivors()).size).toBe(4);
    // Its lock is free again.
    expect(await retention().pass()).toMatchObject({ ran: true, executions: 4 });
  });

  it("goes on after a pass that failed", async () => {
    await execution({ endedDaysAgo: 40 });
    const real = createRetentionStore(place.database.connection);
    const done = Promise.withResolvers<void>();
    let opened = 0;
    const store: RetentionStore = { open: () => (++opened === 1 ? Promise.reject(new Error("the database is away")) : real.open()) };
    const loop = retention({ store, observer: { deleted: () => done.resolve() }, bounds: { intervalMs: 10, pauseMsMin: 0 } });
    loop.start();
    await done.promise;
    await loop.stop();
    expect((await survivors()).size).toBe(0);
  });
});

describe("how long is kept", () => {
  const now = Date.UTC(2026, 6, 1);
  const days = (retentionOfDefinition: Record<string, string>, maxDays?: number): [number, number] => {
    const { completedBefore, failedBefore } = cutoffsOf(retentionOfDefinition, now, maxDays === undefined ? undefined : maxDays * dayMs);
    return [(now - completedBefore) / dayMs, (now - failedBefore) / dayMs];
  };

  it("has defaults, an upper bound by the service, and a lower one for repeats of a request_id", () => {
    expect(days({})).toEqual([30, 90]);
    expect(days({ completed: "864000s" })).toEqual([10, 90]);
    expect(days({}, 45)).toEqual([30, 45]);
    expect(days({ completed: "31622400s", failed: "31622400s" }, 7)).toEqual([7, 7]);
    expect(days({ completed: "0s", failed: "1s" })).toEqual([1, 1]);
  });
});

describe("what callers see", () => {
  const service = useServer();

  test("what the definition of a workflow says counts, as its author wrote it", async () => {
    const { clients, database } = service;
    const short = await run(clients, [logStep("a")], { retention: { completed: "172800s" } });
    const plain = await run(clients, [logStep("b")]);
    const store = createRetentionStore(database.connection);
    expect((await retention({ store, now: () => Date.now() + 1.9 * dayMs }).pass()).executions).toBe(0);
    expect((await retention({ store, now: () => Date.now() + 2.1 * dayMs }).pass()).executions).toBe(1);
    expect(await refusal(clients.workflows.getExecution({ executionId: short.id }))).toMatchObject({ code: "NOT_FOUND" });
    expect((await clients.workflows.getExecution({ executionId: plain.id })).execution?.id).toBe(plain.id);
    await retention({ store, now: () => Date.now() + 31 * dayMs }).pass();
  });

  test("an execution whose time is over is not found, by every rpc that reads, watches or commands it", async () => {
    const { clients, database } = service;
    const gone = await run(clients, [logStep("a")]);
    const kept = await run(clients, [logStep("b")]);
    const made = retention({ store: createRetentionStore(database.connection), now: () => Date.now() + 31 * dayMs });
    const looker = new Client({ ...database.connection });
    await looker.connect();
    await looker.query("update workflow_executions set end_time = now() + interval '2 days' where id = $1", [parseId("execution", kept.id)]);
    await looker.end();
    expect((await made.pass()).executions).toBe(1);
    const { workflows } = clients;
    const executionId = gone.id;
    const calls: (() => Promise<unknown> | AsyncIterable<unknown>)[] = [
      () => workflows.getExecution({ executionId }),
      () => workflows.waitExecution({ executionId }),
      () => workflows.watchExecution({ executionId, afterSequence: 0n }),
      () => workflows.listExecutionEvents({ executionId }),
      () => workflows.listExecutionSteps({ executionId }),
      () => workflows.cancelExecution({ executionId }),
    ];
    for (const call of calls) expect(await refusal(call() as Promise<unknown>)).toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
    expect((await workflows.getExecution({ executionId: kept.id })).execution?.id).toBe(kept.id);
  });
});

it("an execution that cannot be deleted is told once and holds up neither its batch nor the tenants behind it", async () => {
  for (let index = 0; index < 3; index++) await execution({ endedDaysAgo: 400 });
  const bad = await undeletable();
  for (let index = 0; index < 3; index++) await execution({ endedDaysAgo: 399 });
  await execution({ tenantId: "other", endedDaysAgo: 400 });
  const told: object[] = [];
  const log = { ...silentLog, error: (fields: object) => void told.push(fields) };
  const pass = retention({ log });
  expect((await pass.pass()).executions).toBe(7);
  expect((await pass.pass()).executions).toBe(0);
  expect((await place.pool.query("select id from workflow_executions")).rows).toEqual([{ id: bad }]);
  expect(told).toEqual([expect.objectContaining({ tenantId: "acme", executionId: formatId("execution", bad), work: "retention" })]);
});

it("a tenant in whom something else fails is left to the next pass, the others are not", async () => {
  await execution({ endedDaysAgo: 400 });
  await execution({ tenantId: "other", endedDaysAgo: 400 });
  const real = createRetentionStore(place.database.connection);
  const store: RetentionStore = {
    async open() {
      const pass = await real.open();
      return pass && { ...pass, policies: (tenantId) => (tenantId === "acme" ? Promise.reject(new Error("no policy")) : pass.policies(tenantId)) };
    },
  };
  expect((await retention({ store }).pass()).executions).toBe(1);
});
