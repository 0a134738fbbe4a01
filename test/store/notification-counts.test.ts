import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { createNotificationQuota } from "../../src/steps/notify/notification-quota.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createNotificationCounts } from "../../src/store/notification-counts.ts";
import { purgeNotifications } from "../../src/store/sql/notification-counts.ts";
import { openStore, type TestStore } from "./open-store.ts";

type Quota = ReturnType<typeof createNotificationQuota>;
let store: TestStore;
let other: Database;
beforeAll(async () => {
  store = await openStore();
  other = await openDatabase({ connection: store.place.connection, poolMax: 8, log: silentLog, applicationName: "another replica" });
});
afterAll(async () => {
  await other?.close();
  await store?.[Symbol.asyncDispose]();
});

const pass = async () => (await store.database.pool.query("update notification_counts set end_time = now() - interval '1 second'")).rowCount;

it("two replicas together give a recipient no more than the limit, however many ask at once, and a tenant no more than its own", async () => {
  const tenant = randomUUID();
  const replicas = [store.database, other].map(({ pool }) =>
    createNotificationQuota(createNotificationCounts(pool), silentLog, { perRecipient: 10, perTenant: 14 }),
  );
  const ask = (recipients: string[]) => (_: unknown, index: number) => replicas[index % 2]?.take(tenant, recipients);
  const flood = await Promise.all(Array.from({ length: 40 }, ask(["ada@example.com"])));
  expect(flood.filter((taken) => taken?.ok)).toHaveLength(10);
  const full = await replicas[1]?.take(tenant, ["bob@example.com", "ADA@example.com"]);
  expect(full).toMatchObject({
    ok: false,
    fault: { name: "LIMIT.NOTIFICATIONS", message: "recipient 2 got 10 notifications in this hour, which is the limit" },
  });
  // What was refused took nothing: the tenant has four left.
  expect((await replicas[0]?.take(tenant, ["bob@example.com", "carol@example.com", "bob@example.com"]))?.ok).toBe(true);
  expect((await replicas[1]?.take(tenant, ["dora@example.com", "erik@example.com"]))?.ok).toBe(false);
  expect((await replicas[1]?.take(tenant, ["dora@example.com"]))?.ok).toBe(true);
  const over = await replicas[0]?.take(tenant, ["erik@example.com"]);
  expect(over).toMatchObject({ ok: false, fault: { message: "this tenant has sent 14 notifications in this hour; the limit is 14" } });
  expect((await replicas[0]?.take(randomUUID(), ["ada@example.com"]))?.ok).toBe(true);
});

it("an hour after the first message the count begins anew, and what is over is deleted", async () => {
  const tenant = randomUUID();
  const quota = createNotificationQuota(createNotificationCounts(other.pool), silentLog, { perRecipient: 1, perTenant: 5 });
  const take = async () => (await quota.take(tenant, ["ada@example.com"])).ok;
  expect([await take(), await take()]).toEqual([true, false]);
  await pass();
  expect([await take(), await take()]).toEqual([true, false]);
  await pass();
  const client = await store.database.pool.connect();
  expect(await purgeNotifications(client, tenant, 100)).toBe(2);
  client.release();
});

it("what a receiver said that is gone is heard by both replicas for a day, for that tenant and that address only", async () => {
  const tenant = randomUUID();
  const [one, another] = [store.database, other].map(({ pool }) => createNotificationQuota(createNotificationCounts(pool), silentLog)) as [Quota, Quota];
  const hook = "webhook:https://crm.example.com/Hooks";
  await one.gone(tenant, hook);
  expect(await another.take(tenant, [hook])).toMatchObject({ ok: false, fault: { name: "HTTP.410", details: { status: 410 } } });
  for (const [who, where] of [
    [randomUUID(), hook],
    [tenant, hook.toLowerCase()],
    [tenant, "ada@example.com"],
  ] as const)
    expect((await another.take(who, [where])).ok).toBe(true);
  await pass();
  expect((await another.take(tenant, [hook])).ok).toBe(true);
});

it("keeps no address in the clear", async () => {
  const quota = createNotificationQuota(createNotificationCounts(other.pool), silentLog);
  await quota.take(randomUUID(), ["somebody@example.com"]);
  const { rows } = await store.database.pool.query<{ line: string }>("select c::text as line, encode(key, 'escape') as text from notification_counts c");
  expect(JSON.stringify(rows)).not.toContain("somebody");
});

it("while nothing can be counted, nothing is sent and the step tries again", async () => {
  const lost = () => Promise.reject(new Error("connection lost"));
  const quota = createNotificationQuota({ take: lost, gone: lost }, silentLog);
  expect(await quota.take("a", ["b@example.com"])).toMatchObject({ ok: false, fault: { name: "NETWORK" } });
  await quota.gone("a", "b@example.com");
});
