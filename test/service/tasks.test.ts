/** Workers: what they take, what they say, and what becomes of the executions that wait for them. */
import { describe, expect, test } from "vitest";
import { EndReason, ExecutionState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { createWorkflow, logStep } from "./support/definitions.ts";
import { begin, ended, ms, seconds, stepsOf, useServer } from "./support/fixture.ts";
import { complete, failed, jsonOf, Outcome, recorded, saidOf, success, take, workerStep } from "./support/tasks.ts";
import { addTenant } from "./support/tenants.ts";
import { collect } from "./support/watching.ts";

const service = useServer();
const once = { retry_policy: { maximum_attempts: 1 } };

describe("a worker_task", () => {
  test("waits in its queue, is handed to one worker, and goes on with the worker's result", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [workerStep("render", "plain", {}, { order: "{{trigger.data}}" }), logStep("after")]);
    const [task] = await take(clients, "plain");
    expect(task).toMatchObject({
      executionId: id,
      stepPath: "render",
      taskType: "work",
      attempt: 1,
      operation: Operation.ACTION,
      input: { order: {} },
      generation: 0,
    });
    expect(task?.idempotencyKey).toBe(`${id}/render/action`);
    expect(task?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect((await clients.tasks.pollTasks({ worker: { workerId: "w2", taskQueues: ["plain"] } })).tasks).toEqual([]);
    if (!task) throw new Error("no task");
    expect(await complete(clients, task, success({ pages: 3 }))).toBe("CONTINUE");
    const execution = await ended(clients, id);
    expect(execution.state).toBe(ExecutionState.COMPLETED);
    expect(jsonOf((await stepsOf(clients, id)).get("render")?.result)).toEqual({ pages: 3 });
    // The queue is empty again.
    await expect
      .poll(async () => (await clients.tasks.listTaskQueues({})).taskQueues.find(({ name }) => name === "plain"))
      .toMatchObject({ backlog: 0n, inFlight: 0n, workers: 2 });
  });

  test("reaches a worker that waits already", async () => {
    const { clients } = service;
    const polled = clients.tasks.pollTasks({ worker: { workerId: "early", taskQueues: ["early"] }, wait: seconds(50) });
    const { id } = await begin(clients, [workerStep("render", "early")]);
    const { tasks } = await polled;
    expect(tasks.map(({ executionId }) => executionId)).toEqual([id]);
    expect(await complete(clients, tasks[0] as (typeof tasks)[0], success())).toBe("CONTINUE");
  });

  test("is not lost to a worker that hung up, nor to one whose wait ended", async () => {
    const { clients } = service;
    const gone = new AbortController();
    const polls = [
      clients.tasks.pollTasks({ worker: { workerId: "gone", taskQueues: ["gone"] }, wait: seconds(30) }, { signal: gone.signal }).catch(() => "gone"),
      clients.tasks.pollTasks({ worker: { workerId: "short", taskQueues: ["gone"] }, wait: seconds(0.3) }),
    ];
    await expect.poll(async () => (await clients.tasks.listWorkers({ taskQueue: "gone" })).workers.length).toBe(2);
    gone.abort();
    expect(await Promise.all(polls)).toMatchObject(["gone", { tasks: [] }]);
    const { id } = await begin(clients, [workerStep("render", "gone")]);
    const { tasks } = await clients.tasks.pollTasks({ worker: { workerId: "w", taskQueues: ["gone"] }, wait: seconds(5) });
    expect(tasks.map(({ executionId, attempt }) => ({ executionId, attempt }))).toEqual([{ executionId: id, attempt: 1 }]);
    if (tasks[0]) await complete(clients, tasks[0], success());
  });

  test("goes to workers of its type and labels only, urgent ones first", async () => {
    const { clients } = service;
    const labelled = { worker_task: { task_type: "gpu", task_queue: "picky", required_labels: { gpu: "yes" }, input: {} } };
    const { id } = await begin(clients, [{ name: "render", ...labelled }]);
    expect((await clients.tasks.pollTasks({ worker: { workerId: "a", taskQueues: ["picky"] } })).tasks).toEqual([]);
    expect((await clients.tasks.pollTasks({ worker: { workerId: "a", taskQueues: ["picky"], taskTypes: ["cpu"], labels: { gpu: "yes" } } })).tasks).toEqual([]);
    const { summary, blockers } = await clients.workflows.explainExecution({ executionId: id });
    expect(summary).toContain('no worker of queue "picky"');
    expect(blockers[0]).toMatchObject({ stepPath: "render" });
    const { tasks } = await clients.tasks.pollTasks({
      worker: { workerId: "a", taskQueues: ["picky"], taskTypes: ["gpu"], labels: { gpu: "yes", zone: "b" } },
    });
    expect(tasks).toHaveLength(1);
    expect((await clients.workflows.explainExecution({ executionId: id })).summary).toMatch(/worker a has the task .* until/);
    if (tasks[0]) await complete(clients, tasks[0], success());
  });

  test("that fails is tried again with another token, by its retry policy", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [workerStep("render", "again")]);
    const [first] = await take(clients, "again");
    if (!first) throw new Error("no task");
    expect(await complete(clients, first, failed("printer_on_fire"))).toBe("CONTINUE");
    const [second] = await take(clients, "again");
    expect(second).toMatchObject({ attempt: 2, idempotencyKey: first.idempotencyKey });
    expect(second?.token).not.toBe(first.token);
    // A repeat of the failure is answered as it was; a success of the first attempt is evidence and is taken.
    expect(await complete(clients, first, failed("printer_on_fire"))).toBe("ALREADY");
    expect(await complete(clients, first, success("after all"))).toBe("CONTINUE");
    if (second) expect(await complete(clients, second, success("second"))).toBe("ALREADY");
    expect((await ended(clients, id)).state).toBe(ExecutionState.COMPLETED);
    expect(jsonOf((await stepsOf(clients, id)).get("render")?.result)).toBe("after all");
  });

  test("whose worker was slow past its time is tried again, and the slow one's success still counts", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [workerStep("render", "late", { timeouts: { heartbeat: "0.2s" } })]);
    const [slow] = await take(clients, "late", 1, "slow");
    const [other] = await take(clients, "late", 1, "other");
    expect(other).toMatchObject({ attempt: 2 });
    if (!slow || !other) throw new Error("no task");
    expect(await complete(clients, slow, failed("too late"))).toBe("VALIDATION_FAILED");
    expect(await complete(clients, slow, failed("too_late"))).toBe("STALE_TOKEN");
    expect(await complete(clients, slow, success("late, but done"))).toBe("CONTINUE");
    expect(await complete(clients, other, success("second"))).toBe("ALREADY");
    expect((await ended(clients, id)).state).toBe(ExecutionState.COMPLETED);
    expect(jsonOf((await stepsOf(clients, id)).get("render")?.result)).toBe("late, but done");
  });

  test("that does not fit into one message with others comes in the next one", async () => {
    const { clients } = service;
    const quarter = "{{trigger.data.text}}";
    const workflow = await createWorkflow(clients, [workerStep("render", "big", {}, { a: quarter, b: quarter, c: quarter, d: quarter })]);
    for (let count = 0; count < 5; count++) await clients.workflows.startExecution({ workflow, input: { text: "x".repeat(250_000) } });
    const ask = { worker: { workerId: "w", taskQueues: ["big"] }, maxTasks: 5 };
    await expect.poll(async () => (await clients.tasks.listTaskQueues({})).taskQueues.find(({ name }) => name === "big")?.backlog).toBe(5n);
    const counts: number[] = [];
    for (let round = 0; round < 3; round++) counts.push((await clients.tasks.pollTasks(ask)).tasks.length);
    expect(counts).toEqual([3, 2, 0]);
  });

  test("with an error that is not retried ends its execution", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [workerStep("render", "final", { retry_policy: { non_retryable_errors: ["WORKER.card_*", "WORKER.card_declined"] } })]);
    const [task] = await take(clients, "final");
    if (task) await complete(clients, task, failed("card_declined"));
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "WORKER.card_declined" } });
  });

  test("that nobody takes in its time, or whose worker falls silent, is given up", async () => {
    const { clients } = service;
    const late = await begin(clients, [workerStep("render", "nobody", { timeouts: { schedule_to_start: "0.1s" } })]);
    expect((await ended(clients, late.id)).failure?.name).toBe("TIMEOUT.SCHEDULE_TO_START");
    const silent = await begin(clients, [workerStep("render", "silent", { ...once, timeouts: { heartbeat: "0.2s" } })]);
    await take(clients, "silent");
    expect((await ended(clients, silent.id)).failure?.name).toBe("TIMEOUT.HEARTBEAT");
    const slow = await begin(clients, [workerStep("render", "slow", { ...once, timeouts: { start_to_close: "0.2s" } })]);
    const [task] = await take(clients, "slow");
    expect(await ended(clients, slow.id)).toMatchObject({ failure: { name: "TIMEOUT.START_TO_CLOSE" }, standingEffects: ["render"] });
    // The execution has ended: what comes now is refused by name.
    if (task) expect(await complete(clients, task, failed("late"))).toBe("STALE_TOKEN");
  });
});

