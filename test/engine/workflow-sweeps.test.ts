import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { AppError } from "../../src/base/errors.ts";
import { parseId } from "../../src/base/ids.ts";
import { type Log, silentLog } from "../../src/base/log.ts";
import { type SweepBounds, WorkflowSweeps } from "../../src/engine/workflow-sweeps.ts";
import { createWorkflowRepository, type WorkflowRepository } from "../../src/store/workflow-repository.ts";
import { createSweepStore, type SweepStore } from "../../src/store/workflow-sweeps.ts";
import { callerOf, openStore, risingIds, type TestStore } from "../store/open-store.ts";

let store: TestStore;
let workflows: WorkflowRepository;
let sweeps: SweepStore;
const ids = risingIds();
const acme = callerOf("acme");
let given: string[] = [];

beforeAll(async () => {
  store = await openStore();
  workflows = createWorkflowRepository(store.database, ids);
  sweeps = createSweepStore(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());
beforeEach(() => {
  given = [];
});

type Control = (executionId: string, kind: string) => void;

/** Does what an engine would do to the rows, as far as a sweep looks at them. */
function sweeper(bounds: Partial<SweepBounds> = {}, control: Control = () => undefined, log: Log = silentLog): WorkflowSweeps {
  return new WorkflowSweeps({
    store: sweeps,
    clock: systemClock,
    log,
    bounds: { batchRows: 4, parallel: 2, secondPassMs: 0, ...bounds },
    control: async ({ tenantId }, executionId, { kind }) => {
      control(executionId, kind);
      given.push(`${kind} ${executionId}`);
      const uuid = parseId("execution", executionId);
      if (kind === "pause" || kind === "resume")
        await store.database.pool.query("update workflow_executions set paused = $3 where tenant_id = $1 and id = $2", [tenantId, uuid, kind === "pause"]);
      if (kind === "release")
        await store.database.pool.query("update workflow_executions set state = 'running' where tenant_id = $1 and id = $2", [tenantId, uuid]);
    },
  });
}

async function runningWorkflow(name: string, count: number): Promise<{ id: string; executions: string[] }> {
  const { workflow } = await workflows.createWorkflow(acme, { name, definition: { steps: [] } });
  const executions = Array.from({ length: count }, () => ids.next("execution"));
  for (const id of executions) {
    await store.database.pool.query(
      `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, correlation_id, last_sequence, create_time)
       values ('acme', $1, $2, $3, 1, 'running', 'c', 1, now())`,
      [parseId("execution", id), parseId("workflow", workflow.id), name],
    );
  }
  return { id: workflow.id, executions };
}

const pause = { paused: true, starts: "queue", reason: "", alsoRunning: true } as const;
const left = async (): Promise<number> => Number((await store.database.pool.query("select count(*) as count from workflow_sweeps")).rows[0].count);

it("a sweep that stops half-way is carried on by another replica, without a gap", async () => {
  const { id, executions } = await runningWorkflow("half", 10);
  await workflows.setPaused(acme, id, pause);
  const dying = sweeper({ claimMs: 60_000 }, () => {
    if (given.length >= 6) throw new AppError("STORAGE_UNAVAILABLE", "gone");
  });
  await expect(dying.run("acme", id, 5_000)).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  expect(given).toHaveLength(6);
  expect(await sweeper().run("acme", id, 5_000)).toBe(0); // still claimed
  await store.database.pool.query("update workflow_sweeps set due_at = clock_timestamp()"); // a minute later
  const heir = sweeper({ lookMs: 20 });
  heir.start();
  await expect.poll(left).toBe(0);
  await heir.stop();
  expect(new Set(given)).toEqual(new Set(executions.map((execution) => `pause ${execution}`)));
});

it("sweeps of one workflow follow each other: a resume never overtakes the pause before it", async () => {
  const { id, executions } = await runningWorkflow("order", 5);
  await workflows.setPaused(acme, id, pause);
  await workflows.setPaused(acme, id, { ...pause, paused: false });
  await Promise.all([sweeper().run("acme", id, 5_000), sweeper().run("acme", id, 5_000)]);
  await sweeper().run("acme", id, 5_000);
  expect(await left()).toBe(0);
  const kinds = given.map((line) => line.split(" ")[0]);
  expect(kinds.lastIndexOf("pause")).toBeLessThan(kinds.indexOf("resume"));
  for (const execution of executions)
    expect(given.filter((line) => line.endsWith(execution))).toEqual([`pause ${execution}`, `release ${execution}`, `resume ${execution}`]);
});

it("the second pass finds a start that was written after the first one", async () => {
  const { id } = await runningWorkflow("late", 0);
  await workflows.setPaused(acme, id, { ...pause, alsoRunning: false });
  await workflows.setPaused(acme, id, { ...pause, paused: false, alsoRunning: false });
  const once = sweeper({ secondPassMs: 300 });
  expect(await once.run("acme", id, 5_000)).toBe(0);
  const late = ids.next("execution");
  await store.database.pool.query(
    `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, correlation_id, last_sequence, create_time)
     values ('acme', $1, $2, 'late', 1, 'pending', 'c', 1, now())`,
    [parseId("execution", late), parseId("workflow", id)],
  );
  const looking = sweeper({ lookMs: 20 });
  looking.start();
  await expect.poll(left).toBe(0);
  await looking.stop();
  expect(given).toEqual([`release ${late}`]);
});

it("a pause does not wait for the second pass of the resume before it, and drops it", async () => {
  const { id, executions } = await runningWorkflow("again", 1);
  await workflows.setPaused(acme, id, { ...pause, alsoRunning: false });
  await workflows.setPaused(acme, id, { ...pause, paused: false });
  await sweeper({ secondPassMs: 60_000 }).run("acme", id, 5_000);
  await workflows.setPaused(acme, id, pause);
  expect(await sweeper({ secondPassMs: 60_000 }).run("acme", id, 5_000)).toBe(1);
  expect(given).toEqual([`pause ${executions[0]}`]);
  const { rows } = await store.database.pool.query("select command, passes from workflow_sweeps where workflow_id = $1", [parseId("workflow", id)]);
  expect(rows).toEqual([{ command: "pause", passes: 1 }]);
  await store.database.pool.query("delete from workflow_sweeps");
});

it("executions that ended meanwhile are passed over, and other workflows' are left alone", async () => {
  const { id, executions } = await runningWorkflow("some", 3);
  const other = await runningWorkflow("others", 2);
  await workflows.deleteWorkflow(acme, id, { force: true });
  const gone = executions[1] as string;
  await sweeper({}, (execution) => {
    if (execution === gone) throw new AppError("EXECUTION_TERMINAL", "ended");
  }).run("acme", id, 5_000);
  expect(new Set(given)).toEqual(new Set(executions.filter((execution) => execution !== gone).map((execution) => `cancel ${execution}`)));
  expect(given.some((line) => other.executions.some((execution) => line.endsWith(execution)))).toBe(false);
});

it("a change that is only validated leaves no sweep behind", async () => {
  const { id } = await runningWorkflow("dry", 1);
  await workflows.setPaused(acme, id, pause, { validateOnly: true });
  await workflows.deleteWorkflow(acme, id, { force: true, validateOnly: true });
  expect(await left()).toBe(0);
  expect(await workflows.getWorkflow(acme, id)).toMatchObject({ state: "active" });
});

it("one execution that fails each time holds up neither the others of its batch nor the sweep", async () => {
  const { id, executions } = await runningWorkflow("bad", 6);
  await workflows.setPaused(acme, id, pause);
  const bad = executions[1] as string;
  const told: object[] = [];
  const log = { ...silentLog, error: (fields: object) => void told.push(fields) };
  const control = (execution: string): void => {
    if (execution === bad) throw new Error("a bug");
  };
  expect(await sweeper({}, control, log).run("acme", id, 5_000)).toBe(5);
  expect(await left()).toBe(0);
  expect(new Set(given)).toEqual(new Set(executions.filter((execution) => execution !== bad).map((execution) => `pause ${execution}`)));
  // Twice tried, by both passes, and told once.
  expect(told).toEqual([expect.objectContaining({ executionId: bad, work: "workflow_sweep", error: "a bug" })]);
});
