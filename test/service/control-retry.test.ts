/** Ended and stuck executions over the wire: retried, rerun, deleted, and several verbs at once. */

import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { Client } from "pg";
import { describe, expect, test } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { EndReason, type Execution, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { connect } from "./support/connect-client.ts";
import { createWorkflow, definition, delayStep, httpStep, logStep, newName } from "./support/definitions.ts";
import { begin, ended, run, seconds, stepsOf, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusal } from "./support/refusal.ts";
import { types } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
const keep = { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" };
const get = async (executionId: string): Promise<Execution | undefined> => (await service.clients.workflows.getExecution({ executionId })).execution;
const pathsOf = (id: string): string[] => service.ledger.calls.filter((call) => call.headers["saga-id"] === id).map((call) => call.path);
const eventTypes = async (executionId: string): Promise<string[]> =>
  types((await service.clients.workflows.listExecutionEvents({ executionId, pageSize: 1000 })).events);

describe("retry", () => {
  test("goes on from what failed, keeps results, and the key of the failed call", async () => {
    const { clients, ledger } = service;
    ledger.script("/r2", [422, "hang"]);
    const failed = await run(clients, [httpStep("one", at("/r1")), httpStep("two", at("/r2")), logStep("end")], keep);
    expect(failed).toMatchObject({ state: ExecutionState.FAILED, failedStep: "two", standingEffects: ["one"] });
    const retried = await clients.workflows.retryExecution({ executionId: failed.id, reason: "mended" });
    expect(retried.execution?.endTime).toBeUndefined();
    await ledger.called("/r2", 2);
    ledger.release();
    const done = await ended(clients, failed.id);
    expect(done).toMatchObject({ state: ExecutionState.COMPLETED, sagaState: SagaState.COMPLETED, failedStep: "", standingEffects: [] });
    expect(done.failure).toBeUndefined();
    expect(pathsOf(failed.id)).toEqual(["/r1", "/r2", "/r2"]);
    expect(new Set(ledger.callsTo("/r2").map((call) => call.key)).size).toBe(1);
    expect((await eventTypes(failed.id)).filter((type) => /^execution_/.test(type))).toEqual([
      "execution_created",
      "execution_started",
      "execution_ended",
      "execution_reopened",
      "execution_ended",
    ]);
    const { attempts } = await clients.workflows.getExecutionStep({ executionId: failed.id, path: "two" });
    expect(attempts).toMatchObject([
      { operation: Operation.ACTION, attempt: 1, state: OperationState.FAILED, failure: { name: "HTTP.422" } },
      { operation: Operation.ACTION, attempt: 2, state: OperationState.SUCCEEDED },
    ]);
    expect(await refusal(clients.workflows.retryExecution({ executionId: failed.id }))).toMatchObject({
      reason: "EXECUTION_NOT_RETRYABLE",
      metadata: { state: "COMPLETED" },
    });
  });

  test("two at once: one opens it, the other is told why not", async () => {
    const { clients, ledger } = service;
    ledger.script("/rr", [422, { status: 200, delayMs: 300 }]);
    const failed = await run(clients, [httpStep("one", at("/rr"))], keep);
    const answers = await Promise.allSettled([1, 2, 3].map(() => clients.workflows.retryExecution({ executionId: failed.id })));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    for (const answer of answers) {
      if (answer.status === "rejected")
        expect(await refusal(Promise.reject(answer.reason))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "EXECUTION_NOT_RETRYABLE" });
    }
    expect((await ended(clients, failed.id)).state).toBe(ExecutionState.COMPLETED);
    expect(pathsOf(failed.id)).toHaveLength(2);
  });

  test("with another input and a newer revision; one that lacks what ran is refused", async () => {
    const { clients } = service;
    const name = newName();
    const first = definition([httpStep("one", at("/v1")), httpStep("two", at("/v/{{trigger.data.part}}"))], { ...keep });
    await clients.workflows.createWorkflow({ workflow: { name, definition: first } });
    service.ledger.script("/v/bad", [422]);
    const { execution } = await clients.workflows.startExecution({ workflow: name, input: { part: "bad" }, wait: seconds(50) });
    expect(execution).toMatchObject({ state: ExecutionState.FAILED, revision: 1 });
    const executionId = execution?.id ?? "";
    const { revision } = await addRevision(name, [httpStep("one", at("/v1")), httpStep("two", at("/w/{{trigger.data.part}}")), httpStep("three", at("/v3"))]);
    const lacking = await addRevision(name, [httpStep("two", at("/w")), logStep("one")]);
    expect(await refusal(clients.workflows.retryExecution({ executionId, revision: lacking.revision }))).toMatchObject({
      reason: "REVISION_INCOMPATIBLE",
      metadata: { steps: "one" },
    });
    expect(await refusal(clients.workflows.retryExecution({ executionId, revision: 99 }))).toMatchObject({ reason: "REVISION_NOT_FOUND" });
    const preview = await clients.workflows.retryExecution({ executionId, revision, input: { part: "good" }, validateOnly: true });
    expect(preview.execution).toMatchObject({ state: ExecutionState.RUNNING, revision });
    expect((await get(executionId))?.state).toBe(ExecutionState.FAILED);
    await clients.workflows.retryExecution({ executionId, revision, input: { part: "good" } });
    const done = await ended(clients, executionId);
    expect(done).toMatchObject({ state: ExecutionState.COMPLETED, revision, input: { part: "good" } });
    expect(pathsOf(executionId)).toEqual(["/v1", "/v/bad", "/w/good", "/v3"]);
  });

  test("gives the key up: a new run may have it, and the reopened one does not take it back", async () => {
    const { clients, ledger } = service;
    ledger.script("/k1", [422, 200]);
    const workflow = await createWorkflow(clients, [httpStep("one", at("/k1"))], keep);
    const first = await clients.workflows.startExecution({ workflow, executionKey: "mine", wait: seconds(50) });
    const waiting = await createWorkflow(clients, [delayStep("sleep", "3600s")]);
    const second = await clients.workflows.startExecution({ workflow: waiting, executionKey: "mine" });
    await clients.workflows.retryExecution({ executionId: first.execution?.id ?? "" });
    expect(await ended(clients, first.execution?.id ?? "")).toMatchObject({ state: ExecutionState.COMPLETED, executionKey: "" });
    expect((await get("key:mine"))?.id).toBe(second.execution?.id);
    await clients.workflows.terminateExecution({ executionId: "key:mine", reason: "done" });
  });

  test("a stuck undo goes on with a fresh budget", async () => {
    const { clients, ledger } = service;
    ledger.script("/s2", [422]);
    ledger.script("/undo-s1", [500, 500, 200]);
    const one = httpStep("one", at("/s1"), { undo: at("/undo-s1") }) as JsonObject & { compensation: JsonObject };
    one.compensation["retry_policy"] = { initial_interval: "0.02s", maximum_attempts: 2 };
    const { id } = await begin(clients, [one, httpStep("two", at("/s2"))], { compensation_policy: { halt_on_stuck: true } });
    await expect.poll(async () => (await get(id))?.state).toBe(ExecutionState.STUCK);
    const explained = await clients.workflows.explainExecution({ executionId: id });
    expect(explained.blockers).toMatchObject([
      { stepPath: "one", cause: { case: "operator", value: { operation: Operation.COMPENSATE, failure: { name: "HTTP.500" } } } },
    ]);
    expect(explained.rootCause?.name).toBe("HTTP.422");
    await clients.workflows.retryExecution({ executionId: id });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.STEP_FAILED, failedStep: "two" });
    expect(ledger.callsTo("/undo-s1")).toHaveLength(3);
  });
});

