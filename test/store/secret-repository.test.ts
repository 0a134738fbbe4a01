/** Secrets on a real database: what is stored opens only where it belongs, and only with a master key that is configured. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { createMasterKeys } from "../../src/base/master-keys.ts";
import { createSecretUpkeep } from "../../src/engine/secret-upkeep.ts";
import { createSecretRepository, type SecretRepository } from "../../src/store/secret-repository.ts";
import { createTenantKeys, readRootKey, rewrapKeys } from "../../src/store/wrapped-keys.ts";
import { callerOf, openStore, type TestStore } from "./open-store.ts";

const acme = callerOf("acme");
const rival = callerOf("rival");
let store: TestStore;
beforeAll(async () => {
  store = await openStore(3);
});
afterAll(() => store[Symbol.asyncDispose]());

/** As a server with these master keys sees them, the current one first. */
async function secretsOf(...masterKeys: string[]): Promise<SecretRepository> {
  const keys = createTenantKeys(store.database.pool, await createMasterKeys(masterKeys));
  return createSecretRepository({ pool: store.database.pool, keys, monotonic: systemClock.monotonic, log: silentLog });
}

const query = (text: string, values: unknown[] = []) => store.database.pool.query(text, values);

it("a value goes in, is read by a step, and is listed without it; a second one takes its place", async () => {
  const secrets = await secretsOf("first master key");
  const made = await secrets.set(acme, "crm", { value: "value-1", description: "CRM token" });
  expect(made).toMatchObject({ name: "crm", description: "CRM token", version: 1, lastUsedAt: undefined });
  expect(await secrets.read("acme", "crm")).toEqual(["value-1"]);
  expect(await secrets.set(acme, "crm", { value: "value-2" })).toMatchObject({ version: 2, description: "CRM token", versions: [{ version: 2 }] });
  expect(await secrets.read("acme", "crm")).toEqual(["value-2"]);
  await expect.poll(async () => (await secrets.list(acme, { pageSize: 10, name: undefined })).items[0]?.lastUsedAt).toBeTypeOf("number");
  expect(JSON.stringify(await secrets.list(acme, { pageSize: 10, name: undefined }))).not.toContain("value-");
  expect((await query("select count(*) from secret_versions where tenant_id = 'acme'")).rows[0].count).toBe(1);
  expect(await secrets.read("rival", "crm")).toBeUndefined();
  expect(await secrets.known("acme", ["crm", "nobody"])).toEqual(new Set(["crm"]));
});

it("while it is rotated both values are valid, the new one first; then the old one is deleted", async () => {
  const secrets = await secretsOf("first master key");
  await secrets.set(acme, "hook", { value: "hook-1" });
  const rotated = await secrets.rotate(acme, "hook", { value: "hook-2", keepMs: 3_600_000 });
  expect(rotated?.versions.map(({ version, expiresAt }) => [version, expiresAt !== undefined])).toEqual([
    [2, false],
    [1, true],
  ]);
  expect(await secrets.read("acme", "hook")).toEqual(["hook-2", "hook-1"]);
  await secrets.rotate(acme, "hook", { value: "hook-3", keepMs: 3_600_000 });
  expect(await secrets.read("acme", "hook")).toEqual(["hook-3", "hook-2"]);
  await query("update secret_versions set expire_time = now() - interval '1 second' where expire_time is not null");
  expect(await secrets.read("acme", "hook")).toEqual(["hook-3"]);
  expect(await secrets.purge()).toBe(1);
  expect(await secrets.rotate(acme, "hook", { value: "hook-4", keepMs: 0 })).toMatchObject({ versions: [{ version: 4 }] });
  expect(await secrets.read("acme", "hook")).toEqual(["hook-4"]);
  expect(await secrets.rotate(acme, "nobody", { value: "hook-5", keepMs: 0 })).toBeUndefined();
});

it("etags are compared, validate_only changes nothing, and what is deleted is gone with its values", async () => {
  const secrets = await secretsOf("first master key");
  const { etag } = await secrets.set(acme, "gone", { value: "gone-1" });
  await expect(secrets.set(acme, "gone", { value: "gone-2", etag: "stale" })).rejects.toMatchObject({ reason: "ETAG_MISMATCH" });
  expect(await secrets.set(acme, "gone", { value: "gone-2", etag, validateOnly: true })).toMatchObject({ version: 2 });
  expect(await secrets.read("acme", "gone")).toEqual(["gone-1"]);
  expect(await secrets.set(acme, "never", { value: "never-1", validateOnly: true })).toMatchObject({ version: 1 });
  expect(await secrets.read("acme", "never")).toBeUndefined();
  expect(await secrets.remove(rival, "gone")).toBeUndefined();
  expect(await secrets.remove(acme, "gone", { validateOnly: true })).toMatchObject({ name: "gone" });
  expect(await secrets.remove(acme, "gone", { etag })).toMatchObject({ name: "gone" });
  expect(await secrets.read("acme", "gone")).toBeUndefined();
  expect((await query("select 1 from secret_versions v where not exists (select from secrets s where s.id = v.secret_id)")).rowCount).toBe(0);
});

it("twins that make the same secret at once both succeed, one after the other", async () => {
  const secrets = await secretsOf("first master key");
  const answers = await Promise.all(["a", "b", "c", "d"].map((name) => secrets.set(rival, "shared", { value: `shared-${name}` })));
  expect(answers.map(({ version }) => version).sort()).toEqual([1, 2, 3, 4]);
  expect(await secrets.read("rival", "shared")).toHaveLength(1);
});

