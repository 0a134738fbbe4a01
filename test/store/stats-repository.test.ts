/** Statistics of executions and steps, held against the fold, and how much one answer reads. */
import { randomBytes } from "node:crypto";
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatId, uuidV7 } from "../../src/base/ids.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { type CreatedStats, createStatsRepository, type StatsReadBounds, type StatsSelection } from "../../src/store/stats-repository.ts";
import { identity } from "../domain/simulate.ts";
import { cases, run } from "../domain/simulated-cases.ts";
import { fc } from "../support/property.ts";
import { callerOf, openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store[Symbol.asyncDispose]());

const hourMs = 3_600_000;
const noon = Date.UTC(2026, 4, 5, 12);
const workflowUuid = uuidV7(noon, randomBytes(10));
const day: StatsSelection = { from: noon - 12 * hourMs, to: noon + 12 * hourMs };

interface Run {
  readonly tenant: string;
  readonly at: number;
  readonly state?: string;
  readonly tookMs?: number;
  readonly revision?: number;
  readonly workflow?: string | null;
  readonly failure?: string;
  readonly failedStep?: string;
  readonly ledger?: readonly ExecutionEvent[];
  /** What the row knows of the ledger. */
  readonly lastSequence?: number;
}

async function insert(one: Run): Promise<void> {
  const { tenant, at, state = "completed", tookMs, revision = 1, workflow = workflowUuid, failure, failedStep, ledger = [] } = one;
  const id = uuidV7(at, randomBytes(10));
  const { pool } = store.database;
  await pool.query(
    `insert into workflow_executions
       (tenant_id, id, workflow_id, workflow_name, revision, state, failure, failed_step, correlation_id, last_sequence, create_time, start_time, end_time)
     values ($1, $2, $3, 'w', $4, $5, $6, $7, 'c', $8, $9, $9, $10)`,
    [
      ...[tenant, id, workflow, revision, state, failure === undefined ? null : JSON.stringify({ name: failure, message: "" }), failedStep],
      ...[one.lastSequence ?? ledger.length, new Date(at), tookMs === undefined ? null : new Date(at + tookMs)],
    ],
  );
  await pool.query(
    `insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
     select $1, $2, v.sequence, v.type, v.path, v.attempt, v.at, v.payload
     from json_to_recordset($3::json) as v (sequence int, type text, path text, attempt int, at timestamptz, payload json)`,
    [tenant, id, JSON.stringify(ledger.map(({ stepPath, at: moment, ...event }) => ({ ...event, path: stepPath, at: new Date(moment) })))],
  );
}

const read = (tenant: string, selection: StatsSelection = day, bounds?: StatsReadBounds, pool: Pool = store.database.pool): Promise<CreatedStats> =>
  createStatsRepository({ pool }, bounds).readCreated(callerOf(tenant), selection);
const countOf = (groups: readonly { readonly count: number }[]): number => groups.reduce((total, { count }) => total + count, 0);

describe("steps", () => {
  it("are counted in the states in which the fold has them, whatever happened", async () => {
    let tenants = 0;
    await fc.assert(
      fc.asyncProperty(cases, fc.double({ min: 0, max: 1, noNaN: true }), async (played, part) => {
        const tenant = `fold-${++tenants}`;
        const whole = run(played).ledger;
        const ledger = whole.slice(0, 1 + Math.floor(part * (whole.length - 1)));
        await insert({ tenant, at: noon, state: "running", ledger });
        const { steps, failures, stepExecutions } = await read(tenant);
        const folded = [...foldExecution(identity, ledger).steps.values()];
        expect(steps.map(({ name, state }) => `${name} ${state}`).sort()).toEqual(folded.map(({ name, status }) => `${name} ${status}`).sort());
        const retried = ledger.filter(({ type, payload }) => type === "step_retry_scheduled" && !("putBack" in payload));
        expect([stepExecutions, steps.reduce((total, { retries }) => total + retries, 0)]).toEqual([1, retried.length]);
        expect(countOf(failures)).toBe(retried.length + ledger.filter(({ type }) => type === "step_failed").length);
      }),
      { numRuns: 40 },
    );
  });
});

