import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import { inTransaction, withEntities } from "../../src/store/transaction.ts";
import { createUnits, type UnitOfWork } from "../../src/store/unit-of-work.ts";
import { createWorkflowRepository } from "../../src/store/workflow-repository.ts";
import { callerOf, openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
beforeAll(async () => {
  store = await openStore(4);
  await store.database.pool.query("create table notes (text text primary key)");
});
beforeEach(() => store.database.pool.query("truncate notes"));
afterAll(() => store[Symbol.asyncDispose]());

const never = new AbortController().signal;
const begin = (openMax = 2): UnitOfWork => createUnits(store.database.pool, openMax).begin("acme", never);
const write = (unit: UnitOfWork | undefined, text: string) =>
  inTransaction(store.database.pool, (client) => client.query("insert into notes values ($1)", [text]), { unit });
const notes = async (): Promise<string[]> =>
  (await store.database.pool.query<{ text: string }>("select text from notes order by 1")).rows.map(({ text }) => text);

describe("a unit of work", () => {
  it("opens nothing before somebody writes, and stands as one when it is committed", async () => {
    const unit = begin();
    expect(unit.isOpen).toBe(false);
    await write(unit, "a");
    await write(unit, "b");
    expect([unit.isOpen, await notes()]).toEqual([true, []]);
    const behind: string[][] = [];
    unit.afterCommit(async () => void behind.push(await notes()));
    await unit.commit();
    expect([behind, unit.isOpen]).toEqual([[["a", "b"]], false]);
  });

  it("a part that fails takes back only itself, also among parts that run at once", async () => {
    const unit = begin();
    const told = await Promise.allSettled([write(unit, "a"), write(unit, "a"), write(unit, "b")]);
    expect(told.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    await unit.commit();
    expect(await notes()).toEqual(["a", "b"]);
  });

  it("leaves nothing when it is rolled back, and what waits for the commit does not run", async () => {
    const unit = begin();
    await write(unit, "a");
    let isRun = false;
    unit.afterCommit(() => void (isRun = true));
    await unit.rollback();
    await unit.rollback();
    expect([await notes(), isRun]).toEqual([[], false]);
    await expect(write(unit, "late")).rejects.toThrow("before its end");
  });

  it("holds what goes through the ORM, and what is tried and taken back", async () => {
    const unit = begin();
    const change = { key: undefined, method: "Try", unit, noteReplay: () => undefined, plan: <T>(make: () => Promise<T>) => make() };
    const workflows = createWorkflowRepository(store.database);
    const { workflow } = await workflows.createWorkflow({ ...callerOf("acme"), change }, { name: "one", definition: {} });
    await workflows.updateWorkflow({ ...callerOf("acme"), change }, workflow.id, { displayName: "One" });
    await workflows.updateWorkflow({ ...callerOf("acme"), change }, workflow.id, { displayName: "Tried", validateOnly: true });
    await expect(workflows.createWorkflow({ ...callerOf("acme"), change }, { name: "one", definition: {} })).rejects.toMatchObject({ reason: "NAME_TAKEN" });
    expect(await workflows.getWorkflow(callerOf("acme"), "one")).toBeUndefined();
    await unit.commit();
    expect(await workflows.getWorkflow(callerOf("acme"), "one")).toMatchObject({ displayName: "One" });
  });

  it("only so many are open at a time; the next one waits for its place, or until its caller gives up", async () => {
    const units = createUnits(store.database.pool, 1);
    const first = units.begin("acme", never);
    await write(first, "a");
    const gone = new AbortController();
    const lost = write(units.begin("other", gone.signal), "lost");
    const second = units.begin("acme", never);
    const waiting = write(second, "b");
    gone.abort();
    await expect(lost).rejects.toMatchObject({ reason: "OVERLOADED" });
    await first.commit();
    await waiting;
    await second.commit();
    expect(await notes()).toEqual(["a", "b"]);
  });

  it("tells that it was not committed when its connection is lost, and gives connection and place back", async () => {
    const units = createUnits(store.database.pool, 1);
    for (let round = 0; round < 6; round++) {
      const unit = units.begin("acme", never);
      await unit.run((client) => client.query("select pg_terminate_backend(pg_backend_pid())")).catch(() => undefined);
      await expect(unit.commit()).rejects.toBeInstanceOf(AppError);
      await unit.rollback();
    }
    await write(undefined, "a");
    expect(await notes()).toEqual(["a"]);
  });
});

it("a transaction of the ORM whose connection is lost gives it back to the pool", async () => {
  for (let round = 0; round < 6; round++) {
    await expect(withEntities(store.database, (em) => em.execute("select pg_terminate_backend(pg_backend_pid())"))).rejects.toThrow();
  }
  expect(await notes()).toEqual([]);
});
