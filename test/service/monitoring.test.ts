/** MonitoringService as an operator uses it: how the service is, and what became of executions and steps. */
import { toJsonString } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type ComponentStatus, HealthState } from "#gen/pyairtable/workflow/v1/monitoring_pb.js";
import { GetServiceStatusResponseSchema } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import type { Clients } from "./support/connect-client.ts";
import { createWorkflow, definition, httpStep, logStep } from "./support/definitions.ts";
import { begin, ms, seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";
import { workerStep } from "./support/tasks.ts";
import { addTenant } from "./support/tenants.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
const monitoring = () => service.clients.monitoring;
const dayMs = 86_400_000;

const start = (workflow: string, clients: Clients = service.clients) => clients.workflows.startExecution({ workflow, wait: seconds(50) });

describe("GetServiceStatus", () => {
  const component = async (name: string, clients = service.clients): Promise<ComponentStatus | undefined> =>
    (await clients.monitoring.getServiceStatus({})).components.find((one) => one.name === name);

  test("names the version, the replicas and every component", async () => {
    await start(await createWorkflow(service.clients, [logStep("a")]));
    const status = await monitoring().getServiceStatus({});
    expect(status).toMatchObject({ state: HealthState.OK, version: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(ms(status.uptime)).toBeGreaterThan(0);
    expect(status.replicas).toMatchObject([{ answering: true, id: expect.stringMatching(/^[0-9a-f-]{36}$/) }]);
    expect(ms(status.replicas[0]?.leaseExpireTime)).toBeGreaterThan(ms(status.replicas[0]?.startTime));
    expect(status.components.map(({ name, state }) => [name, state])).toEqual([
      ["postgres", HealthState.OK],
      ["journal", HealthState.OK],
      ["engine", HealthState.OK],
      ["redis", HealthState.DISABLED],
      ["workers", HealthState.OK],
    ]);
    for (const name of ["postgres", "journal"]) expect(ms((await component(name))?.latency), name).toBeGreaterThan(0);
    expect(toJsonString(GetServiceStatusResponseSchema, status)).not.toMatch(/postgres:\/\/|127\.0\.0\.1|password|pawf_/);
  });

  test("says when tasks wait in a queue that no worker polls, to their tenant only", async () => {
    const other = await addTenant(service, "calm", ["monitoring:read"]);
    await begin(service.clients, [workerStep("render", "nobody-polls")]);
    await expect.poll(async () => (await component("workers"))?.state).toBe(HealthState.DEGRADED);
    expect((await component("workers"))?.message).toContain("nobody-polls");
    expect((await monitoring().getServiceStatus({})).state).toBe(HealthState.DEGRADED);
    expect(await component("workers", other)).toMatchObject({ state: HealthState.OK, message: "0 tasks wait, 0 queues are polled" });
  });

  test("needs the scope", async () => {
    const without = await addTenant(service, "without", ["workflows:read"]);
    expect(await refusal(without.monitoring.getServiceStatus({}))).toMatchObject({ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" });
    expect(await refusal(without.monitoring.getExecutionStats({}))).toMatchObject({ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" });
    expect(await refusal(without.monitoring.getMetrics({}))).toMatchObject({ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" });
  });
});

describe("GetMetrics", () => {
  test("rolls up what the tenant's executions and steps did, what waits, and what the process did", async () => {
    const scopes = ["monitoring:read", "workflows:write", "workflows:read", "executions:start", "executions:read"];
    const clients = await addTenant(service, "busy", scopes);
    service.ledger.script("/metrics-flaky", [503, 200]);
    service.ledger.script("/metrics-no", [402]);
    await start(await createWorkflow(clients, [logStep("a"), httpStep("b", at("/metrics-flaky")), httpStep("c", at("/metrics-c"))]), clients);
    await start(await createWorkflow(clients, [httpStep("no", at("/metrics-no"))]), clients);
    await begin(clients, [workerStep("render", "metrics-queue")]);
    const waiting = async () => {
      const { queue, steps } = await clients.monitoring.getMetrics({});
      return { queue, runs: steps?.types.find(({ type }) => type === "worker_task")?.runs };
    };
    await expect.poll(waiting).toMatchObject({ queue: { open: 1n, tasksWaiting: 1n, stuck: 0n }, runs: 1n });

    const { executions, steps, queue, process } = await clients.monitoring.getMetrics({ window: seconds(600) });
    expect(executions).toMatchObject({ started: 3n, finished: 2n, successRate: 0.5, window: { shortened: false } });
    expect(ms(executions?.window?.endTime) - ms(executions?.window?.startTime)).toBe(600_000);
    expect([executions?.startedPerSecond, executions?.finishedPerSecond]).toEqual([3 / 600, 2 / 600]);
    expect(executions?.finishedStates).toMatchObject([
      { state: ExecutionState.COMPLETED, count: 1n },
      { state: ExecutionState.FAILED, count: 1n },
    ]);
    expect(executions?.durations?.count).toBe(1n);
    expect(executions?.failures).toMatchObject([{ name: "HTTP.402", step: "", count: 1n }]);

    const type = (name: string) => steps?.types.find((one) => one.type === name);
    expect(type("http_request")).toMatchObject({ runs: 3n, retries: 1n, successRate: 2 / 3, durations: { count: 2n } });
    expect(type("log")).toMatchObject({ runs: 1n, retries: 0n, successRate: 1 });
    expect(type("log")?.durations).toBeUndefined();
    expect(type("worker_task")).toMatchObject({ runs: 1n, successRate: 0 });
    expect(steps).toMatchObject({ executions: 3n, window: { shortened: false } });
    expect(steps?.failures.map(({ name, count }) => [name, count])).toEqual([
      ["HTTP.402", 1n],
      ["HTTP.503", 1n],
    ]);
    expect(ms(queue?.taskOldestAge)).toBeGreaterThanOrEqual(0);

    const { replicas } = await clients.monitoring.getServiceStatus({});
    expect(process).toMatchObject({ replicaId: replicas[0]?.id, pool: { max: 10, waiting: expect.any(Number) } });
    for (const figure of [process?.journalCommit, process?.sagaCoordination]) expect(ms(figure?.p50)).toBeGreaterThan(0);
    expect(process?.stepOverhead.map((one) => one.type)).toEqual(expect.arrayContaining(["http_request", "log"]));
    const compiled = process?.caches.find(({ cache }) => cache === "compiled");
    expect(compiled?.hitRate).toBe(Number(compiled?.hits) / Number((compiled?.hits ?? 0n) + (compiled?.misses ?? 0n)));
    expect(process?.memoryHeapBytes).toBeGreaterThan(1_000_000n);
    expect(process?.memoryResidentBytes).toBeGreaterThan(process?.memoryHeapBytes ?? 0n);
    await expect.poll(async () => (await clients.monitoring.getMetrics({})).process?.eventLoopDelay?.count).toBeGreaterThan(0n);
  });

  test("shows a tenant nothing of another one's", async () => {
    const other = await addTenant(service, "idle", ["monitoring:read"]);
    await start(await createWorkflow(service.clients, [logStep("a")]));
    const { executions, steps, queue } = await other.monitoring.getMetrics({});
    expect(executions).toMatchObject({ started: 0n, finished: 0n, startedPerSecond: 0, successRate: 0, finishedStates: [], failures: [] });
    expect(executions?.durations).toBeUndefined();
    expect(steps).toMatchObject({ executions: 0n, types: [], failures: [] });
    expect(queue).toMatchObject({ ready: 0n, open: 0n, stuck: 0n, tasksWaiting: 0n });
    expect([queue?.oldestAge, queue?.taskOldestAge]).toEqual([undefined, undefined]);
  });

  test("refuses a window of more than a day, or of nothing", async () => {
    for (const window of [seconds(86_401), seconds(0), seconds(0.5), seconds(-1)]) {
      const refused = await refusal(monitoring().getMetrics({ window }));
      expect(refused).toMatchObject({ code: "INVALID_ARGUMENT", reason: "VALIDATION_FAILED", fields: ["window"] });
    }
    expect((await monitoring().getMetrics({ window: seconds(86_400) })).executions?.window).toMatchObject({ shortened: false });
  });
});

describe("GetExecutionStats", () => {
  test("counts executions and steps by revision: states, success, durations, retries and what they failed with", async () => {
    const { workflows } = service.clients;
    service.ledger.script("/flaky", [503, 200, 200]);
    service.ledger.script("/no", [402]);
    const steps = [httpStep("reserve", at("/flaky"), { undo: at("/undo") }), logStep("note")];
    const workflow = await createWorkflow(service.clients, steps);
    for (let count = 0; count < 2; count++) await start(workflow);
    await workflows.updateWorkflow({ workflow, changes: { definition: definition([...steps, httpStep("charge", at("/no"))]) } });
    await start(workflow);

    const stats = await monitoring().getExecutionStats({ workflow });
    expect(stats.window).toMatchObject({ shortened: false });
    expect(stats.total).toMatchObject({ executions: 3n, ended: 3n, successRate: 2 / 3 });
    expect(stats.total?.states).toMatchObject([
      { state: ExecutionState.COMPLETED, count: 2n },
      { state: ExecutionState.COMPENSATED, count: 1n },
    ]);
    expect(stats.total?.topFailures).toMatchObject([{ name: "HTTP.402", step: "charge", count: 1n }]);
    expect(stats.total?.durations?.count).toBe(2n);
    // The first of them waited 20 ms for its second attempt.
    expect(ms(stats.total?.durations?.p99)).toBeGreaterThan(15);
    expect(stats).toMatchObject({ stepExecutions: 3n, revisionsLeftOut: 0 });
    expect(stats.workflows).toMatchObject([{ workflowName: workflow, stats: { executions: 3n } }]);
    const [newer, older] = stats.workflows[0]?.revisions ?? [];
    expect(newer).toMatchObject({ revision: 2, stats: { executions: 1n, successRate: 0 } });
    expect(older).toMatchObject({ revision: 1, stats: { executions: 2n, successRate: 1, topFailures: [] } });

    const of = (revision: typeof newer, name: string) => revision?.steps.find((step) => step.name === name);
    expect(of(older, "reserve")).toMatchObject({ type: "http_request", runs: 2n, successRate: 1, retries: 1n, durations: { count: 2n } });
    expect(of(older, "reserve")?.topFailures).toMatchObject([{ name: "HTTP.503", step: "", count: 1n }]);
    expect(of(older, "note")).toMatchObject({ type: "log", runs: 2n, retries: 0n, states: [{ state: StepState.COMPLETED, count: 2n }] });
    expect(of(older, "note")?.durations).toBeUndefined();
    expect(of(newer, "charge")).toMatchObject({ successRate: 0, states: [{ state: StepState.FAILED, count: 1n }], topFailures: [{ name: "HTTP.402" }] });
    // What was undone is shown as undone; its action had succeeded.
    expect(of(newer, "reserve")).toMatchObject({ successRate: 1, states: [{ state: StepState.COMPENSATED, count: 1n }] });

    const one = await monitoring().getExecutionStats({ workflow, revision: 1 });
    expect(one).toMatchObject({ total: { executions: 2n }, stepExecutions: 2n });
    expect(one.workflows[0]?.revisions.map(({ revision }) => revision)).toEqual([1]);
    const before = { startTime: timestampFromMs(Date.now() - 3 * dayMs), endTime: timestampFromMs(Date.now() - 2 * dayMs) };
    expect(await monitoring().getExecutionStats({ workflow, ...before })).toMatchObject({ total: { executions: 0n, successRate: 0 }, workflows: [] });
  });

  test("counts loop items one by one, and what is open by its state", async () => {
    const loop = { name: "each", for_each: { items: "[1, 2, 3]", steps: [{ name: "odd", run_if: "item != 2", log: { message: "{{item}}" } }] } };
    const workflow = await createWorkflow(service.clients, [loop, { name: "wait", delay: { duration: "600s" } }]);
    await service.clients.workflows.startExecution({ workflow });
    const read = () => monitoring().getExecutionStats({ workflow });
    await expect.poll(async () => (await read()).total?.states).toMatchObject([{ state: ExecutionState.WAITING, count: 1n }]);
    const { total, workflows } = await read();
    expect(total).toMatchObject({ executions: 1n, ended: 0n, successRate: 0 });
    expect(total?.durations).toBeUndefined();
    const steps = new Map(workflows[0]?.revisions[0]?.steps.map((step) => [step.name, step]));
    expect(steps.get("odd")?.states).toMatchObject([
      { state: StepState.COMPLETED, count: 2n },
      { state: StepState.SKIPPED, count: 1n },
    ]);
    expect(steps.get("wait")).toMatchObject({ type: "delay", states: [{ state: StepState.WAITING, count: 1n }] });
  });

  test("counts standalone sagas together, without a workflow", async () => {
    const saga = { name: "ship", action: { via: { case: "http" as const, value: { method: "POST", url: at("/ship") } } } };
    const { saga: made } = await service.clients.sagas.startSaga({ steps: [saga], autoComplete: true });
    await service.clients.workflows.waitExecution({ executionId: made?.id ?? "", timeout: seconds(50) });
    const { workflows } = await monitoring().getExecutionStats({});
    const sagas = workflows.find(({ workflowId }) => workflowId === "");
    expect(sagas).toMatchObject({ workflowName: "", stats: { executions: 1n, successRate: 1 } });
    expect(sagas?.revisions[0]?.steps).toMatchObject([{ name: "ship", type: "", runs: 1n, durations: { count: 1n } }]);
  });

  test("leaves out what a rerun copied, which was counted where it happened", async () => {
    const workflow = await createWorkflow(service.clients, [httpStep("first", at("/first")), httpStep("second", at("/second"))]);
    const { execution } = await start(workflow);
    const again = await service.clients.workflows.rerunExecution({ executionId: execution?.id ?? "", fromStep: "second" });
    await service.clients.workflows.waitExecution({ executionId: again.execution?.id ?? "", timeout: seconds(50) });
    const { workflows } = await monitoring().getExecutionStats({ workflow });
    const runs = workflows[0]?.revisions[0]?.steps.map((step) => [step.name, step.runs]);
    expect(runs).toEqual([
      ["second", 2n],
      ["first", 1n],
    ]);
  });

  test("shows a tenant nothing of another one's, and knows no workflow of it", async () => {
    const other = await addTenant(service, "elsewhere", ["monitoring:read"]);
    const workflow = await createWorkflow(service.clients, [logStep("a")]);
    await start(workflow);
    expect(await other.monitoring.getExecutionStats({})).toMatchObject({ total: { executions: 0n }, workflows: [], stepExecutions: 0n });
    const { workflow: found } = await service.clients.workflows.getWorkflow({ workflow });
    for (const reference of [workflow, found?.id ?? ""])
      expect(await refusal(other.monitoring.getExecutionStats({ workflow: reference }))).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" });
  });

  test("refuses what it cannot answer and says which field is wrong", async () => {
    const workflow = await createWorkflow(service.clients, [logStep("a")]);
    const now = Date.now();
    const bad = [
      [{ startTime: timestampFromMs(now - 8 * dayMs) }, "start_time"],
      [{ startTime: timestampFromMs(now), endTime: timestampFromMs(now) }, "start_time"],
      [{ endTime: timestampFromMs(1_000) }, "start_time"],
      [{ revision: 1 }, "revision"],
      [{ workflow, revision: -1 }, "revision"],
      [{ workflow: "no such name" }, "workflow"],
    ] as const;
    for (const [request, field] of bad) {
      const refused = await refusal(monitoring().getExecutionStats(request));
      expect(refused, JSON.stringify(Object.keys(request))).toMatchObject({ code: "INVALID_ARGUMENT", reason: "VALIDATION_FAILED", fields: [field] });
    }
    expect(await refusal(monitoring().getExecutionStats({ workflow: "nobody" }))).toMatchObject({ code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" });
    expect(await refusal(monitoring().getExecutionStats({ workflow, revision: 2 }))).toMatchObject({ code: "NOT_FOUND", reason: "REVISION_NOT_FOUND" });
  });
});

test("the plain routes answer the same, in proto names", async () => {
  const { server } = service;
  const get = async (path: string) => {
    const response = await fetch(`${server.url}/api/v1/monitoring/${path}`, { headers: { authorization: `Bearer ${server.apiKey}` } });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  expect(await get("status")).toMatchObject({ status: 200, body: { version: expect.any(String), components: expect.any(Array) } });
  expect(await get("metrics?window=60s")).toMatchObject({ status: 200, body: { executions: { window: {} }, process: { replica_id: expect.any(String) } } });
  expect((await get("metrics?window=25h")).status).toBe(400);
  expect((await get("metrics?window=90000s")).status).toBe(400);
  const workflow = await createWorkflow(service.clients, [logStep("a")]);
  await start(workflow);
  expect(await get(`executions/stats?workflow=${workflow}`)).toMatchObject({ status: 200, body: { total: { executions: "1", success_rate: 1 } } });
  expect((await get("executions/stats?workflow=nobody")).status).toBe(404);
  expect((await fetch(`${server.url}/api/v1/monitoring/status`)).status).toBe(401);
});
