import { StepResolution } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { sagaOf, sagaStep } from "../../saga/support/steps.ts";
import { file, key, madeTemplate, openSaga, over, ownStep, parked, secret, sleepy, stuckSaga, templateOf, twoRevisions } from "./change-makers.ts";
import { createWorkflow, definition, logStep, newName } from "./definitions.ts";
import { begin, type Fixture, seconds } from "./fixture.ts";

export interface ChangeCase {
  /** Makes what the call needs; answers the request without its id. */
  readonly request: (fixture: Fixture) => Promise<object>;
  /** Another payload, for a reuse of the id. */
  readonly other: object;
  /** Rows by table, and ledger events by type, that it adds once. */
  readonly adds?: Readonly<Record<string, number>>;
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
  "AccessService/CreateTenant": {
    request: async () => ({ tenant: { id: newName("tenant") } }),
    other: { keyName: "another" },
    adds: { tenants: 1, api_keys: 1 },
  },
  "AccessService/UpdateTenant": {
    request: async ({ clients }) => {
      const { tenant } = await clients.access.createTenant({ tenant: { id: newName("tenant") } });
      return { tenant: tenant?.id ?? "", changes: { weight: 2 }, ...reason };
    },
    other: { reason: "another" },
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
