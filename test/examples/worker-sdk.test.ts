/** The TypeScript worker: what its handlers return and throw, and when they are told to stop. */
import { afterEach, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { nothingToUndo, type RunningWorker, startWorker, TaskFailure, type TaskHandler } from "../../sdk/typescript/worker.ts";
import { begin, ended, stepsOf, useServer } from "../service/support/fixture.ts";
import { jsonOf, workerStep } from "../service/support/tasks.ts";

const service = useServer();
const workers: RunningWorker[] = [];
afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.stop(0)));
});

function work(queue: string, handlers: Record<string, TaskHandler>): RunningWorker {
  const { url, apiKey } = service.server;
  const worker = startWorker({ url, apiKey, handlers, taskQueues: [queue], onError: () => undefined });
  workers.push(worker);
  return worker;
}

const once = { retry_policy: { maximum_attempts: 1 } };

test("a handler's result is the step's result", async () => {
  work("returns", { work: async (task) => ({ got: task.input?.["step"] ?? null, attempt: task.attempt }) });
  const { id } = await begin(service.clients, [workerStep("a", "returns")]);
  expect((await ended(service.clients, id)).state).toBe(ExecutionState.COMPLETED);
  expect(jsonOf((await stepsOf(service.clients, id)).get("a")?.result)).toEqual({ got: "a", attempt: 1 });
});

test("a TaskFailure names the error and whether there was an effect; anything else counts as unknown and is tried again", async () => {
  work("throws", {
    work: async (task) => {
      if (task.stepPath === "declined") throw new TaskFailure("card_declined", { message: "no money" });
      if (task.attempt === 1) throw new Error("out of paper");
      return "printed";
    },
  });
  const declined = await begin(service.clients, [workerStep("declined", "throws", once)]);
  expect(await ended(service.clients, declined.id)).toMatchObject({
    state: ExecutionState.FAILED,
    failure: { name: "WORKER.card_declined", message: "no money" },
    standingEffects: [],
  });
  const retried = await begin(service.clients, [workerStep("print", "throws")]);
  expect((await ended(service.clients, retried.id)).state).toBe(ExecutionState.COMPLETED);
  const step = (await stepsOf(service.clients, retried.id)).get("print");
  expect(step?.attempt).toBe(2);
});

test("heartbeats keep a long task, and its progress is told", async () => {
  work("long", {
    work: async (_, { progress, signal }) => {
      progress(10, "warming up");
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      expect(signal.aborted).toBe(false);
      return "hot";
    },
  });
  const { id } = await begin(service.clients, [workerStep("heat", "long", { ...once, timeouts: { heartbeat: "2.5s" } })]);
  expect((await ended(service.clients, id)).state).toBe(ExecutionState.COMPLETED);
  const { events } = await service.clients.workflows.listExecutionEvents({ executionId: id, pageSize: 100 });
  expect(events.find(({ type }) => type === "step_progressed")?.payload.value).toMatchObject({ percent: 10, message: "warming up" });
});

test("a cancel aborts the handler, and an undo may find nothing", async () => {
  const began = Promise.withResolvers<void>();
  work("cancel", {
    work: async (_, { signal }) => {
      began.resolve();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      throw new TaskFailure("stopped", { effect: "unknown" });
    },
    undo: async () => nothingToUndo,
  });
  const undo = { compensation: { step: { name: "undo", worker_task: { task_type: "undo", task_queue: "cancel", input: {} } } } };
  const { id } = await begin(service.clients, [workerStep("book", "cancel", { ...undo, timeouts: { heartbeat: "2.5s" } })]);
  await began.promise;
  await service.clients.workflows.cancelExecution({ executionId: id, reason: "no" });
  expect(await ended(service.clients, id)).toMatchObject({ state: ExecutionState.COMPENSATED, standingEffects: [] });
});
