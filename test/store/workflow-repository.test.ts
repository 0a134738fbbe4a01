import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { createWorkflowRepository, type NewWorkflow, type WorkflowRepository } from "../../src/store/workflow-repository.ts";
import { callerOf, nastyJson, openStore, risingIds, type TestStore } from "./open-store.ts";

let store: TestStore;
let workflows: WorkflowRepository;
const ids = risingIds();
const acme = callerOf("acme");
const rival = callerOf("rival");
const definition: JsonObject = { steps: [{ name: "a", log: { message: "hi" } }] };
const named = (name: string, more: Partial<NewWorkflow> = {}): NewWorkflow => ({ name, definition, ...more });

beforeAll(async () => {
  store = await openStore();
  workflows = createWorkflowRepository(store.database, ids);
});
afterAll(() => store[Symbol.asyncDispose]());

describe("createWorkflow", () => {
  it("stores head and revision 1, active at once, and reads them back by id and by name", async () => {
    const created = await workflows.createWorkflow(
      acme,
      named("orders", { displayName: "Orders", labels: { team: "x" }, annotations: { a: "b" }, changeNote: "first" }),
    );
    expect(created.workflow).toMatchObject({
      name: "orders",
      state: "active",
      activeRevision: 1,
      latestRevision: 1,
      labels: { team: "x" },
      annotations: { a: "b" },
    });
    expect(created.workflow.id).toMatch(/^wfl_[0-9A-Z]{26}$/);
    expect(created.workflow.createdAt).toBeGreaterThan(Date.UTC(2020, 0));
    expect(await workflows.getWorkflow(acme, created.workflow.id)).toEqual(created.workflow);
    expect(await workflows.getWorkflow(acme, "orders")).toEqual(created.workflow);
    for (const which of [1, 0, "active", "latest"] as const) {
      expect(await workflows.getRevision(acme, created.workflow.id, which)).toEqual(created.revision);
    }
    expect(created.revision).toMatchObject({ revision: 1, changeNote: "first", lineage: undefined, definition });
    expect(created.revision.digest).toMatch(/^[0-9a-f]{64}$/);
  });

  it("keeps payloads byte by byte, in the order of their members, whatever they hold", async () => {
    const lineage = { templateId: ids.next("template"), templateVersion: 3, parameters: { z: nastyJson, a: 1 }, overrides: [nastyJson] };
    const labels = { "what?": "it's ? $1", __proto__x: "\\" };
    const { workflow } = await workflows.createWorkflow(
      acme,
      named("nasty", { definition: nastyJson, description: "? ' \\ $1", labels, lineage, secretBindings: { slot: "se?cret" } }),
    );
    const revision = await workflows.getRevision(acme, workflow.id, 1);
    expect(JSON.stringify(revision?.definition)).toBe(JSON.stringify(nastyJson));
    expect(JSON.stringify(revision?.lineage)).toBe(JSON.stringify(lineage));
    expect(revision?.secretBindings).toEqual({ slot: "se?cret" });
    const read = await workflows.getWorkflow(acme, workflow.id);
    expect(read?.labels).toEqual(labels);
    expect(read?.description).toBe("? ' \\ $1");
  });

  it("refuses a taken name, also from two calls at once, and leaves no revision behind", async () => {
    const attempts = await Promise.allSettled([1, 2, 3, 4].map(() => workflows.createWorkflow(acme, named("race"))));
    const lost = attempts.filter((attempt) => attempt.status === "rejected");
    expect(lost).toHaveLength(3);
    for (const { reason } of lost) expect(reason).toMatchObject({ reason: "NAME_TAKEN", metadata: { name: "race" } });
    const { rows } = await store.database.pool.query(
      "select count(*) as orphans from workflow_revisions r where not exists (select from workflows w where w.tenant_id = r.tenant_id and w.id = r.workflow_id)",
    );
    expect(rows[0].orphans).toBe(0);
    await expect(workflows.createWorkflow(rival, named("race"))).resolves.toBeDefined();
  });

  it("makes a draft without an active revision when asked to", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("sketch", { activate: false }));
    expect(workflow).toMatchObject({ state: "draft", activeRevision: 0, latestRevision: 1 });
    expect(await workflows.getRevision(acme, workflow.id, "active")).toBeUndefined();
    expect(await workflows.activateRevision(acme, workflow.id, 1)).toMatchObject({ state: "active", activeRevision: 1 });
  });
});