it("a page begins after the name before, and the filter takes a beginning", async () => {
  const secrets = await secretsOf("first master key");
  const paging = callerOf("paging");
  for (const name of ["a1", "a2", "b_1", "bx1"]) await secrets.set(paging, name, { value: "value" });
  const first = await secrets.list(paging, { pageSize: 3, name: undefined });
  expect([first.items.map(({ name }) => name), first.nextAfterId]).toEqual([["a1", "a2", "b_1"], "b_1"]);
  expect((await secrets.list(paging, { pageSize: 3, afterId: "b_1", name: undefined })).items.map(({ name }) => name)).toEqual(["bx1"]);
  expect((await secrets.list(paging, { pageSize: 9, name: { text: "b_", isPrefix: true } })).items.map(({ name }) => name)).toEqual(["b_1"]);
});

it.each([
  ["of another secret", "secret_id", "other"],
  ["of another tenant", "tenant_id", "theirs"],
])("a value in the row %s does not open", async (_, what, name) => {
  const secrets = await secretsOf("first master key");
  await secrets.set(acme, "mine", { value: "mine-value" });
  await secrets.set(what === "tenant_id" ? rival : acme, name, { value: "their-value" });
  const owner = what === "tenant_id" ? "rival" : "acme";
  const box = "(select sealed from secret_versions v join secrets s on s.id = v.secret_id where s.tenant_id = 'acme' and s.name = 'mine')";
  await query(`update secret_versions set sealed = ${box} where secret_id = (select id from secrets where tenant_id = $1 and name = $2)`, [owner, name]);
  await expect(secrets.read(owner, name)).rejects.toMatchObject({ reason: "INTERNAL_BUG" });
  expect(await secrets.read("acme", "mine")).toEqual(["mine-value"]);
});

it("an older value that is put back, a changed bit and a swapped data key do not open", async () => {
  const secrets = await secretsOf("first master key");
  const old = callerOf("old");
  await secrets.set(old, "back", { value: "old-value" });
  const { sealed } = (await query("select sealed from secret_versions where tenant_id = 'old'")).rows[0];
  await secrets.set(old, "back", { value: "new-value" });
  await query("update secret_versions set sealed = $1 where tenant_id = 'old'", [sealed]);
  await expect(secrets.read("old", "back")).rejects.toMatchObject({ reason: "INTERNAL_BUG" });
  await secrets.set(old, "back", { value: "new-value" });
  await query("update secret_versions set sealed = set_byte(sealed, 15, get_byte(sealed, 15) # 1) where tenant_id = 'old'");
  await expect(secrets.read("old", "back")).rejects.toMatchObject({ reason: "INTERNAL_BUG" });
  await secrets.set(rival, "x", { value: "rival-value" });
  await query("update tenant_keys set wrapped = (select wrapped from tenant_keys where tenant_id = 'rival') where tenant_id = 'old'");
  await expect((await secretsOf("first master key")).read("old", "back")).rejects.toMatchObject({ reason: "INTERNAL_BUG" });
  await query("delete from tenant_keys where tenant_id = 'old'");
});

it("no value, data key or master key stands in the database", async () => {
  const secrets = await secretsOf("first master key");
  await secrets.set(acme, "dumped", { value: "canary-in-the-dump" });
  const { rows } = await query("select encode(sealed, 'escape') as sealed from secret_versions union all select encode(wrapped, 'escape') from tenant_keys");
  for (const { sealed } of rows) for (const word of ["canary", "first master"]) expect(sealed).not.toContain(word);
});

it("the master key changes while the service runs: old rows open, are wrapped anew in portions, and then need the old key no more", async () => {
  const root = await readRootKey(store.database.pool, await createMasterKeys(["first master key"]), "first master key");
  expect(root).toBe("first master key");
  const before = await secretsOf("first master key");
  for (let index = 0; index < 7; index++) await before.set(callerOf(`tenant-${index}`), "key", { value: `value-${index}` });

  // A server without the old key refuses to begin, and one that runs says so and can be tried again.
  const strangerKeys = await createMasterKeys(["second master key"]);
  await expect(readRootKey(store.database.pool, strangerKeys, "x")).rejects.toThrow(/PAWF_MASTER_KEY_RING/);
  await expect((await secretsOf("second master key")).read("tenant-0", "key")).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });

  const masterKeys = await createMasterKeys(["second master key", "first master key"]);
  const during = await secretsOf("second master key", "first master key");
  expect(await during.read("tenant-0", "key")).toEqual(["value-0"]);
  const portion = await rewrapKeys(store.database.pool, masterKeys, 2);
  expect([portion.rewrapped, portion.left > 0]).toEqual([3, true]);
  expect(await before.read("tenant-6", "key")).toEqual(["value-6"]);

  // Two replicas, each broken off at any time: whoever comes later finishes.
  const upkeep = async (): Promise<void> => {
    const work = createSecretUpkeep({ purge: async () => 0, rewrap: () => rewrapKeys(store.database.pool, masterKeys, 2), log: silentLog });
    while ((await work()) > 0);
  };
  await Promise.all([upkeep(), upkeep()]);
  expect(await rewrapKeys(store.database.pool, masterKeys, 2)).toEqual({ rewrapped: 0, unopened: 0, left: 0 });

  const after = await secretsOf("second master key");
  for (let index = 0; index < 7; index++) expect(await after.read(`tenant-${index}`, "key")).toEqual([`value-${index}`]);
  expect(await readRootKey(store.database.pool, strangerKeys, "x")).toBe("first master key");
  await expect((await secretsOf("first master key")).read("tenant-0", "key")).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
});
