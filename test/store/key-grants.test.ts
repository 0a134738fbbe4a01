/** Keys that keys make: what their maker is now decides, not what it was when the call was let in. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Caller } from "../../src/base/caller.ts";
import { limits } from "../../src/base/limits.ts";
import { createKeyRepository, type KeyRepository } from "../../src/store/key-repository.ts";
import { callerOf, openStore, risingIds, type TestStore } from "./open-store.ts";

let store: TestStore;
let keys: KeyRepository;
const ids = risingIds();
const hash = (): Buffer => randomBytes(32);
const sql = (text: string, values: unknown[] = []) => store.database.pool.query(text, values);

beforeAll(async () => {
  store = await openStore();
  keys = createKeyRepository(store.database, ids);
  for (const tenantId of ["acme", "rival", "many", "old"]) await keys.ensureTenant(tenantId);
});
afterAll(() => store[Symbol.asyncDispose]());

async function maker(tenantId: string, scopes: readonly string[], expiresAt?: number): Promise<Caller> {
  const key = await keys.createKey({ tenantId, name: "maker", scopes, secretHash: hash(), expiresAt });
  return { ...callerOf(tenantId), actor: key.id };
}
const wish = (more: object = {}) => ({
  keyId: ids.next("key"),
  name: "made",
  scopes: ["a"],
  secretHash: hash(),
  expiresAt: undefined,
  validateOnly: false,
  ...more,
});

it("a key is made with its maker's name on it, lists behind newer ones, and lives no longer than its maker", async () => {
  const end = Date.UTC(2099, 0, 1);
  const [lasting, ending] = [await maker("acme", ["a", "b"]), await maker("acme", ["a"], end)];
  const made = await keys.issueKey(lasting, wish({ expiresAt: end + 1 }));
  expect(made).toMatchObject({ creator: lasting.actor, scopes: ["a"], expiresAt: end + 1, rotatedAt: undefined });
  expect(await keys.issueKey(ending, wish())).toMatchObject({ creator: ending.actor, expiresAt: end });
  await expect(keys.issueKey(ending, wish({ expiresAt: end + 1 }))).rejects.toMatchObject({ violations: [{ field: "expire_time" }] });
  await expect(keys.issueKey(ending, wish({ scopes: ["a", "b"] }))).rejects.toMatchObject({ code: "PERMISSION_DENIED", metadata: { scope: "b" } });
  const tried = await keys.issueKey(lasting, wish({ validateOnly: true }));
  expect(await keys.findKey(tried.id)).toBeUndefined();
  const pages = [await keys.listKeys(lasting, { pageSize: 2 })];
  for (let afterId = pages[0]?.nextAfterId; afterId !== undefined; afterId = pages.at(-1)?.nextAfterId)
    pages.push(await keys.listKeys(lasting, { pageSize: 2, afterId }));
  const listed = pages.flatMap(({ items }) => items.map(({ id }) => id));
  expect(listed).toEqual([...listed].sort().reverse());
  expect(listed).toContain(made.id);
});

it("whoever was revoked, has expired or is of another tenant makes and rotates nothing", async () => {
  const [gone, over, stranger] = [await maker("acme", ["a"]), await maker("acme", ["a"], Date.now() + 3_600_000), await maker("rival", ["a"])];
  const { id } = await keys.issueKey(gone, wish());
  await keys.revokeKey(gone, gone.actor);
  await sql("update api_keys set expire_time = now() - interval '1 second' where tenant_id = 'acme' and expire_time < '2090-01-01'");
  const rotation = { secretHash: hash(), keepMs: 0, expiresAt: undefined, validateOnly: false };
  for (const [caller, reason] of [[gone, "KEY_REVOKED"] as const, [over, "KEY_EXPIRED"] as const]) {
    await expect(keys.issueKey(caller, wish())).rejects.toMatchObject({ code: "UNAUTHENTICATED", reason });
    await expect(keys.rotateKey(caller, id, rotation)).rejects.toMatchObject({ reason });
  }
  await expect(keys.issueKey(callerOf("acme"), wish())).rejects.toMatchObject({ reason: "KEY_REVOKED" });
  for (const unknown of [id, "key_x", ids.next("key")]) expect(await keys.rotateKey(stranger, unknown, rotation)).toBeUndefined();
  expect(await keys.findKey(id)).toMatchObject({ previousSecretHash: undefined });
});

it("a rotation keeps the secret before for its time, only that one, and gives nobody what he lacks", async () => {
  const [admin, lesser] = [await maker("acme", ["a", "b"]), await maker("acme", ["a"])];
  const ending = await maker("acme", ["a", "b"], Date.UTC(2099, 0, 1));
  const [first, second, third] = [hash(), hash(), hash()];
  const { id } = await keys.issueKey(admin, wish({ scopes: ["a", "b"], secretHash: first }));
  const to = (secretHash: Buffer, more: object = {}) => ({ secretHash, keepMs: 60_000, expiresAt: undefined, validateOnly: false, ...more });
  await expect(keys.rotateKey(lesser, id, to(second))).rejects.toMatchObject({ reason: "SCOPE_MISSING", metadata: { scope: "b" } });
  await expect(keys.rotateKey(ending, id, to(second))).rejects.toMatchObject({ violations: [{ field: "expire_time" }] });
  await keys.rotateKey(admin, id, to(second, { validateOnly: true }));
  expect(await keys.findKey(id)).toMatchObject({ secretHash: first, previousSecretHash: undefined });
  const rotated = await keys.rotateKey(admin, id, to(second));
  expect(await keys.findKey(id)).toMatchObject({ secretHash: second, previousSecretHash: first, expiresAt: undefined });
  expect((rotated?.previousExpiresAt ?? 0) - (rotated?.rotatedAt ?? 0)).toBe(60_000);
  const end = Date.UTC(2098, 0, 1);
  expect(await keys.rotateKey(ending, id, to(third, { keepMs: 0, expiresAt: end }))).toMatchObject({ expiresAt: end });
  expect(await keys.findKey(id)).toMatchObject({ secretHash: third, previousSecretHash: second, expiresAt: end });
  await keys.revokeKey(admin, id);
  expect(await keys.rotateKey(admin, id, to(first))).toBeUndefined();
  // Its own, which is one row to lock.
  expect(await keys.rotateKey(admin, admin.actor, to(first))).toMatchObject({ id: admin.actor });
});

it("two keys that rotate each other at once wait for each other and do not stop each other", async () => {
  const [one, other] = [await maker("acme", ["a"]), await maker("acme", ["a"])];
  const to = () => ({ secretHash: hash(), keepMs: 0, expiresAt: undefined, validateOnly: false });
  const rounds = Array.from({ length: 6 }, (_, index) => (index % 2 === 0 ? keys.rotateKey(one, other.actor, to()) : keys.rotateKey(other, one.actor, to())));
  for (const rotated of await Promise.all(rounds)) expect(rotated?.rotatedAt).toBeDefined();
});

it("a tenant has so many valid keys and no more; those that ended make room and are removed in the end, the server's own never", async () => {
  const caller = await maker("many", ["a"]);
  await sql(
    `insert into api_keys (id, tenant_id, name, secret_hash, scopes, creator)
     select gen_random_uuid(), 'many', 'n', decode(repeat('00', 32), 'hex'), '{}', $1 from generate_series(2, $2)`,
    [caller.actor, limits.keysPerTenantMax],
  );
  await expect(keys.issueKey(caller, wish())).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "QUOTA_EXCEEDED" });
  await sql(
    "update api_keys set expire_time = now() - interval '1 second' where tenant_id = 'many' and id in (select id from api_keys where creator = $1 limit 1)",
    [caller.actor],
  );
  expect(await keys.issueKey(caller, wish())).toMatchObject({ creator: caller.actor });
  const old = await maker("old", ["a"]);
  const [revoked, expired, recent] = [await keys.issueKey(old, wish()), await keys.issueKey(old, wish()), await keys.issueKey(old, wish())];
  const end = (column: string, keyId: string, days: number) =>
    sql(
      `update api_keys set ${column} = now() - $2 * interval '1 day' where tenant_id = 'old' and id = (select id from api_keys where tenant_id = 'old'
      order by id offset $1 limit 1)`,
      [[old.actor, revoked.id, expired.id, recent.id].indexOf(keyId), days],
    );
  await end("revoke_time", old.actor, 91);
  await end("revoke_time", revoked.id, 91);
  await end("expire_time", expired.id, 91);
  await end("revoke_time", recent.id, 89);
  expect(await keys.purge()).toBe(2);
  expect(await keys.purge()).toBe(0);
  expect((await keys.listKeys(old, { pageSize: 10 })).items.map(({ id }) => id)).toEqual([recent.id, old.actor]);
});
