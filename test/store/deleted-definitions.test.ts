/** What was deleted long ago goes, and nothing goes that something still refers to. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import { LeftOut } from "../../src/base/left-out.ts";
import { silentLog } from "../../src/base/log.ts";
import { createDeletedPurge } from "../../src/store/deleted-definitions.ts";
import { createTemplateRepository, type TemplateRepository } from "../../src/store/template-repository.ts";
import { createWorkflowRepository, type WorkflowRepository } from "../../src/store/workflow-repository.ts";
import { callerOf, openStore, risingIds, type TestStore } from "./open-store.ts";

const dayMs = 86_400_000;
const acme = callerOf("acme");
const leftOut = new LeftOut({ work: "deleted_definitions", log: silentLog });
const rival = callerOf("rival");
let store: TestStore;
let workflows: WorkflowRepository;
let templates: TemplateRepository;
const ids = risingIds();
const sql = (text: string, values: unknown[] = []) => store.database.pool.query(text, values);

beforeAll(async () => {
  store = await openStore();
  workflows = createWorkflowRepository(store.database, ids);
  templates = createTemplateRepository(store.database, ids);
});
afterAll(() => store[Symbol.asyncDispose]());
beforeEach(() => sql("truncate workflows, workflow_revisions, workflow_executions, workflow_sweeps, workflow_templates, workflow_template_versions"));

const log = { name: "a", log: { message: "hi" } };

async function workflow(name: string, steps: readonly object[] = [log], caller = acme): Promise<string> {
  return (await workflows.createWorkflow(caller, { name, definition: { steps } as never })).workflow.id;
}

async function template(name: string, caller = acme): Promise<string> {
  const content = { definition: { steps: [log] } };
  return (await templates.createTemplate(caller, { name, category: "automation", tags: [], content } as never)).template.id;
}

const tables = { workflow: "workflows", template: "workflow_templates" } as const;
type Kind = keyof typeof tables;

async function deleted(kind: Kind, id: string, days: number): Promise<string> {
  await sql(`update ${tables[kind]} set state = 'deleted', delete_time = now() - $2 * interval '1 day' where id = $1`, [parseId(kind, id), days]);
  return id;
}

/** One pass; answers how many went. */
async function pass(kind: Kind): Promise<number> {
  let removed = 0;
  const { portion } = createDeletedPurge(store.database.pool, kind, 30 * dayMs, (count) => (removed += count), leftOut);
  while ((await portion()) > 0);
  return removed;
}

async function left(kind: Kind): Promise<string[]> {
  return (await sql(`select name from ${tables[kind]} order by name`)).rows.map(({ name }) => name);
}

it("a workflow goes with its revisions when nobody can take it back any more, in every tenant", async () => {
  await workflow("alive");
  await deleted("workflow", await workflow("gone"), 31);
  await deleted("workflow", await workflow("gone-too", [log], rival), 400);
  await deleted("workflow", await workflow("recent"), 29);
  expect(await pass("workflow")).toBe(2);
  expect(await left("workflow")).toEqual(["alive", "recent"]);
  expect((await sql("select count(*)::int as count from workflow_revisions")).rows[0].count).toBe(2);
  expect(await pass("workflow")).toBe(0);
});

it("executions, open or ended, sweeps and parents hold a workflow; another tenant's do not", async () => {
  const [ran, swept, child, free] = [await workflow("ran"), await workflow("swept"), await workflow("child"), await workflow("free")];
  const parent = await workflow("parent", [{ name: "call", sub_workflow: { workflow: child, revision: 1 } }]);
  const execution = (tenantId: string, workflowId: string) =>
    sql(
      `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, correlation_id, last_sequence, create_time, end_time)
       values ($1, $2, $3, 'x', 1, 'completed', 'c', 2, now(), now())`,
      [tenantId, randomUUID(), parseId("workflow", workflowId)],
    );
  await execution("acme", ran);
  await execution("rival", free);
  await workflow("stranger", [{ name: "call", sub_workflow: { workflow: free, revision: 1 } }], rival);
  await sql("insert into workflow_sweeps (tenant_id, workflow_id, id, command, actor) values ('acme', $1, $2, 'cancel', 'a')", [
    parseId("workflow", swept),
    randomUUID(),
  ]);
  for (const id of [ran, swept, child, free]) await deleted("workflow", id, 31);
  expect(await pass("workflow")).toBe(1);
  expect(await left("workflow")).toEqual(["child", "parent", "ran", "stranger", "swept"]);
  await sql("truncate workflow_executions, workflow_sweeps");
  expect(await pass("workflow")).toBe(2);
  // The child was looked at before its parent went; it goes with the next pass.
  await deleted("workflow", parent, 30.5);
  expect([await pass("workflow"), await pass("workflow")]).toEqual([1, 1]);
  expect(await left("workflow")).toEqual(["stranger"]);
});