describe("reports", () => {
  test("of a batch are answered one by one", async () => {
    const { clients } = service;
    await begin(clients, [workerStep("a", "batch"), workerStep("b", "batch")]);
    const [task] = await take(clients, "batch");
    if (!task) throw new Error("no task");
    const other = { taskId: "tsk_01K8Z0000000000000000000AB", token: task.token };
    const { statuses } = await clients.tasks.completeTasks({
      results: [
        { taskId: task.id, token: task.token, result: success("one") },
        { taskId: task.id, token: task.token, result: success("two") },
        { taskId: task.id, token: `${task.token}x`, result: success() },
        { ...other, result: success() },
        { taskId: task.id, token: task.token, result: { outcome: Outcome.FAILED, error: "no good" } },
        { taskId: task.id, token: task.token, result: failed("contradiction") },
      ],
    });
    // Reports of one execution are taken in their order.
    expect(statuses.map(saidOf)).toEqual(["CONTINUE", "ALREADY", "TOKEN_INVALID", "TASK_NOT_FOUND", "VALIDATION_FAILED", "ALREADY"]);
    expect(statuses.map(recorded)[1]).toEqual({ outcome: "OUTCOME_SUCCEEDED", output: "one" });
  });

  test("of another tenant are as unknown as of nobody", async () => {
    const { clients } = service;
    const stranger = await addTenant(service, "stranger", ["tasks:work"]);
    await begin(clients, [workerStep("secret", "shared")]);
    expect((await stranger.tasks.pollTasks({ worker: { workerId: "x", taskQueues: ["shared"] } })).tasks).toEqual([]);
    const [task] = await take(clients, "shared");
    if (!task) throw new Error("no task");
    const theirs = await stranger.tasks.completeTasks({ results: [{ taskId: task.id, token: task.token, result: success() }] });
    const random = await stranger.tasks.completeTasks({ results: [{ taskId: "tsk_01K8Z0000000000000000000AB", token: "AAAA", result: success() }] });
    expect([theirs, random].map(({ statuses }) => statuses.map(saidOf))).toEqual([["TASK_NOT_FOUND"], ["TASK_NOT_FOUND"]]);
    const beat = await stranger.tasks.heartbeatTasks({ heartbeats: [{ taskId: task.id, token: task.token }] });
    expect(beat.statuses[0]?.error?.message).toContain("does not exist");
    await expect.poll(async () => (await stranger.tasks.listTaskQueues({})).taskQueues).toMatchObject([{ name: "shared", backlog: 0n, inFlight: 0n }]);
    expect(await complete(clients, task, success())).toBe("CONTINUE");
  });

  test("that contradict what was decided are put on record", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [workerStep("pay", "words"), workerStep("hold", "words")]);
    const [task] = await take(clients, "words");
    if (!task) throw new Error("no task");
    await complete(clients, task, success());
    expect(await complete(clients, task, failed("no"))).toBe("ALREADY");
    expect(await complete(clients, task, failed("no"))).toBe("ALREADY");
    const { events } = await clients.workflows.listExecutionEvents({ executionId: id, pageSize: 100 });
    expect(events.filter(({ type }) => type === "anomaly")).toHaveLength(1);
  });
});

