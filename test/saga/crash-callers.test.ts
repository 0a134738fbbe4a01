/**
 * Crash points on the callers' side: whoever started a PREPARED saga dies around its own commit, and the coordinator dies around the
 * commit of what a caller told it. The repeat of a call is answered as its first would have been.
 */
import type { Pool, PoolClient } from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { checkPrepared, createBarrier, markPrepared } from "../../sdk/typescript/barrier.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import type { ControlCommand } from "../../src/domain/control-command.ts";
import type { ReportedOutcome } from "../../src/domain/reported-outcome.ts";
import type { TaskPort } from "../../src/engine/run-tasks.ts";
import { openDatabase } from "../../src/store/database.ts";
import { createTaskStore, type TaskStore } from "../../src/store/task-store.ts";
import { acme, openWorld, type TestEngine, type World } from "../engine/engine-fixture.ts";
import { openPool } from "../support/postgres.ts";
import { type Moment, openDoomed, start, trip } from "./support/doomed.ts";
import { Sibling } from "./support/sibling.ts";
import { httpStep } from "./support/steps.ts";

let world: World;
let sibling: Sibling;
beforeEach(async () => {
  world = await openWorld();
  sibling = new Sibling();
});
afterEach(() => world[Symbol.asyncDispose]());

const give = ({ engine }: TestEngine, executionId: string, command: ControlCommand): Promise<unknown> => engine.control(acme, executionId, command);
const stateOf = async (executionId: string): Promise<unknown> => (await world.ledgerWith(executionId, "execution_ended")).at(-1)?.payload;

/** Gives the command on a replica that dies at that moment, and the same command to another one; answers with what that says. */
async function repeated(executionId: string, moment: Moment, command: ControlCommand, tasks?: TaskPort): Promise<{ answer: unknown; heir: TestEngine }> {
  const { engine, died } = await openDoomed(world, sibling, moment, tasks ? { tasks } : {});
  // Nobody hears its answer.
  give(engine, executionId, command).catch(() => undefined);
  await died;
  const heir = await world.openEngine("heir", { http: sibling, ...(tasks ? { tasks } : {}) });
  return { answer: await give(heir, executionId, command), heir };
}

/** A replica that starts something and is gone, so that what it left is parked or due. */
async function started(wish: Parameters<typeof start>[2], tasks?: TaskPort): Promise<string> {
  await using first = await world.openEngine("first", { http: sibling, ...(tasks ? { tasks } : {}) });
  const { executionId } = await start(world, first, wish);
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBeNull();
  return executionId;
}

describe("whoever started a prepared saga dies", () => {
  let business: Pool;
  beforeEach(async () => {
    business = openPool(world.place.database, { max: 3, application_name: "looks-on" });
    await createBarrier(business);
    await business.query("create table orders (saga text)");
  });
  afterEach(() => business.end());

  async function inTransaction<T>(work: (tx: PoolClient) => Promise<T>): Promise<T> {
    const tx = await business.connect();
    try {
      await tx.query("begin");
      const result = await work(tx);
      await tx.query("commit");
      return result;
    } finally {
      tx.release(true);
    }
  }
  const order = async (tx: PoolClient, saga: string): Promise<void> => {
    await markPrepared(tx, saga);
    await tx.query("insert into orders values ($1)", [saga]);
  };
  const ask = (saga: string): Promise<string> => inTransaction((tx) => checkPrepared(tx, saga));

  /** What the service does with the answer. */
  async function told(executionId: string, answer: string): Promise<void> {
    const replica = await world.openEngine("heir", { http: sibling });
    if (answer === "COMMITTED") await give(replica, executionId, { kind: "submit_saga" });
    else await give(replica, executionId, { kind: "abort_saga", actor: "service", reason: "its starter has rolled back", rolledBack: true });
  }

  it("before its commit: the check-back says ROLLED_BACK, nothing runs, and its late commit can no longer win", async () => {
    const saga = await started(trip(sibling, { prepared: true }));
    const open = await business.connect();
    await open.query("begin");
    await open.query("insert into orders values ($1)", [saga]);
    await told(saga, await ask(saga));
    expect(await stateOf(saga)).toMatchObject({ state: "canceled", endReason: "checkback_no" });
    await expect(markPrepared(open, saga)).rejects.toThrow("given up");
    open.release(true);
    expect(sibling.calls).toEqual([]);
  });

  it("while it commits: the answer is UNKNOWN, and asked again it is what the commit came to", async () => {
    const saga = await started(trip(sibling, { prepared: true }));
    const open = await business.connect();
    await open.query("begin");
    await order(open, saga);
    expect(await ask(saga)).toBe("UNKNOWN");
    await open.query("commit");
    open.release();
    await told(saga, await ask(saga));
    expect(await stateOf(saga)).toMatchObject({ state: "completed" });
  });

  it("after its commit, before SubmitSaga: the check-back says COMMITTED, and the saga runs", async () => {
    const saga = await started(trip(sibling, { prepared: true }));
    await inTransaction((tx) => order(tx, saga));
    await told(saga, await ask(saga));
    expect(await stateOf(saga)).toMatchObject({ state: "completed" });
    expect([...sibling.standing]).toEqual(["flight", "hotel", "car"]);
  });
});

