import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import { guarded } from "../../src/store/database-error.ts";
import { createExecutionRepository, type ExecutionRepository } from "../../src/store/execution-repository.ts";
import { readListing } from "../../src/store/listing.ts";
import { callerOf, nastyJson, openStore, risingIds, type TestStore } from "./open-store.ts";

let store: TestStore;
let executions: ExecutionRepository;
const ids = risingIds();
const acme = callerOf("acme");
const rival = callerOf("rival");
const at = Date.UTC(2026, 4, 5, 6, 7, 8, 901);

beforeAll(async () => {
  store = await openStore();
  executions = createExecutionRepository(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());

async function insertExecution(tenantId: string, fields: Record<string, unknown> = {}): Promise<string> {
  const id = ids.next("execution");
  const row: Record<string, unknown> = {
    tenant_id: tenantId,
    id: parseId("execution", id),
    workflow_name: "orders",
    revision: 1,
    state: "running",
    correlation_id: "corr",
    last_sequence: 1,
    create_time: new Date(at),
    ...fields,
  };
  const columns = Object.keys(row);
  await store.database.pool.query(
    `insert into workflow_executions (${columns.join(", ")}) values (${columns.map((_, n) => `$${n + 1}`).join(", ")})`,
    Object.values(row),
  );
  return id;
}

async function insertEvent(tenantId: string, executionId: string, sequence: number, type: string, payload: unknown, stepPath = ""): Promise<void> {
  await store.database.pool.query("insert into execution_events values ($1, $2, $3, $4, $5, 1, $6, $7)", [
    tenantId,
    parseId("execution", executionId),
    sequence,
    type,
    stepPath,
    new Date(at + sequence),
    JSON.stringify(payload),
  ]);
}

describe("getExecution", () => {
  it("returns every field with its payloads in their order", async () => {
    const workflowId = ids.next("workflow");
    const parent = ids.next("execution");
    const failure = { name: "HTTP.503", message: "down" };
    const id = await insertExecution("acme", {
      workflow_id: parseId("workflow", workflowId),
      state: "failed",
      end_reason: "step_failed",
      input: JSON.stringify(nastyJson),
      output: JSON.stringify([1]),
      failure: JSON.stringify(failure),
      failed_step: "charge",
      standing_effects: ["a", "b,c"],
      variables: JSON.stringify({ z: 1, a: 2 }),
      execution_key: "k-1",
      request_id: "r",
      labels: JSON.stringify({ x: "y" }),
      priority: 7,
      paused: true,
      parent_execution_id: parseId("execution", parent),
      last_sequence: 9,
      wake_at: new Date(at + 1),
      start_time: new Date(at + 2),
      end_time: new Date(at + 3),
    });
    await store.database.pool.query(
      "insert into workflow_instances (tenant_id, id, state, create_time, update_time) values ('acme', $1, 'failed', now(), now())",
      [parseId("execution", id)],
    );
    const found = await executions.getExecution(acme, id);
    expect(found).toEqual({
      id,
      workflowId,
      workflowName: "orders",
      revision: 1,
      state: "failed",
      sagaState: "failed",
      endReason: "step_failed",
      input: nastyJson,
      output: [1],
      variables: { z: 1, a: 2 },
      failure,
      failedStep: "charge",
      standingEffects: ["a", "b,c"],
      executionKey: "k-1",
      requestId: "r",
      correlationId: "corr",
      labels: { x: "y" },
      priority: 7,
      paused: true,
      parentExecutionId: parent,
      rerunOf: undefined,
      traceparent: undefined,
      lastSequence: 9,
      openSteps: 0,
      wakeAt: at + 1,
      createdAt: at,
      startedAt: at + 2,
      endedAt: at + 3,
    });
    expect(JSON.stringify(found?.input)).toBe(JSON.stringify(nastyJson));
    expect(await executions.ledgerHead(acme, id)).toMatchObject({ lastSequence: 9, correlationId: expect.any(String) });
  });

  it("finds the newest run by key, open or ended", async () => {
    const first = await insertExecution("acme", { execution_key: "daily", state: "completed", end_time: new Date(at) });
    expect(await executions.getExecution(acme, "key:daily")).toMatchObject({ id: first });
    const second = await insertExecution("acme", { execution_key: "daily" });
    expect(await executions.getExecution(acme, "key:daily")).toMatchObject({ id: second });
    await store.database.pool.query("update workflow_executions set end_time = now() where id = $1", [parseId("execution", second)]);
    expect(await executions.getExecution(acme, "key:daily")).toMatchObject({ id: second });
    expect(await executions.getExecution(acme, "key:weekly")).toBeUndefined();
  });
});

describe("listExecutions", () => {
  it("pages newest first without payloads, and rows that arrive meanwhile shift nothing", async () => {
    const pager = callerOf("pager");
    const before: string[] = [];
    for (let n = 0; n < 7; n++) before.push(await insertExecution("pager", { input: JSON.stringify({ n }) }));
    const seen: string[] = [];
    let afterId: string | undefined;
    do {
      const page = await executions.listExecutions(pager, { pageSize: 3, ...(afterId === undefined ? {} : { afterId }) });
      seen.push(...page.items.map(({ id }) => id));
      expect(page.items.every(({ input }) => input === undefined)).toBe(true);
      afterId = page.nextAfterId;
      await Promise.all([insertExecution("pager"), insertExecution("pager")]);
    } while (afterId);
    expect(seen).toEqual(before.reverse());
  });

  it("filters by state, workflow and correlation, alone and together", async () => {
    const one = callerOf("filters");
    const workflowId = ids.next("workflow");
    const workflow = parseId("workflow", workflowId);
    const a = await insertExecution("filters", { state: "failed", workflow_id: workflow, correlation_id: "c1" });
    const b = await insertExecution("filters", { state: "running", workflow_id: workflow, correlation_id: "c2" });
    const c = await insertExecution("filters", { state: "stuck", correlation_id: "c1" });
    const found = async (filter: object) => (await executions.listExecutions(one, { pageSize: 10, filter })).items.map(({ id }) => id);
    expect(await found({})).toEqual([c, b, a]);
    expect(await found({ states: ["failed", "stuck"] })).toEqual([c, a]);
    expect(await found({ states: [] })).toEqual([]);
    expect(await found({ workflowId })).toEqual([b, a]);
    expect(await found({ correlationId: "c1" })).toEqual([c, a]);
    expect(await found({ states: ["failed"], workflowId, correlationId: "c1" })).toEqual([a]);
    expect(await found({ workflowId: "nonsense" })).toEqual([]);
    expect(await found({ correlationId: "' or true --" })).toEqual([]);
    expect(await found({ correlationId: "\u0000" })).toEqual([]);
  });

  it("reads a page from an index, not from the whole table", async () => {
    await store.database.pool.query(
      `insert into workflow_executions (tenant_id, id, workflow_name, revision, state, correlation_id, last_sequence, create_time)
       select 'bulk' || n % 3, gen_random_uuid(), 'w', 1, 'running', 'c' || n, 1, now() from generate_series(1, 3000) n`,
    );
    await store.database.pool.query("analyze workflow_executions");
    const plan = async (where: string) => {
      const { rows } = await store.database.pool.query(
        `explain select id from workflow_executions e where tenant_id = 'bulk1' ${where} order by id desc limit 51`,
      );
      return rows.map((row) => row["QUERY PLAN"]).join("\n");
    };
    expect(await plan("and id < gen_random_uuid()")).toMatch(/Index.* workflow_executions_pkey|workflow_executions_pkey/);
    expect(await plan("and correlation_id = 'c7'")).toContain("workflow_executions_correlation_idx");
    expect(await plan("")).not.toContain("Seq Scan");
  });
});

describe("listEvents", () => {
  it("returns the ledger in order, from a number on, up to a limit", async () => {
    const id = await insertExecution("acme", { last_sequence: 4 });
    for (const sequence of [3, 1, 4, 2])
      await insertEvent(
        "acme",
        id,
        sequence,
        sequence === 1 ? "execution_created" : "step_succeeded",
        sequence === 1 ? nastyJson : { result: sequence },
        sequence === 1 ? "" : "orders[3]/charge",
      );
    const { events: all, isLast } = await executions.listEvents(acme, id, 0, 100);
    expect(isLast).toBe(true);
    expect(all.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4]);
    expect(all[1]).toEqual({ sequence: 2, type: "step_succeeded", stepPath: "orders[3]/charge", attempt: 1, at: at + 2, payload: { result: 2 } });
    expect(JSON.stringify(all[0]?.payload)).toBe(JSON.stringify(nastyJson));
    expect(await executions.listEvents(acme, id, 2, 1)).toMatchObject({ events: [{ sequence: 3 }], isLast: false });
    expect(await executions.listEvents(acme, id, 3, 1)).toMatchObject({ events: [{ sequence: 4 }], isLast: false }); // as many as asked for: it cannot know
    expect(await executions.listEvents(acme, id, 4, 100)).toEqual({ events: [], isLast: true });
  });

  it("ends a stretch early when it grows large, but always gets on", async () => {
    const id = await insertExecution("acme", { last_sequence: 4 });
    const large = { result: Array.from({ length: 90_000 }, () => Math.random()) };
    for (const sequence of [1, 2, 3, 4]) await insertEvent("acme", id, sequence, "step_succeeded", large);
    const seen: number[] = [];
    const sizes: number[] = [];
    for (let after = 0; ; after = seen.at(-1) ?? 0) {
      const { events, isLast } = await executions.listEvents(acme, id, after, 100);
      sizes.push(events.length);
      seen.push(...events.map(({ sequence }) => sequence));
      if (isLast) break;
    }
    expect(seen).toEqual([1, 2, 3, 4]);
    expect(Math.max(...sizes)).toBeLessThan(4);
  });
});

it("another tenant's execution reads like one that does not exist", async () => {
  const workflowId = ids.next("workflow");
  const id = await insertExecution("acme", { execution_key: "secret", workflow_id: parseId("workflow", workflowId) });
  await insertEvent("acme", id, 1, "execution_created", {});
  for (const reference of [id, "key:secret", ids.next("execution"), "exe_nonsense", "", "key:", "key:\u0000", "\u0000"]) {
    expect(await executions.getExecution(rival, reference)).toBeUndefined();
    expect(await executions.ledgerHead(rival, reference)).toBeUndefined();
    expect(await executions.listEvents(rival, reference, 0, 10)).toEqual({ events: [], isLast: true });
  }
  for (const filter of [{}, { workflowId }, { correlationId: "corr" }, { states: ["running" as const] }]) {
    expect(await executions.listExecutions(rival, { pageSize: 10, filter })).toEqual({ items: [], nextAfterId: undefined });
  }
  expect((await executions.listExecutions(rival, { pageSize: 10, afterId: id })).items).toEqual([]);
});

it("a listing that takes too long ends with DEADLINE_EXCEEDED and leaves the connection fit for use", async () => {
  const slow = guarded(() => readListing(store.database.pool, (client) => client.query("select pg_sleep(5)"), 50));
  await expect(slow).rejects.toMatchObject({ reason: "DEADLINE_EXCEEDED" });
  const { rows } = await store.database.pool.query("select current_setting('statement_timeout') as timeout, pg_current_xact_id_if_assigned() as open");
  expect(rows[0]).toEqual({ timeout: "0", open: null });
});

it("a server that ends connections is reported as STORAGE_UNAVAILABLE, and the next call works", async () => {
  const id = await insertExecution("acme");
  const { pool } = store.database;
  const waiting = guarded(() => pool.query("select pg_sleep(10)"));
  const killed = expect(waiting).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE", retryAfterMs: 1_000 });
  for (;;) {
    const { rowCount } = await pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(10)' and pid <> pg_backend_pid()",
    );
    if (rowCount === 1) break;
  }
  await killed;
  expect(await executions.getExecution(acme, id)).toMatchObject({ id });
});