describe("rerun", () => {
  test("from the beginning, and from a step with earlier results copied, linked to the old one", async () => {
    const { clients, ledger } = service;
    ledger.script("/u2", [422, 200]);
    const steps = [
      { ...httpStep("one", at("/u1"), { undo: at("/undo-u1") }), export: { got: "result.status" } },
      { name: "choose", conditional: { cases: [{ name: "yes", when: "true", steps: [logStep("inner", "x")] }] } },
      httpStep("two", at("/u2"), {
        json: { one: "{{steps.one.result.status}}", got: "{{variables.got}}", chosen: "{{steps.choose.result.matched}}", inner: "{{steps.inner.status}}" },
      }),
    ];
    const workflow = await createWorkflow(clients, steps, { ...keep, variables: { got: 0 } });
    const { execution: old } = await clients.workflows.startExecution({
      workflow,
      input: { a: 1 },
      labels: { team: "x" },
      correlationId: "corr-rerun",
      wait: seconds(50),
    });
    expect(old).toMatchObject({ state: ExecutionState.FAILED });
    const oldId = old?.id ?? "";
    const preview = await clients.workflows.rerunExecution({ executionId: oldId, fromStep: "two", validateOnly: true });
    expect(preview.execution).toMatchObject({ rerunOf: oldId });
    const part = await clients.workflows.rerunExecution({ executionId: oldId, fromStep: "two", reason: "again" });
    const partId = part.execution?.id ?? "";
    expect(part.execution).toMatchObject({ rerunOf: oldId, labels: { team: "x" }, correlationId: "corr-rerun", input: { a: 1 } });
    expect(await ended(clients, partId)).toMatchObject({ state: ExecutionState.COMPLETED, rerunOf: oldId, variables: { got: 200 } });
    expect(pathsOf(partId)).toEqual(["/u2"]);
    expect(ledger.callsTo("/u2").at(-1)?.body).toEqual({ one: 200, got: 200, chosen: "yes", inner: "completed" });
    expect((await stepsOf(clients, partId)).get("one")).toMatchObject({ state: StepState.COMPLETED, actionState: OperationState.SKIPPED });
    const { events } = await clients.workflows.listExecutionEvents({ executionId: partId });
    expect(events.find((event) => event.type === "operator_acted")?.payload.value).toMatchObject({ action: "rerun", reason: "again", stepPath: "two" });
    expect(events.find((event) => event.type === "step_succeeded" && event.stepPath === "one")?.payload.value).toMatchObject({ copiedFrom: oldId });

    const whole = await clients.workflows.rerunExecution({ executionId: oldId, input: { a: 2 } });
    expect(await ended(clients, whole.execution?.id ?? "")).toMatchObject({ state: ExecutionState.COMPLETED, input: { a: 2 } });
    expect(pathsOf(whole.execution?.id ?? "")).toEqual(["/u1", "/u2"]);
    expect(await refusal(clients.workflows.rerunExecution({ executionId: oldId, fromStep: "ghost" }))).toMatchObject({ reason: "STEP_NOT_FOUND" });
  });

  test("is idempotent by request id, and refused for open runs and results that were undone", async () => {
    const { clients, ledger } = service;
    ledger.script("/y2", [422]);
    const undone = await run(clients, [httpStep("one", at("/y1"), { undo: at("/undo-y1") }), httpStep("two", at("/y2"))]);
    expect(undone.state).toBe(ExecutionState.COMPENSATED);
    expect(await refusal(clients.workflows.rerunExecution({ executionId: undone.id, fromStep: "two" }))).toMatchObject({
      reason: "STEP_STATE_CONFLICT",
      metadata: { path: "one" },
    });
    const requestId = crypto.randomUUID();
    const twins = await Promise.all([1, 2, 3].map(() => clients.workflows.rerunExecution({ executionId: undone.id, requestId })));
    expect(new Set(twins.map(({ execution }) => execution?.id)).size).toBe(1);
    expect(await refusal(clients.workflows.rerunExecution({ executionId: undone.id, fromStep: "one", requestId }))).toMatchObject({
      reason: "REQUEST_ID_REUSED",
    });
    const open = await begin(clients, [delayStep("sleep", "3600s")]);
    expect(await refusal(clients.workflows.rerunExecution({ executionId: open.id }))).toMatchObject({ reason: "EXECUTION_NOT_TERMINAL" });
    await clients.workflows.terminateExecution({ executionId: open.id, reason: "done" });
  });
});