describe("updateWorkflow", () => {
  it("makes the next revision for a changed definition and none for an equal one", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("grows"));
    const reordered = { steps: [{ log: { message: "hi" }, name: "a" }] };
    const same = await workflows.updateWorkflow(acme, workflow.id, { revision: { definition: reordered } });
    expect(same?.workflow).toEqual(workflow);
    const changed = await workflows.updateWorkflow(acme, "grows", { description: "more", revision: { definition: { steps: [] }, changeNote: "emptied" } });
    expect(changed?.workflow).toMatchObject({ latestRevision: 2, activeRevision: 2, description: "more" });
    expect(changed?.revision).toMatchObject({ revision: 2, definition: { steps: [] }, changeNote: "emptied" });
    expect(changed?.workflow.etag).not.toBe(workflow.etag);
    const draft = await workflows.updateWorkflow(acme, "grows", { revision: { definition: { steps: [], x: 1 }, activate: false } });
    expect(draft?.workflow).toMatchObject({ latestRevision: 3, activeRevision: 2 });
    expect((await workflows.getRevision(acme, workflow.id, 1))?.definition).toEqual(definition);
    expect((await workflows.getRevision(acme, workflow.id, "latest"))?.revision).toBe(3);
    const listed = await workflows.listRevisions(acme, workflow.id, { pageSize: 2 });
    expect(listed.map(({ revision }) => revision)).toEqual([3, 2]);
    expect((await workflows.listRevisions(acme, workflow.id, { pageSize: 2, beforeRevision: 2 })).map(({ revision }) => revision)).toEqual([1]);
    expect(await workflows.activateRevision(acme, workflow.id, 1)).toMatchObject({ activeRevision: 1, latestRevision: 3 });
    await expect(workflows.activateRevision(acme, workflow.id, 4)).rejects.toMatchObject({ reason: "REVISION_NOT_FOUND" });
  });

  it("refuses a stale etag, names the current one, and changes nothing", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("guarded"));
    const updated = await workflows.updateWorkflow(acme, workflow.id, { etag: workflow.etag, displayName: "One" });
    await expect(workflows.updateWorkflow(acme, workflow.id, { etag: workflow.etag, displayName: "Two" })).rejects.toMatchObject({
      reason: "ETAG_MISMATCH",
      metadata: { currentEtag: updated?.workflow.etag },
    });
    expect(await workflows.getWorkflow(acme, workflow.id)).toEqual(updated?.workflow);
    await expect(workflows.deleteWorkflow(acme, workflow.id, { etag: workflow.etag })).rejects.toMatchObject({ reason: "ETAG_MISMATCH" });
  });

  it("lets exactly one of several callers with one etag win", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("contested"));
    const attempts = await Promise.allSettled(
      [1, 2, 3, 4].map((n) => workflows.updateWorkflow(acme, workflow.id, { etag: workflow.etag, revision: { definition: { steps: [], n } } })),
    );
    expect(attempts.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await workflows.getWorkflow(acme, workflow.id)).toMatchObject({ latestRevision: 2 });
  });

  it("numbers revisions without gap when callers without etag race", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("busy"));
    await Promise.all([1, 2, 3, 4, 5, 6].map((n) => workflows.updateWorkflow(acme, workflow.id, { revision: { definition: { steps: [], n } } })));
    const revisions = await workflows.listRevisions(acme, workflow.id, { pageSize: 50 });
    expect(revisions.map(({ revision }) => revision)).toEqual([7, 6, 5, 4, 3, 2, 1]);
  });
});

const pause = { paused: true, starts: "queue" as const, reason: "", alsoRunning: false };

