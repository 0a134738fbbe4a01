/** Engines and task queues: a task stands exactly as long as its attempt is open, whoever dies in between. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import { failure } from "../../src/domain/failure.ts";
import type { ReportedOutcome } from "../../src/domain/reported-outcome.ts";
import type { TaskPort } from "../../src/engine/run-tasks.ts";
import { openDatabase } from "../../src/store/database.ts";
import { createTaskStore, type TaskStore } from "../../src/store/task-store.ts";
import { acme, openWorld, type TestEngine, type World } from "./engine-fixture.ts";

let world: World;
let tasks: TaskStore;
let close: () => Promise<void>;
beforeAll(async () => {
  world = await openWorld();
  const database = await openDatabase({ connection: world.place.database.connection, poolMax: 4, log: silentLog, applicationName: "tasks" });
  tasks = createTaskStore(database);
  close = () => database.close();
});
afterAll(async () => {
  await close();
  await world[Symbol.asyncDispose]();
});

const port = (): TaskPort => ({ changed: () => undefined, recall: (tenantId, taskId) => tasks.recall(tenantId, taskId) });
const render = (queue: string, more: JsonObject = {}): JsonObject => ({
  name: "render",
  worker_task: { task_type: "t", task_queue: queue, input: { n: 1 } },
  ...more,
});
const quick = { retry_policy: { initial_interval: "0.01s", maximum_attempts: 5, jitter: 0 } };
const success = (result: Json = "done"): ReportedOutcome => ({ kind: "succeeded", result });
const failed: ReportedOutcome = { kind: "failed", failure: failure("WORKER.x", "x"), outcome: "failed" };

async function report({ engine }: TestEngine, executionId: string, attempt: number, outcome: ReportedOutcome, operation: "action" | "compensate" = "action") {
  return await engine.control(acme, executionId, { kind: "report", path: "render", operation, generation: 0, attempt, outcome, random: 0 });
}

async function rowsOf(executionId: string): Promise<{ attempt: number; operation: string; worker: string | undefined }[]> {
  return (await tasks.ofExecution("acme", executionId)).map(({ attempt, operation, worker }) => ({ attempt, operation, worker }));
}

/** Attempts of a queue that stand in the ledger as open. */
async function parked(executionId: string): Promise<void> {
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBeNull();
}