describe("the coordinator dies while it is told that a prepared saga begins", () => {
  it.each([
    ["before", ["flight 1", "hotel 1", "car 1"]],
    ["after", ["flight 2", "hotel 1", "car 1"]],
  ] as const)("%s the commit: the repeat is taken, and it begins once", async (when, asked) => {
    const saga = await started(trip(sibling, { prepared: true, autoComplete: false }));
    const { heir } = await repeated(saga, { when, event: "saga_state_changed" }, { kind: "submit_saga" });
    await give(heir, saga, { kind: "complete_saga", whenIdle: true });
    expect(await stateOf(saga)).toMatchObject({ state: "completed" });
    expect(sibling.asked).toEqual(asked);
  });
});

/** A saga with one step that its caller carries out. */
async function enlisted(): Promise<string> {
  const saga = await started(trip(sibling, { steps: [], autoComplete: false }));
  await using first = await world.openEngine("first", { http: sibling });
  await give(first, saga, join);
  await expect.poll(async () => (await world.rowOf(saga)).owner).toBeNull();
  return saga;
}
const join: ControlCommand = {
  kind: "enlist_step",
  step: (({ action: _, action_retry: __, ...step }) => step)(httpStep("http://sibling.example", "charge", { barrier: true })) as Record<string, Json>,
  selfDriven: true,
  stepKind: "compensatable",
};
const report = (outcome: ReportedOutcome, attempt = 1, path = "charge"): ControlCommand => ({
  ...{ kind: "report", path, operation: "action", generation: 0, attempt, outcome, random: 0 },
});
const success: ReportedOutcome = { kind: "succeeded", result: "booked" };
const failed: ReportedOutcome = { kind: "failed", failure: { name: "WORKER.declined", message: "no funds" }, outcome: "failed" };

describe("the coordinator dies while a step joins", () => {
  it.each([
    ["before", "CONTINUE"],
    ["after", "ALREADY"],
  ] as const)("%s the commit: the repeat is answered %s, and it joined once", async (when, decision) => {
    const saga = await started(trip(sibling, { steps: [], autoComplete: false }));
    expect(await repeated(saga, { when, event: "step_enlisted charge" }, join)).toMatchObject({ answer: { decision } });
    expect((await world.ledgerOf(saga)).filter(({ type }) => type === "step_enlisted")).toHaveLength(1);
  });
});