describe("delete", () => {
  test("takes an ended execution with everything of it; open ones are refused; two at once: one does it", async () => {
    const { clients } = service;
    const { id } = await run(clients, [logStep("a"), logStep("b")]);
    const open = await begin(clients, [delayStep("sleep", "3600s")]);
    expect(await refusal(clients.workflows.deleteExecution({ executionId: open.id }))).toMatchObject({ reason: "EXECUTION_NOT_TERMINAL" });
    await clients.workflows.deleteExecution({ executionId: id, validateOnly: true });
    expect((await get(id))?.id).toBe(id);
    const answers = await Promise.allSettled([1, 2, 3].map(() => clients.workflows.deleteExecution({ executionId: id })));
    expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(await refusal(clients.workflows.getExecution({ executionId: id }))).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
    expect(await refusal(clients.workflows.listExecutionEvents({ executionId: id }))).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
    expect(await refusal(clients.workflows.deleteExecution({ executionId: id }))).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
    await clients.workflows.terminateExecution({ executionId: open.id, reason: "done" });
  });

  test("and a retry at once: it is either gone or goes on, never half of it", async () => {
    const { clients, ledger } = service;
    ledger.script("/dr", (call) => ({ status: call.headers["saga-attempt"] === "1" ? 422 : 200 }));
    const workflow = await createWorkflow(clients, [httpStep("one", at("/dr"))], keep);
    for (let round = 0; round < 8; round++) {
      const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
      const executionId = execution?.id ?? "";
      const [retried, deleted] = await Promise.allSettled([
        clients.workflows.retryExecution({ executionId }),
        clients.workflows.deleteExecution({ executionId }),
      ]);
      if (deleted.status === "fulfilled" && retried.status === "rejected") {
        expect(await refusal(clients.workflows.getExecution({ executionId }))).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
      } else if (retried.status === "fulfilled" && deleted.status === "rejected") {
        expect((await ended(clients, executionId)).state).toBe(ExecutionState.COMPLETED);
      } else {
        // The delete came after the retried run had ended.
        expect([retried.status, deleted.status]).toEqual(["fulfilled", "fulfilled"]);
      }
    }
  });
});