test("a success that comes after everything was undone is undone as well", async () => {
  const { clients } = service;
  const undo = { compensation: { barrier: true, step: { name: "undo", worker_task: { task_type: "undo", task_queue: "proof", input: {} } } } };
  const { id } = await begin(clients, [workerStep("book", "proof", { ...once, ...undo, timeouts: { heartbeat: "0.2s" } })]);
  const [task] = await take(clients, "proof");
  // Nobody heard of it: it is undone in case it ran, and the undo finds nothing.
  const [undoing] = await take(clients, "proof");
  expect(undoing).toMatchObject({ operation: Operation.COMPENSATE, mayNotHaveRun: true, generation: 0 });
  if (!task || !undoing) throw new Error("no task");
  expect(await complete(clients, undoing, { outcome: Outcome.NULL_COMPENSATED })).toBe("CONTINUE");
  expect((await ended(clients, id)).state).toBe(ExecutionState.COMPENSATED);
  expect(await complete(clients, task, success({ seat: 7 }))).toBe("WILL_COMPENSATE");
  const [again] = await take(clients, "proof");
  expect(again).toMatchObject({ operation: Operation.COMPENSATE, mayNotHaveRun: false, generation: 1, idempotencyKey: `${id}/book/compensate#1` });
  expect(jsonOf(again?.actionOutput)).toEqual({ seat: 7 });
  if (again) expect(await complete(clients, again, success(null))).toBe("CONTINUE");
  expect((await ended(clients, id)).state).toBe(ExecutionState.COMPENSATED);
  expect(await complete(clients, task, success({ seat: 7 }))).toBe("ALREADY");
});

