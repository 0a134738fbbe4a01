/** Templates that inherit, over the wire: fixed bases, flattened definitions with their origins, descendants, bundles. */
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { type Template, type TemplateBundle, TemplateBundleSchema, TemplateSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { ImportConflictPolicy, ImportOutcome } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import type { Clients } from "./support/connect-client.ts";
import { logStep, newName } from "./support/definitions.ts";
import { useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();
const elsewhere = useServer();
const templates = () => fixture.clients.templates;

async function make(rest: JsonObject, { templates }: Clients = fixture.clients, name = newName("tpl")): Promise<Template> {
  const { template } = await templates.createTemplate({ template: fromJson(TemplateSchema, { name, category: "automation", ...rest }) });
  return template as Template;
}

const root: JsonObject = {
  parameters_schema: {
    type: "object",
    properties: { who: { type: "string" }, times: { type: "integer", default: 1 } },
    required: ["who"],
    additionalProperties: false,
  },
  definition: { steps: [logStep("hello", "hello {{params.who}}"), logStep("count", "{{string(params.times)}}"), logStep("bye")] },
};

async function family(clients: Clients = fixture.clients): Promise<{ base: Template; child: Template; grandchild: Template }> {
  const base = await make(root, clients);
  const child = await make(
    { base_template: { template: base.name }, overrides: [{ step: "bye", patch: { log: { message: "good night" } } }], parameter_defaults: { times: 2 } },
    clients,
  );
  const grandchild = await make(
    {
      base_template: { template: child.id },
      overrides: [
        { step: "count", insert_after: logStep("extra") },
        { step: "hello", remove: true },
      ],
    },
    clients,
  );
  return { base, child, grandchild };
}

describe("a template that inherits", () => {
  test("shows its flattened definition with where each step and parameter comes from, and makes workflows", async () => {
    const { base, child, grandchild } = await family();
    const resolved = await templates().resolveTemplate({ template: grandchild.name });
    expect(resolved.definition?.steps.map(({ name }) => name)).toEqual(["count", "extra", "bye"]);
    expect(resolved.origins.map(({ part, templateName, version }) => [part.value, templateName, version])).toEqual([
      ["count", base.name, 1],
      ["extra", grandchild.name, 1],
      ["bye", child.name, 1],
      ["who", base.name, 1],
      ["times", child.name, 1],
    ]);
    expect(resolved.parameterDefaults).toEqual({ times: 2 });
    const { workflow } = await templates().createWorkflowFromTemplate({ template: grandchild.name, name: newName(), parameters: { who: "Ada" } });
    expect(workflow?.lineage).toMatchObject({ templateId: grandchild.id, templateVersion: 1, parameters: { who: "Ada", times: 2 } });
    expect(workflow?.definition?.steps[0]?.kind.value).toMatchObject({ message: "2" });
  });

  test("keeps the version of its base until it takes another one", async () => {
    const { base, child } = await family();
    expect(child.baseTemplate).toMatchObject({ template: base.id, version: 1 });
    const steps = fromJson(TemplateSchema, { definition: { steps: [logStep("bye"), logStep("new")] } });
    await templates().updateTemplate({ template: base.id, changes: steps, updateMask: { paths: ["definition"] } });
    expect((await templates().resolveTemplate({ template: child.id })).definition?.steps.map(({ name }) => name)).toEqual(["hello", "count", "bye"]);
    const newest = { baseTemplate: { template: base.id } };
    const { template: moved } = await templates().updateTemplate({ template: child.id, changes: newest, updateMask: { paths: ["base_template"] } });
    expect(moved).toMatchObject({ latestVersion: 2, baseTemplate: { template: base.id, version: 2 } });
    expect((await templates().resolveTemplate({ template: child.id })).definition?.steps.map(({ name }) => name)).toEqual(["bye", "new"]);
    expect((await templates().resolveTemplate({ template: child.id, version: 1 })).definition?.steps).toHaveLength(3);
    const diff = await templates().diffTemplateVersions({ template: child.id, fromVersion: 1, toVersion: 2 });
    expect(diff.changes.map(({ path }) => path)).toEqual(expect.arrayContaining(["steps[new]", "steps[hello]", "steps[count]"]));
  });

  test("cannot inherit from itself, from nothing, or over more than five levels", async () => {
    const { base, grandchild } = await family();
    const circle = { baseTemplate: { template: grandchild.id } };
    expect(await refusal(templates().updateTemplate({ template: base.id, changes: circle, updateMask: { paths: ["*"] } }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "TEMPLATE_CYCLE",
      fields: ["template.base_template"],
    });
    expect(await refusal(make({ base_template: { template: "nobody" } }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
    expect(await refusal(make({ base_template: { template: base.id, version: 7 } }))).toMatchObject({ reason: "TEMPLATE_VERSION_NOT_FOUND" });
    expect(await refusal(make({ base_template: { template: base.id }, overrides: [{ step: "gone", remove: true }] }))).toMatchObject({
      reason: "OVERRIDE_INVALID",
      fields: ["template.overrides[0].step"],
    });
    let top = grandchild;
    for (let level = 3; level <= 5; level++) top = await make({ base_template: { template: top.id } });
    expect(await refusal(make({ base_template: { template: top.id } }))).toMatchObject({ reason: "LIMIT_EXCEEDED" });
  });

  test("keeps its base from being deleted, unless that is forced; then it goes on with what it has", async () => {
    const { base, child } = await family();
    expect(await refusal(templates().deleteTemplate({ template: base.id }))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "TEMPLATE_IN_USE" });
    await templates().deleteTemplate({ template: base.id, force: true });
    expect((await templates().resolveTemplate({ template: child.id })).definition?.steps).toHaveLength(3);
    const more = fromJson(TemplateSchema, { overrides: [{ step: "count", remove: true }] });
    expect((await templates().updateTemplate({ template: child.id, changes: more, updateMask: { paths: ["overrides"] } })).template?.latestVersion).toBe(2);
    expect(await refusal(make({ base_template: { template: base.id } }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
  });

  test("may inherit from a built-in template, and is listed with the workflows among its descendants", async () => {
    expect(await refusal(templates().exportTemplates({ templates: ["http-request"] }))).toMatchObject({ reason: "TEMPLATE_BUILT_IN" });
    const mine = await make({ base_template: { template: "http-request" }, parameter_defaults: { url: "https://api.example.com" } });
    const { base, child, grandchild } = await family();
    const name = newName();
    const { workflow } = await templates().createWorkflowFromTemplate({ template: grandchild.id, name, parameters: { who: "x" } });
    const { workflow: direct } = await templates().createWorkflowFromTemplate({ template: base.id, name: `${name}-direct`, parameters: { who: "x" } });
    const first = await templates().listTemplateDescendants({ template: base.id, pageSize: 3, includeTotalSize: true });
    const second = await templates().listTemplateDescendants({ template: base.id, pageSize: 3, pageToken: first.nextPageToken });
    expect(first.totalSize).toBe(4n);
    expect(second.nextPageToken).toBe("");
    expect([...first.descendants, ...second.descendants].map(({ descendant, version, distance }) => [descendant.value, version, distance])).toEqual([
      [child.id, 1, 1],
      [grandchild.id, 1, 2],
      [workflow?.id, 1, 3],
      [direct?.id, 1, 1],
    ]);
    expect((await templates().listTemplateDescendants({ template: "http-request" })).descendants.map(({ name }) => name)).toContain(mine.name);
  });
});

describe("a bundle", () => {
  const there = () => elsewhere.clients.templates;
  const outcomes = (results: readonly { name: string; outcome: ImportOutcome; version: number }[]) =>
    results.map(({ name, outcome, version }) => [name, ImportOutcome[outcome], version]);

  test("carries templates with their bases and versions elsewhere, where they are the same; once more it changes nothing", async () => {
    const { base, child, grandchild } = await family();
    await templates().updateTemplate({
      template: base.id,
      changes: fromJson(TemplateSchema, { definition: { steps: [logStep("z")] } }),
      updateMask: { paths: ["definition"] },
    });
    const { bundle } = await templates().exportTemplates({ templates: [grandchild.name] });
    expect(bundle?.entries.map(({ template, versions }) => [template?.name, versions.length])).toEqual([
      [base.name, 2],
      [child.name, 1],
      [grandchild.name, 1],
    ]);
    const json = JSON.parse(JSON.stringify(toJsonText(bundle as TemplateBundle))) as JsonObject;
    const carried = fromJson(TemplateBundleSchema, json);
    const dry = await there().importTemplates({ bundle: carried, validateOnly: true });
    expect(outcomes(dry.results).map(([, outcome]) => outcome)).toEqual(["CREATED", "CREATED", "CREATED"]);
    expect(await refusal(there().getTemplate({ template: base.name }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
    expect(outcomes((await there().importTemplates({ bundle: carried })).results)).toEqual([
      [base.name, "CREATED", 2],
      [child.name, "CREATED", 1],
      [grandchild.name, "CREATED", 1],
    ]);
    const here = await templates().resolveTemplate({ template: grandchild.name });
    const moved = await there().resolveTemplate({ template: grandchild.name });
    expect(moved.definition).toEqual(here.definition);
    expect(moved.origins.map(({ templateName }) => templateName)).toEqual(here.origins.map(({ templateName }) => templateName));
    const digest = async (client: typeof there, name: string) => (await client().getTemplateVersion({ template: name })).version?.digest;
    expect(await digest(there, grandchild.name)).toBe(await digest(templates, grandchild.name));

    expect(await refusal(there().importTemplates({ bundle: carried }))).toMatchObject({ code: "ALREADY_EXISTS", reason: "NAME_TAKEN" });
    for (const onConflict of [ImportConflictPolicy.SKIP, ImportConflictPolicy.NEW_VERSION]) {
      const again = await there().importTemplates({ bundle: carried, onConflict });
      expect(again.results.map(({ outcome }) => ImportOutcome[outcome])).toEqual(["SKIPPED", "SKIPPED", "SKIPPED"]);
    }
  });

  test("brings a template onto a base that is there already, recognised by its digest", async () => {
    const { base, child } = await family();
    const { bundle: alone } = await templates().exportTemplates({ templates: [base.id] });
    await there().importTemplates({ bundle: alone as TemplateBundle });
    const { bundle } = await templates().exportTemplates({ templates: [child.id] });
    const { results } = await there().importTemplates({ bundle: bundle as TemplateBundle, onConflict: ImportConflictPolicy.SKIP });
    expect(outcomes(results)).toEqual([
      [base.name, "SKIPPED", 1],
      [child.name, "CREATED", 1],
    ]);
    expect((await there().resolveTemplate({ template: child.name })).definition).toEqual(
      (await templates().resolveTemplate({ template: child.id })).definition,
    );
  });

  test("brings what is new as the next version, and leaves it where it may not", async () => {
    const base = await make(root);
    const { bundle: first } = await templates().exportTemplates({ templates: [base.id] });
    await there().importTemplates({ bundle: first as TemplateBundle });
    await templates().updateTemplate({
      template: base.id,
      changes: fromJson(TemplateSchema, { definition: { steps: [logStep("two")] } }),
      updateMask: { paths: ["definition"] },
    });
    await templates().updateTemplate({
      template: base.id,
      changes: fromJson(TemplateSchema, { definition: { steps: [logStep("three")] } }),
      updateMask: { paths: ["definition"] },
    });
    const { bundle } = await templates().exportTemplates({ templates: [base.id], latestOnly: true });
    expect(bundle?.entries[0]?.versions.map(({ version }) => version)).toEqual([3]);
    expect(outcomes((await there().importTemplates({ bundle: bundle as TemplateBundle, onConflict: ImportConflictPolicy.SKIP })).results)).toEqual([
      [base.name, "SKIPPED", 1],
    ]);
    expect(outcomes((await there().importTemplates({ bundle: bundle as TemplateBundle, onConflict: ImportConflictPolicy.NEW_VERSION })).results)).toEqual([
      [base.name, "NEW_VERSION", 2],
    ]);
    expect((await there().getTemplate({ template: base.name })).template?.definition?.steps[0]?.name).toBe("three");
  });

  test("that was changed, cut or is of another form is refused with the place, and nothing of it is stored", async () => {
    const { child } = await family();
    const { bundle } = await templates().exportTemplates({ templates: [child.id] });
    const changed = (change: (bundle: TemplateBundle) => void): TemplateBundle => {
      const copy = structuredClone(bundle as TemplateBundle);
      change(copy);
      return copy;
    };
    const refused = async (bundle: TemplateBundle) => refusal(there().importTemplates({ bundle }));
    expect(await refused(changed((copy) => void (copy.formatVersion = "v9")))).toMatchObject({ reason: "BUNDLE_INVALID", fields: ["bundle.format_version"] });
    expect(await refused(changed((copy) => void copy.entries.shift()))).toMatchObject({
      reason: "BUNDLE_INVALID",
      fields: ["bundle.entries[0].versions[0].snapshot.base_template"],
    });
    const tampered = changed((copy) => void copy.entries[0]?.versions[0]?.snapshot?.definition?.steps.pop());
    expect(await refused(tampered)).toMatchObject({ reason: "BUNDLE_INVALID", fields: ["bundle.entries[0].versions[0].digest"] });
    expect(await refused(changed((copy) => void copy.entries.push(copy.entries[0] as never)))).toMatchObject({
      reason: "BUNDLE_INVALID",
      fields: ["bundle.entries[2].template.name"],
    });
    expect(await refusal(there().getTemplate({ template: child.name }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
  });

  test("carries drafts as drafts and inheritors of built-in templates, but no secret's name", async () => {
    const name = newName("draft");
    await templates().createTemplate({ template: fromJson(TemplateSchema, { name, ...root }), draftOnly: true });
    const mine = await make({ base_template: { template: "http-request" }, parameter_defaults: { url: "https://api.example.com" } });
    const { bundle } = await templates().exportTemplates({ templates: [name, mine.id] });
    expect(bundle?.entries.map(({ template }) => template?.name)).toEqual([name, mine.name]);
    const { results } = await there().importTemplates({ bundle: bundle as TemplateBundle });
    expect(outcomes(results)).toEqual([
      [name, "CREATED", 0],
      [mine.name, "CREATED", 1],
    ]);
    expect((await there().publishTemplate({ template: name })).version?.version).toBe(1);
  });
});

function toJsonText(bundle: TemplateBundle): JsonObject {
  return toJson(TemplateBundleSchema, bundle) as JsonObject;
}