describe("verbs at once", () => {
  test("pause, resume, cancel and terminate: one end, and who comes too late is told the state", async () => {
    const { clients } = service;
    const workflow = await createWorkflow(clients, [delayStep("sleep", "3600s")]);
    for (let round = 0; round < 8; round++) {
      const { execution } = await clients.workflows.startExecution({ workflow });
      const executionId = execution?.id ?? "";
      const answers = await Promise.allSettled([
        clients.workflows.pauseExecution({ executionId }),
        clients.workflows.cancelExecution({ executionId }),
        clients.workflows.resumeExecution({ executionId }),
        clients.workflows.terminateExecution({ executionId, reason: "race" }),
        clients.workflows.updateVariables({ executionId, variables: { a: 1 }, reason: "race" }),
      ]);
      for (const answer of answers) {
        if (answer.status === "rejected")
          expect(await refusal(Promise.reject(answer.reason))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "EXECUTION_TERMINAL" });
      }
      expect([ExecutionState.CANCELED, ExecutionState.TERMINATED]).toContain((await ended(clients, executionId)).state);
      expect((await eventTypes(executionId)).filter((type) => type === "execution_ended")).toHaveLength(1);
    }
  });

  test("changes of variables: none is lost", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [delayStep("sleep", "3600s")]);
    const names = Array.from({ length: 20 }, (_, index) => `v${index}`);
    await Promise.all(names.map((name) => clients.workflows.updateVariables({ executionId: id, variables: { [name]: name }, reason: "at once" })));
    expect(Object.keys((await get(id))?.variables ?? {}).sort()).toEqual(names.sort());
    await clients.workflows.terminateExecution({ executionId: id, reason: "done" });
  });

  test("through two replicas: retries open once, and a pause reaches whoever drives", async () => {
    const { clients, ledger } = service;
    const other = await startAnother(service.server);
    try {
      const theirs = connect(other);
      ledger.script("/two", (call) => ({ status: call.headers["saga-attempt"] === "1" ? 422 : 200, delayMs: 100 }));
      const workflow = await createWorkflow(
        clients,
        [httpStep("one", at("/two")), { name: "wait", wait_for_event: { any_of: [{ event_type: "go.on" }] } }],
        keep,
      );
      for (let round = 0; round < 5; round++) {
        const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
        const executionId = execution?.id ?? "";
        expect(execution?.state).toBe(ExecutionState.FAILED);
        const answers = await Promise.allSettled([clients, theirs].map(({ workflows }) => workflows.retryExecution({ executionId })));
        expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        for (const answer of answers) {
          if (answer.status === "rejected") expect(await refusal(Promise.reject(answer.reason))).toMatchObject({ reason: "EXECUTION_NOT_RETRYABLE" });
        }
        const paused = await Promise.all([clients, theirs].map(({ workflows }) => workflows.pauseExecution({ executionId })));
        expect(paused.map(({ execution }) => execution?.paused)).toEqual([true, true]);
        expect((await eventTypes(executionId)).filter((type) => type === "execution_paused")).toHaveLength(1);
        await theirs.workflows.resumeExecution({ executionId });
        await theirs.workflows.signalExecution({ executionId, eventType: "go.on" });
        expect((await ended(clients, executionId)).state).toBe(ExecutionState.COMPLETED);
      }
    } finally {
      await other.stop();
    }
  });
});

/** As a colleague's update would: the next revision, active from now on. */
async function addRevision(name: string, steps: JsonObject[]): Promise<{ revision: number }> {
  const client = new Client({ connectionString: service.database.databaseUrl });
  await client.connect();
  try {
    const json = JSON.stringify(toJson(WorkflowDefinitionSchema, definition(steps, keep), { useProtoFieldName: true }));
    const { rows } = await client.query<{ revision: number }>(
      `with head as (update workflows set latest_revision = latest_revision + 1, active_revision = latest_revision + 1 where name = $1 returning tenant_id, id, latest_revision)
       insert into workflow_revisions (tenant_id, workflow_id, revision, definition, digest) select tenant_id, id, latest_revision, $2::text::json, md5($2::text) from head returning revision`,
      [name, json],
    );
    return { revision: rows[0]?.revision ?? 0 };
  } finally {
    await client.end();
  }
}
