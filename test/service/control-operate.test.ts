/** What operators and callers do to single executions, over the wire: pause, retry, rerun, decide steps, explain, count, delete. */

import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { Client } from "pg";
import { describe, expect, test } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { EndReason, type Execution, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { connect } from "./support/connect-client.ts";
import { createWorkflow, definition, delayStep, httpStep, logStep, newName } from "./support/definitions.ts";
import { begin, ended, ms, run, seconds, stepsOf, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";
import { restart } from "./support/server.ts";
import { types } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
const once = { retry_policy: { maximum_attempts: 1 } };
const keep = { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" };
const get = async (executionId: string): Promise<Execution | undefined> => (await service.clients.workflows.getExecution({ executionId })).execution;
const pathsOf = (id: string): string[] => service.ledger.calls.filter((call) => call.headers["saga-id"] === id).map((call) => call.path);
const eventTypes = async (executionId: string): Promise<string[]> =>
  types((await service.clients.workflows.listExecutionEvents({ executionId, pageSize: 1000 })).events);
const structOf = (value: unknown) => ({ kind: { case: "structValue" as const, value: value as JsonObject } });

describe("pause and resume", () => {
  test("the attempt in flight ends, nothing follows, PAUSED is shown and found; a restart keeps it; resume goes on", async () => {
    const { clients, ledger } = service;
    ledger.script("/p1", [{ status: 200, delayMs: 300 }]);
    const { id, workflowName } = await begin(clients, [httpStep("one", at("/p1")), httpStep("two", at("/p2"))]);
    await ledger.called("/p1");
    const paused = await clients.workflows.pauseExecution({ executionId: id, reason: "hold" });
    expect(paused.execution).toMatchObject({ state: ExecutionState.PAUSED, paused: true });
    await expect.poll(async () => (await stepsOf(clients, id)).get("one")?.state).toBe(StepState.COMPLETED);
    await clients.workflows.pauseExecution({ executionId: id });
    const found = async (filter: string): Promise<string[]> =>
      (await clients.workflows.listExecutions({ filter: `${filter} AND workflow_name = ${workflowName}` })).executions.map((execution) => execution.id);
    expect(await found("state = PAUSED")).toEqual([id]);
    expect(await found("state = RUNNING OR state = WAITING OR state = PENDING")).toEqual([]);
    expect(await found("state != PAUSED")).toEqual([]);
    const explained = await clients.workflows.explainExecution({ executionId: id });
    expect(explained.blockers[0]?.cause).toMatchObject({ case: "pause", value: { reason: "hold", actor: expect.stringMatching(/.+/) } });

    await service.server.stop();
    service.server = await restart(service.server);
    service.clients = connect(service.server);
    expect(await get(id)).toMatchObject({ state: ExecutionState.PAUSED, paused: true });
    expect(pathsOf(id)).toEqual(["/p1"]);
    const resumed = await service.clients.workflows.resumeExecution({ executionId: id });
    expect(resumed.execution?.paused).toBe(false);
    expect(await ended(service.clients, id)).toMatchObject({ state: ExecutionState.COMPLETED, paused: false });
    expect(pathsOf(id)).toEqual(["/p1", "/p2"]);
    expect((await eventTypes(id)).filter((type) => /paused|resumed/.test(type))).toEqual(["execution_paused", "execution_resumed"]);
    expect(await refusal(service.clients.workflows.pauseExecution({ executionId: id }))).toMatchObject({ reason: "EXECUTION_TERMINAL" });
  });

  test("a delayed start that is paused shows PAUSED and begins when it is resumed", async () => {
    const { clients } = service;
    const workflow = await createWorkflow(clients, [logStep("a")]);
    const { execution } = await clients.workflows.startExecution({ workflow, startDelay: seconds(0.3) });
    const executionId = execution?.id ?? "";
    await clients.workflows.pauseExecution({ executionId });
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(await get(executionId)).toMatchObject({ state: ExecutionState.PAUSED });
    await clients.workflows.resumeExecution({ executionId });
    expect(await ended(clients, executionId)).toMatchObject({ state: ExecutionState.COMPLETED });
  });

  test("validate_only shows what would be and changes nothing", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [delayStep("sleep", "3600s")]);
    expect((await clients.workflows.pauseExecution({ executionId: id, validateOnly: true })).execution?.state).toBe(ExecutionState.PAUSED);
    expect((await clients.workflows.cancelExecution({ executionId: id, validateOnly: true })).execution?.id).toBe(id);
    expect((await clients.workflows.terminateExecution({ executionId: id, reason: "r", validateOnly: true })).execution?.state).toBe(ExecutionState.TERMINATED);
    expect((await get(id))?.state).not.toBe(ExecutionState.PAUSED);
    expect(await eventTypes(id)).not.toContain("execution_paused");
    await clients.workflows.terminateExecution({ executionId: id, reason: "done" });
  });
});

describe("cancel", () => {
  test("leaves the running call its grace period", async () => {
    const { clients, ledger } = service;
    ledger.script("/g1", [{ status: 200, delayMs: 500 }]);
    const { id } = await begin(clients, [httpStep("one", at("/g1"), { undo: at("/undo-g1") }), httpStep("two", at("/g2"))]);
    await ledger.called("/g1");
    await clients.workflows.cancelExecution({ executionId: id, gracePeriod: seconds(5) });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.CANCELED });
    expect(ledger.callsTo("/g1")[0]?.aborted).toBe(false);
    expect(pathsOf(id)).toEqual(["/g1", "/undo-g1"]);
    expect((await stepsOf(clients, id)).get("one")?.actionState).toBe(OperationState.SUCCEEDED);
  });
});

