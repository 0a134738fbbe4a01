/** Worker processes and replicas that die while tasks are out: nothing is lost, and every key has one effect. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { createWorkflow } from "../service/support/definitions.ts";
import { ended } from "../service/support/fixture.ts";
import { type Ledger, startLedger } from "../service/support/ledger.ts";
import { restart, type Server, startServer } from "../service/support/server.ts";
import { startWorkerProcess, type WorkerChoices, type WorkerProcess } from "../service/support/worker-process.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";

let ledger: Ledger;
let database: TestDatabase;
const servers = new Set<Server>();
const workers = new Set<WorkerProcess>();
beforeAll(async () => {
  ledger = await startLedger();
});
afterAll(() => ledger.close());
beforeEach(async () => {
  database = await createMigratedDatabase();
});
afterEach(async () => {
  for (const worker of workers) worker.kill("SIGKILL");
  await Promise.all([...servers].map((server) => server.kill()));
  workers.clear();
  servers.clear();
  await database.drop();
});

async function up(like?: Server): Promise<Server> {
  const server = await (like ? restart(like) : startServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] }));
  servers.add(server);
  return server;
}

async function work(server: Server, queue: string, choices: Partial<WorkerChoices> = {}): Promise<WorkerProcess> {
  const worker = await startWorkerProcess(server, { queue, notebook: ledger.url, ...choices });
  workers.add(worker);
  return worker;
}

const renderStep = (queue: string, more: JsonObject = {}): JsonObject => ({
  name: "render",
  worker_task: { task_type: "invoice.render", task_queue: queue, input: { number: "{{execution_id}}" } },
  timeouts: { heartbeat: "3s", start_to_close: "30s" },
  retry_policy: { initial_interval: "0.02s", maximum_attempts: 10, jitter: 0 },
  ...more,
});

async function startMany(clients: Clients, workflow: string, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let begun = 0; begun < count; begun += 250) {
    const requests = Array.from({ length: Math.min(250, count - begun) }, () => ({ workflow }));
    const { results } = await clients.workflows.batchStartExecutions({ requests });
    for (const { result } of results) if (result.case === "execution") ids.push(result.value.id);
  }
  return ids;
}

const renderedKeys = (queue: Set<string>): string[] => ledger.callsTo("/rendered").flatMap(({ key }) => (queue.has(key) ? key : []));

test("300 tasks through three workers on two replicas, while one worker and one replica die: each has its effect, none is lost", async () => {
  const one = await up();
  const two = await up(one);
  const clients = connect(two);
  const workflow = await createWorkflow(clients, [renderStep("storm")]);
  const doomed = await work(one, "storm", { inFlight: 10 });
  await work(two, "storm", { inFlight: 10 });
  await work(two, "storm", { inFlight: 10 });
  const ids = await startMany(clients, workflow, 300);
  expect(ids).toHaveLength(300);
  await ledger.called("/rendered", 60);
  doomed.kill("SIGKILL");
  await ledger.called("/rendered", 130);
  await one.kill();
  servers.delete(one);
  const states = await Promise.all(ids.map(async (id) => (await ended(clients, id, 60)).state));
  expect(states.filter((state) => state !== ExecutionState.COMPLETED)).toEqual([]);
  const wanted = new Set(ids.map((id) => `"${id}/render/action"`));
  expect(new Set(renderedKeys(wanted))).toEqual(wanted);
  // A key is tried again only where its worker or its report was lost: at most what was out at that moment.
  expect(renderedKeys(wanted).length - wanted.size).toBeLessThanOrEqual(30);
  expect((await clients.tasks.listTaskQueues({})).taskQueues.find(({ name }) => name === "storm")).toMatchObject({ backlog: 0n, inFlight: 0n });
});

test("a worker that is asked to end finishes what it has and reports it", async () => {
  const server = await up();
  const clients = connect(server);
  // Long enough for a busy machine: here nobody is to be given up.
  const workflow = await createWorkflow(clients, [renderStep("drain", { timeouts: { heartbeat: "60s" } })]);
  const leaving = await work(server, "drain", { workMs: 600 });
  const ids = await startMany(clients, workflow, 5);
  // A task that is still on its way to a worker when it goes comes again after its silence.
  await leaving.began(5);
  leaving.kill("SIGTERM");
  expect(await leaving.exited).toBe(0);
  for (const id of ids) {
    const { execution } = await clients.workflows.getExecution({ executionId: id });
    expect(execution?.state).toBe(ExecutionState.COMPLETED);
  }
});
