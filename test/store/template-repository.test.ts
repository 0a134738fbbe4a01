import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { type BuiltInTemplate, storeBuiltIns } from "../../src/store/built-in-templates.ts";
import type { TemplateUpdate } from "../../src/store/template-changes.ts";
import { createTemplateRepository, type TemplateRepository } from "../../src/store/template-repository.ts";
import { callerOf, nastyJson, openStore, risingIds, type TestStore } from "./open-store.ts";

let store: TestStore;
let templates: TemplateRepository;
const ids = risingIds();
const acme = callerOf("acme");
const rival = callerOf("rival");

const builtIn = (name: string, more: Partial<BuiltInTemplate> = {}): BuiltInTemplate => ({
  name,
  displayName: name,
  description: "",
  category: "integration",
  tags: ["http"],
  content: { definition: { steps: [] } },
  ...more,
});
const shipped = [builtIn("http-request"), builtIn("data-sync", { category: "sync", tags: ["http", "data"] })];
const create = (caller = acme, name = "mine", more: object = {}) =>
  templates.createTemplate(caller, { name, category: "automation", tags: ["own"], content: { definition: { steps: [1] } }, ...more });

beforeAll(async () => {
  store = await openStore();
  templates = createTemplateRepository(store.database, ids);
});
afterAll(() => store[Symbol.asyncDispose]());

describe("storeBuiltIns", () => {
  it("stores each template once when several replicas start together, and nothing at the next start", async () => {
    const results = await Promise.all([1, 2, 3, 4].map(() => storeBuiltIns(store.database, shipped, ids)));
    expect(results.filter(({ created }) => created.length === 2)).toHaveLength(1);
    expect(results.filter(({ created, published }) => created.length + published.length === 0)).toHaveLength(3);
    expect(await storeBuiltIns(store.database, shipped)).toEqual({ created: [], published: [] });
    const { rows } = await store.database.pool.query("select count(*) as count from workflow_template_versions where tenant_id = 'system'");
    expect(rows[0].count).toBe(2);
  });

  it("publishes changed content as the next version, once, and lets an older release not undo it", async () => {
    const before = await templates.getTemplate(acme, "http-request");
    const changed = [builtIn("http-request", { displayName: "HTTP request", content: { definition: { steps: [2] } } }), shipped[1] as BuiltInTemplate];
    const results = await Promise.all([1, 2, 3].map(() => storeBuiltIns(store.database, changed, ids)));
    expect(results.flatMap(({ published }) => published)).toEqual(["http-request"]);
    const after = await templates.getTemplate(acme, "http-request");
    expect(after).toMatchObject({
      template: { latestVersion: 2, displayName: "HTTP request", builtIn: true, state: "published" },
      version: { version: 2, content: { definition: { steps: [2] } } },
    });
    expect(after?.template.etag).not.toBe(before?.template.etag);
    expect(await storeBuiltIns(store.database, shipped)).toEqual({ created: [], published: [] });
    expect((await templates.getTemplate(acme, "http-request"))?.template).toEqual(after?.template);
    expect((await templates.getTemplate(acme, "http-request", { version: 1 }))?.version).toEqual(before?.version);
  });

  it("takes new texts without a new version, and brings back what is gone", async () => {
    const remove = () => store.database.pool.query("update workflow_templates set delete_time = now() where tenant_id = 'system' and name = 'short-lived'");
    expect(await storeBuiltIns(store.database, [builtIn("short-lived")])).toEqual({ created: ["short-lived"], published: [] });
    const renamed = [builtIn("short-lived", { displayName: "Short" })];
    expect(await storeBuiltIns(store.database, renamed)).toEqual({ created: [], published: [] });
    expect((await templates.getTemplate(acme, "short-lived"))?.template).toMatchObject({ displayName: "Short", latestVersion: 1 });
    await remove();
    expect(await storeBuiltIns(store.database, renamed)).toEqual({ created: ["short-lived"], published: [] });
    await remove();
  });

  it("is all or nothing", async () => {
    const failing = [builtIn("never"), builtIn("broken", { name: "b\u0000" })];
    await expect(storeBuiltIns(store.database, failing)).rejects.toMatchObject({ reason: "VALIDATION_FAILED" });
    expect(await templates.getTemplate(acme, "never")).toBeUndefined();
  });
});

