import { createHmac, randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { formatId } from "../../src/base/ids.ts";
import { readConfig } from "../../src/config.ts";
import { ensureFirstKey } from "../../src/first-key.ts";
import type { PolicyTable } from "../../src/rpc/interceptors/policy.ts";
import { createKeyRepository, type KeyRepository } from "../../src/store/key-repository.ts";
import { callerOf, openStore, risingIds, type TestStore } from "./open-store.ts";

let store: TestStore;
let keys: KeyRepository;
const ids = risingIds();
const secretHash = createHmac("sha256", "pepper").update("secret").digest();

beforeAll(async () => {
  store = await openStore();
  keys = createKeyRepository(store.database, ids);
  await keys.ensureTenant("acme", "Acme");
  await keys.ensureTenant("rival");
});
afterAll(() => store[Symbol.asyncDispose]());

it("makes a tenant once, also from several calls at once, and leaves an existing one alone", async () => {
  await Promise.all([1, 2, 3].map((n) => keys.ensureTenant("twin", `Twin ${n}`)));
  await keys.ensureTenant("acme", "Other name");
  const { rows } = await store.database.pool.query("select id, display_name as name from tenants where id in ('acme', 'twin') order by id");
  expect(rows).toHaveLength(2);
  expect(rows[0]).toEqual({ id: "acme", name: "Acme" });
  await expect(keys.ensureTenant("system")).rejects.toMatchObject({ reason: "VALIDATION_FAILED" });
});

it("stores the hash alone and finds a key by its id before the tenant is known", async () => {
  const expiresAt = Date.UTC(2030, 0, 1, 12, 30, 15, 678);
  const key = await keys.createKey({ tenantId: "acme", name: "ci 'key'?", scopes: ["executions:start", "a,b", "{}"], secretHash, expiresAt });
  expect(key).toMatchObject({ id: expect.stringMatching(/^key_/), tenantId: "acme", expiresAt, revokedAt: undefined, createdAt: expect.any(Number) });
  expect(await keys.findKey(key.id)).toEqual({
    tenantId: "acme",
    name: "ci 'key'?",
    secretHash,
    scopes: ["executions:start", "a,b", "{}"],
    expiresAt,
    revokedAt: undefined,
    previousSecretHash: undefined,
    previousExpiresAt: undefined,
    tenantSuspended: false,
  });
  await store.database.pool.query("update tenants set suspended = true where id = 'acme'");
  expect(await keys.findKey(key.id)).toMatchObject({ tenantSuspended: true });
  await store.database.pool.query("update tenants set suspended = false where id = 'acme'");
  for (const unknown of [ids.next("key"), "key_x", "", "\u0000", key.id.replace("key_", "wfl_")]) expect(await keys.findKey(unknown)).toBeUndefined();
});

it("takes a key id that was chosen beforehand, once", async () => {
  const keyId = ids.next("key");
  expect(await keys.createKey({ tenantId: "acme", name: "chosen", scopes: [], secretHash, keyId })).toMatchObject({ id: keyId, expiresAt: undefined });
  await expect(keys.createKey({ tenantId: "rival", name: "again", scopes: [], secretHash, keyId })).rejects.toThrow(/23505/);
  expect(await keys.findKey(keyId)).toMatchObject({ tenantId: "acme" });
});

it("refuses a hash of another length and a tenant that does not exist", async () => {
  const key = { tenantId: "acme", name: "x", scopes: [] };
  await expect(keys.createKey({ ...key, secretHash: Buffer.alloc(20) })).rejects.toThrow(/32 bytes/);
  await expect(keys.createKey({ ...key, tenantId: "nobody", secretHash })).rejects.toThrow(/tenant that exists/);
});

it("lists and revokes keys of the caller's tenant only, and keeps the first moment of a revocation", async () => {
  const acme = callerOf("acme");
  const rival = callerOf("rival");
  const mine = await keys.createKey({ tenantId: "acme", name: "mine", scopes: ["x"], secretHash });
  const theirs = await keys.createKey({ tenantId: "rival", name: "theirs", scopes: [], secretHash });
  const page = { pageSize: 10 };
  expect((await keys.listKeys(acme, page)).items[0]).toEqual(mine);
  expect(await keys.listKeys(rival, page)).toEqual({ items: [theirs], nextAfterId: undefined });
  expect(await keys.revokeKey(rival, mine.id)).toBeUndefined();
  expect(await keys.revokeKey(acme, "key_nonsense")).toBeUndefined();
  expect(await keys.findKey(mine.id)).toMatchObject({ revokedAt: undefined });
  const revoked = await keys.revokeKey(acme, mine.id);
  expect(revoked?.revokedAt).toBeGreaterThanOrEqual(mine.createdAt);
  expect(await keys.revokeKey(acme, mine.id)).toEqual(revoked);
  expect(await keys.findKey(mine.id)).toMatchObject({ revokedAt: revoked?.revokedAt });
});

it("the server's first key gets the scopes that a newer release asks for, and keeps those it has", async () => {
  const keyId = formatId("key", randomUUID());
  const adminKey = `pawf_${keyId.slice(4)}_${"A".repeat(43)}`;
  const config = readConfig({ DATABASE_URL: "postgres://u@h/d", PAWF_MASTER_KEY: "0123456789abcdef", PAWF_ADMIN_KEY: adminKey }, false);
  const release = (...scopes: string[]) => new Map(scopes.map((scope) => [scope, { scopes: [scope] }])) as unknown as PolicyTable;
  const start = (policies: PolicyTable) => ensureFirstKey(config, false, keys, Buffer.from("pepper"), policies);
  const scopesNow = async () => (await keys.findKey(keyId))?.scopes;
  await start(release("workflows:read"));
  expect(await scopesNow()).toEqual(["monitoring:read", "tenants:admin", "workflows:read"]);
  expect(await start(release("secrets:write"))).toBe(adminKey);
  expect(await scopesNow()).toEqual(["monitoring:read", "secrets:write", "tenants:admin", "workflows:read"]);
});
