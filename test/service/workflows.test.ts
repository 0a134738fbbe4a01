/** Workflows over the wire: stored, read, listed in pages, deleted and taken back. */
import { toJson } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { CompensationKind } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { WorkflowState } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect, postJson } from "./support/connect-client.ts";
import { createWorkflow, definition, httpStep, logStep, newName } from "./support/definitions.ts";
import { startHostedServer } from "./support/hosted-server.ts";
import { reasonName, refusal, refusalOf, refusalOfJson } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";

let database: TestDatabase;
let server: RunningServer;
let clients: Clients;
beforeAll(async () => {
  database = await createMigratedDatabase();
  server = await startHostedServer({ databaseUrl: database.databaseUrl });
  clients = connect(server);
});
afterAll(async () => {
  await server?.stop();
  await database?.drop();
});

test("a workflow is stored as it was sent, active at once with revision 1", async () => {
  const { workflows } = clients;
  const name = newName("stored");
  const sent = definition([logStep("first"), httpStep("call", "https://example.com/x", { undo: "https://example.com/y" })], {
    variables: { a: [1, { b: null }] },
  });
  const labels = { team: "a", stage: "test" };
  const { workflow: made } = await workflows.createWorkflow({
    workflow: { name, displayName: "Ünïcode 🚀", description: "d", labels, annotations: { tool: "x" }, definition: sent },
    revisionNote: "first one",
  });
  expect(made).toMatchObject({
    name,
    displayName: "Ünïcode 🚀",
    description: "d",
    labels,
    annotations: { tool: "x" },
    state: WorkflowState.ACTIVE,
    activeRevision: 1,
    latestRevision: 1,
  });
  expect(made?.id).toMatch(/^wfl_[0-9A-HJKMNP-TV-Z]{26}$/);
  expect(made?.etag).not.toBe("");
  expect(made?.createTime).toBeDefined();

  for (const workflow of [name, made?.id ?? ""]) {
    const { workflow: read } = await workflows.getWorkflow({ workflow });
    expect(read).toEqual(made);
    expect(toJson(WorkflowDefinitionSchema, read?.definition ?? sent)).toEqual(toJson(WorkflowDefinitionSchema, sent));
  }
  const { workflow: basic } = await workflows.getWorkflow({ workflow: name, view: View.BASIC });
  expect(basic?.definition).toBeUndefined();
  const { revision } = await workflows.getWorkflowRevision({ workflow: name });
  expect(revision).toMatchObject({ workflowId: made?.id, revision: 1, note: "first one", active: true });
  expect(revision?.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(revision?.definition).toEqual(made?.definition);
});

test("what does not exist is said by its own reason", async () => {
  const { workflows, templates, sagas } = clients;
  const random = "01M84XF5YCEN3SNB41TB8SZ433";
  expect(await refusal(workflows.getWorkflow({ workflow: "nobody" }))).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" });
  expect(await refusal(workflows.getWorkflow({ workflow: `wfl_${random}` }))).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" });
  expect(await refusal(workflows.deleteWorkflow({ workflow: "nobody" }))).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" });
  expect(await refusal(workflows.startExecution({ workflow: "nobody" }))).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" });
  expect(await refusal(workflows.getExecution({ executionId: `exe_${random}` }))).toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
  expect(await refusal(workflows.getExecution({ executionId: "key:nothing" }))).toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
  expect(await refusal(sagas.getSaga({ sagaId: `exe_${random}` }))).toMatchObject({ code: "NOT_FOUND", reason: "SAGA_NOT_FOUND" });
  expect(await refusal(templates.getTemplate({ template: "nobody" }))).toMatchObject({ code: "NOT_FOUND", reason: "TEMPLATE_NOT_FOUND" });
  const name = await createWorkflow(clients, [logStep("a")]);
  expect(await refusal(workflows.getWorkflowRevision({ workflow: name, revision: 7 }))).toMatchObject({ code: "NOT_FOUND", reason: "REVISION_NOT_FOUND" });
  expect(await refusal(workflows.startExecution({ workflow: name, revision: 7 }))).toMatchObject({ code: "NOT_FOUND", reason: "REVISION_NOT_FOUND" });
});

test("a name is taken once, and validate_only changes nothing", async () => {
  const { workflows } = clients;
  const name = newName("once");
  const workflow = { name, definition: definition([logStep("a")]) };
  const dry = await workflows.createWorkflow({ workflow, validateOnly: true });
  expect(dry.workflow?.name).toBe(name);
  expect(await refusal(workflows.getWorkflow({ workflow: name }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
  await workflows.createWorkflow({ workflow });
  expect(await refusal(workflows.createWorkflow({ workflow }))).toMatchObject({ code: "ALREADY_EXISTS", reason: "NAME_TAKEN" });
  expect(await refusal(workflows.createWorkflow({ workflow, validateOnly: true }))).toMatchObject({ code: "ALREADY_EXISTS", reason: "NAME_TAKEN" });
  const twins = await Promise.allSettled(Array.from({ length: 8 }, () => workflows.createWorkflow({ workflow: { ...workflow, name: `${name}-x` } })));
  expect(twins.filter((twin) => twin.status === "fulfilled")).toHaveLength(1);
});

test("a request_id is honoured or refused by name, never ignored", async () => {
  const { workflows } = clients;
  const request = { requestId: crypto.randomUUID(), workflow: { name: newName("repeat"), definition: definition([logStep("a")]) } };
  const first = await workflows.createWorkflow(request).catch(refusalOf);
  if ("reason" in first) {
    expect(first).toMatchObject({ code: "UNIMPLEMENTED", reason: "FEATURE_DISABLED" });
    expect(first.message).toContain("request_id");
    expect(await refusal(workflows.getWorkflow({ workflow: request.workflow.name }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
    return;
  }
  expect(await workflows.createWorkflow(request)).toEqual(first);
  const other = { ...request, workflow: { ...request.workflow, description: "other" } };
  expect(await refusal(workflows.createWorkflow(other))).toMatchObject({ code: "ALREADY_EXISTS", reason: "REQUEST_ID_REUSED" });
});

test("a draft is stored and cannot be started", async () => {
  const { workflows } = clients;
  const name = newName("draft");
  const { workflow } = await workflows.createWorkflow({ workflow: { name, definition: definition([logStep("a")]) }, draftOnly: true });
  expect(workflow).toMatchObject({ state: WorkflowState.DRAFT, activeRevision: 0, latestRevision: 1 });
  expect(await refusal(workflows.startExecution({ workflow: name }))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "WORKFLOW_NOT_ACTIVE" });
});

test("a deleted workflow is gone from reads and starts and comes back", async () => {
  const { workflows } = clients;
  const name = await createWorkflow(clients, [logStep("a")]);
  const { workflow: deleted } = await workflows.deleteWorkflow({ workflow: name });
  expect(deleted?.state).toBe(WorkflowState.DELETED);
  expect(Number(deleted?.purgeTime?.seconds) - Number(deleted?.deleteTime?.seconds)).toBe(30 * 86_400);
  expect((await workflows.listWorkflows({ filter: `name = "${name}*"` })).workflows).toEqual([]);
  expect((await workflows.listWorkflows({ filter: `name = "${name}*"`, showDeleted: true })).workflows.map((one) => one.state)).toEqual([
    WorkflowState.DELETED,
  ]);
  const start = await refusal(workflows.startExecution({ workflow: name }));
  expect(["WORKFLOW_NOT_FOUND", "WORKFLOW_NOT_ACTIVE"]).toContain(start.reason);
  const { workflow: back } = await workflows.undeleteWorkflow({ workflow: deleted?.id ?? "" });
  expect(back).toMatchObject({ name, state: WorkflowState.ACTIVE });
  expect(back?.deleteTime).toBeUndefined();
  await workflows.startExecution({ workflow: name });
});

test("a deleted workflow comes back by the name that it alone had", async () => {
  const { workflows } = clients;
  const name = await createWorkflow(clients, [logStep("a")]);
  const { workflow: first } = await workflows.deleteWorkflow({ workflow: name });
  expect((await workflows.undeleteWorkflow({ workflow: name })).workflow).toMatchObject({ id: first?.id, state: WorkflowState.ACTIVE });
  await workflows.deleteWorkflow({ workflow: name });
  await workflows.createWorkflow({ workflow: { name, definition: definition([logStep("a")]) } });
  await workflows.deleteWorkflow({ workflow: name });
  expect(await refusal(workflows.undeleteWorkflow({ workflow: name }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
});

test("a stale etag aborts and names the present one", async () => {
  const { workflows } = clients;
  const name = await createWorkflow(clients, [logStep("a")]);
  const stale = await refusal(workflows.deleteWorkflow({ workflow: name, etag: "old" }));
  expect(stale).toMatchObject({ code: "ABORTED", reason: "ETAG_MISMATCH" });
  const { workflow } = await workflows.getWorkflow({ workflow: name });
  expect(Object.values(stale.metadata)).toContain(workflow?.etag);
  await workflows.deleteWorkflow({ workflow: name, etag: workflow?.etag ?? "" });
});

test("pages hold every workflow once, and their tokens cannot be bent", async () => {
  const { workflows } = clients;
  const labels = { paged: "yes" };
  const names = await Promise.all(
    Array.from({ length: 23 }, async () => {
      const name = newName("page");
      await workflows.createWorkflow({ workflow: { name, labels, definition: definition([logStep("a")]) } });
      return name;
    }),
  );
  const query = { filter: 'labels.paged = "yes"', pageSize: 5 };
  const seen: string[] = [];
  let pageToken = "";
  do {
    const page = await workflows.listWorkflows({ ...query, pageToken });
    expect(page.workflows.length).toBeLessThanOrEqual(5);
    seen.push(...page.workflows.map((workflow) => workflow.name));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect([...seen].sort()).toEqual([...names].sort());

  const { nextPageToken } = await workflows.listWorkflows(query);
  expect(await refusal(workflows.listWorkflows({ ...query, filter: "", pageToken: nextPageToken }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    reason: "PAGE_TOKEN_MISMATCH",
  });
  expect(await refusal(workflows.listWorkflows({ ...query, pageToken: `${nextPageToken.slice(0, -2)}AA` }))).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
  expect(await refusal(workflows.listWorkflows({ pageSize: -1 }))).toMatchObject({
    code: "INVALID_ARGUMENT",
    reason: "VALIDATION_FAILED",
    fields: ["page_size"],
  });
  const filter = await refusal(workflows.listWorkflows({ filter: "state = ACTIVE AND secret = 1" }));
  expect(filter).toMatchObject({ code: "INVALID_ARGUMENT", reason: "FILTER_INVALID" });
  expect(filter.metadata).toHaveProperty("column");
  const order = await refusal(workflows.listWorkflows({ orderBy: "id; drop table workflows" }));
  expect(order.reason).toBe("ORDER_BY_INVALID");
  for (const orderBy of ["name", "name desc", "update_time", "create_time"]) {
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await workflows.listWorkflows({ ...query, orderBy, pageToken, includeTotalSize: true });
      expect(page.totalSize).toBe(23n);
      found.push(...page.workflows.map((workflow) => workflow.name));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    if (orderBy.startsWith("name")) expect(found).toEqual(orderBy === "name" ? [...names].sort() : [...names].sort().reverse());
    else expect([...found].sort()).toEqual([...names].sort());
  }
});

test("a FULL listing brings definitions, in pages that fit into a message", async () => {
  const { workflows } = clients;
  const large = "x".repeat(700_000);
  const labels = { whole: "yes" };
  for (let count = 0; count < 6; count++) {
    const steps = [{ name: "a", set_variables: { variables: { large } } }];
    await workflows.createWorkflow({ workflow: { name: newName("whole"), labels, definition: definition(steps) } });
  }
  const seen: string[] = [];
  let pageToken = "";
  do {
    const page = await workflows.listWorkflows({ filter: 'labels.whole = "yes"', orderBy: "name", view: View.FULL, pageToken });
    expect(page.workflows.every(({ definition }) => definition?.steps[0]?.name === "a")).toBe(true);
    seen.push(...page.workflows.map(({ name }) => name));
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  expect([seen.length, new Set(seen).size]).toEqual([6, 6]);
});

test("a workflow is found by its whole name", async () => {
  const name = await createWorkflow(clients, [logStep("a")]);
  await createWorkflow(clients, [logStep("a")]);
  const { workflows } = await clients.workflows.listWorkflows({ filter: `name = "${name}"` });
  expect(workflows.map((workflow) => workflow.name)).toEqual([name]);
});

test("ValidateDefinition tells unreachable steps, types, missing secrets, and what the schema of params rules out", async () => {
  const { workflows } = clients;
  const steps = [logStep("say", "{{params.who}}"), { name: "stop", fail: { error: "Stop" } }, logStep("never")];
  const parametersSchema = { type: "object", additionalProperties: false, properties: { who: { type: "string" } } };
  const good = await workflows.validateDefinition({ definition: definition(steps, { secret_slots: [{ name: "key" }] }), parametersSchema });
  expect(good).toMatchObject({ valid: true, unreachableSteps: ["never"], missingSecrets: ["key"] });
  expect(good.warnings.map(({ step, field }) => [step, field])).toEqual([["never", "steps[2]"]]);
  expect(good.inferredTypes.map(({ path, type }) => [path, type])).toEqual([["steps[0].log.message", "string"]]);
  const bad = await workflows.validateDefinition({ definition: definition([logStep("say", "{{params.whom}}")]), parametersSchema });
  expect(bad.errors.map((issue) => [issue.field, reasonName(issue.reason)])).toEqual([["steps[0].log.message", "EXPRESSION_TYPE"]]);
  expect(bad.digest).toBe("");
  const schema = await workflows.validateDefinition({ definition: definition([logStep("say")]), parametersSchema: { type: "nonsense" } });
  expect(schema.errors.map((issue) => reasonName(issue.reason))).toEqual(["SCHEMA_INVALID"]);
});

test("ValidateDefinition reports what is wrong and what a saga would undo, and stores nothing", async () => {
  const { workflows } = clients;
  const good = await workflows.validateDefinition({
    definition: definition([
      httpStep("a", "https://example.com/a", { undo: "https://example.com/undo" }),
      httpStep("b", "https://example.com/b"),
      logStep("c", "{{steps.a.result.status}}"),
    ]),
  });
  expect(good).toMatchObject({ valid: true, errors: [] });
  expect(good.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(good.sagaPlan).toMatchObject({ undoOrder: ["a"], standingEffects: ["b"] });
  expect(good.sagaPlan?.steps.find((step) => step.step === "a")).toMatchObject({ kind: CompensationKind.COMPENSATABLE, effect: true });

  const bad = await workflows.validateDefinition({
    definition: definition([logStep("c", "{{steps.later.result}}"), logStep("C", "{{nothing}}"), { name: "d", run_if: "1 +", log: {} }]),
  });
  expect(bad.valid).toBe(false);
  const found = bad.errors.map((issue) => `${reasonName(issue.reason)} ${issue.field}`);
  expect(found).toContain("UNKNOWN_VARIABLE steps[0].log.message");
  expect(found).toContain("UNKNOWN_VARIABLE steps[1].log.message");
  expect(found).toContain("STEP_NAME_DUPLICATE steps[1].name");
  expect(found).toContain("EXPRESSION_INVALID steps[2].run_if");
  expect(bad.errors.find((issue) => issue.field === "steps[0].log.message")).toMatchObject({ pointer: "/steps/0/log/message", step: "c" });
});

test("prebuilt templates are listed, read, counted by category and turned into workflows", async () => {
  const { templates, workflows } = clients;
  const { templates: listed } = await templates.listTemplates({});
  expect(listed.map((template) => template.name)).toEqual(expect.arrayContaining(["http-request", "multi-step-integration", "order-saga"]));
  expect(listed.every((template) => template.builtIn && template.definition === undefined)).toBe(true);
  const { categories } = await templates.listTemplateCategories({});
  expect(categories.reduce((sum, category) => sum + Number(category.templateCount), 0)).toBe(listed.length);
  const { template } = await templates.getTemplate({ template: "http-request" });
  expect(template?.definition?.steps.length).toBeGreaterThan(0);

  const parameters = { orders_url: "https://orders.example.com", payments_url: "https://payments.example.com", notify_url: "https://hooks.example.com/x" };
  const { workflow } = await templates.createWorkflowFromTemplate({ template: "multi-step-integration", name: newName("from-template"), parameters });
  expect(workflow).toMatchObject({ state: WorkflowState.ACTIVE, lineage: { templateVersion: 1, parameters: { ...parameters, settle_delay: "2s" } } });
  expect((await workflows.getWorkflow({ workflow: workflow?.name ?? "" })).workflow).toEqual(workflow);

  const wrong = await refusal(
    templates.createWorkflowFromTemplate({ template: "multi-step-integration", name: newName("bad"), parameters: { orders_url: "ftp://x" } }),
  );
  expect(wrong).toMatchObject({ code: "INVALID_ARGUMENT", reason: "PARAMETERS_INVALID" });
  expect(wrong.fields.join()).toContain("parameters");
  const unknown = await postJson(server, "TemplateService/CreateWorkflowFromTemplate", { template: "nobody", name: "x" });
  expect(refusalOfJson(unknown)).toMatchObject({ code: "NOT_FOUND", reason: "TEMPLATE_NOT_FOUND" });
});
