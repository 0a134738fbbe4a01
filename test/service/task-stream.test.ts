/** StreamTasks: credit, cancellation, and the end of a stream, with reports that come through another replica. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { StreamTasksResponse } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow } from "./support/definitions.ts";
import { ended, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusal } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";
import { complete, success, workerStep } from "./support/tasks.ts";
import { addTenant } from "./support/tenants.ts";

const service = useServer();
let second: RunningServer;
let others: Clients;
beforeAll(async () => {
  second = await startAnother(service.server, { env: { PAWF_TASK_STREAMS_MAX: "3" } });
  others = connect(second);
});
afterAll(() => second?.stop());

/** Reads a stream item by item. */
class Reader {
  readonly tasks: Task[] = [];
  readonly canceled: string[] = [];
  readonly over: Promise<unknown>;
  readonly #abort = new AbortController();
  #waiters: (() => void)[] = [];

  constructor(clients: Clients, queue: string, maxInFlight: number) {
    const stream = clients.tasks.streamTasks({ worker: { workerId: `s-${queue}`, taskQueues: [queue] }, maxInFlight }, { signal: this.#abort.signal });
    this.over = this.#read(stream).catch((error: unknown) => error);
  }

  async #read(stream: AsyncIterable<StreamTasksResponse>): Promise<void> {
    for await (const { item } of stream) {
      if (item.case === "tasks") this.tasks.push(...item.value.tasks);
      if (item.case === "cancel") this.canceled.push(...item.value.taskIds);
      for (const tell of this.#waiters.splice(0)) tell();
    }
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  close(): void {
    this.#abort.abort();
  }
}

const startMany = async (queue: string, count: number): Promise<string[]> => {
  const { clients } = service;
  const workflow = await createWorkflow(clients, [workerStep("work", queue)]);
  const { results } = await clients.workflows.batchStartExecutions({ requests: Array.from({ length: count }, () => ({ workflow })) });
  return results.flatMap(({ result }) => (result.case === "execution" ? result.value.id : []));
};

test("a stream on which nothing waits says at once that it is open", async () => {
  // The next heartbeat would come after 15 s.
  const stream = service.clients.tasks.streamTasks({ worker: { workerId: "s-idle", taskQueues: ["idle"] } }, { timeoutMs: 10_000 });
  for await (const { item } of stream) {
    expect(item).toMatchObject({ case: "heartbeat", value: { inFlight: 0 } });
    return;
  }
  expect.fail("the stream ended without a word");
});

test("no more than max_in_flight are open; a report through any replica makes room at once", async () => {
  const ids = await startMany("credit", 5);
  const reader = new Reader(service.clients, "credit", 2);
  await reader.until(() => reader.tasks.length === 2);
  const { taskQueues } = await service.clients.tasks.listTaskQueues({});
  expect(taskQueues.find(({ name }) => name === "credit")).toMatchObject({ backlog: 3n, inFlight: 2n });
  // Through the stream's own replica, then through another one.
  for (const [index, clients] of [service.clients, others, service.clients, others, others].entries()) {
    await reader.until(() => reader.tasks.length > index);
    expect(reader.tasks.length - index).toBeLessThanOrEqual(2);
    expect(await complete(clients, reader.tasks[index] as Task, success())).toBe("CONTINUE");
  }
  expect(new Set(reader.tasks.map(({ executionId }) => executionId))).toEqual(new Set(ids));
  for (const id of ids) await ended(service.clients, id);
  reader.close();
});

test("a waiting stream hears of a task that was started on another replica", async () => {
  const reader = new Reader(others, "across", 1);
  // The stream waits by now: this worker has been written down.
  await expect.poll(async () => (await others.tasks.listWorkers({ taskQueue: "across" })).workers.length).toBe(1);
  await startMany("across", 1);
  await reader.until(() => reader.tasks.length === 1);
  expect(await complete(service.clients, reader.tasks[0] as Task, success())).toBe("CONTINUE");
  reader.close();
});

test("a stream that its replica ends says so with a code to come back after, and its tasks stay reportable elsewhere", async () => {
  const third = await startAnother(service.server);
  await startMany("leaving", 1);
  const reader = new Reader(connect(third), "leaving", 1);
  await reader.until(() => reader.tasks.length === 1);
  const stopped = third.stop();
  expect(String(await reader.over)).toMatch(/unavailable/);
  await stopped;
  expect(await complete(others, reader.tasks[0] as Task, success())).toBe("CONTINUE");
});

test("a tenant holds so many streams at a replica and no more; one that ends makes room", async () => {
  // A tenant of its own: streams of the tests before may still be ending.
  const many = await addTenant({ ...service, database: service.database, server: second }, "many", ["tasks:work", "workflows:write", "executions:start"]);
  const workflow = await createWorkflow(many, [workerStep("fourth", "many-4")]);
  await many.workflows.startExecution({ workflow });
  const open = ["many-1", "many-2", "many-3"].map((queue) => {
    const abort = new AbortController();
    const stream = many.tasks.streamTasks({ worker: { workerId: queue, taskQueues: [queue] }, maxInFlight: 1 }, { signal: abort.signal });
    return {
      abort,
      over: stream[Symbol.asyncIterator]()
        .next()
        .catch(() => undefined),
    };
  });
  const names = async (): Promise<string[]> => (await many.tasks.listWorkers({})).workers.map(({ spec }) => spec?.workerId ?? "");
  await expect.poll(names).toEqual(expect.arrayContaining(["many-1", "many-2", "many-3"]));
  const fourth = async (): Promise<unknown> => {
    const abort = new AbortController();
    const stream = many.tasks.streamTasks({ worker: { workerId: "many-4", taskQueues: ["many-4"] }, maxInFlight: 1 }, { signal: abort.signal });
    const first = stream[Symbol.asyncIterator]().next();
    const answer = await first.then(
      ({ value }) => (value as StreamTasksResponse).item.case,
      () => refusal(first),
    );
    abort.abort();
    return answer;
  };
  expect(await fourth()).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "STREAM_LIMIT", metadata: { limit: "3" } });
  open[0]?.abort.abort();
  await open[0]?.over;
  await expect.poll(fourth).toBe("tasks");
  for (const { abort, over } of open) {
    abort.abort();
    await over;
  }
});
