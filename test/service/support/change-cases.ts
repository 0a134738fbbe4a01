/**
 * One example call for every rpc that takes a request id, on a tenant where nothing else goes on: what it is made on, what it
 * asks for, and what it leaves behind once. `changes.test.ts` holds the list against the services' descriptors.
 */
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import type { Client } from "pg";
import { expect } from "vitest";
import { ExecutionState, SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { StepResolution } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { type Template, TemplateSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { httpStep as sagaHttpStep, sagaOf, sagaStep } from "../../saga/support/steps.ts";
import type { Clients } from "./connect-client.ts";
import { createWorkflow, definition, delayStep, logStep, newName } from "./definitions.ts";
import { begin, type Fixture, seconds } from "./fixture.ts";

export interface ChangeCase {
  /** Makes what the call needs; answers the request without its id. */
  readonly request: (fixture: Fixture) => Promise<object>;
  /** Another payload, for a reuse of the id. */
  readonly other: object;
  /** Rows by table, and ledger events by type, that it adds once. */
  readonly adds?: Readonly<Record<string, number>>;
}

const sleepy = [delayStep("sleep", "3600s"), delayStep("more", "3600s")];

async function parked({ clients }: Fixture): Promise<string> {
  const { id } = await begin(clients, sleepy);
  await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.WAITING);
  return id;
}

async function over({ clients }: Fixture, steps: Parameters<typeof begin>[1]): Promise<string> {
  const workflow = await createWorkflow(clients, steps);
  const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(20) });
  return execution?.id ?? "";
}

async function twoRevisions({ clients }: Fixture): Promise<string> {
  const workflow = await createWorkflow(clients, [logStep("a")]);
  await clients.workflows.updateWorkflow({ workflow, changes: { definition: definition([logStep("b")]) } });
  return workflow;
}

function templateOf(name: string, message = "hello"): Template {
  return fromJson(TemplateSchema, { name, category: "automation", definition: { steps: [logStep("greet", message)] } });
}

async function madeTemplate({ clients }: Fixture): Promise<string> {
  const name = newName("tpl");
  await clients.templates.createTemplate({ template: templateOf(name) });
  return name;
}

async function openSaga({ clients }: Fixture, more: JsonObject = {}): Promise<string> {
  return (await clients.sagas.startSaga(sagaOf([], { auto_complete: false, ...more }))).saga?.id ?? "";
}

function ownStep(url: string, name: string, more: JsonObject = {}): JsonObject {
  return sagaHttpStep(url, name, { action: null, action_retry: null, ...more });
}

let stuckCount = 0;

/** Its undo has failed for good, and is tried again only after a day. */
async function stuckSaga(fixture: Fixture, correlationId = ""): Promise<{ readonly sagaId: string; readonly address: string }> {
  const { sagas } = fixture.clients;
  const path = `/stuck${++stuckCount}`;
  fixture.ledger.script(`${path}/undo-charge`, [500]);
  const sagaId = await openSaga(fixture, correlationId === "" ? {} : { correlation_id: correlationId });
  const retry = { initial_interval: "0.02s", maximum_attempts: 1 };
  const step = ownStep(fixture.ledger.url + path, "charge", { compensation_retry: retry });
  const { task } = await sagas.enlistStep({ sagaId, step: sagaStep(step), selfDriven: true });
  const result = fromJson(TaskResultSchema, { outcome: "OUTCOME_SUCCEEDED" });
  await sagas.reportStep({ sagaId, step: "charge", token: task?.token ?? "", result });
  await sagas.abortSaga({ sagaId });
  await expect.poll(async () => (await sagas.getSaga({ sagaId })).saga?.state, { timeout: 10_000 }).toBe(SagaState.STUCK);
  return { sagaId, address: fixture.ledger.url };
}

async function file({ clients }: Fixture, bytes = 0): Promise<string> {
  const { file } = await clients.files.createFile({ name: "a.txt" });
  const fileId = file?.id ?? "";
  if (bytes > 0) await clients.files.appendFile({ fileId, data: new Uint8Array(bytes) });
  return fileId;
}