describe("pause, delete and undelete", () => {
  it("pauses and resumes, but not a draft", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("pausing"));
    expect(await workflows.setPaused(acme, workflow.id, pause)).toMatchObject({ state: "paused" });
    expect(await workflows.setPaused(acme, workflow.id, { ...pause, paused: false })).toMatchObject({ state: "active", etag: workflow.etag });
    const draft = await workflows.createWorkflow(acme, named("pausing-draft", { activate: false }));
    await expect(workflows.setPaused(acme, draft.workflow.id, pause)).rejects.toMatchObject({ reason: "WORKFLOW_NOT_ACTIVE" });
  });

  it("hides a deleted workflow, frees its name and brings it back", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("phoenix"));
    const deleted = (await workflows.deleteWorkflow(acme, "phoenix"))?.workflow;
    expect(deleted).toMatchObject({ state: "deleted", deletedAt: expect.any(Number) });
    expect(await workflows.getWorkflow(acme, "phoenix")).toBeUndefined();
    expect(await workflows.getWorkflow(acme, workflow.id)).toBeUndefined();
    expect(await workflows.getWorkflow(acme, workflow.id, { showDeleted: true })).toEqual(deleted);
    expect(await workflows.deleteWorkflow(acme, workflow.id)).toBeUndefined();
    expect(await workflows.updateWorkflow(acme, workflow.id, { displayName: "x" })).toBeUndefined();
    const successor = await workflows.createWorkflow(acme, named("phoenix"));
    await expect(workflows.undeleteWorkflow(acme, workflow.id)).rejects.toMatchObject({ reason: "NAME_TAKEN" });
    await workflows.deleteWorkflow(acme, successor.workflow.id);
    expect(await workflows.undeleteWorkflow(acme, workflow.id)).toMatchObject({ state: "active", deletedAt: undefined });
    expect(await workflows.getWorkflow(acme, "phoenix")).toMatchObject({ id: workflow.id });
  });

  it("refuses to delete a workflow with open executions unless forced", async () => {
    const { workflow } = await workflows.createWorkflow(acme, named("in-use"));
    await store.database.pool.query(
      `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, correlation_id, last_sequence, create_time)
       select tenant_id, gen_random_uuid(), id, name, 1, 'running', 'c', 1, now() from workflows where name = 'in-use'`,
    );
    await expect(workflows.deleteWorkflow(acme, workflow.id)).rejects.toMatchObject({ reason: "WORKFLOW_IN_USE" });
    expect(await workflows.deleteWorkflow(acme, workflow.id, { force: true })).toMatchObject({ workflow: { state: "deleted" }, openExecutions: 1 });
  });
});

describe("listWorkflows", () => {
  it("pages newest first without losing or repeating one while others are created", async () => {
    const pager = callerOf("pager");
    const before: string[] = [];
    for (let n = 0; n < 7; n++) before.push((await workflows.createWorkflow(pager, named(`w${n}`))).workflow.id);
    const seen: string[] = [];
    let afterId: string | undefined;
    do {
      const page = await workflows.listWorkflows(pager, { pageSize: 3, afterId });
      seen.push(...page.items.map(({ id }) => id));
      afterId = page.nextAfterId;
      await workflows.createWorkflow(pager, named(`later${seen.length}`));
    } while (afterId);
    expect(seen).toEqual(before.reverse());
    const all = await workflows.listWorkflows(pager, { pageSize: 10 });
    expect(all).toMatchObject({ nextAfterId: undefined });
    expect(all.items).toHaveLength(10);
  });

  it("filters by state, name prefix, labels and template", async () => {
    const one = callerOf("filters");
    const templateId = ids.next("template");
    const lineage = { templateId, templateVersion: 1, parameters: {}, overrides: [] };
    await workflows.createWorkflow(one, named("a_1", { labels: { team: "x?", tier: "1" }, lineage }));
    await workflows.createWorkflow(one, named("a-2", { labels: { team: "y" } }));
    await workflows.createWorkflow(one, named("b", { activate: false, labels: { team: "x?" } }));
    const deleted = await workflows.createWorkflow(one, named("gone"));
    await workflows.deleteWorkflow(one, deleted.workflow.id);
    const names = async (filter: object, showDeleted = false) =>
      (await workflows.listWorkflows(one, { pageSize: 10, filter, showDeleted })).items.map(({ name }) => name);
    expect(await names({})).toEqual(["b", "a-2", "a_1"]);
    expect(await names({}, true)).toEqual(["gone", "b", "a-2", "a_1"]);
    expect(await names({ states: ["draft"] })).toEqual(["b"]);
    expect(await names({ name: { text: "a_", isPrefix: true } })).toEqual(["a_1"]);
    expect(await names({ name: { text: "%", isPrefix: true } })).toEqual([]);
    expect(await names({ labels: { team: "x?" } })).toEqual(["b", "a_1"]);
    expect(await names({ labels: { team: "x?", tier: "1" } })).toEqual(["a_1"]);
    expect(await names({ templateId })).toEqual(["a_1"]);
    expect(await names({ templateId: ids.next("template") })).toEqual([]);
    expect(await names({ templateId: "nonsense" })).toEqual([]);
    expect(await names({ name: { text: "\u0000", isPrefix: true } })).toEqual([]);
  });
});

