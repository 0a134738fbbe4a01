/** Lines in the order of their commits: whatever is open at a look comes with a later one, and nothing twice. */
import type { PoolClient } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { beforeAll as beforeEverything } from "../../src/domain/commit-mark.ts";
import { type AuditRepository, createAuditRepository } from "../../src/store/audit-repository.ts";
import { inTransaction } from "../../src/store/transaction.ts";
import { createUnits } from "../../src/store/unit-of-work.ts";
import { callerOf, openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
let audit: AuditRepository;
beforeAll(async () => {
  store = await openStore(6);
  audit = createAuditRepository(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());

const line = (method: string) => ({ method, target: "wfl_1", reason: "", detail: undefined });
const write = (client: PoolClient, tenantId: string, method: string) => audit.write(client, callerOf(tenantId), line(method));
const committed = (tenantId: string, method: string) => inTransaction(store.database.pool, (client) => write(client, tenantId, method));

/** A reader that keeps what it got and goes from mark to mark. */
function reader(tenantId: string, begin: string, pageSize = 100) {
  let from = begin;
  const got: string[] = [];
  return {
    got,
    async look(): Promise<string[]> {
      const { mark: to } = await audit.mark();
      const fresh: string[] = [];
      for (let afterId: string | undefined; ; ) {
        const page = await audit.between(callerOf(tenantId), { from, to, since: 0, afterId, pageSize, filter: {} });
        fresh.push(...page.items.map(({ method }) => method));
        afterId = page.nextAfterId;
        if (afterId === undefined) break;
      }
      from = to;
      got.push(...fresh);
      return fresh;
    },
  };
}

it("one that commits late comes late, also out of a savepoint and behind others with later times, and none comes twice", async () => {
  const { mark } = await audit.mark();
  const [live, all] = [reader("acme", mark), reader("acme", beforeEverything, 2)];
  const units = createUnits(store.database.pool, 3);
  const { signal } = new AbortController();
  const [slow, lost] = [units.begin("acme", signal), units.begin("acme", signal)];
  await slow.run((client) => write(client, "acme", "Slow"));
  await lost.run((client) => write(client, "acme", "Lost"));
  await committed("acme", "First");
  await committed("rival", "Foreign");
  expect(await live.look()).toEqual(["First"]);
  await committed("acme", "Second");
  await slow.run((client) => write(client, "acme", "SlowToo"));
  expect(await live.look()).toEqual(["Second"]);
  expect(await all.look()).toEqual(["First", "Second"]);
  await slow.commit();
  await lost.rollback();
  for (const one of [live, all]) expect(await one.look()).toEqual(["Slow", "SlowToo"]);
  for (const one of [live, all]) expect(await one.look()).toEqual([]);
  expect(await reader("acme", beforeEverything, 1).look()).toEqual(["Slow", "First", "Second", "SlowToo"]);
});

it("a line of a release that names no transaction is found by its row's", async () => {
  const live = reader("old", (await audit.mark()).mark);
  await store.database.pool.query("insert into audit_log (tenant_id, id, actor, method) values ('old', 'x', 'key_1', 'Old')");
  expect(await live.look()).toEqual(["Old"]);
  expect(await live.look()).toEqual([]);
});

it("many writers at once: each of several readers gets each line once", async () => {
  const { mark } = await audit.mark();
  const readers = [1, 2].map(() => reader("busy", mark, 7));
  const writers = [0, 1, 2].map(async (writer) => {
    for (let count = 0; count < 30; count++) await committed("busy", `M${writer}.${count}`);
  });
  let over = false;
  const done = Promise.all(writers).finally(() => (over = true));
  await Promise.all([
    done,
    ...readers.map(async ({ look }) => {
      while (!over) await look();
      await look();
    }),
  ]);
  const wanted = [0, 1, 2].flatMap((writer) => Array.from({ length: 30 }, (_, count) => `M${writer}.${count}`)).toSorted();
  for (const { got } of readers) {
    expect(got.toSorted()).toEqual(wanted);
    // Of one writer in its order.
    for (const writer of [0, 1, 2]) expect(got.filter((method) => method.startsWith(`M${writer}.`))).toHaveLength(30);
  }
});