async function key({ clients }: Fixture): Promise<string> {
  return (await clients.access.createApiKey({ name: newName("ci"), scopes: ["workflows:read"] })).apiKey?.id ?? "";
}

async function secret({ clients }: Fixture): Promise<string> {
  const name = newName("secret");
  await clients.secrets.setSecret({ name, value: "first-value" });
  return name;
}

const reason = { reason: "asked for" };
const text = (value: string) => ({ kind: { case: "stringValue" as const, value } });

/** By service and method. */
export const changeCases: Readonly<Record<string, ChangeCase>> = {
  "WorkflowService/CreateWorkflow": {
    request: async () => ({ workflow: { name: newName("new"), definition: definition([logStep("a")]) } }),
    other: { draftOnly: true },
    adds: { workflows: 1, workflow_revisions: 1 },
  },
  "WorkflowService/UpdateWorkflow": {
    request: async ({ clients }) => ({ workflow: await createWorkflow(clients, [logStep("a")]), changes: { definition: definition([logStep("b")]) } }),
    other: { draftOnly: true },
    adds: { workflow_revisions: 1 },
  },
  "WorkflowService/DeleteWorkflow": {
    request: async ({ clients }) => ({ workflow: await createWorkflow(clients, [logStep("a")]) }),
    other: { force: true },
  },
  "WorkflowService/UndeleteWorkflow": {
    request: async ({ clients }) => {
      const { workflow } = await clients.workflows.deleteWorkflow({ workflow: await createWorkflow(clients, [logStep("a")]) });
      return { workflow: workflow?.id ?? "" };
    },
    other: { etag: "another" },
  },
  "WorkflowService/ActivateWorkflowRevision": { request: async (fixture) => ({ workflow: await twoRevisions(fixture), revision: 1 }), other: { revision: 2 } },
  // Twice would be back where it was.
  "WorkflowService/RollbackWorkflow": { request: async (fixture) => ({ workflow: await twoRevisions(fixture) }), other: { etag: "another" } },
  "WorkflowService/PauseWorkflow": {
    request: async ({ clients }) => {
      const { workflowName: workflow } = await begin(clients, sleepy);
      return { workflow, alsoRunning: true, ...reason };
    },
    other: { reason: "another" },
    adds: { execution_paused: 1 },
  },
  "WorkflowService/ResumeWorkflow": {
    request: async ({ clients }) => {
      const { workflowName: workflow } = await begin(clients, sleepy);
      await clients.workflows.pauseWorkflow({ workflow, alsoRunning: true });
      return { workflow, alsoRunning: true, ...reason };
    },
    other: { reason: "another" },
    adds: { execution_resumed: 1 },
  },
  "WorkflowService/StartExecution": {
    request: async ({ clients }) => ({ workflow: await createWorkflow(clients, sleepy) }),
    other: { priority: 9 },
    adds: { workflow_executions: 1 },
  },
  "WorkflowService/BatchStartExecutions": {
    request: async ({ clients }) => {
      const workflow = await createWorkflow(clients, sleepy);
      return { requests: [{ workflow }, { workflow }] };
    },
    other: { requests: [{ workflow: "another" }] },
    adds: { workflow_executions: 2 },
  },
  "WorkflowService/CancelExecution": {
    request: async (fixture) => ({ executionId: await parked(fixture), ...reason }),
    other: { reason: "another" },
    adds: { execution_cancel_requested: 1, execution_ended: 1 },
  },
  "WorkflowService/TerminateExecution": {
    request: async (fixture) => ({ executionId: await parked(fixture), ...reason }),
    other: { reason: "another" },
    adds: { operator_acted: 1, execution_ended: 1 },
  },
  "WorkflowService/PauseExecution": {
    request: async (fixture) => ({ executionId: await parked(fixture), ...reason }),
    other: { reason: "another" },
    adds: { execution_paused: 1 },
  },
  "WorkflowService/ResumeExecution": {
    request: async (fixture) => {
      const executionId = await parked(fixture);
      await fixture.clients.workflows.pauseExecution({ executionId });
      return { executionId, ...reason };
    },
    other: { reason: "another" },
    adds: { execution_resumed: 1 },
  },
  "WorkflowService/SignalExecution": {
    request: async (fixture) => ({ executionId: await parked(fixture), eventType: "paid", data: text("yes") }),
    other: { eventType: "another" },
    adds: { signals: 1 },
  },
  "WorkflowService/PublishEvent": {
    request: async () => ({ eventType: "paid", correlationKey: newName("order"), data: text("yes") }),
    other: { eventType: "another" },
    adds: { signals: 1 },
  },
  "WorkflowService/RetryExecution": {
    request: async (fixture) => ({ executionId: await over(fixture, [{ name: "no", fail: { error: "no", message: "no" } }]), ...reason }),
    other: { reason: "another" },
    adds: { execution_reopened: 1, execution_ended: 1 },
  },
  "WorkflowService/RerunExecution": {
    request: async (fixture) => ({ executionId: await over(fixture, [logStep("a")]), ...reason }),
    other: { reason: "another" },
    adds: { workflow_executions: 1, operator_acted: 1, execution_ended: 1 },
  },
  "WorkflowService/SkipStep": {
    request: async (fixture) => ({ executionId: await parked(fixture), path: "sleep", ...reason }),
    other: { reason: "another" },
    adds: { operator_acted: 1 },
  },
  "WorkflowService/CompleteStep": {
    request: async (fixture) => ({ executionId: await parked(fixture), path: "sleep", result: text("done"), ...reason }),
    other: { reason: "another" },
    adds: { operator_acted: 1 },
  },
  "WorkflowService/FailStep": {
    request: async (fixture) => ({ executionId: await parked(fixture), path: "sleep", failure: { name: "USER.no", message: "no" }, ...reason }),
    other: { reason: "another" },
    adds: { operator_acted: 1, execution_ended: 1 },
  },
  "WorkflowService/UpdateVariables": {
    request: async (fixture) => ({ executionId: await parked(fixture), variables: { a: 1 }, ...reason }),
    other: { reason: "another" },
    adds: { operator_acted: 1, variables_set: 1 },
  },
  "WorkflowService/DeleteExecution": {
    request: async (fixture) => ({ executionId: await over(fixture, [logStep("a")]) }),
    other: { executionId: "key:another" },
    adds: { workflow_executions: -1, execution_ended: -1 },
  },
  "TemplateService/CreateTemplate": {
    request: async () => ({ template: templateOf(newName("tpl")) }),
    other: { draftOnly: true },
    adds: { workflow_templates: 1, workflow_template_versions: 1 },
  },
  "TemplateService/UpdateTemplate": {
    request: async (fixture) => ({ template: await madeTemplate(fixture), changes: templateOf("x", "bye"), updateMask: { paths: ["definition"] } }),
    other: { draftOnly: true },
    adds: { workflow_template_versions: 1 },
  },
  "TemplateService/DeleteTemplate": { request: async (fixture) => ({ template: await madeTemplate(fixture) }), other: { force: true } },
  "TemplateService/UndeleteTemplate": {
    request: async (fixture) => {
      const { template } = await fixture.clients.templates.deleteTemplate({ template: await madeTemplate(fixture) });
      return { template: template?.id ?? "" };
    },
    other: { etag: "another" },
  },
  "TemplateService/CreateWorkflowFromTemplate": {
    request: async (fixture) => ({ template: await madeTemplate(fixture), name: newName("made") }),
    other: { draftOnly: true },
    adds: { workflows: 1, workflow_revisions: 1 },
  },
  "TemplateService/PublishTemplate": {
    request: async (fixture) => {
      const template = await madeTemplate(fixture);
      await fixture.clients.templates.updateTemplate({
        ...{ template, changes: templateOf("x", "bye"), draftOnly: true },
        updateMask: { paths: ["definition"] },
      });
      return { template };
    },
    other: { changeNote: "another" },
    adds: { workflow_template_versions: 1 },
  },
  "TemplateService/RollbackTemplate": {
    request: async (fixture) => {
      const template = await madeTemplate(fixture);
      await fixture.clients.templates.updateTemplate({ template, changes: templateOf("x", "bye"), updateMask: { paths: ["definition"] } });
      return { template, version: 1 };
    },
    other: { changeNote: "another" },
    adds: { workflow_template_versions: 1 },
  },
  "TemplateService/UpgradeWorkflows": {
    request: async (fixture) => {
      const { templates } = fixture.clients;
      const template = await madeTemplate(fixture);
      const names = [newName("up"), newName("up")];
      for (const name of names) await templates.createWorkflowFromTemplate({ template, name });
      await templates.updateTemplate({ template, changes: templateOf("x", "bye"), updateMask: { paths: ["definition"] } });
      return { template, workflows: [...names, newName("nobody")] };
    },
    other: { draftOnly: true },
    adds: { workflow_revisions: 2 },
  },
  "TemplateService/ImportTemplates": {
    request: async (fixture) => {
      const { templates } = fixture.clients;
      const template = await madeTemplate(fixture);
      const { bundle } = await templates.exportTemplates({ templates: [template] });
      await templates.deleteTemplate({ template });
      return { bundle };
    },
    other: { onConflict: 2 },
    adds: { workflow_templates: 1, workflow_template_versions: 1 },
  },
  "SagaCoordinationService/StartSaga": {
    request: async () => sagaOf([], { auto_complete: false }),
    other: { executionKey: "another" },
    adds: { workflow_executions: 1 },
  },
  "SagaCoordinationService/SubmitSaga": {
    request: async (fixture) => ({
      sagaId: await openSaga(fixture, { mode: "SAGA_MODE_PREPARED", check_back: { http: { method: "POST", url: `${fixture.ledger.url}/check` } } }),
    }),
    other: { sagaId: "key:another" },
  },
  "SagaCoordinationService/EnlistStep": {
    request: async (fixture) => ({ sagaId: await openSaga(fixture), step: sagaStep(ownStep(fixture.ledger.url, "charge")), selfDriven: true }),
    other: { sagaId: "key:another" },
    adds: { step_enlisted: 1 },
  },
  "SagaCoordinationService/LeaveSaga": {
    request: async (fixture) => {
      const sagaId = await openSaga(fixture);
      await fixture.clients.sagas.enlistStep({ sagaId, step: sagaStep(ownStep(fixture.ledger.url, "charge")), selfDriven: true });
      return { sagaId, step: "charge" };
    },
    other: { reason: "another" },
  },
  "SagaCoordinationService/ExtendSaga": {
    request: async (fixture) => ({ sagaId: await openSaga(fixture), ttl: seconds(999_999) }),
    other: { ttl: seconds(60) },
  },
  "SagaCoordinationService/CompleteSaga": {
    request: async (fixture) => ({ sagaId: await openSaga(fixture) }),
    other: { whenIdle: true },
    adds: { execution_ended: 1 },
  },
  "SagaCoordinationService/AbortSaga": {
    request: async (fixture) => ({ sagaId: await openSaga(fixture), ...reason }),
    other: { reason: "another" },
    adds: { execution_cancel_requested: 1, execution_ended: 1 },
  },
  "SagaCoordinationService/RetrySaga": {
    request: async (fixture) => {
      const correlationId = newName("retry");
      for (const _ of "ab") await stuckSaga(fixture, correlationId);
      return { target: { case: "filter", value: `correlation_id = "${correlationId}"` }, ...reason };
    },
    other: { reason: "another" },
    adds: { operator_acted: 2, execution_reopened: 2 },
  },
  "SagaCoordinationService/ResolveStep": {
    request: async (fixture) => ({ sagaId: (await stuckSaga(fixture)).sagaId, step: "charge", resolution: StepResolution.MARK_COMPENSATED, ...reason }),
    other: { reason: "another" },
    adds: { operator_acted: 1, execution_ended: 1 },
  },
  "SagaCoordinationService/ReplaceParticipant": {
    request: async (fixture) => {
      const { sagaId, address } = await stuckSaga(fixture);
      return { target: { case: "sagaId", value: sagaId }, fromAddress: address, toAddress: address.replace("127.0.0.1", "localhost"), ...reason };
    },
    other: { reason: "another" },
    adds: { operator_acted: 1, execution_reopened: 1 },
  },
  "SecretService/SetSecret": {
    request: async () => ({ name: newName("secret"), value: "a-secret-value" }),
    other: { value: "another-value" },
    adds: { secrets: 1, secret_versions: 1 },
  },
  "SecretService/RotateSecret": {
    request: async (fixture) => ({ name: await secret(fixture), value: "a-secret-value", keepPrevious: seconds(3_600) }),
    other: { value: "another-value" },
    adds: { secret_versions: 1 },
  },
  "SecretService/DeleteSecret": {
    request: async (fixture) => ({ name: await secret(fixture) }),
    other: { etag: "another" },
    adds: { secrets: -1, secret_versions: -1 },
  },
  "AccessService/CreateApiKey": {
    request: async () => ({ name: newName("ci"), scopes: ["workflows:read"] }),
    other: { scopes: ["workflows:write"] },
    adds: { api_keys: 1 },
  },
  "AccessService/RotateApiKey": { request: async (fixture) => ({ keyId: await key(fixture), ...reason }), other: { reason: "another" } },
  "AccessService/RevokeApiKey": { request: async (fixture) => ({ keyId: await key(fixture), ...reason }), other: { reason: "another" } },
  "FileService/CreateFile": { request: async () => ({ name: "new.txt" }), other: { name: "another.txt" }, adds: { files: 1 } },
  "FileService/AppendFile": {
    request: async (fixture) => ({ fileId: await file(fixture), data: new Uint8Array(10) }),
    other: { data: new Uint8Array(11) },
    adds: { file_chunks: 1 },
  },
  "FileService/CompleteFile": { request: async (fixture) => ({ fileId: await file(fixture, 10) }), other: { sha256: "0".repeat(64) } },
  "FileService/DeleteFile": {
    request: async (fixture) => ({ fileId: await file(fixture) }),
    other: { validateOnly: false, fileId: "blb_01M84XF5YCEN3SNB41TB8SZ433" },
  },
};