describe("retry", () => {
  test("goes on from what failed, keeps results, and the key of the failed call", async () => {
    const { clients, ledger } = service;
    ledger.script("/r2", [422, 200]);
    const failed = await run(clients, [httpStep("one", at("/r1")), httpStep("two", at("/r2")), logStep("end")], keep);
    expect(failed).toMatchObject({ state: ExecutionState.FAILED, failedStep: "two", standingEffects: ["one"] });
    const retried = await clients.workflows.retryExecution({ executionId: failed.id, reason: "mended" });
    expect(retried.execution?.endTime).toBeUndefined();
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
    const { execution } = await clients.workflows.startExecution({ workflow: name, input: { part: "bad" }, wait: seconds(10) });
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
    const first = await clients.workflows.startExecution({ workflow, executionKey: "mine", wait: seconds(10) });
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
      wait: seconds(10),
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

describe("an operator decides a step", () => {
  test("skip, complete and fail what waits, is to be retried or has not begun; a running attempt is not overruled", async () => {
    const { clients, ledger } = service;
    ledger.script("/o1", [503]);
    ledger.script("/o2", [{ status: 200, delayMs: 500 }]);
    const slow = { ...httpStep("one", at("/o1")), retry_policy: { initial_interval: "3600s", maximum_interval: "3600s", maximum_attempts: 5 } };
    const { id } = await begin(clients, [delayStep("sleep", "3600s"), slow, httpStep("two", at("/o2")), httpStep("three", at("/o3"))]);
    await expect.poll(async () => (await get(id))?.state).toBe(ExecutionState.WAITING);
    const preview = await clients.workflows.skipStep({ executionId: id, path: "sleep", reason: "r", validateOnly: true });
    expect(preview.step?.state).toBe(StepState.SKIPPED);
    const skipped = await clients.workflows.skipStep({ executionId: id, path: "sleep", reason: "no time", result: structOf({ slept: false }) });
    expect(skipped.step).toMatchObject({ state: StepState.SKIPPED });
    await expect.poll(async () => (await stepsOf(clients, id)).get("one")?.state).toBe(StepState.RETRYING);
    const explained = await clients.workflows.explainExecution({ executionId: id });
    expect(explained.blockers).toMatchObject([
      { stepPath: "one", cause: { case: "retry", value: { attempt: 2, maximumAttempts: 5, failure: { name: "HTTP.503" } } } },
    ]);
    expect(ms(explained.blockers[0]?.untilTime)).toBeGreaterThan(Date.now() + 60_000);
    await clients.workflows.completeStep({ executionId: id, path: "one", reason: "did it by hand", result: structOf({ status: 201 }) });
    await ledger.called("/o2");
    expect(await refusal(clients.workflows.skipStep({ executionId: id, path: "two", reason: "r" }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "STEP_STATE_CONFLICT",
      metadata: { stepState: "RUNNING" },
    });
    await clients.workflows.failStep({ executionId: id, path: "three", reason: "not today", failure: { name: "USER.no", message: "no" } });
    const done = await ended(clients, id);
    expect(done).toMatchObject({ state: ExecutionState.FAILED, failedStep: "three", failure: { name: "USER.no" } });
    expect(pathsOf(id)).toEqual(["/o1", "/o2"]);
    expect((await eventTypes(id)).filter((type) => type === "operator_acted")).toHaveLength(3);
    expect(await refusal(clients.workflows.skipStep({ executionId: id, path: "three", reason: "r" }))).toMatchObject({ reason: "EXECUTION_TERMINAL" });
    expect(await refusal(clients.workflows.skipStep({ executionId: id, path: "ghost", reason: "r", validateOnly: true }))).toMatchObject({
      reason: "EXECUTION_TERMINAL",
    });
  });

  test("two decisions at once: one stands, the other is told", async () => {
    const { clients } = service;
    for (let round = 0; round < 5; round++) {
      const { id } = await begin(clients, [delayStep("sleep", "3600s"), delayStep("again", "3600s")]);
      const answers = await Promise.allSettled([
        clients.workflows.skipStep({ executionId: id, path: "sleep", reason: "skip" }),
        clients.workflows.failStep({ executionId: id, path: "sleep", reason: "fail", failure: { name: "USER.no" } }),
        clients.workflows.completeStep({ executionId: id, path: "sleep", reason: "complete" }),
      ]);
      expect(answers.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      for (const answer of answers) {
        if (answer.status === "rejected") expect((await refusal(Promise.reject(answer.reason))).reason).toMatch(/^(STEP_STATE_CONFLICT|EXECUTION_TERMINAL)$/);
      }
      await clients.workflows.terminateExecution({ executionId: id, reason: "done" }).catch(() => undefined);
    }
  });

  test("what HALT holds is completed by hand", async () => {
    const { clients, ledger } = service;
    ledger.script("/h1", [422]);
    const { id } = await begin(clients, [{ ...httpStep("one", at("/h1")), ...once, on_error: { action: "ON_ERROR_ACTION_HALT" } }, logStep("two")]);
    await expect.poll(async () => (await get(id))?.state).toBe(ExecutionState.STUCK);
    expect((await clients.workflows.explainExecution({ executionId: id })).blockers).toMatchObject([
      { cause: { case: "operator", value: { operation: Operation.ACTION } } },
    ]);
    await clients.workflows.completeStep({ executionId: id, path: "one", reason: "by hand" });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPLETED, sagaState: SagaState.COMPLETED });
  });

  test("variables are merged, null removes, and later steps see them", async () => {
    const { clients, ledger } = service;
    const { id } = await begin(clients, [delayStep("sleep", "3600s"), httpStep("tell", at("/var"), { json: "{{variables}}" })], { variables: { a: 1, b: 2 } });
    const { execution } = await clients.workflows.updateVariables({ executionId: id, variables: { b: null, c: { d: [1] } }, reason: "mend" });
    expect(execution?.variables).toEqual({ a: 1, c: { d: [1] } });
    await clients.workflows.skipStep({ executionId: id, path: "sleep", reason: "go" });
    await ended(clients, id);
    expect(ledger.callsTo("/var")[0]?.body).toEqual({ a: 1, c: { d: [1] } });
  });
});

describe("reading", () => {
  test("explain names timers, flights, the replica that drives and the root cause of an end", async () => {
    const { clients, ledger } = service;
    const waiting = await begin(clients, [delayStep("sleep", "3600s")]);
    const timer = await clients.workflows.explainExecution({ executionId: waiting.id });
    expect(timer.blockers).toMatchObject([{ stepPath: "sleep", cause: { case: "timer", value: { source: "delay" } } }]);
    expect(timer.summary).toMatch(/waits: sleep waits until .*No replica/);
    ledger.script("/e1", [{ status: 200, delayMs: 700 }]);
    const flying = await begin(clients, [httpStep("one", at("/e1"))]);
    await ledger.called("/e1");
    const flight = await clients.workflows.explainExecution({ executionId: flying.id });
    expect(flight.blockers).toEqual([]);
    expect(flight.summary).toMatch(/Attempt 1 of one is in flight since .*Replica [0-9a-f-]{36} .*lease holds until/);
    const workflow = await createWorkflow(clients, [logStep("a")]);
    const delayed = await clients.workflows.startExecution({ workflow, startDelay: seconds(3600) });
    expect((await clients.workflows.explainExecution({ executionId: delayed.execution?.id ?? "" })).blockers).toMatchObject([
      { stepPath: "", cause: { case: "timer", value: { source: "start_delay" } } },
    ]);
    ledger.script("/e2", [422]);
    const failed = await run(clients, [httpStep("one", at("/e2"))]);
    const why = await clients.workflows.explainExecution({ executionId: failed.id });
    expect(why).toMatchObject({ blockers: [], rootCause: { name: "HTTP.422" } });
    expect(why.summary).toMatch(/^It ended FAILED at step one because of HTTP.422/);
    expect(await refusal(clients.workflows.explainExecution({ executionId: "exe_01M84XF5YCEN3SNB41TB8SZ433" }))).toMatchObject({
      reason: "EXECUTION_NOT_FOUND",
    });
    for (const executionId of [waiting.id, delayed.execution?.id ?? ""]) await clients.workflows.terminateExecution({ executionId, reason: "done" });
  });

  test("a preview of the compensation lists undos in order and what would stay", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [
      httpStep("one", at("/q1"), { undo: at("/undo-q1") }),
      httpStep("two", at("/q2")),
      httpStep("three", at("/q3"), { undo: at("/undo-q3") }),
      delayStep("sleep", "3600s"),
    ]);
    await service.ledger.called("/q3");
    await expect.poll(async () => (await get(id))?.state).toBe(ExecutionState.WAITING);
    const preview = await clients.workflows.previewCompensation({ executionId: id });
    expect(preview).toMatchObject({
      compensations: [
        { path: "three", order: 1, by: "undo_three", mayNotHaveRun: false },
        { path: "one", order: 2, by: "undo_one", mayNotHaveRun: false },
      ],
      standingEffects: ["two"],
      pastPivot: false,
    });
    await clients.workflows.terminateExecution({ executionId: id, reason: "done" });
    expect(await clients.workflows.previewCompensation({ executionId: id })).toMatchObject({ compensations: [], standingEffects: ["one", "two", "three"] });
  });

  test("filters, counts and groups see the same executions", async () => {
    const { clients, ledger } = service;
    ledger.script("/f1", [422]);
    const correlationId = "corr-filters";
    const [good, bad] = [await createWorkflow(clients, [logStep("a")]), await createWorkflow(clients, [httpStep("x", at("/f1"))])];
    const before = new Date().toISOString();
    for (const workflow of [good, good, good, bad])
      await clients.workflows.startExecution({ workflow, correlationId, labels: { n: workflow }, wait: seconds(10) });
    const count = async (filter: string): Promise<number> => {
      const all = `correlation_id = "${correlationId}" AND ${filter}`;
      const [{ executions, totalSize }, { totalCount }] = await Promise.all([
        clients.workflows.listExecutions({ filter: all, includeTotalSize: true, orderBy: "create_time desc" }),
        clients.workflows.countExecutions({ filter: all }),
      ]);
      expect([BigInt(executions.length), totalSize]).toEqual([totalCount, totalCount]);
      return executions.length;
    };
    expect(await count("state = COMPLETED")).toBe(3);
    expect(await count(`workflow_name = ${bad}`)).toBe(1);
    expect(await count('failure.reason = "HTTP.4*"')).toBe(1);
    expect(await count('failure.reason = "HTTP.5*" OR failure.reason = "HTTP.422"')).toBe(1);
    expect(await count("failed_step = x")).toBe(1);
    expect(await count("failed_step != x")).toBe(3);
    expect(await count("end_reason = SUCCESS AND saga_state = COMPLETED")).toBe(3);
    expect(await count(`labels.n = ${good}`)).toBe(3);
    expect(await count("revision = 1 AND priority = 5")).toBe(4);
    expect(await count("revision = 1.5")).toBe(0);
    expect(await count(`create_time >= "${before}"`)).toBe(4);
    expect(await count(`create_time < "${before}"`)).toBe(0);
    expect(await count('end_time > "2020-01-01T00:00:00Z" AND end_time < "2999-01-01T00:00:00Z"')).toBe(4);
    const grouped = await clients.workflows.countExecutions({ filter: `correlation_id = "${correlationId}"`, groupBy: ["state", "workflow_name"] });
    expect(grouped).toMatchObject({
      totalCount: 4n,
      groups: [
        { values: { state: "COMPLETED", workflow_name: good }, count: 3n },
        { values: { state: "FAILED", workflow_name: bad }, count: 1n },
      ],
    });
    const ends = await clients.workflows.countExecutions({ filter: `correlation_id = "${correlationId}"`, groupBy: ["end_reason", "labels.n"] });
    expect(ends.groups.map((group) => group.values)).toEqual([
      { end_reason: "SUCCESS", "labels.n": good },
      { end_reason: "STEP_FAILED", "labels.n": bad },
    ]);
    expect(await refusal(clients.workflows.countExecutions({ groupBy: ["input"] }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["group_by[0]"] });
    expect(await refusal(clients.workflows.listExecutions({ orderBy: "colour" }))).toMatchObject({ reason: "ORDER_BY_INVALID" });
  });

  test("attempts of a step tell each try, its undo included; steps can be filtered", async () => {
    const { clients, ledger } = service;
    ledger.script("/a1", [503, 503, 200]);
    ledger.script("/a2", [422]);
    ledger.script("/undo-a1", [500, 200]);
    const { id } = await run(clients, [httpStep("one", at("/a1"), { undo: at("/undo-a1") }), logStep("mid"), httpStep("two", at("/a2"))]);
    const { attempts } = await clients.workflows.getExecutionStep({ executionId: id, path: "one" });
    expect(attempts).toMatchObject([
      { operation: Operation.ACTION, attempt: 1, state: OperationState.UNKNOWN, failure: { name: "HTTP.503" } },
      { operation: Operation.ACTION, attempt: 2, state: OperationState.UNKNOWN, failure: { name: "HTTP.503" } },
      { operation: Operation.ACTION, attempt: 3, state: OperationState.SUCCEEDED },
      { operation: Operation.COMPENSATE, attempt: 1, state: OperationState.UNKNOWN },
      { operation: Operation.COMPENSATE, attempt: 2, state: OperationState.SUCCEEDED },
    ]);
    expect(ms(attempts[1]?.startTime)).toBeGreaterThanOrEqual(ms(attempts[0]?.nextAttemptTime));
    const { steps, totalSize } = await clients.workflows.listExecutionSteps({
      executionId: id,
      filter: "type = http_request AND state != FAILED",
      includeTotalSize: true,
    });
    expect(steps.map((step) => step.path)).toEqual(["one"]);
    expect(totalSize).toBe(1n);
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
      const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(10) });
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
