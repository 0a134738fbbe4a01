/** How templates are used, counted from rows of executions: never lost, never twice, the same when counted anew. */
import { randomBytes } from "node:crypto";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { formatId, parseId, systemIds, uuidV7 } from "../../src/base/ids.ts";
import { silentLog } from "../../src/base/log.ts";
import { recomputeUsage, UsageRollup } from "../../src/engine/usage-rollup.ts";
import { clientConfig } from "../../src/store/connection-config.ts";
import { createTemplateRepository } from "../../src/store/template-repository.ts";
import { createUsageRepository } from "../../src/store/usage-repository.ts";
import { createUsageRollupStore, type UsageRollupPass } from "../../src/store/usage-rollup-store.ts";
import { createWorkflowRepository } from "../../src/store/workflow-repository.ts";
import { callerOf, openStore, type TestStore } from "../store/open-store.ts";

let store: TestStore;
beforeAll(async () => {
  store = await openStore();
});
afterAll(() => store[Symbol.asyncDispose]());

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const templateId = systemIds.next("template");
const window = { from: Math.floor((Date.now() - 2 * dayMs) / dayMs) * dayMs, to: Math.ceil(Date.now() / dayMs + 1) * dayMs, bucketMs: dayMs };
const rollupStore = () => createUsageRollupStore(clientConfig(store.place.connection, "test-usage"));
const rollup = () => new UsageRollup({ store: rollupStore(), clock: systemClock, log: silentLog, random: Math.random, bounds: { lagMs: 0 } });

async function tenant(id: string, version = 1): Promise<string> {
  await store.database.pool.query("insert into tenants (id) values ($1) on conflict do nothing", [id]);
  const { workflow } = await createWorkflowRepository(store.database).createWorkflow(callerOf(id), {
    name: `w${randomBytes(4).toString("hex")}`,
    definition: { steps: [] },
    lineage: { templateId, templateVersion: version, parameters: {}, overrides: [] },
  });
  return parseId("workflow", workflow.id) as string;
}

interface Run {
  readonly at: number;
  readonly tookMs?: number;
  readonly state?: string;
  readonly failedStep?: string;
}

/** An execution as the journal leaves it; without a duration it is still open. */
async function insert(tenantId: string, workflowUuid: string, { at, tookMs, state = "completed", failedStep }: Run): Promise<string> {
  const id = uuidV7(at, randomBytes(10));
  await store.database.pool.query(
    `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, failed_step, correlation_id, last_sequence, create_time, start_time, end_time)
     values ($1, $2, $3, 'w', 1, $4, $5, 'c', 1, $6, $6, $7)`,
    [tenantId, id, workflowUuid, tookMs === undefined ? "running" : state, failedStep, new Date(at), tookMs === undefined ? null : new Date(at + tookMs)],
  );
  return id;
}

async function stats(tenantId: string) {
  const { total } = await createUsageRepository(store.database).readUsage(callerOf(tenantId), templateId, window);
  return total;
}

async function stored(tenantId: string): Promise<unknown> {
  const { rows } = await store.database.pool.query(
    "select template_id, version, hour, started, ended, completed, durations, failed_steps, last_start_time from template_usage where tenant_id = $1 order by version, hour",
    [tenantId],
  );
  const totals = await store.database.pool.query(
    "select workflows, started, ended, completed, durations, failed_steps, last_start_time from template_usage_totals where tenant_id = $1",
    [tenantId],
  );
  return { cells: rows, totals: totals.rows };
}