/** How many rows and events of every kind there are that a case may add. */
export async function census(client: Client): Promise<Record<string, number>> {
  const counted = [
    ...["workflows", "workflow_revisions", "workflow_templates", "workflow_template_versions", "workflow_executions"],
    ...["secrets", "secret_versions", "files", "file_chunks", "signals", "api_keys"],
  ];
  const tables = counted.map((table) => `select '${table}' as name, count(*)::int as count from ${table}`);
  const types = ["execution_paused", "execution_resumed", "execution_cancel_requested", "execution_ended", "execution_reopened"];
  const events = [...types, "operator_acted", "variables_set", "step_enlisted"].map(
    (type) => `select '${type}', count(*)::int from execution_events where type = '${type}'`,
  );
  const { rows } = await client.query<{ name: string; count: number }>([...tables, ...events].join(" union all "));
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
}

/** What was added since, by name; nothing where the numbers are equal. */
export function added(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const pairs = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const);
  return Object.fromEntries(pairs.filter(([, count]) => count !== 0));
}

export function clientOf(clients: Clients, service: string) {
  const byService = {
    WorkflowService: clients.workflows,
    TemplateService: clients.templates,
    SagaCoordinationService: clients.sagas,
    SecretService: clients.secrets,
    FileService: clients.files,
    AccessService: clients.access,
  };
  return byService[service as keyof typeof byService] as unknown as Record<
    string,
    (request: object, options?: { readonly onHeader?: (headers: Headers) => void }) => Promise<object>
  >;
}