it("a template goes with its versions and counts, unless a workflow was made of it or a template inherits, deleted ones too", async () => {
  const [free, made, base, child, kept] = [
    await template("free"),
    await template("made"),
    await template("base"),
    await template("child"),
    await template("kept"),
  ];
  const heir = await template("heir");
  const inherits = (table: string, column: string, id: string, from: string) =>
    sql(`update ${table} set bases = $2 where ${column} = $1`, [parseId("template", id), JSON.stringify([{ id: parseId("template", from), version: 1 }])]);
  await inherits("workflow_templates", "id", child, base);
  await inherits("workflow_template_versions", "template_id", heir, kept);
  const workflowId = await workflow("of-made");
  await sql("update workflow_revisions set template_id = $1, template_version = 1", [parseId("template", made)]);
  await sql("insert into template_usage (tenant_id, template_id, version, hour) values ('acme', $1, 1, now())", [parseId("template", free)]);
  await sql("insert into template_usage_totals (tenant_id, template_id) values ('acme', $1)", [parseId("template", free)]);
  await deleted("template", child, 1);
  for (const id of [free, made, base, kept]) await deleted("template", id, 31);
  expect(await pass("template")).toBe(1);
  expect(await left("template")).toEqual(["base", "child", "heir", "kept", "made"]);
  for (const table of ["template_usage", "template_usage_totals"]) expect((await sql(`select 1 from ${table}`)).rows).toEqual([]);
  expect((await sql("select 1 from workflow_template_versions where template_id = $1", [parseId("template", free)])).rows).toEqual([]);
  await deleted("workflow", workflowId, 31);
  await pass("workflow");
  expect(await pass("template")).toBe(1);
  expect(await left("template")).toEqual(["base", "child", "heir", "kept"]);
});

it("what is held does not keep those behind it waiting", async () => {
  const held = Array.from({ length: 60 }, () => randomUUID());
  await sql(
    `insert into workflow_templates (tenant_id, id, name, category, state, etag, delete_time)
     select 'acme', id::uuid, 'held', 'automation', 'deleted', 'e', now() - interval '90 days' from unnest($1::text[]) id`,
    [held],
  );
  const child = await template("child");
  await sql("update workflow_templates set bases = $2 where id = $1", [parseId("template", child), JSON.stringify(held.map((id) => ({ id, version: 1 })))]);
  await deleted("template", await template("free"), 31);
  expect(await pass("template")).toBe(1);
  expect(new Set(await left("template"))).toEqual(new Set(["child", "held"]));
});

it("of two replicas one removes it, and one that is taken back at that moment stays", async () => {
  for (const name of ["a", "b", "c"]) await deleted("template", await template(name), 31);
  const undone = await deleted("template", await template("undone"), 31);
  const client = await store.database.pool.connect();
  try {
    await client.query("begin");
    await client.query("update workflow_templates set delete_time = null, state = 'published' where id = $1", [parseId("template", undone)]);
    const removed = await Promise.all([pass("template"), pass("template")]);
    expect(removed.reduce((sum, count) => sum + count)).toBe(3);
    await client.query("commit");
  } finally {
    client.release();
  }
  expect(await pass("template")).toBe(0);
  expect(await left("template")).toEqual(["undone"]);
});

it("a workflow that cannot be removed does not hold up those behind it", async () => {
  const [bad = ""] = [await deleted("workflow", await workflow("bad"), 40), await deleted("workflow", await workflow("next"), 31)];
  await sql(`create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$`);
  await sql(`create trigger refuse before delete on workflows for each row when (old.id = '${parseId("workflow", bad)}') execute function refuse()`);
  expect(await pass("workflow")).toBe(1);
  expect(await left("workflow")).toEqual(["bad"]);
  await sql("drop function refuse() cascade");
});
