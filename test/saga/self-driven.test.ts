import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { EndReason, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type EnlistStepResponse, StepDecision, StepResolution } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { type TaskResult, TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { createWorkflow, delayStep } from "../service/support/definitions.ts";
import { ended, seconds, useServer } from "../service/support/fixture.ts";
import { refusal, refusalOfStatus } from "../service/support/refusal.ts";
import { addTenant } from "../service/support/tenants.ts";
import { httpStep, sagaOf, sagaStep } from "./support/steps.ts";

const fixture = useServer();

const told = (result: JsonObject): TaskResult => fromJson(TaskResultSchema, result);
const done = (output: JsonObject = {}): TaskResult => told({ outcome: "OUTCOME_SUCCEEDED", output });
const failed = told({ outcome: "OUTCOME_FAILED_NO_EFFECT", error: "card_declined", message: "no funds" });

async function open(more: JsonObject = {}): Promise<string> {
  const { saga } = await fixture.clients.sagas.startSaga(sagaOf([], { auto_complete: false, ...more }));
  return saga?.id ?? "";
}

/** Acts itself; undone by a call. */
function own(url: string, name: string, more: JsonObject = {}): JsonObject {
  return httpStep(url, name, { action: null, action_retry: null, ...more });
}

async function enlist(sagaId: string, step: JsonObject): Promise<EnlistStepResponse> {
  return await fixture.clients.sagas.enlistStep({ sagaId, step: sagaStep(step), selfDriven: true });
}

async function eventsOf(sagaId: string): Promise<string[]> {
  const { events } = await fixture.clients.workflows.listExecutionEvents({ executionId: sagaId, pageSize: 1000 });
  return events.map(({ type, stepPath }) => (stepPath === "" ? type : `${type} ${stepPath}`));
}

describe("a step that its caller carries out", () => {
  it("joins before it acts, is told to go on, and reports once", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const step = own(`${fixture.ledger.url}/a`, "charge", { input: { amount: 5 } });
    const first = await enlist(sagaId, step);
    expect(first.decision).toBe(StepDecision.CONTINUE);
    expect(first.task).toMatchObject({ executionId: sagaId, stepPath: "charge", attempt: 1, idempotencyKey: `${sagaId}/charge/action`, input: { amount: 5 } });
    expect(first.task?.deadline).toBeDefined();
    const again = await enlist(sagaId, step);
    expect(again).toMatchObject({ decision: StepDecision.ALREADY, task: { token: first.task?.token } });
    expect((await refusal(enlist(sagaId, { ...step, input: { amount: 6 } }))).reason).toBe("STEP_PAYLOAD_MISMATCH");

    const token = first.task?.token ?? "";
    expect((await refusal(sagas.completeSaga({ sagaId }))).reason).toBe("OPEN_STEPS");
    expect(await sagas.reportStep({ sagaId, step: "charge", token, result: told({ outcome: "OUTCOME_IN_PROGRESS" }) })).toMatchObject({
      decision: StepDecision.CONTINUE,
    });
    expect(await sagas.reportStep({ sagaId, step: "charge", token, result: done({ id: 9 }) })).toMatchObject({ decision: StepDecision.CONTINUE });
    const repeated = await sagas.reportStep({ sagaId, step: "charge", token, result: done({ id: 9 }) });
    expect(repeated.decision).toBe(StepDecision.ALREADY);
    expect(repeated.recorded?.output && toJson(ValueSchema, repeated.recorded.output)).toEqual({ id: 9 });
    // The first definite report stands; the second is on record.
    expect((await sagas.reportStep({ sagaId, step: "charge", token, result: failed })).decision).toBe(StepDecision.ALREADY);
    expect(await eventsOf(sagaId)).toContain("anomaly charge");

    const { saga } = await sagas.completeSaga({ sagaId });
    expect(saga?.state).toBe(SagaState.COMPLETED);
    expect((await sagas.completeSaga({ sagaId })).saga?.state).toBe(SagaState.COMPLETED);
    const opposite = await refusal(sagas.abortSaga({ sagaId, reason: "no" }));
    expect(opposite).toMatchObject({ code: "FAILED_PRECONDITION", reason: "SAGA_STATE_CONFLICT", metadata: { sagaState: "COMPLETED" } });
    expect((await refusal(enlist(sagaId, own(fixture.ledger.url, "late")))).reason).toBe("SAGA_STATE_CONFLICT");
  });

  it("turns the saga back when it reports that it surely failed, with its reason", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const url = `${fixture.ledger.url}/b`;
    const book = await enlist(sagaId, own(url, "book"));
    await sagas.reportStep({ sagaId, step: "book", token: book.task?.token ?? "", result: done({ seat: "1A" }) });
    const charge = await enlist(sagaId, own(url, "charge"));
    const answer = await sagas.reportStep({ sagaId, step: "charge", token: charge.task?.token ?? "", result: failed });
    expect(answer.decision).toBe(StepDecision.CONTINUE);
    await ended(fixture.clients, sagaId);
    const { saga } = await sagas.getSaga({ sagaId });
    expect(saga).toMatchObject({
      state: SagaState.COMPENSATED,
      endReason: EndReason.STEP_FAILED,
      failure: { name: "WORKER.card_declined", stepPath: "charge" },
    });
    expect(fixture.ledger.callsTo("/b/undo-book")).toHaveLength(1);
    expect(fixture.ledger.callsTo("/b/undo-charge")).toHaveLength(0);
  });

  it("is told to stop once the saga turns back, and a success that comes then is undone", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const url = `${fixture.ledger.url}/c`;
    const { task } = await enlist(sagaId, own(url, "charge"));
    const aborted = await sagas.abortSaga({ sagaId, reason: "the customer left" });
    expect(aborted.saga).toMatchObject({ state: SagaState.COMPENSATING, endReason: EndReason.ABORTED });
    expect((await sagas.abortSaga({ sagaId, reason: "again" })).saga?.state).toBe(SagaState.COMPENSATING);
    expect(await enlist(sagaId, own(url, "mail"))).toMatchObject({ decision: StepDecision.STOP });
    // Nobody undoes what may still be running.
    expect(fixture.ledger.callsTo("/c/undo-charge")).toHaveLength(0);
    const token = task?.token ?? "";
    const heartbeat = await sagas.reportStep({ sagaId, step: "charge", token, result: told({ outcome: "OUTCOME_IN_PROGRESS" }) });
    expect(heartbeat.decision).toBe(StepDecision.STOP);
    const late = await sagas.reportStep({ sagaId, step: "charge", token, result: done({ id: 3 }) });
    expect(late.decision).toBe(StepDecision.WILL_COMPENSATE);
    await ended(fixture.clients, sagaId);
    expect((await sagas.getSaga({ sagaId })).saga).toMatchObject({
      state: SagaState.COMPENSATED,
      steps: [{ actionState: OperationState.SUCCEEDED, compensationState: OperationState.SUCCEEDED }],
    });
    expect(await eventsOf(sagaId)).not.toContain("step_enlisted mail");
    expect((await sagas.abortSaga({ sagaId })).saga?.state).toBe(SagaState.COMPENSATED);
  });

  it("is undone once more when its success is proved after the end", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const url = `${fixture.ledger.url}/d`;
    const { task } = await enlist(sagaId, own(url, "charge", { barrier: true }));
    await sagas.abortSaga({ sagaId });
    await ended(fixture.clients, sagaId);
    expect(fixture.ledger.callsTo("/d/undo-charge")).toHaveLength(1);
    const late = await sagas.reportStep({ sagaId, step: "charge", token: task?.token ?? "", result: done({ id: 3 }) });
    expect(late.decision).toBe(StepDecision.WILL_COMPENSATE);
    const { url: service, apiKey } = fixture.server;
    const metrics = await (await fetch(`${service}/metrics`, { headers: { authorization: `Bearer ${apiKey}` } })).text();
    expect(metrics).toContain('pyairtable_workflow_saga_anomalies_total{kind="late_success"}');
    await ended(fixture.clients, sagaId);
    const undos = await fixture.ledger.called("/d/undo-charge", 2);
    expect(undos.map(({ key }) => key)).toEqual([`"${sagaId}/charge/compensate"`, `"${sagaId}/charge/compensate#1"`]);
    const events = await eventsOf(sagaId);
    expect(events.filter((event) => event.startsWith("execution_") || event.startsWith("anomaly"))).toEqual([
      "execution_created",
      "execution_started",
      "execution_cancel_requested",
      "execution_ended",
      "execution_reopened",
      "anomaly charge",
      "execution_ended",
    ]);
    expect((await sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.COMPENSATED);
  });

  it("that falls silent is unknown: the saga turns back and undoes it, but not before its time and as long again", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const url = `${fixture.ledger.url}/e`;
    await enlist(sagaId, own(url, "charge", { timeouts: { start_to_close: "0.2s" }, barrier: true }));
    await ended(fixture.clients, sagaId);
    const { saga } = await sagas.getSaga({ sagaId });
    expect(saga).toMatchObject({ state: SagaState.COMPENSATED, failure: { name: "TIMEOUT.START_TO_CLOSE" } });
    expect(fixture.ledger.callsTo("/e/undo-charge")).toHaveLength(1);
  });

  it("leaves the saga when it has done nothing, and is never called again", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const { task } = await enlist(sagaId, own(`${fixture.ledger.url}/f`, "charge"));
    const foreign = await enlist(sagaId, own(`${fixture.ledger.url}/f`, "mail"));
    expect((await refusal(sagas.leaveSaga({ sagaId, step: "charge", token: foreign.task?.token ?? "" }))).reason).toBe("TOKEN_INVALID");
    const { saga } = await sagas.leaveSaga({ sagaId, step: "charge", token: task?.token ?? "", reason: "changed its mind" });
    expect(saga?.steps.find(({ name }) => name === "charge")?.state).toBe(StepState.SKIPPED);
    await sagas.leaveSaga({ sagaId, step: "charge" });
    await sagas.leaveSaga({ sagaId, step: "mail" });
    expect((await refusal(sagas.leaveSaga({ sagaId, step: "nobody" }))).reason).toBe("STEP_NOT_FOUND");
    await sagas.abortSaga({ sagaId });
    await ended(fixture.clients, sagaId);
    expect(fixture.ledger.calls.filter(({ path }) => path.startsWith("/f/"))).toEqual([]);
  });

  it("may join after the PIVOT only when it must succeed or has no effect", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const url = `${fixture.ledger.url}/g`;
    const pay = await enlist(sagaId, own(url, "pay", { kind: "COMPENSATION_KIND_PIVOT", compensation: null }));
    const refused = await refusal(enlist(sagaId, own(url, "book")));
    expect(refused).toMatchObject({ code: "INVALID_ARGUMENT", reason: "PIVOT_ORDER", fields: ["step.kind"] });
    await sagas.reportStep({ sagaId, step: "pay", token: pay.task?.token ?? "", result: done() });
    expect((await sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.COMPLETING);
    expect((await refusal(sagas.abortSaga({ sagaId }))).reason).toBe("PAST_PIVOT");
    await sagas.enlistStep({
      sagaId,
      step: sagaStep(httpStep(url, "ship", { kind: "COMPENSATION_KIND_RETRIABLE", compensation: null, compensation_retry: null })),
    });
    await fixture.ledger.called("/g/ship");
    await sagas.completeSaga({ sagaId, whenIdle: true });
    expect((await ended(fixture.clients, sagaId)).sagaState).toBe(SagaState.COMPLETED);
  });

  it("joins a workflow's execution and is undone with it", async () => {
    const { clients, ledger } = fixture;
    const workflow = await createWorkflow(clients, [delayStep("settle", "30s")]);
    const { execution } = await clients.workflows.startExecution({ workflow });
    const sagaId = execution?.id ?? "";
    const { decision, task } = await enlist(sagaId, own(`${ledger.url}/h`, "charge"));
    expect(decision).toBe(StepDecision.CONTINUE);
    expect((await refusal(enlist(sagaId, own(ledger.url, "settle")))).reason).toBe("STEP_NAME_DUPLICATE");
    await clients.sagas.reportStep({ sagaId, step: "charge", token: task?.token ?? "", result: done() });
    await clients.workflows.cancelExecution({ executionId: sagaId, gracePeriod: seconds(0) });
    expect((await ended(clients, sagaId)).sagaState).toBe(SagaState.COMPENSATED);
    expect(ledger.callsTo("/h/undo-charge")).toHaveLength(1);
  });
});