describe("the usage of a template", () => {
  it("is exact at every moment: before it is counted, while it is, and after", async () => {
    const workflow = await tenant("exact");
    const now = Date.now();
    await insert("exact", workflow, { at: now - 5000, tookMs: 1000 });
    await insert("exact", workflow, { at: now - 4000, tookMs: 100, state: "failed", failedStep: "orders[3]/charge" });
    await insert("exact", workflow, { at: now - 3000 });
    const expected = { workflows: 1, counts: { started: 3, ended: 2, completed: 1, failedSteps: { charge: 1 }, lastStartedAt: now - 3000 } };
    expect(await stats("exact")).toMatchObject(expected);
    expect(await stored("exact")).toEqual({ cells: [], totals: [] });
    await rollup().pass();
    expect(await stats("exact")).toMatchObject(expected);
    expect(await stored("exact")).toMatchObject({ totals: [{ started: 3, ended: 2, completed: 1, workflows: 1 }] });
    await insert("exact", workflow, { at: now - 2000, tookMs: 500 });
    expect(await stats("exact")).toMatchObject({ counts: { started: 4, ended: 3, completed: 2 } });
    await rollup().pass();
    await rollup().pass();
    expect(await stats("exact")).toMatchObject({ counts: { started: 4, ended: 3, completed: 2 } });
    expect((await createTemplateRepository(store.database).getTemplate(callerOf("exact"), templateId))?.template.usage).toBeUndefined();
  });

  it("is kept by tenant and version, and knows nothing of workflows that came from no template", async () => {
    const one = await tenant("kept", 1);
    const two = await tenant("kept", 2);
    const { workflow } = await createWorkflowRepository(store.database).createWorkflow(callerOf("kept"), { name: "plain", definition: {} });
    const at = Date.now() - 1000;
    for (const uuid of [one, two, two, parseId("workflow", workflow.id) as string]) await insert("kept", uuid, { at, tookMs: 10 });
    await rollup().pass();
    const { versions } = await createUsageRepository(store.database).readUsage(callerOf("kept"), templateId, window);
    expect(versions.map(({ version, counts, workflows }) => [version, counts.started, workflows])).toEqual([
      [2, 2, 1],
      [1, 1, 1],
    ]);
    expect((await stats("nobody")).counts.started).toBe(0);
  });

  it("is never counted twice nor lost by a pass that dies before its commit, or by two passes at once", async () => {
    const workflow = await tenant("crash");
    const now = Date.now();
    for (let n = 0; n < 40; n++) await insert("crash", workflow, { at: now - 60_000 + n, tookMs: n });
    const dying = (await rollupStore().open()) as UsageRollupPass;
    const killer = new Client(store.place.connection);
    await killer.connect();
    // Its transaction waits for the cursor's row, which is held here, and is cut off there.
    await killer.query("begin");
    await killer.query("insert into template_usage_cursors values ('crash', $1, 'epoch', $1, 'epoch')", ["00000000-0000-0000-0000-000000000000"]);
    const cut = dying.advance("crash", now, 0).catch((error: Error) => error);
    await untilWaiting(killer);
    await killer.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'test-usage' and wait_event_type = 'Lock' and datname = current_database()",
    );
    expect(await cut).toBeInstanceOf(Error);
    await killer.query("commit");
    await killer.end();
    await dying.close();
    const passes = await Promise.all([rollup().pass(), rollup().pass(), rollup().pass()]);
    expect(passes.filter(Boolean).length).toBeGreaterThan(0);
    await rollup().pass();
    expect(await stored("crash")).toMatchObject({ totals: [{ started: 40, ended: 40, completed: 40 }] });
  });

  it("counts an execution that was reopened once, by its last end", async () => {
    const workflow = await tenant("again");
    const at = Math.floor((Date.now() - 3 * hourMs) / hourMs) * hourMs;
    const id = await insert("again", workflow, { at, tookMs: 1000, state: "failed", failedStep: "charge" });
    await insert("again", workflow, { at, tookMs: 1000, state: "failed", failedStep: "ship" });
    const event = (sequence: number, type: string, when: number) =>
      store.database.pool.query(
        "insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload) values ('again', $1, $2, $3, '', 0, $4, '{}')",
        [id, sequence, type, new Date(when)],
      );
    await event(1, "execution_ended", at + 1000);
    await rollup().pass();
    expect((await stats("again")).counts).toMatchObject({ started: 2, ended: 2, completed: 0, failedSteps: { charge: 1, ship: 1 } });
    await event(2, "execution_reopened", at + hourMs);
    await event(3, "execution_ended", at + 2 * hourMs);
    await store.database.pool.query("update workflow_executions set state = 'completed', failed_step = null, end_time = $2 where id = $1", [
      id,
      new Date(at + 2 * hourMs),
    ]);
    await rollup().pass();
    expect((await stats("again")).counts).toMatchObject({ started: 2, ended: 2, completed: 1, failedSteps: { ship: 1 } });
    expect(await stored("again")).toMatchObject({ totals: [{ started: 2, ended: 2, completed: 1, failed_steps: { ship: 1 } }] });
  });

  it("orders listings and is shown with a template, by tenant", async () => {
    const templates = createTemplateRepository(store.database);
    const one = callerOf("ordered");
    await store.database.pool.query("insert into tenants (id) values ('ordered') on conflict do nothing");
    for (const [name, runs, failed] of [
      ["rare", 1, 0],
      ["busy", 3, 3],
      ["never", 0, 0],
      ["often", 2, 1],
    ] as const) {
      const { template } = await templates.createTemplate(one, { name, category: "c", content: { definition: {} } });
      const { workflow } = await createWorkflowRepository(store.database).createWorkflow(one, {
        name: `of-${name}`,
        definition: {},
        lineage: { templateId: template.id, templateVersion: 1, parameters: {}, overrides: [] },
      });
      for (let n = 0; n < runs; n++) {
        await insert("ordered", parseId("workflow", workflow.id) as string, { at: Date.now() - 1000, tookMs: 20, state: n < failed ? "failed" : "completed" });
      }
    }
    await rollup().pass();
    const names = async (caller = one, field: "usage_count" | "success_rate" = "usage_count") =>
      (await templates.listTemplates(caller, { pageSize: 50, filter: { builtIn: false }, order: { field, descending: true } })).items.map(
        ({ template }) => template.name,
      );
    expect(await names()).toEqual(["busy", "often", "rare", "never"]);
    expect((await names(one, "success_rate")).slice(0, 2)).toEqual(["rare", "often"]);
    expect((await templates.getTemplate(one, "often"))?.template.usage).toMatchObject({ started: 2, ended: 2, completed: 1, workflows: 1 });
    expect(await names(callerOf("other"))).toEqual([]);
  });

  it("leaves out deleted workflows and takes them back", async () => {
    await tenant("gone");
    const workflow = await tenant("gone");
    const workflows = createWorkflowRepository(store.database);
    const count = async () => ((await stored("gone")) as { totals: { workflows: number }[] }).totals[0]?.workflows;
    await rollup().pass();
    expect([await count(), (await stats("gone")).workflows]).toEqual([2, 2]);
    await workflows.deleteWorkflow(callerOf("gone"), formatId("workflow", workflow));
    await rollup().pass();
    expect([await count(), (await stats("gone")).workflows]).toEqual([1, 1]);
    await workflows.undeleteWorkflow(callerOf("gone"), formatId("workflow", workflow));
    await rollup().pass();
    expect([await count(), (await stats("gone")).workflows]).toEqual([2, 2]);
  });

  it("comes out the same when it is counted anew, whatever happened to the counts", async () => {
    const workflow = await tenant("anew");
    const now = Date.now();
    for (let n = 0; n < 60; n++) {
      await insert("anew", workflow, {
        at: now - (60 - n) * 600_000 - 1000,
        tookMs: n * 7,
        ...(n % 3 === 0 ? { state: "failed", failedStep: `s${n % 2}` } : {}),
      });
      if (n % 20 === 0) await rollup().pass();
    }
    await rollup().pass();
    const before = await stored("anew");
    expect(before).toMatchObject({ totals: [{ started: 60, ended: 60, completed: 40 }] });
    await store.database.pool.query("update template_usage set started = started * 2, durations = '{}' where tenant_id = 'anew'");
    await store.database.pool.query("delete from template_usage where tenant_id = 'anew' and ended > 5");
    await store.database.pool.query("delete from template_usage_totals where tenant_id = 'anew'");
    expect((await recomputeUsage(rollupStore(), undefined)).get("anew")).toBeGreaterThan(0);
    expect(await stored("anew")).toEqual(before);
    await rollup().pass();
    expect(await stored("anew")).toEqual(before);
  });
});