describe("the coordinator dies while a report is taken", () => {
  it.each([
    ["before", success, "step_succeeded charge", "CONTINUE"],
    ["after", success, "step_succeeded charge", "ALREADY"],
    ["before", failed, "step_failed charge", "CONTINUE"],
    ["after", failed, "step_failed charge", "ALREADY"],
  ] as const)("%s the commit of %o: the repeat has its outcome once", async (when, outcome, event, decision) => {
    const saga = await enlisted();
    expect(await repeated(saga, { when, event }, report(outcome))).toMatchObject({ answer: { decision } });
    const ledger = await world.ledgerOf(saga);
    expect(ledger.filter(({ type, stepPath }) => `${type} ${stepPath}` === event)).toHaveLength(1);
  });

  it.each([
    ["before", "WILL_COMPENSATE"],
    ["after", "ALREADY"],
  ] as const)("%s the commit of a success after the end: reopened once, undone once more under a key of its own", async (when, decision) => {
    const saga = await enlisted();
    {
      await using first = await world.openEngine("first", { http: sibling });
      await give(first, saga, { kind: "abort_saga", actor: "key_1", reason: "no" });
      await world.ledgerWith(saga, "execution_ended");
    }
    expect(await repeated(saga, { when, event: "execution_reopened" }, report(success))).toMatchObject({ answer: { decision } });
    await expect.poll(async () => (await world.rowOf(saga)).state).toBe("compensated");
    expect([...new Set(sibling.calls.map(({ key }) => key))]).toEqual([`${saga}/charge/compensate`, `${saga}/charge/compensate#1`]);
    expect((await world.ledgerOf(saga)).filter(({ type }) => type === "execution_reopened")).toHaveLength(1);
  });
});

describe("a report after the step's time", () => {
  let tasks: TaskStore;
  let close: () => Promise<void>;
  beforeEach(async () => {
    const database = await openDatabase({ connection: world.place.database.connection, poolMax: 2, log: silentLog, applicationName: "looks-on" });
    tasks = createTaskStore(database);
    close = () => database.close();
  });
  afterEach(() => close());
  const port = (): TaskPort => ({ changed: () => undefined, recall: (tenantId, taskId) => tasks.recall(tenantId, taskId) });
  const pulled: JsonObject = {
    name: "charge",
    action: { pull: { task_type: "charge" } },
    compensation: { http: { method: "POST", url: "http://sibling.example/undo-charge" } },
    action_retry: { initial_interval: "0.01s", maximum_attempts: 3, jitter: 0 },
  };
  const silence = (): ReportedOutcome => ({ kind: "expired", name: "TIMEOUT.START_TO_CLOSE", deadlineAt: Date.now(), closeMs: 60_000 });

  it.each([
    ["before", "CONTINUE"],
    ["after", "ALREADY"],
  ] as const)(
    "while the saga runs: its success is accepted and the retry called off, also when the coordinator dies %s that commit",
    async (when, decision) => {
      const saga = await started(trip(sibling, { steps: [pulled] }), port());
      {
        await using first = await world.openEngine("first", { http: sibling, tasks: port() });
        await give(first, saga, report(silence()));
        await expect.poll(async () => (await tasks.ofExecution("acme", saga)).map(({ attempt }) => attempt)).toEqual([2]);
        await expect.poll(async () => (await world.rowOf(saga)).owner).toBeNull();
      }
      expect(await repeated(saga, { when, event: "step_succeeded charge" }, report(success), port())).toMatchObject({ answer: { decision } });
      expect(await stateOf(saga)).toMatchObject({ state: "completed" });
      expect(await tasks.ofExecution("acme", saga)).toEqual([]);
    },
  );

  it.each([
    ["before", "WILL_COMPENSATE"],
    ["after", "ALREADY"],
  ] as const)("after the turn: its success is kept as evidence and undone, also when the coordinator dies %s that commit", async (when, decision) => {
    const saga = await started(trip(sibling, { steps: [pulled] }), port());
    await tasks.take({ tenantId: "acme", queue: "default", taskTypes: [], labels: {}, worker: "w", session: null, countMax: 1 });
    {
      await using first = await world.openEngine("first", { http: sibling, tasks: port() });
      await give(first, saga, { kind: "abort_saga", actor: "key_1", reason: "no" });
      await expect.poll(async () => (await world.rowOf(saga)).owner).toBeNull();
    }
    // Nobody undoes what may still be running.
    expect(sibling.calls).toEqual([]);
    expect(await repeated(saga, { when, event: "step_succeeded charge" }, report(success), port())).toMatchObject({ answer: { decision } });
    expect(await stateOf(saga)).toMatchObject({ state: "compensated" });
    expect(new Set(sibling.calls.map(({ key }) => key))).toEqual(new Set([`${saga}/charge/compensate`]));
  });
});
