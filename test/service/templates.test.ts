/** TemplateService over the wire: templates, drafts and versions, as a client sees them. */
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { ChangeKind } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Template, TemplateSchema, TemplateState } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { WorkflowState } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { connect } from "./support/connect-client.ts";
import { logStep, newName } from "./support/definitions.ts";
import { seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();
const templates = () => fixture.clients.templates;

const schema = {
  type: "object",
  properties: { greeting: { type: "string", default: "hello" }, times: { type: "integer", minimum: 1 } },
  required: ["times"],
  additionalProperties: false,
};

function template(name: string, rest: JsonObject = {}): Template {
  return fromJson(TemplateSchema, {
    name,
    category: "automation",
    tags: ["own"],
    parameters_schema: schema,
    definition: { steps: [logStep("greet", "{{params.greeting}} {{trigger.data.who}}"), logStep("count", "{{string(params.times)}} times")] },
    ...rest,
  });
}

async function make(rest: JsonObject = {}, name = newName("tpl")): Promise<Template> {
  const { template: made } = await templates().createTemplate({ template: template(name, rest) });
  return made as Template;
}

describe("a template", () => {
  test("is created with version 1, read, changed by fields, published, rolled back and compared", async () => {
    const made = await make({ display_name: "First", labels: { team: "a" } });
    expect(made).toMatchObject({ state: TemplateState.PUBLISHED, latestVersion: 1, builtIn: false, displayName: "First" });
    const read = await templates().getTemplate({ template: made.name });
    expect(toJson(TemplateSchema, read.template as Template)).toEqual(toJson(TemplateSchema, made));

    const { template: renamed } = await templates().updateTemplate({
      template: made.id,
      changes: { displayName: "Second", description: "left alone" },
      updateMask: { paths: ["display_name"] },
    });
    expect(renamed).toMatchObject({ displayName: "Second", description: "", latestVersion: 1, labels: { team: "a" } });
    const changes = template("ignored-here", { definition: { steps: [logStep("greet", "hi"), logStep("more")] } });
    const { template: second } = await templates().updateTemplate({ template: made.id, changes, updateMask: { paths: ["definition"] }, changeNote: "shorter" });
    expect(second).toMatchObject({ name: made.name, latestVersion: 2 });

    const diff = await templates().diffTemplateVersions({ template: made.name, fromVersion: 1, toVersion: 2 });
    expect(diff.changes.map(({ path, kind, breaking }) => [path, ChangeKind[kind], breaking])).toEqual(
      expect.arrayContaining([
        ["steps[greet].log.message", "CHANGED", false],
        ["steps[more]", "ADDED", false],
        ["steps[count]", "REMOVED", true],
      ]),
    );
    expect(diff.breaking).toBe(true);

    const rolled = await templates().rollbackTemplate({ template: made.name, version: 1 });
    expect(rolled.version).toMatchObject({ version: 3, changeNote: "version 1 again" });
    const { versions, totalSize } = await templates().listTemplateVersions({ template: made.name, includeTotalSize: true });
    expect(versions.map(({ version, changeNote }) => [version, changeNote])).toEqual([
      [3, "version 1 again"],
      [2, "shorter"],
      [1, ""],
    ]);
    expect(totalSize).toBe(3n);
    expect(versions[0]?.digest).toBe(versions[2]?.digest);
    expect(versions[0]?.digest).toMatch(/^[0-9a-f]{64}$/);
    const old = await templates().getTemplateVersion({ template: made.name, version: 2 });
    expect(old.version?.snapshot?.definition?.steps.map(({ name }) => name)).toEqual(["greet", "more"]);
    expect(await refusal(templates().rollbackTemplate({ template: made.name, version: 3 }))).toMatchObject({ reason: "NOTHING_TO_PUBLISH" });
    expect(await refusal(templates().getTemplateVersion({ template: made.name, version: 9 }))).toMatchObject({ reason: "TEMPLATE_VERSION_NOT_FOUND" });
  });

  test("is replaced by the mask *, cleared of what is absent, and keeps its name", async () => {
    const made = await make({ display_name: "First", description: "words", labels: { team: "a" } });
    const changes = template("", { name: "", tags: [], parameters_schema: null, definition: { steps: [logStep("only")] } });
    const { template: replaced } = await templates().updateTemplate({ template: made.id, changes, updateMask: { paths: ["*"] } });
    expect(replaced).toMatchObject({ name: made.name, displayName: "", description: "", labels: {}, tags: [], latestVersion: 2 });
    expect(replaced?.parametersSchema).toBeUndefined();
    expect(await refusal(templates().updateTemplate({ template: made.id, changes, updateMask: { paths: ["colour"] } }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "FIELD_MASK_INVALID",
    });
  });

  test("has drafts that nobody uses until they are published", async () => {
    const name = newName("tpl");
    const { template: draft } = await templates().createTemplate({ template: template(name), draftOnly: true });
    expect(draft).toMatchObject({ state: TemplateState.DRAFT, latestVersion: 0 });
    expect(await refusal(templates().createWorkflowFromTemplate({ template: name, name: newName(), parameters: { times: 1 } }))).toMatchObject({
      reason: "TEMPLATE_NOT_PUBLISHED",
    });
    const published = await templates().publishTemplate({ template: name, changeNote: "go", etag: draft?.etag ?? "" });
    expect(published).toMatchObject({ template: { latestVersion: 1, state: TemplateState.PUBLISHED }, version: { version: 1, changeNote: "go" } });
    expect(await refusal(templates().publishTemplate({ template: name }))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "NOTHING_TO_PUBLISH" });

    const changes = template(name, { definition: { steps: [logStep("drafted")] } });
    await templates().updateTemplate({ template: name, changes, updateMask: { paths: ["definition"] }, draftOnly: true });
    const head = await templates().getTemplate({ template: name });
    expect(head.template).toMatchObject({ latestVersion: 1, definition: { steps: [{ name: "drafted" }] } });
    expect((await templates().getTemplate({ template: name, version: 1 })).template?.definition?.steps).toHaveLength(2);
    const diff = await templates().diffTemplateVersions({ template: name, fromVersion: 1, toVersion: 0 });
    expect(diff.changes.map(({ path }) => path).sort()).toEqual(["steps[count]", "steps[drafted]", "steps[greet]"]);
    const { workflow } = await templates().createWorkflowFromTemplate({ template: name, name: newName(), parameters: { times: 1 } });
    expect(workflow?.definition?.steps).toHaveLength(2);
  });

  test("is refused with the place of what is wrong, and nothing is stored", async () => {
    const broken = template(newName("tpl"), { definition: { steps: [logStep("a", "{{nobody}}"), logStep("a")] } });
    const refused = await refusal(templates().createTemplate({ template: broken }));
    expect(refused.fields).toEqual(expect.arrayContaining(["template.definition.steps[0].log.message", "template.definition.steps[1].name"]));
    const unknown = template(newName("tpl"), { definition: { steps: [logStep("a", "{{params.nobody}}")] } });
    expect(await refusal(templates().createTemplate({ template: unknown }))).toMatchObject({
      reason: "EXPRESSION_TYPE",
      fields: ["template.definition.steps[0].log.message"],
    });
    expect(await refusal(templates().createTemplate({ template: template(newName("tpl"), { parameters_schema: { type: "thing" } }) }))).toMatchObject({
      reason: "SCHEMA_INVALID",
      fields: ["template.parameters_schema"],
    });
    expect(await refusal(templates().getTemplate({ template: broken.name }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
    expect(await refusal(templates().updateTemplate({ template: "http-request", changes: { displayName: "mine" } }))).toMatchObject({
      reason: "TEMPLATE_BUILT_IN",
    });
  });

  test("two clients change at once: one wins, the other is told the current etag and nothing of it is lost", async () => {
    const made = await make();
    const one = connect(fixture.server).templates;
    const other = connect(fixture.server).templates;
    const calls = [one, other].map((client, index) =>
      client.updateTemplate({ template: made.id, etag: made.etag, changes: { displayName: `by ${index}` }, updateMask: { paths: ["display_name"] } }),
    );
    const results = await Promise.allSettled(calls);
    const won = results.flatMap((result) => (result.status === "fulfilled" ? [result.value.template] : []));
    const lost = results.flatMap((result) => (result.status === "rejected" ? [result.reason as unknown] : []));
    expect([won.length, lost.length]).toEqual([1, 1]);
    const { template: now } = await templates().getTemplate({ template: made.id });
    expect(now?.displayName).toBe(won[0]?.displayName);
    expect(await refusal(Promise.reject(lost[0]))).toMatchObject({ code: "ABORTED", reason: "ETAG_MISMATCH", metadata: { currentEtag: now?.etag } });
  });

  test("changes of different fields without an etag are all kept, however many come at once", async () => {
    const made = await make();
    const masks = [
      { changes: { displayName: "title" }, updateMask: { paths: ["display_name"] } },
      { changes: { description: "words" }, updateMask: { paths: ["description"] } },
      { changes: { tags: ["x"] }, updateMask: { paths: ["tags"] } },
      { changes: template("x", { definition: { steps: [logStep("new")] } }), updateMask: { paths: ["definition"] } },
    ];
    await Promise.all(masks.map((change) => templates().updateTemplate({ template: made.id, ...change })));
    expect((await templates().getTemplate({ template: made.id })).template).toMatchObject({
      displayName: "title",
      description: "words",
      tags: ["x"],
      latestVersion: 2,
      definition: { steps: [{ name: "new" }] },
    });
  });

  test("validate_only says what would happen and changes nothing", async () => {
    const name = newName("tpl");
    const { template: would } = await templates().createTemplate({ template: template(name), validateOnly: true });
    expect(would).toMatchObject({ id: "", name, latestVersion: 1 });
    expect(await refusal(templates().getTemplate({ template: name }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
    const made = await make({}, name);
    expect(await refusal(templates().createTemplate({ template: template(name), validateOnly: true }))).toMatchObject({ reason: "NAME_TAKEN" });
    const changes = template(name, { definition: { steps: [] } });
    const next = await templates().updateTemplate({ template: name, changes, updateMask: { paths: ["definition"] }, validateOnly: true });
    expect(next.template?.latestVersion).toBe(2);
    expect(next.warnings).toHaveLength(1);
    expect((await templates().deleteTemplate({ template: name, validateOnly: true })).template?.state).toBe(TemplateState.DELETED);
    expect((await templates().getTemplate({ template: name })).template?.etag).toBe(made.etag);
    const { workflow } = await templates().createWorkflowFromTemplate({ template: name, name: "would-be", parameters: { times: 2 }, validateOnly: true });
    expect(workflow?.definition?.steps[1]?.kind.value).toMatchObject({ message: "2 times" });
    expect(await refusal(fixture.clients.workflows.getWorkflow({ workflow: "would-be" }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
  });

  test("is deleted softly and taken back by id or by the name it alone bore", async () => {
    const made = await make();
    const { workflow } = await templates().createWorkflowFromTemplate({ template: made.name, name: newName(), parameters: { times: 1 } });
    await templates().deleteTemplate({ template: made.name });
    expect(await refusal(templates().getTemplate({ template: made.id }))).toMatchObject({ reason: "TEMPLATE_NOT_FOUND" });
    expect((await fixture.clients.workflows.startExecution({ workflow: workflow?.id ?? "", input: { who: "x" } })).execution?.id).toMatch(/^exe_/);
    expect((await templates().undeleteTemplate({ template: made.name })).template).toMatchObject({ id: made.id, state: TemplateState.PUBLISHED });
    await templates().deleteTemplate({ template: made.name });
    await make({}, made.name);
    expect(await refusal(templates().undeleteTemplate({ template: made.id }))).toMatchObject({ code: "ALREADY_EXISTS", reason: "NAME_TAKEN" });
  });
});

describe("a workflow from a template", () => {
  test("gets parameters as literals, changes of its own, and knows where it came from", async () => {
    const made = await make();
    const overrides = [
      { step: "count", change: { case: "patch" as const, value: { displayName: "Counting", log: { message: "counted {{params.times}}" } } } },
      {
        step: "greet",
        change: { case: "insertAfter" as const, value: { name: "extra", kind: { case: "log" as const, value: { message: "{{params.greeting}}!" } } } },
      },
    ];
    const parameters = { times: 3, greeting: "{{now}}" };
    const { workflow } = await templates().createWorkflowFromTemplate({ template: made.id, name: newName(), parameters, overrides: overrides as never });
    expect(workflow).toMatchObject({ state: WorkflowState.ACTIVE, lineage: { templateId: made.id, templateVersion: 1, parameters } });
    expect(workflow?.lineage?.overrides.map(({ step, change }) => [step, change.case])).toEqual([
      ["count", "patch"],
      ["greet", "insertAfter"],
    ]);
    expect(workflow?.lineage?.overrides[0]?.change.value).toEqual({ display_name: "Counting", log: { message: "counted {{params.times}}" } });
    expect(workflow?.definition?.steps.map(({ name }) => name)).toEqual(["greet", "extra", "count"]);
    const { execution } = await fixture.clients.workflows.startExecution({ workflow: workflow?.id ?? "", input: { who: "Ada" }, wait: seconds(50) });
    const { steps } = await fixture.clients.workflows.listExecutionSteps({ executionId: execution?.id ?? "", view: View.FULL });
    expect(steps.map(({ result }) => result && (toJson(ValueSchema, result) as { message: string }).message)).toEqual(["{{now}} Ada", "{{now}}!", "counted 3"]);
  });

  test.each<[string, JsonObject, string, string]>([
    ["a parameter that is missing", {}, "parameters.times", "PARAMETERS_INVALID"],
    ["a parameter that does not fit", { times: 0 }, "parameters.times", "PARAMETERS_INVALID"],
    ["a parameter that is none", { times: 1, colour: "red" }, "parameters.colour", "PARAMETERS_INVALID"],
  ])("refuses %s with its place", async (_, parameters, field, reason) => {
    const made = await make();
    expect(await refusal(templates().createWorkflowFromTemplate({ template: made.id, name: newName(), parameters }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason,
      fields: [field],
    });
  });

  test("takes numbers, lists and conditions as parameters of text and expression fields, and text never as code", async () => {
    const { workflows } = fixture.clients;
    const steps = [
      { name: "a", log: { message: "{{params.count}}" } },
      { name: "b", run_if: "{{params.wanted}}", for_each: { items: "{{params.list}}", steps: [{ name: "c", log: { message: "{{item}}" } }] } },
      { name: "d", delay: { duration_expression: "{{params.pause}}" } },
    ];
    const outputs = { message: "{{steps.a.result.message}}", items: "{{size(steps.b.result)}}", count: "{{params.count}}" };
    const made = await make({ parameters_schema: {}, definition: { steps, outputs } });
    const instance = async (parameters: JsonObject) =>
      (await templates().createWorkflowFromTemplate({ template: made.id, name: newName(), parameters })).workflow?.name ?? "";
    const workflow = await instance({ count: 3, wanted: true, list: [1, 2], pause: "0s" });
    expect((await workflows.getWorkflow({ workflow })).workflow?.definition?.outputs["count"]?.kind).toEqual({ case: "numberValue", value: 3 });
    const { execution } = await workflows.startExecution({ workflow, wait: seconds(20) });
    expect(execution).toMatchObject({ state: ExecutionState.COMPLETED, output: { kind: { value: { fields: { items: { kind: { value: 2 } } } } } } });
    // Text that would be an expression is text, which is neither true nor false.
    const hostile = await instance({ count: 3, wanted: "1 == 1", list: [], pause: "0s" });
    const { execution: refused } = await workflows.startExecution({ workflow: hostile, wait: seconds(20) });
    expect(refused).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "EXPRESSION" } });
  });

  test("refuses overrides that do not fit, with their place", async () => {
    const made = await make();
    const attempt = (change: object) =>
      refusal(templates().createWorkflowFromTemplate({ template: made.id, name: newName(), parameters: { times: 1 }, overrides: [change as never] }));
    expect(await attempt({ step: "nobody", change: { case: "remove", value: true } })).toMatchObject({
      reason: "OVERRIDE_INVALID",
      fields: ["overrides[0].step"],
    });
    expect(await attempt({ step: "greet", change: { case: "patch", value: { log: { mesage: "x" } } } })).toMatchObject({
      reason: "OVERRIDE_INVALID",
      fields: ["overrides[0].patch.log.mesage"],
    });
    expect((await attempt({ step: "greet", change: { case: "patch", value: { log: { level: "LOUD" } } } })).reason).toBe("OVERRIDE_INVALID");
    expect((await attempt({ step: "greet", change: { case: "patch", value: { run_if: "1 +" } } })).reason).toBe("EXPRESSION_INVALID");
  });
});
