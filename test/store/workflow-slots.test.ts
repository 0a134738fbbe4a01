import { afterAll, beforeAll, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import { createWorkflowRepository, type WorkflowRepository } from "../../src/store/workflow-repository.ts";
import { createSlotStore, type SlotStore, type SlotWish } from "../../src/store/workflow-slots.ts";
import { callerOf, openStore, risingIds, type TestStore } from "./open-store.ts";

let store: TestStore;
let workflows: WorkflowRepository;
let slots: SlotStore;
const ids = risingIds();
const acme = callerOf("acme");
const pause = { paused: true, starts: "queue", reason: "", alsoRunning: false } as const;

beforeAll(async () => {
  store = await openStore();
  workflows = createWorkflowRepository(store.database, ids);
  slots = createSlotStore(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());

async function wishFor(name: string, maxRunning: number, onLimit: SlotWish["onLimit"] = "queue"): Promise<() => SlotWish> {
  const { workflow } = await workflows.createWorkflow(acme, { name, definition: { steps: [] } });
  return () => ({ tenantId: "acme", workflowId: workflow.id, groupKey: "", executionId: ids.next("execution"), maxRunning, onLimit });
}

/** The execution's row, as the journal writes it; with `ended` over. */
async function written({ executionId, workflowId }: SlotWish, ended = false): Promise<void> {
  await store.database.pool.query(
    `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, correlation_id, last_sequence, create_time, end_time)
     values ('acme', $1, $2, 'w', 1, 'running', 'c', 1, now(), case when $3 then now() end)
     on conflict (tenant_id, id) do update set end_time = excluded.end_time`,
    [parseId("execution", executionId), parseId("workflow", workflowId), ended],
  );
}

it("of many who ask at once no more get a place than the limit says", async () => {
  for (let round = 0; round < 5; round++) {
    const wish = await wishFor(`race-${round}`, 3);
    const places = await Promise.all(Array.from({ length: 24 }, () => slots.take(wish())));
    expect(places.filter((place) => place === "running")).toHaveLength(3);
    expect(places.filter((place) => place === "queued")).toHaveLength(21);
  }
  await store.database.pool.query("delete from workflow_slots");
});

it("a place is freed by the end of its execution and goes to the one that waits longest", async () => {
  const wish = await wishFor("order", 1);
  const [first, second, third] = [wish(), wish(), wish()];
  expect([await slots.take(first), await slots.take(second), await slots.take(third)]).toEqual(["running", "queued", "queued"]);
  for (const one of [first, second, third]) await written(one);
  expect(await slots.settle()).toEqual({ release: [], cancel: [] });
  await written(first, true);
  const told = [{ tenantId: "acme", executionId: second.executionId }];
  expect((await slots.settle()).release).toEqual(told);
  // Until it is known that it was told, it is told again; nobody else gets the place.
  expect((await slots.settle()).release).toEqual(told);
  await slots.released(second);
  expect((await slots.settle()).release).toEqual([]);
  await written(second, true);
  expect((await slots.settle()).release).toEqual([{ tenantId: "acme", executionId: third.executionId }]);
  await written(third, true);
  await slots.settle();
  expect(await slots.any()).toBe(false);
});

it("what is not written yet gets no place, and one that never was gives it back in time", async () => {
  const wish = await wishFor("orphans", 1);
  const [lost, next] = [wish(), wish()];
  await slots.take(lost);
  await slots.take(next);
  await store.database.pool.query("update workflow_slots set create_time = now() - interval '10 minutes' where execution_id = $1", [
    parseId("execution", lost.executionId),
  ]);
  expect((await slots.settle()).release).toEqual([]);
  await written(next);
  expect((await slots.settle()).release).toEqual([{ tenantId: "acme", executionId: next.executionId }]);
  await slots.drop(next);
  expect(await slots.any()).toBe(false);
});

it("a paused workflow lets nobody begin, a rejecting one queues nobody, a replacing one names whom to cancel", async () => {
  const wish = await wishFor("paused", 1);
  const [running, waiting] = [wish(), wish()];
  await slots.take(running);
  await slots.take(waiting);
  await written(running, true);
  await written(waiting);
  await workflows.setPaused(acme, waiting.workflowId, pause);
  expect((await slots.settle()).release).toEqual([]);
  await workflows.setPaused(acme, waiting.workflowId, { ...pause, paused: false });
  expect((await slots.settle()).release).toHaveLength(1);
  const rejecting = await wishFor("rejecting", 1, "reject");
  expect([await slots.take(rejecting()), await slots.take(rejecting())]).toEqual(["running", "full"]);
  const replacing = await wishFor("replacing", 1, "cancel_running");
  const [old, newer] = [replacing(), replacing()];
  expect([await slots.take(old), await slots.take(newer)]).toEqual(["running", "queued"]);
  expect((await slots.settle()).cancel).toEqual([{ tenantId: "acme", executionId: old.executionId }]);
});