describe("what one answer counts", () => {
  it("is what was created in the window, by workflow and revision, of one tenant", async () => {
    const tenant = "window";
    const at = noon;
    await insert({ tenant, at: day.from - 1, tookMs: 1 });
    await insert({ tenant, at: day.from, tookMs: 1_000 });
    await insert({ tenant, at, revision: 2, state: "failed", tookMs: 5, failure: "HTTP.402", failedStep: "orders[3]/charge" });
    await insert({ tenant, at, workflow: null, revision: 0, state: "running" });
    await insert({ tenant, at: day.to, tookMs: 1 });
    await insert({ tenant: "another", at, tookMs: 1 });
    const { executions, window, names } = await read(tenant);
    expect(window).toEqual({ from: day.from, to: day.to, shortened: false });
    const workflowId = formatId("workflow", workflowUuid);
    expect([...executions].sort((a, b) => b.revision - a.revision)).toEqual([
      { workflowId, revision: 2, state: "failed", ended: true, bucket: null, failure: "HTTP.402", step: "charge", count: 1 },
      { workflowId, revision: 1, state: "completed", ended: true, bucket: 349, failure: null, step: null, count: 1 },
      { workflowId: "", revision: 0, state: "running", ended: false, bucket: null, failure: null, step: null, count: 1 },
    ]);
    expect(names.get(workflowId)).toBe("w");
    expect(countOf((await read(tenant, { ...day, workflowId })).executions)).toBe(2);
    expect(countOf((await read(tenant, { ...day, workflowId, revision: 2 })).executions)).toBe(1);
    expect(countOf((await read(tenant, { ...day, untilNow: true })).executions)).toBe(4);
    expect((await read(tenant, { ...day, workflowId: "wfl_nothing" })).executions).toEqual([]);
  });

  it("is the newest part of the window where more happened than it may read, and it says from when", async () => {
    const tenant = "many";
    for (let hour = 0; hour < 6; hour++) await insert({ tenant, at: noon + hour * hourMs, tookMs: 10, revision: 1 + (hour % 2) });
    const bounds = { executionsMax: 4, eventsMax: 100 };
    const all = await read(tenant, day, bounds);
    expect([countOf(all.executions), all.window]).toEqual([4, { from: noon + 2 * hourMs, to: day.to, shortened: true }]);
    // Of these the revision that was asked for.
    const one = await read(tenant, { ...day, workflowId: formatId("workflow", workflowUuid), revision: 1 }, bounds);
    expect([countOf(one.executions), one.window.from]).toEqual([2, noon + 2 * hourMs]);
  });

  it("is steps of the newest executions until their ledgers hold the bound, as far as the rows know them", async () => {
    const tenant = "long";
    const event = (sequence: number): ExecutionEvent => ({
      ...{ sequence, type: "step_succeeded", at: noon, stepPath: `a${sequence}`, attempt: 1 },
      payload: { result: null },
    });
    const ledger = Array.from({ length: 10 }, (_, index) => event(index + 1));
    for (let hour = 0; hour < 3; hour++) await insert({ tenant, at: noon + hour * hourMs, state: "running", ledger, lastSequence: 6 });
    const bounded = await read(tenant, day, { executionsMax: 100, eventsMax: 7 });
    expect(bounded).toMatchObject({ stepExecutions: 2, stepWindow: { from: noon + hourMs, shortened: true }, window: { shortened: false } });
    expect(countOf(bounded.steps)).toBe(12);
    // One that alone is longer is read all the same.
    expect(await read(tenant, day, { executionsMax: 100, eventsMax: 1 })).toMatchObject({ stepExecutions: 1 });
  });
});