async function untilWaiting(client: Client): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ n: number }>(
      "select count(*)::int as n from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
    );
    if ((rows[0]?.n ?? 0) > 0) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

it("a row that cannot be counted is told once and passed over: what stands around it is counted, and so are other tenants", async () => {
  const workflow = await tenant("poisoned");
  const beside = await tenant("zebra");
  const at = Date.now() - hourMs;
  for (let index = 0; index < 5; index++) await insert("poisoned", workflow, { at: at + index, tookMs: 10 });
  const bad = await insert("poisoned", workflow, { at: at + 5, tookMs: 10 });
  for (let index = 6; index < 9; index++) await insert("poisoned", workflow, { at: at + index, tookMs: 10 });
  await insert("zebra", beside, { at, tookMs: 10 });
  // No moment of an hour, and so no cell.
  await store.database.pool.query("update workflow_executions set create_time = '-infinity', start_time = null where id = $1", [bad]);
  const told: object[] = [];
  const log = { ...silentLog, error: (fields: object) => void told.push(fields) };
  const counting = new UsageRollup({ store: rollupStore(), clock: systemClock, log, random: Math.random, bounds: { lagMs: 0 } });
  await counting.pass();
  await counting.pass();
  await store.database.pool.query("delete from workflow_executions where id = $1", [bad]);
  expect((await stats("poisoned")).counts).toMatchObject({ started: 8, completed: 8 });
  expect((await stats("zebra")).counts).toMatchObject({ started: 1, completed: 1 });
  const executionId = formatId("execution", bad);
  expect(told).toEqual(["started", "ended"].map((of) => expect.objectContaining({ tenantId: "poisoned", executionId, of, work: "usage" })));
});