describe("a worker at work", () => {
  test("keeps its task by heartbeats, and its progress and lines are seen by watchers", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [workerStep("render", "beats", { ...once, timeouts: { heartbeat: "2.5s" } })]);
    const [task] = await take(clients, "beats");
    if (!task) throw new Error("no task");
    const seen = collect(clients.workflows.watchExecution({ executionId: id, afterSequence: 0n }));
    for (let beat = 1; beat <= 8; beat++) {
      const { statuses } = await clients.tasks.heartbeatTasks({
        heartbeats: [{ taskId: task.id, token: task.token, percent: beat * 10, message: "pages", logs: [`line ${beat}`] }],
      });
      expect(statuses[0]).toMatchObject({ cancel: false });
      expect(statuses[0]?.error).toBeUndefined();
      expect(ms(statuses[0]?.expireTime)).toBeGreaterThan(0);
      await new Promise((resolve) => setTimeout(resolve, 350));
    }
    expect(await complete(clients, task, success())).toBe("CONTINUE");
    expect((await ended(clients, id)).state).toBe(ExecutionState.COMPLETED);
    const told = (await seen).events.flatMap(({ payload }) => (payload.case === "stepProgressed" ? payload.value : []));
    expect(told.length).toBeGreaterThan(1);
    expect(JSON.stringify(told.map(({ details }) => details?.kind.value))).toContain("line 1");
  });

  test("is told to stop when the execution is canceled; no undo begins before its report, and its success is undone", async () => {
    const { clients } = service;
    const undo = { compensation: { step: { name: "undo", worker_task: { task_type: "undo", task_queue: "cancel", input: { was: "{{original.result}}" } } } } };
    const { id } = await begin(clients, [workerStep("book", "cancel", undo)]);
    const [task] = await take(clients, "cancel");
    if (!task) throw new Error("no task");
    await clients.workflows.cancelExecution({ executionId: id, reason: "changed my mind" });
    await expect
      .poll(async () => (await clients.tasks.heartbeatTasks({ heartbeats: [{ taskId: task.id, token: task.token }] })).statuses[0]?.cancel)
      .toBe(true);
    expect((await clients.tasks.pollTasks({ worker: { workerId: "w", taskQueues: ["cancel"] } })).tasks).toEqual([]);
    // What docs/sagas.md says of the time between the word and the turn.
    expect((await clients.sagas.getSaga({ sagaId: id })).saga?.state).toBe(SagaState.RUNNING);
    expect((await clients.workflows.explainExecution({ executionId: id })).summary).toContain("It is being canceled by ");
    expect(await complete(clients, task, success({ seat: 7 }))).toBe("WILL_COMPENSATE");
    const [undoing] = await take(clients, "cancel");
    expect(undoing).toMatchObject({ operation: Operation.COMPENSATE, stepPath: "book", taskType: "undo", input: { was: { seat: 7 } }, mayNotHaveRun: false });
    expect(jsonOf(undoing?.actionOutput)).toEqual({ seat: 7 });
    expect(undoing?.idempotencyKey).toBe(`${id}/book/compensate`);
    if (undoing) await complete(clients, undoing, { outcome: Outcome.NULL_COMPENSATED });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.CANCELED });
  });

  test("is not needed for a task that nobody has taken: a cancel takes it back, surely without an effect", async () => {
    const { clients } = service;
    const undo = { compensation: { step: { name: "undo", worker_task: { task_type: "undo", task_queue: "untaken", input: {} } } } };
    const { id } = await begin(clients, [workerStep("book", "untaken", undo)]);
    await clients.workflows.cancelExecution({ executionId: id, reason: "no" });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.CANCELED, standingEffects: [] });
    expect((await stepsOf(clients, id)).get("book")?.state).toBe(StepState.CANCELED);
    expect((await clients.tasks.pollTasks({ worker: { workerId: "w", taskQueues: ["untaken"] } })).tasks).toEqual([]);
  });

  test("is listed with its queues, and queues with what waits in them", async () => {
    const { clients } = service;
    await begin(clients, [workerStep("render", "listed")]);
    await clients.tasks.pollTasks({ worker: { workerId: "lister", taskQueues: ["listed", "other"], taskTypes: ["none"], labels: { zone: "b" } } });
    await expect
      .poll(async () => (await clients.tasks.listWorkers({ taskQueue: "listed" })).workers.map(({ spec, alive }) => ({ id: spec?.workerId, alive })))
      .toEqual([{ id: "lister", alive: true }]);
    const { taskQueues } = await clients.tasks.listTaskQueues({});
    expect(taskQueues.find(({ name }) => name === "listed")).toMatchObject({ backlog: 1n, inFlight: 0n, workers: 1 });
    expect(taskQueues.find(({ name }) => name === "listed")?.oldestAge).toBeDefined();
    const page = await clients.tasks.listTaskQueues({ pageSize: 1 });
    expect(page.taskQueues).toHaveLength(1);
    expect((await clients.tasks.listTaskQueues({ pageSize: 1, pageToken: page.nextPageToken })).taskQueues[0]?.name).not.toBe(page.taskQueues[0]?.name);
  });
});
