/** What the calls of `change-cases.ts` are made on: executions, sagas, templates, files and secrets in the state they need. */
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { expect } from "vitest";
import { ExecutionState, SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { type Template, TemplateSchema } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { httpStep as sagaHttpStep, sagaOf, sagaStep } from "../../saga/support/steps.ts";
import { createWorkflow, definition, delayStep, logStep, newName } from "./definitions.ts";
import { begin, type Fixture, seconds } from "./fixture.ts";

export const sleepy = [delayStep("sleep", "3600s"), delayStep("more", "3600s")];

export async function parked({ clients }: Fixture): Promise<string> {
  const { id } = await begin(clients, sleepy);
  await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.WAITING);
  return id;
}

export async function over({ clients }: Fixture, steps: Parameters<typeof begin>[1]): Promise<string> {
  const workflow = await createWorkflow(clients, steps);
  const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(20) });
  return execution?.id ?? "";
}

export async function twoRevisions({ clients }: Fixture): Promise<string> {
  const workflow = await createWorkflow(clients, [logStep("a")]);
  await clients.workflows.updateWorkflow({ workflow, changes: { definition: definition([logStep("b")]) } });
  return workflow;
}

export function templateOf(name: string, message = "hello"): Template {
  return fromJson(TemplateSchema, { name, category: "automation", definition: { steps: [logStep("greet", message)] } });
}

export async function madeTemplate({ clients }: Fixture): Promise<string> {
  const name = newName("tpl");
  await clients.templates.createTemplate({ template: templateOf(name) });
  return name;
}

export async function openSaga({ clients }: Fixture, more: JsonObject = {}): Promise<string> {
  return (await clients.sagas.startSaga(sagaOf([], { auto_complete: false, ...more }))).saga?.id ?? "";
}

export function ownStep(url: string, name: string, more: JsonObject = {}): JsonObject {
  return sagaHttpStep(url, name, { action: null, action_retry: null, ...more });
}

let stuckCount = 0;

/** Its undo has failed for good, and is tried again only after a day. */
export async function stuckSaga(fixture: Fixture, correlationId = ""): Promise<{ readonly sagaId: string; readonly address: string }> {
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
  await expect.poll(async () => (await sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.STUCK);
  return { sagaId, address: fixture.ledger.url };
}

export async function file({ clients }: Fixture, bytes = 0): Promise<string> {
  const { file } = await clients.files.createFile({ name: "a.txt" });
  const fileId = file?.id ?? "";
  if (bytes > 0) await clients.files.appendFile({ fileId, data: new Uint8Array(bytes) });
  return fileId;
}

export async function key({ clients }: Fixture): Promise<string> {
  return (await clients.access.createApiKey({ name: newName("ci"), scopes: ["workflows:read"] })).apiKey?.id ?? "";
}

export async function secret({ clients }: Fixture): Promise<string> {
  const name = newName("secret");
  await clients.secrets.setSecret({ name, value: "first-value" });
  return name;
}