describe("activity", () => {
  const activity = (tenant: string, from: number, bounds?: StatsReadBounds) =>
    createStatsRepository(store.database, bounds).readActivity(callerOf(tenant), { from, to: noon + 12 * hourMs });

  it("counts what was created in the window, and what ended in it whenever it was created", async () => {
    const tenant = "active";
    await insert({ tenant, at: noon - 2 * hourMs, tookMs: hourMs + 1 });
    await insert({ tenant, at: noon - 2 * hourMs, tookMs: 3 * hourMs, state: "failed", failure: "NETWORK" });
    await insert({ tenant, at: noon, tookMs: 1_000 });
    await insert({ tenant, at: noon + 1, state: "stuck" });
    const { started, ended, window, backlog, stepExecutions } = await activity(tenant, noon);
    expect([started, stepExecutions, window]).toEqual([2, 2, { from: noon, to: noon + 12 * hourMs, shortened: false }]);
    expect([...ended].sort((a, b) => (a.state < b.state ? -1 : 1))).toEqual([
      { state: "completed", bucket: 349, failure: null, count: 1, ended: true, step: null },
      { state: "failed", bucket: null, failure: "NETWORK", count: 1, ended: true, step: null },
    ]);
    expect(backlog).toEqual({ ready: 0, oldestMs: null, open: 1, stuck: 1, tasksWaiting: 0, taskOldestMs: null });
  });

  it("begins behind the newest start or end of which there are too many", async () => {
    const tenant = "crowded";
    for (let hour = 0; hour < 5; hour++) await insert({ tenant, at: noon + hour * hourMs, tookMs: 30 * 60_000 });
    const { started, ended, window, stepWindow } = await activity(tenant, noon, { executionsMax: 2, eventsMax: 100 });
    expect(window).toEqual({ from: noon + 2.5 * hourMs + 1, to: noon + 12 * hourMs, shortened: true });
    expect([started, countOf(ended)]).toEqual([2, 2]);
    expect(stepWindow).toMatchObject({ from: noon + 3 * hourMs, shortened: true });
  });

  it("knows since when the oldest due execution and the oldest task wait", async () => {
    const tenant = "waiting";
    const ago = new Date(Date.now() - 3_600_000);
    await insert({ tenant, at: noon, state: "waiting" });
    await store.database.pool.query("update workflow_executions set wake_at = $2 where tenant_id = $1", [tenant, ago]);
    await store.database.pool.query(
      `insert into tasks (tenant_id, id, execution_id, step_path, operation, attempt, queue, task_type, sort_time, idempotency_key, input, close_ms, create_time)
       values ($1, gen_random_uuid(), gen_random_uuid(), 'a', 'action', 1, 'q', 't', $2, 'k', '{}', 1000, $2)`,
      [tenant, ago],
    );
    const { backlog } = await activity(tenant, noon);
    expect(backlog).toMatchObject({ ready: 1, open: 1, stuck: 0, tasksWaiting: 1 });
    for (const age of [backlog.oldestMs, backlog.taskOldestMs]) expect(age).toBeGreaterThanOrEqual(3_599_000);
  });
});

it("every table of executions is read by an index, also while nothing is known of its rows", async () => {
  const asked: { text: string; values: unknown[] }[] = [];
  const listening = {
    connect: async () => {
      const client = await store.database.pool.connect();
      const query = async (...statement: [string | { text: string; values: unknown[] }]) => {
        if (typeof statement[0] !== "string") asked.push(statement[0]);
        return client.query(...(statement as [string]));
      };
      return { query, release: () => client.release() };
    },
  } as unknown as Pool;
  const selection = { ...day, workflowId: formatId("workflow", workflowUuid) };
  for (const one of [day, selection, { ...selection, revision: 1 }]) await read("window", one, undefined, listening);
  await createStatsRepository({ pool: listening }).readActivity(callerOf("window"), day);
  expect(asked).toHaveLength(10);
  const client = await store.database.pool.connect();
  try {
    await client.query("begin; set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off");
    for (const { text, values } of asked) {
      const { rows } = await client.query<{ "QUERY PLAN": string }>({ text: `explain ${text}`, values });
      const plan = rows.map((row) => row["QUERY PLAN"]).join("\n");
      expect(plan).toMatch(/(Index|Bitmap).* workflow_executions/);
      expect(plan).not.toMatch(/Seq Scan on (workflow_executions|execution_events|tasks)/);
      if (plan.includes("execution_events")) expect(plan).toMatch(/execution_events_pkey/);
    }
  } finally {
    await client.query("rollback");
    client.release();
  }
});