describe("own templates", () => {
  it("publish version 1 at once, keep their content as written and are read by id and by name", async () => {
    const created = await create(acme, "nasty", { content: nastyJson, labels: { "a?": "it's" }, changeNote: "first" });
    expect(created.template).toMatchObject({ state: "published", latestVersion: 1, builtIn: false, draft: undefined, labels: { "a?": "it's" } });
    expect(created.version).toMatchObject({ version: 1, changeNote: "first", publisher: "key_test" });
    expect(JSON.stringify(created.version?.content)).toBe(JSON.stringify(nastyJson));
    expect(await templates.getTemplate(acme, created.template.id)).toEqual(created);
    const byName = await templates.getTemplate(acme, "nasty", { version: 1 });
    expect(JSON.stringify(byName?.version?.content)).toBe(JSON.stringify(nastyJson));
    expect(await templates.getTemplate(acme, "nasty", { version: 2 })).toMatchObject({ version: undefined });
  });

  it("refuse a taken name, but may hide a built-in one from their own tenant only", async () => {
    await create(acme, "taken");
    await expect(create(acme, "taken")).rejects.toMatchObject({ reason: "NAME_TAKEN" });
    const own = await create(acme, "data-sync");
    expect((await templates.getTemplate(acme, "data-sync"))?.template.id).toBe(own.template.id);
    expect((await templates.getTemplate(rival, "data-sync"))?.template.builtIn).toBe(true);
    expect((await templates.listTemplates(acme, { pageSize: 50 })).items.filter(({ template }) => template.name === "data-sync")).toHaveLength(1);
    await templates.deleteTemplate(acme, own.template.id);
    expect((await templates.getTemplate(acme, "data-sync"))?.template.builtIn).toBe(true);
  });

  it("go from draft to versions, and equal content makes no version", async () => {
    const { template, version } = await create(acme, "drafted", { publish: false });
    expect(template).toMatchObject({ state: "draft", latestVersion: 0, draft: { definition: { steps: [1] } } });
    expect(version).toBeUndefined();
    const update = async (change: TemplateUpdate) => (await templates.updateTemplate(acme, "drafted", change))?.template;
    const published = await update({ content: template.draft as JsonObject, etag: template.etag, changeNote: "go" });
    expect(published).toMatchObject({ state: "published", latestVersion: 1, draft: undefined });
    expect(await update({ content: { definition: { steps: [1] } } })).toMatchObject({ latestVersion: 1 });
    expect(await update({ content: { v: 2 }, publish: false })).toMatchObject({ latestVersion: 1, draft: { v: 2 } });
    expect(await update({ content: { v: 3 }, tags: ["b", "a?"] })).toMatchObject({ latestVersion: 2, draft: undefined, tags: ["b", "a?"] });
    expect(await update({ deprecated: true })).toMatchObject({ state: "deprecated" });
    expect((await templates.listVersions(acme, "drafted", { pageSize: 5 })).versions.map(({ version: n, content }) => [n, content])).toEqual([
      [2, { v: 3 }],
      [1, { definition: { steps: [1] } }],
    ]);
    expect((await templates.listVersions(acme, "drafted", { pageSize: 5, beforeVersion: 2 })).versions.map(({ version: n }) => n)).toEqual([1]);
  });

  it("refuse a stale etag and let one of several writers win", async () => {
    const { template } = await create(acme, "contested");
    const attempts = await Promise.allSettled([1, 2, 3].map((n) => templates.updateTemplate(acme, "contested", { etag: template.etag, content: { n } })));
    expect(attempts.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    const current = await templates.getTemplate(acme, "contested");
    expect(current?.template.latestVersion).toBe(2);
    for (const attempt of attempts) {
      if (attempt.status === "rejected") expect(attempt.reason).toMatchObject({ reason: "ETAG_MISMATCH", metadata: { currentEtag: current?.template.etag } });
    }
  });

  it("come back after a delete unless their name is taken", async () => {
    const { template } = await create(acme, "phoenix");
    expect(await templates.deleteTemplate(acme, "phoenix")).toMatchObject({ state: "deleted" });
    expect(await templates.getTemplate(acme, template.id)).toBeUndefined();
    expect((await templates.getTemplate(acme, template.id, { showDeleted: true }))?.version?.version).toBe(1);
    const other = await create(acme, "phoenix");
    await expect(templates.undeleteTemplate(acme, template.id)).rejects.toMatchObject({ reason: "NAME_TAKEN" });
    await templates.deleteTemplate(acme, other.template.id);
    expect(await templates.undeleteTemplate(acme, template.id)).toMatchObject({ state: "published", deletedAt: undefined });
  });
});

it("built-in templates are read only for every tenant", async () => {
  const { template } = (await templates.getTemplate(rival, "http-request")) ?? {};
  for (const reference of ["http-request", template?.id as string]) {
    await expect(templates.updateTemplate(rival, reference, { displayName: "x" })).rejects.toMatchObject({ reason: "TEMPLATE_BUILT_IN" });
    await expect(templates.deleteTemplate(rival, reference)).rejects.toMatchObject({ reason: "TEMPLATE_BUILT_IN" });
    await expect(templates.rollbackTemplate(rival, reference, 1)).rejects.toMatchObject({ reason: "TEMPLATE_BUILT_IN" });
  }
});

describe("listTemplates", () => {
  it("filters by category, tags, name and origin", async () => {
    const one = callerOf("lister");
    await create(one, "alpha", { category: "sync", tags: ["data", "x?"] });
    await create(one, "beta", { category: "sync", tags: ["x?"] });
    const names = async (filter: object) => (await templates.listTemplates(one, { pageSize: 50, filter })).items.map(({ template }) => template.name);
    const all = await names({});
    expect(all.slice(0, 2)).toEqual(["beta", "alpha"]);
    expect(new Set(all.slice(2))).toEqual(new Set(["http-request", "data-sync"]));
    expect(await names({ builtIn: false })).toEqual(["beta", "alpha"]);
    expect(new Set(await names({ builtIn: true }))).toEqual(new Set(["http-request", "data-sync"]));
    expect(await names({ category: { values: ["sync"] } })).toEqual(["beta", "alpha", "data-sync"]);
    expect(await names({ tags: ["data"] })).toEqual(["alpha", "data-sync"]);
    expect(await names({ tags: ["data", "x?"] })).toEqual(["alpha"]);
    expect(await names({ name: { values: [], prefixes: ["data-"] } })).toEqual(["data-sync"]);
    expect(await names({ name: { values: [], prefixes: ["_"] } })).toEqual([]);
    expect(await names({ tags: ["\u0000"] })).toEqual([]);
  });

  it("pages over own and built-in ones together, without loss or repeat while others are created", async () => {
    const pager = callerOf("pager");
    for (let n = 0; n < 5; n++) await create(pager, `t${n}`);
    const before = (await templates.listTemplates(pager, { pageSize: 50 })).items.map(({ template }) => template.id);
    expect(before).toHaveLength(7);
    const seen: string[] = [];
    let after: string | undefined;
    do {
      const page = await templates.listTemplates(pager, { pageSize: 2, after });
      expect(page.items.length).toBeLessThanOrEqual(2);
      seen.push(...page.items.map(({ template }) => template.id));
      after = page.more ? page.items.at(-1)?.position : undefined;
      await create(pager, `later${seen.length}`);
    } while (after);
    expect(seen).toEqual(before);
  });

  it("counts categories and tags of what the caller sees", async () => {
    const one = callerOf("counter");
    await create(one, "http-request", { category: "own", tags: ["data", "http"] });
    expect(await templates.listCategories(one)).toEqual({
      categories: [
        { name: "own", count: 1 },
        { name: "sync", count: 1 },
      ],
      tags: [
        { name: "data", count: 2 },
        { name: "http", count: 2 },
      ],
    });
  });
});

it("another tenant's template reads and changes like one that does not exist", async () => {
  const { template } = await create(acme, "private");
  for (const reference of [template.id, "private", ids.next("template"), "", "\u0000"]) {
    expect(await templates.getTemplate(rival, reference, { showDeleted: true })).toBeUndefined();
    expect(await templates.listVersions(rival, reference, { pageSize: 5 })).toMatchObject({ versions: [] });
    expect(await templates.updateTemplate(rival, reference, { displayName: "stolen" })).toBeUndefined();
    expect(await templates.rollbackTemplate(rival, reference, 1)).toBeUndefined();
    expect(await templates.deleteTemplate(rival, reference)).toBeUndefined();
    expect(await templates.undeleteTemplate(rival, reference)).toBeUndefined();
  }
  expect((await templates.listTemplates(rival, { pageSize: 1000, showDeleted: true })).items.every(({ template: { builtIn: own } }) => own)).toBe(true);
  const counted = await templates.listCategories(rival);
  expect(counted.categories.map(({ name }) => name)).toEqual(["integration", "sync"]);
  expect((await templates.getTemplate(acme, "private"))?.template).toEqual(template);
});
