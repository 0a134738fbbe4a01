import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type AuditRepository, createAuditRepository } from "../../src/store/audit-repository.ts";
import { auditedTypes, purgeAuditLines } from "../../src/store/sql/audit-log.ts";
import { inTransaction } from "../../src/store/transaction.ts";
import { callerOf, openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
let audit: AuditRepository;
beforeAll(async () => {
  store = await openStore(3);
  audit = createAuditRepository(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());

const line = (method: string, target = "wfl_1") => ({ method, target, reason: "because", detail: { a: 1 } });
const write = (tenantId: string, method: string, target?: string) =>
  inTransaction(store.database.pool, (client) => audit.write(client, callerOf(tenantId), line(method, target)));

describe("the audit log", () => {
  it("is read newest first, page by page, by its own tenant alone", async () => {
    for (let count = 0; count < 7; count++) await write("acme", `Method${count}`);
    await write("rival", "Method");
    const seen: string[] = [];
    let afterId: string | undefined;
    do {
      const page = await audit.list(callerOf("acme"), { pageSize: 3, filter: {}, ...(afterId === undefined ? {} : { afterId }) });
      seen.push(...page.items.map(({ method }) => method));
      afterId = page.nextAfterId;
    } while (afterId !== undefined);
    expect(seen).toEqual(["Method6", "Method5", "Method4", "Method3", "Method2", "Method1", "Method0"]);
    const [first] = (await audit.list(callerOf("acme"), { pageSize: 1, filter: { method: "Method3" } })).items;
    expect(first).toMatchObject({ actor: "key_test", method: "Method3", target: "wfl_1", reason: "because", correlationId: "corr", detail: { a: 1 } });
    for (const filter of [{ actor: "nobody" }, { target: "x" }, { correlationId: "x" }, { executionId: "exe_1" }, { method: "\u0000" }]) {
      expect((await audit.list(callerOf("acme"), { pageSize: 1, filter })).items, JSON.stringify(filter)).toEqual([]);
    }
  });

  it("belongs to the transaction of the change", async () => {
    const failed = inTransaction(store.database.pool, async (client) => {
      await audit.write(client, callerOf("acme"), line("Failed"));
      throw new Error("no");
    });
    await expect(failed).rejects.toThrow("no");
    expect((await audit.list(callerOf("acme"), { pageSize: 1, filter: { method: "Failed" } })).items).toEqual([]);
  });

  it("cannot be changed, and loses only lines that are old", async () => {
    const { pool } = store.database;
    await write("keep", "Young");
    await expect(pool.query("update audit_log set actor = 'nobody'")).rejects.toThrow("never changed");
    await expect(pool.query("delete from audit_log where tenant_id = 'keep'")).rejects.toThrow("older than 90 days");
    await pool.query("insert into audit_log (tenant_id, id, time, actor, method) values ('keep', 'old', now() - interval '401 days', 'key_1', 'Old')");
    const client = await pool.connect();
    try {
      expect(await purgeAuditLines(client, "keep", 400 * 86_400_000, 100)).toBe(1);
    } finally {
      client.release();
    }
    expect((await audit.list(callerOf("keep"), { pageSize: 10, filter: {} })).items.map(({ method }) => method)).toEqual(["Young"]);
  });

  it("finds the events of commands by their own index", async () => {
    const query = `explain select 1 from execution_events v where v.tenant_id = 'acme' and v.type in ${auditedTypes} order by v.at desc limit 10`;
    const plan = await inTransaction(store.database.pool, async (client) => {
      await client.query("set local enable_seqscan = off");
      return await client.query(query);
    });
    expect(JSON.stringify(plan.rows)).toContain("execution_events_audit_idx");
  });
});