describe("a task", () => {
  it("comes with its attempt's intent, parks its execution without a timer, and goes with the outcome", async () => {
    await using one = await world.openEngine("one", { tasks: port() });
    const id = await one.start({ steps: [render("plain", quick)] });
    await parked(id);
    expect(await world.rowOf(id)).toMatchObject({ state: "waiting", wake_at: expect.any(Date) });
    expect(one.engine.driven).toBe(0);
    expect(await rowsOf(id)).toEqual([{ attempt: 1, operation: "action", worker: undefined }]);
    expect(await report(one, id, 1, failed)).toEqual({ decision: "CONTINUE" });
    await expect.poll(() => rowsOf(id)).toEqual([{ attempt: 2, operation: "action", worker: undefined }]);
    // Success of the attempt before calls the newer one off.
    expect(await report(one, id, 1, success())).toEqual({ decision: "CONTINUE" });
    await world.ledgerWith(id, "execution_ended");
    expect(await rowsOf(id)).toEqual([]);
    expect(await report(one, id, 2, success())).toMatchObject({ decision: "ALREADY", recorded: { kind: "succeeded", result: "done" } });
  });

  it("is reported through a replica that never drove its execution, and once by two at the same time", async () => {
    await using one = await world.openEngine("one", { tasks: port() });
    await using two = await world.openEngine("two", { tasks: port() });
    const id = await one.start({ steps: [render("elsewhere")] });
    await parked(id);
    const answers = await Promise.all([report(one, id, 1, success("a")), report(two, id, 1, success("b")), report(two, id, 1, success("c"))]);
    expect(answers.map((answer) => answer?.["decision"]).sort()).toEqual(["ALREADY", "ALREADY", "CONTINUE"]);
    const ledger = await world.ledgerWith(id, "execution_ended");
    expect(ledger.filter(({ type }) => type === "step_succeeded")).toHaveLength(1);
  });

  it("whose driver dies at the commit stands with the intent or not at all, and is made once", async () => {
    const held = Promise.withResolvers<void>();
    const one = await world.openEngine("one", {
      tasks: port(),
      beforeAppend: async ({ tasks: changes }) => {
        if (changes) await held.promise;
      },
    });
    // Two attempts: the first task is held up for good, as if the process froze before the commit.
    const starting = one.start({ steps: [{ name: "first", log: { message: "x" } }, render("dies")] }).catch(() => "lost");
    await one.kill();
    held.resolve();
    await starting;
    expect(await tasks.take({ tenantId: "acme", queue: "dies", taskTypes: [], labels: {}, worker: "w", session: null, countMax: 9 })).toEqual([]);
  });

  it("that nobody took is taken back by a cancel, also when the replica dies between the queue's answer and the ledger", async () => {
    const answered = Promise.withResolvers<void>();
    const one = await world.openEngine("one", {
      tasks: {
        changed: () => undefined,
        recall: async (tenantId, taskId) => {
          await tasks.recall(tenantId, taskId);
          answered.resolve();
          return await new Promise<boolean>(() => undefined);
        },
      },
    });
    const id = await one.start({ steps: [render("recalled", { compensation: { step: { name: "undo", call: { body: null } } } })] });
    await parked(id);
    await one.engine.control(acme, id, { kind: "cancel", actor: "key_1", reason: "no" });
    await answered.promise;
    expect(await rowsOf(id)).toEqual([]);
    await one.kill();
    await world.openEngine("two", { tasks: port() });
    const ledger = await world.ledgerWith(id, "execution_ended");
    expect(ledger.find(({ type }) => type === "step_canceled")?.payload).toMatchObject({ outcome: "failed" });
    expect(ledger.map(({ type }) => type)).not.toContain("compensation_started");
  });

  it("is asked back again when the answer was lost: nothing else would ever end its attempt", async () => {
    let lost = 0;
    const recall: TaskPort["recall"] = async (tenantId, taskId) => {
      const isTaken = await tasks.recall(tenantId, taskId);
      if (lost++ === 0) throw new Error("the connection broke after the commit");
      return isTaken;
    };
    await using one = await world.openEngine("one", { tasks: { changed: () => undefined, recall } });
    const id = await one.start({ steps: [render("lost")] });
    await parked(id);
    await one.engine.control(acme, id, { kind: "cancel", actor: "key_1", reason: "no" });
    const ledger = await world.ledgerWith(id, "execution_ended");
    expect(ledger.find(({ type }) => type === "step_canceled")?.payload).toMatchObject({ outcome: "failed" });
    expect(lost).toBe(2);
  });

  it("that a worker has is waited for when the execution is canceled, and its success undone", async () => {
    await using one = await world.openEngine("one", { tasks: port() });
    const undo = { compensation: { step: { name: "undo", worker_task: { task_type: "u", task_queue: "taken", input: {} } } } };
    const id = await one.start({ steps: [render("taken", undo)] });
    await parked(id);
    const [task] = await tasks.take({ tenantId: "acme", queue: "taken", taskTypes: [], labels: {}, worker: "w", session: null, countMax: 9 });
    await one.engine.control(acme, id, { kind: "cancel", actor: "key_1", reason: "no" });
    await expect.poll(() => tasks.canceled("acme", [task?.id ?? ""])).toHaveLength(1);
    await parked(id);
    expect(await report(one, id, 1, success())).toEqual({ decision: "WILL_COMPENSATE" });
    await expect.poll(() => rowsOf(id)).toEqual([{ attempt: 1, operation: "compensate", worker: undefined }]);
    await report(one, id, 1, success(null), "compensate");
    const ledger = await world.ledgerWith(id, "execution_ended");
    expect(ledger.at(-1)?.payload).toMatchObject({ state: "compensated" });
  });

  it("goes with its execution when that is terminated", async () => {
    await using one = await world.openEngine("one", { tasks: port() });
    const id = await one.start({
      steps: [
        {
          name: "all",
          parallel: {
            branches: [
              { name: "a", steps: [render("ended")] },
              { name: "b", steps: [{ ...render("ended"), name: "other" }] },
            ],
          },
        },
      ],
    });
    await expect.poll(() => rowsOf(id)).toHaveLength(2);
    await one.engine.control(acme, id, { kind: "terminate", actor: "key_1", reason: "enough" });
    expect(await rowsOf(id)).toEqual([]);
  });
});