it("another tenant's workflow reads and changes like one that does not exist", async () => {
  const { workflow } = await workflows.createWorkflow(acme, named("private"));
  const unknown = ids.next("workflow");
  for (const reference of [workflow.id, "private", unknown, "wfl_nonsense", "", "\u0000", workflow.id.toLowerCase()]) {
    expect(await workflows.getWorkflow(rival, reference, { showDeleted: true })).toBeUndefined();
    expect(await workflows.getRevision(rival, reference, 1)).toBeUndefined();
    expect(await workflows.listRevisions(rival, reference, { pageSize: 5 })).toEqual([]);
    expect(await workflows.updateWorkflow(rival, reference, { displayName: "stolen", revision: { definition: {} } })).toBeUndefined();
    expect(await workflows.activateRevision(rival, reference, 1)).toBeUndefined();
    expect(await workflows.setPaused(rival, reference, pause)).toBeUndefined();
    expect(await workflows.deleteWorkflow(rival, reference)).toBeUndefined();
    expect(await workflows.undeleteWorkflow(rival, reference)).toBeUndefined();
  }
  const listed = await workflows.listWorkflows(rival, { pageSize: 1000, showDeleted: true });
  expect(listed.items.map(({ name }) => name)).toEqual(["race"]);
  expect((await workflows.listWorkflows(rival, { pageSize: 1000, afterId: workflow.id })).items.every(({ name }) => name === "race")).toBe(true);
  expect(await workflows.getWorkflow(acme, workflow.id)).toEqual(workflow);
});

it("values that cannot be stored are refused with their place, and the connection goes on", async () => {
  const poison = ["\u0000", "\ud800"];
  for (const text of poison) {
    await expect(workflows.createWorkflow(acme, named("poison", { description: text }))).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
      message: expect.stringContaining("description"),
    });
    await expect(workflows.createWorkflow(acme, named("poison", { definition: { a: [text] } }))).rejects.toMatchObject({
      message: expect.stringContaining("definition.a[0]"),
    });
    await expect(workflows.createWorkflow(acme, named("poison", { labels: { [text]: "x" } }))).rejects.toMatchObject({ reason: "VALIDATION_FAILED" });
    await expect(workflows.updateWorkflow(acme, "orders", { displayName: text })).rejects.toMatchObject({ reason: "VALIDATION_FAILED" });
    await expect(workflows.updateWorkflow(acme, "orders", { revision: { definition, changeNote: text } })).rejects.toMatchObject({
      reason: "VALIDATION_FAILED",
    });
  }
  expect(await workflows.getWorkflow(acme, "poison")).toBeUndefined();
});

it("no value of a refused statement reaches the error", async () => {
  await store.database.pool.query("alter table workflows add constraint workflows_no_canary check (description not like '%canary%')");
  const failure = await workflows.createWorkflow(acme, named("leaky", { description: "canary-4711" })).catch((error: unknown) => error);
  expect(String((failure as Error).stack)).toMatch(/23514.*workflows_no_canary/);
  expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure)) + String(failure)).not.toContain("4711");
});