describe("reports", () => {
  it("with a token of another tenant, another step or none of ours are refused, each for itself", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    const { task } = await enlist(sagaId, own(fixture.ledger.url, "charge"));
    const token = task?.token ?? "";
    const other = await addTenant(fixture, "rival", ["sagas:read", "sagas:write"]);
    expect((await refusal(other.sagas.reportStep({ sagaId, step: "charge", token, result: done() }))).reason).toBe("SAGA_NOT_FOUND");
    expect((await refusal(other.sagas.getSaga({ sagaId }))).reason).toBe("SAGA_NOT_FOUND");
    expect((await refusal(other.sagas.abortSaga({ sagaId }))).reason).toBe("SAGA_NOT_FOUND");
    const { results } = await sagas.batchReportSteps({
      reports: [
        { sagaId, step: "charge", token: "nonsense", result: done() },
        { sagaId, step: "nobody", token, result: done() },
        { sagaId, step: "charge", token, result: done() },
        { sagaId, step: "charge", token, result: done() },
      ],
    });
    expect(
      results.map(({ result }) => (result.case === "response" ? result.value.decision : result.case === "error" ? refusalOfStatus(result.value).reason : "")),
    ).toEqual(["TOKEN_INVALID", "STEP_NOT_FOUND", StepDecision.CONTINUE, StepDecision.ALREADY]);
  });

  it("nobody will ever give are given by an operator, on record", async () => {
    const { sagas } = fixture.clients;
    const sagaId = await open();
    fixture.ledger.script("/o/undo-charge", [500]);
    const { task } = await enlist(sagaId, own(`${fixture.ledger.url}/o`, "charge", { compensation_retry: { initial_interval: "0.02s", maximum_attempts: 2 } }));
    await sagas.reportStep({ sagaId, step: "charge", token: task?.token ?? "", result: done() });
    await sagas.abortSaga({ sagaId });
    await expect.poll(async () => (await sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.STUCK);
    expect((await sagas.listSagas({ filter: `stuck = true id = "${sagaId}"` })).sagas).toHaveLength(1);
    const asked = { sagaId, step: "charge", resolution: StepResolution.MARK_COMPENSATED, reason: "refunded by hand" };
    const { saga, step } = await sagas.resolveStep(asked);
    expect(step?.compensationState).toBe(OperationState.RESOLVED);
    expect(saga?.state).toBe(SagaState.COMPENSATED);
    const { events } = await fixture.clients.workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["operator_acted"] });
    expect(events[0]?.payload.value).toMatchObject({ action: "resolve_step.mark_compensated", reason: "refunded by hand", stepPath: "charge" });
  });
});
