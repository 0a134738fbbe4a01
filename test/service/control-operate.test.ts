/** What operators and callers do to single executions, over the wire: pause, retry, rerun, decide steps, explain, count, delete. */

import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { EndReason, type Execution, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, ms, run, seconds, stepsOf, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusal } from "./support/refusal.ts";
import { types } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
const once = { retry_policy: { maximum_attempts: 1 } };
const get = async (executionId: string): Promise<Execution | undefined> => (await service.clients.workflows.getExecution({ executionId })).execution;
const pathsOf = (id: string): string[] => service.ledger.calls.filter((call) => call.headers["saga-id"] === id).map((call) => call.path);
const eventTypes = async (executionId: string): Promise<string[]> =>
  types((await service.clients.workflows.listExecutionEvents({ executionId, pageSize: 1000 })).events);
const structOf = (value: unknown) => ({ kind: { case: "structValue" as const, value: value as JsonObject } });

describe("pause and resume", () => {
  test("the attempt in flight ends, nothing follows, PAUSED is shown and found; a restart keeps it; resume goes on", async () => {
    const { clients, ledger } = service;
    ledger.script("/p1", ["hang"]);
    const { id, workflowName } = await begin(clients, [httpStep("one", at("/p1")), httpStep("two", at("/p2"))]);
    await ledger.called("/p1");
    const paused = await clients.workflows.pauseExecution({ executionId: id, reason: "hold" });
    expect(paused.execution).toMatchObject({ state: ExecutionState.PAUSED, paused: true });
    ledger.release();
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
    service.server = await startAnother(service.server);
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
    const { execution } = await clients.workflows.startExecution({ workflow, startDelay: seconds(1.5) });
    const executionId = execution?.id ?? "";
    await clients.workflows.pauseExecution({ executionId });
    await new Promise((resolve) => setTimeout(resolve, 1_600));
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
    ledger.script("/g1", ["hang"]);
    const { id } = await begin(clients, [httpStep("one", at("/g1"), { undo: at("/undo-g1") }), httpStep("two", at("/g2"))]);
    await ledger.called("/g1");
    await clients.workflows.cancelExecution({ executionId: id, gracePeriod: seconds(60) });
    ledger.release();
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.CANCELED });
    expect(ledger.callsTo("/g1")[0]?.aborted).toBe(false);
    expect(pathsOf(id)).toEqual(["/g1", "/undo-g1"]);
    expect((await stepsOf(clients, id)).get("one")?.actionState).toBe(OperationState.SUCCEEDED);
  });
});

describe("an operator decides a step", () => {
  test("skip, complete and fail what waits, is to be retried or has not begun; a running attempt is not overruled", async () => {
    const { clients, ledger } = service;
    ledger.script("/o1", [503]);
    ledger.script("/o2", ["hang"]);
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
    ledger.release();
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
    ledger.script("/e1", ["hang"]);
    const flying = await begin(clients, [httpStep("one", at("/e1"))]);
    await ledger.called("/e1");
    const flight = await clients.workflows.explainExecution({ executionId: flying.id });
    expect(flight.blockers).toEqual([]);
    expect(flight.summary).toMatch(/Attempt 1 of one is in flight since .*Replica [0-9a-f-]{36} .*lease holds until/);
    ledger.release();
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
    // Well before: the service has the database's clock, which is not exactly this one.
    const before = new Date(Date.now() - 60_000).toISOString();
    for (const workflow of [good, good, good, bad])
      await clients.workflows.startExecution({ workflow, correlationId, labels: { n: workflow }, wait: seconds(50) });
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

  test("executions are listed in each order, page by page; what has not begun or ended comes behind what has", async () => {
    const { clients } = service;
    const workflow = await createWorkflow(clients, [logStep("a")]);
    const slow = await createWorkflow(clients, [delayStep("sleep", "3600s")]);
    const start = async (name: string, more: { startDelay?: ReturnType<typeof seconds>; wait?: ReturnType<typeof seconds> } = {}): Promise<string> =>
      (await clients.workflows.startExecution({ workflow: name, correlationId: "corr-orders", ...more })).execution?.id ?? "";
    const late = await start(workflow, { startDelay: seconds(3600) });
    const first = await start(workflow, { wait: seconds(50) });
    const sleeping = await start(slow);
    const last = await start(workflow, { wait: seconds(50) });
    const listed = async (orderBy: string, pageSize: number): Promise<string[]> => {
      const ids: string[] = [];
      let pageToken = "";
      do {
        const page = await clients.workflows.listExecutions({ filter: 'correlation_id = "corr-orders"', orderBy, pageSize, pageToken });
        ids.push(...page.executions.map(({ id }) => id));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      return ids;
    };
    const orders: Record<string, string[]> = {
      create_time: [late, first, sleeping, last],
      start_time: [first, sleeping, last, late],
      end_time: [first, last, ...[late, sleeping].sort()],
    };
    for (const [field, ids] of Object.entries(orders)) {
      for (const pageSize of [1, 3, 50]) {
        expect(await listed(field, pageSize), field).toEqual(ids);
        expect(await listed(`${field} desc`, pageSize), field).toEqual(ids.toReversed());
      }
    }
    const { nextPageToken: pageToken } = await clients.workflows.listExecutions({ orderBy: "end_time", pageSize: 1 });
    expect(await refusal(clients.workflows.listExecutions({ orderBy: "start_time", pageSize: 1, pageToken }))).toMatchObject({ reason: "PAGE_TOKEN_MISMATCH" });
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

  test("a page of filtered steps goes on behind the last one, also when that one has changed meanwhile", async () => {
    const { workflows } = service.clients;
    const branches = ["a", "b", "c"].map((name) => ({ name: `branch_${name}`, steps: [delayStep(name, "3600s")] }));
    const { id } = await begin(service.clients, [{ name: "both", parallel: { branches } }]);
    const wish = { executionId: id, filter: "type = delay AND state = WAITING", pageSize: 2 };
    await expect.poll(async () => (await workflows.listExecutionSteps({ ...wish, pageSize: 10 })).steps.length).toBe(3);
    const first = await workflows.listExecutionSteps(wish);
    await workflows.completeStep({ executionId: id, path: first.steps[1]?.path ?? "", reason: "done by hand" });
    const rest = await workflows.listExecutionSteps({ ...wish, pageToken: first.nextPageToken, includeTotalSize: true });
    expect([...first.steps, ...rest.steps].map(({ name }) => name)).toEqual(["a", "b", "c"]);
    expect(rest).toMatchObject({ nextPageToken: "", totalSize: 2n });
  });
});
