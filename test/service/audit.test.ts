/** Who changed what, as an auditor reads it: over the wire, with the reason, also when what it was about is gone. */
import { expect, it } from "vitest";
import type { AuditEntry } from "#gen/pyairtable/workflow/v1/access_pb.js";
import { createWorkflow, delayStep, logStep } from "./support/definitions.ts";
import { begin, run, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";
import { addTenant } from "./support/tenants.ts";

const service = useServer();
const entries = async (filter: string): Promise<AuditEntry[]> => (await service.clients.access.listAuditEntries({ filter, pageSize: 100 })).entries;

it("what an operator tells an execution is listed with step and reason, and outlives the execution", async () => {
  const { workflows } = service.clients;
  const { id, workflowName } = await begin(service.clients, [delayStep("sleep", "3600s"), delayStep("more", "3600s")]);
  await workflows.pauseExecution({ executionId: id, reason: "look first" });
  await workflows.resumeExecution({ executionId: id });
  await workflows.skipStep({ executionId: id, path: "sleep", reason: "no time" });
  await workflows.terminateExecution({ executionId: id, reason: "done with it" });
  const told = await entries(`execution_id = ${id}`);
  const lines = told.map(({ method, stepPath, reason, target }) => [method, stepPath, reason, target]);
  expect(lines).toEqual([
    ["TerminateExecution", "", "done with it", workflowName],
    ["SkipStep", "sleep", "no time", workflowName],
    ["ResumeExecution", "", "", workflowName],
    ["PauseExecution", "", "look first", workflowName],
  ]);
  await workflows.deleteExecution({ executionId: id });
  const kept = await entries(`execution_id = ${id}`);
  expect(kept.map(({ method }) => method)).toEqual(["DeleteExecution", ...lines.map(([method]) => method)]);
  expect(kept.slice(1)).toEqual(told);
  expect(kept[0]).toMatchObject({ detail: { execution_id: id }, actor: told[0]?.actor });
});

it("changes of workflows and secrets are listed by what they changed; a secret's value is in none of them", async () => {
  const { workflows, secrets } = service.clients;
  const name = await createWorkflow(service.clients, [logStep("a")]);
  const { workflow } = await workflows.updateWorkflow({ workflow: name, changes: { displayName: "Other" }, updateMask: { paths: ["display_name"] } });
  await secrets.setSecret({ name: "audited", value: "audited-secret-value" });
  await secrets.deleteSecret({ name: "audited" });
  expect((await entries(`target = ${workflow?.id}`)).map(({ method }) => method)).toEqual(["UpdateWorkflow", "CreateWorkflow"]);
  expect((await entries("target = audited")).map(({ method }) => method)).toEqual(["DeleteSecret", "SetSecret"]);
  expect(JSON.stringify((await entries("")).map(({ detail, ...line }) => [detail, line.reason, line.target]))).not.toContain("audited-secret-value");
});

it("refused and tried calls leave no line; another tenant reads its own; the scope is needed", async () => {
  const { workflows, access } = service.clients;
  const before = (await entries("")).length;
  await refusal(workflows.deleteWorkflow({ workflow: "nobody" }));
  const name = await createWorkflow(service.clients, [logStep("a")]);
  await workflows.deleteWorkflow({ workflow: name, validateOnly: true });
  expect((await entries("")).length).toBe(before + 1);
  const rival = await addTenant(service, "rival", ["access:admin", "workflows:write", "executions:start", "executions:read"]);
  expect((await rival.access.listAuditEntries({})).entries).toEqual([]);
  await run(rival, [logStep("a")]);
  expect((await rival.access.listAuditEntries({})).entries.map(({ method }) => method)).toEqual(["CreateWorkflow"]);
  expect(await refusal(access.listAuditEntries({ filter: "detail = x" }))).toMatchObject({ reason: "FILTER_INVALID" });
  expect((await access.listAuditEntries({ filter: 'time < "2020-01-01T00:00:00Z"' })).entries).toEqual([]);
  const blind = await addTenant(service, "blind", ["workflows:write"]);
  expect(await refusal(blind.access.listAuditEntries({}))).toMatchObject({ reason: "SCOPE_MISSING" });
  const page = await access.listAuditEntries({ pageSize: 1 });
  expect((await access.listAuditEntries({ pageSize: 1, pageToken: page.nextPageToken })).entries[0]?.id).not.toBe(page.entries[0]?.id);
});

it("a signal is on record with who sent it, once, without its data; a published event is not", async () => {
  const { workflows } = service.clients;
  const { id: executionId, workflowName } = await begin(service.clients, [
    { name: "approval", wait_for_event: { any_of: [{ event_type: "approved" }], timeout: "3600s" } },
  ]);
  const signal = { executionId, eventType: "approved", data: { kind: { case: "stringValue" as const, value: "canary-approval" } }, dedupId: "once" };
  const first = await workflows.signalExecution({ ...signal, requestId: crypto.randomUUID() });
  expect(await workflows.signalExecution(signal)).toMatchObject({ signalId: first.signalId, duplicate: true });
  await workflows.publishEvent({ eventType: "approved", correlationKey: "order-1" });
  const found = await entries(`execution_id = ${executionId}`);
  expect(found).toMatchObject([{ method: "SignalExecution", target: workflowName, executionId, detail: { event_type: "approved" } }]);
  expect(found[0]?.actor).toMatch(/^key_/);
  expect(JSON.stringify(found, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toContain("canary");
  expect(await entries('method = "PublishEvent"')).toEqual([]);
});
