/** One row that fails each time it is touched, among others that are well. */
import { expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import type { ControlCommand } from "../../src/domain/control-command.ts";
import { taskIdOf } from "../../src/domain/task-token.ts";
import type { TaskBoard } from "../../src/engine/task-board.ts";
import { TaskClock } from "../../src/engine/task-clock.ts";
import type { ExpiredTask } from "../../src/store/task-store.ts";
import { risingIds } from "../store/open-store.ts";
import { openWorld } from "./engine-fixture.ts";

it("a ledger that cannot be read holds up no other execution that was claimed with it, and is asked for more and more seldom", async () => {
  await using world = await openWorld();
  world.answerWith((sent) => sent.succeed());
  const starter = await world.openEngine("starter", { isIdle: true, beforeAppend: async () => undefined });
  const started: string[] = [];
  for (let index = 0; index < 3; index++)
    started.push(
      await starter.start({
        steps: [
          { name: "rest", delay: { duration: "3600s" } },
          { name: "a", call: {} },
        ],
      }),
    );
  await expect.poll(async () => (await Promise.all(started.map((id) => world.rowOf(id)))).map(({ owner }) => owner)).toEqual([null, null, null]);
  await starter.stop();
  const bad = started[1] as string;
  await world.place.pool.query("update workflow_executions set wake_at = clock_timestamp()");
  let reads = 0;
  const heir = await world.openEngine("heir", {
    store: (real) => ({
      ...real,
      async loadLedgers(tenantId, executionIds) {
        if (!executionIds.includes(bad)) return await real.loadLedgers(tenantId, executionIds);
        if (executionIds.length === 1) reads++;
        throw new Error("invalid page");
      },
    }),
  });
  heir.skew.ms = 3_600_000;
  for (const id of started) if (id !== bad) await world.ledgerWith(id, "execution_ended");
  await expect.poll(() => reads, { timeout: 30_000 }).toBeGreaterThanOrEqual(2);
  // It is due again in the end, whoever takes it.
  expect((await world.rowOf(bad)).state).toBe("waiting");
});

it("a task whose execution cannot be told that its time is over leaves the turn to those behind it", async () => {
  const ids = risingIds();
  const tasks = Array.from({ length: 3 }, (): ExpiredTask => {
    const ref = { executionId: ids.next("execution"), path: "a", operation: "action" as const, generation: 0, attempt: 1 };
    return { tenantId: "acme", ...ref, outcome: { kind: "expired", name: "TIMEOUT.HEARTBEAT", message: "silent" } } as unknown as ExpiredTask;
  });
  const bad = tasks[0]?.executionId;
  const open = new Set(tasks);
  const told: object[] = [];
  let tries = 0;
  const clock = new TaskClock({
    store: {
      // One at a time, the oldest first, as a table full of bad ones would answer.
      expired: async (_, except = []) => [...open].filter((task) => !except.includes(taskIdOf(task))).slice(0, 1),
      waiting: async () => [],
      discard: async () => undefined,
      note: async () => undefined,
      forgetWorkers: async () => undefined,
    },
    board: { tidy: () => undefined, awaited: [] } as unknown as TaskBoard,
    report: async (_: string, executionId: string, __: ControlCommand) => {
      if (executionId !== bad) return void open.delete(tasks.find((task) => task.executionId === executionId) as ExpiredTask);
      tries++;
      throw new Error("a bug");
    },
    clock: { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal), monotonic: () => (now += 500) },
    log: { ...silentLog, error: (fields) => void told.push(fields) },
    random: () => 0,
  });
  let now = 0;
  clock.start();
  await expect.poll(() => open.size, { timeout: 30_000 }).toBe(1);
  await expect.poll(() => tries, { timeout: 30_000 }).toBeGreaterThanOrEqual(2);
  await clock.stop();
  expect(told).toEqual([expect.objectContaining({ executionId: bad, work: "tasks" })]);
});
