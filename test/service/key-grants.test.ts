/** Keys that callers make and rotate: shown once, never more than their maker, and known to every replica. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Clients, connect, postJson } from "./support/connect-client.ts";
import { delayStep } from "./support/definitions.ts";
import { begin, seconds, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusal, refusalOfJson } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";
import { addTenant } from "./support/tenants.ts";

const service = useServer();
let peer: RunningServer;
beforeAll(async () => {
  peer = await startAnother(service.server);
});
afterAll(() => peer?.stop());

const as = (apiKey: string, { url }: RunningServer = service.server): Clients => connect({ url, apiKey });
const list = (apiKey: string, server?: RunningServer) => as(apiKey, server).workflows.listWorkflows({ pageSize: 1 });

it("a key is shown once, opens what it was made for on every replica, and its making is on record without it", async () => {
  const { access } = service.clients;
  const wish = { name: "nightly import", scopes: ["workflows:read", "access:admin"], requestId: crypto.randomUUID() };
  const tried = await access.createApiKey({ ...wish, requestId: "", validateOnly: true });
  expect(tried).toMatchObject({ apiKey: { name: "nightly import", scopes: wish.scopes }, secret: "" });
  let replayed: string | null = null;
  const made = await access.createApiKey(wish);
  const again = await connect(peer).access.createApiKey(wish, { onHeader: (headers) => (replayed = headers.get("idempotent-replayed")) });
  expect(again).toEqual(made);
  expect(replayed).toBe("true");
  const { apiKey, secret } = made;
  expect(secret).toMatch(/^pawf_[0-9A-Z]{26}_[\w-]{43}$/);
  for (const server of [service.server, peer]) await list(secret, server);
  expect(await refusal(as(secret).workflows.createWorkflow({ workflow: { name: "x" } }))).toMatchObject({ reason: "SCOPE_MISSING" });
  const { apiKeys } = await access.listApiKeys({});
  expect(apiKeys.find(({ id }) => id === apiKey?.id)).toEqual(apiKey);
  expect(apiKey?.creator).toMatch(/^key_/);
  expect(apiKeys.map(({ id }) => id)).not.toContain(tried.apiKey?.id);
  const { entries } = await access.listAuditEntries({ filter: `target = ${apiKey?.id}` });
  expect(entries).toMatchObject([{ method: "CreateApiKey", actor: apiKey?.creator, detail: { name: wish.name, scopes: wish.scopes } }]);
});

it("no table and no log line holds the secret, also while its answer is kept for repeats", async () => {
  const { access } = service.clients;
  const made = await access.createApiKey({ name: "canary", scopes: ["workflows:read"], requestId: crypto.randomUUID() });
  const rotated = await access.rotateApiKey({ keyId: made.apiKey?.id ?? "", requestId: crypto.randomUUID() });
  const secrets = [made.secret, rotated.secret].map((text) => text.slice("pawf_".length + 27));
  const client = new Client({ connectionString: service.database.databaseUrl });
  await client.connect();
  const { rows: kept } = await client.query<{ response: Buffer }>("select response from idempotency_keys where method like '%ApiKey'");
  const { rows: tables } = await client.query<{ name: string }>("select tablename as name from pg_tables where schemaname = 'public'");
  for (const { name } of tables) {
    const { rows } = await client.query<{ found: number }>(`select count(*)::int as found from "${name}" t where t::text like any($1)`, [
      secrets.flatMap((secret) => [`%${secret}%`, `%${Buffer.from(secret).toString("hex")}%`]),
    ]);
    expect(rows[0]?.found, name).toBe(0);
  }
  await client.end();
  expect(kept.length).toBeGreaterThanOrEqual(2);
  expect(kept.map(({ response }) => response.toString("latin1")).join()).not.toContain("pawf_");
  for (const secret of secrets) expect([...service.server.logLines, ...peer.logLines].join("\n")).not.toContain(secret);
});

it("a key cannot raise itself: not by making one, not by rotating one, not for longer", async () => {
  const { access } = service.clients;
  const end = timestampFromMs(Date.UTC(2099, 0, 1));
  const small = await access.createApiKey({ name: "small", scopes: ["access:admin", "workflows:read"], expireTime: end });
  const large = await access.createApiKey({ name: "large", scopes: ["access:admin", "secrets:write"] });
  const mine = as(small.secret).access;
  const lacking = { code: "PERMISSION_DENIED", reason: "SCOPE_MISSING", metadata: { scope: "secrets:write" } };
  expect(await refusal(mine.createApiKey({ name: "x", scopes: ["workflows:read", "secrets:write"] }))).toMatchObject(lacking);
  expect(await refusal(mine.rotateApiKey({ keyId: large.apiKey?.id ?? "" }))).toMatchObject(lacking);
  const later = timestampFromMs(Date.UTC(2099, 0, 2));
  expect((await refusal(mine.createApiKey({ name: "x", scopes: ["workflows:read"], expireTime: later }))).fields).toEqual(["expire_time"]);
  expect((await refusal(mine.rotateApiKey({ keyId: small.apiKey?.id ?? "", expireTime: later }))).fields).toEqual(["expire_time"]);
  expect((await mine.createApiKey({ name: "x", scopes: ["workflows:read"] })).apiKey?.expireTime).toEqual(end);
  // What a tenant's key may never hold, the operator's own key holds it or not.
  const operators = await refusal(access.createApiKey({ name: "x", scopes: ["workflows:read", "tenants:admin"] }));
  expect(operators).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["scopes[1]"] });
  expect(await refusal(as((await access.createApiKey({ name: "y", scopes: ["workflows:read"] })).secret).access.listApiKeys({}))).toMatchObject({
    reason: "SCOPE_MISSING",
  });
});

it("what is wrong with a request is named by its field", async () => {
  const { access } = service.clients;
  const good = { name: "x", scopes: ["workflows:read"] };
  const faults: [object, string][] = [
    [{ ...good, name: "" }, "name"],
    [{ ...good, name: "a\u0000b" }, "name"],
    [{ ...good, name: "x".repeat(257) }, "name"],
    [{ ...good, scopes: [] }, "scopes"],
    [{ ...good, scopes: ["workflows:read", "workflows:read"] }, "scopes"],
    [{ ...good, scopes: ["workflows:read", "workflows:*"] }, "scopes[1]"],
    [{ ...good, scopes: [""] }, "scopes[0]"],
    [{ ...good, expireTime: timestampFromMs(1_000) }, "expire_time"],
    [{ ...good, expireTime: { seconds: 253_402_300_800n, nanos: 0 } }, "expire_time"],
    [{ ...good, expireTime: { seconds: -9_000_000_000_000n, nanos: 0 } }, "expire_time"],
    [{ ...good, requestId: "é" }, "request_id"],
  ];
  for (const [request, field] of faults)
    expect(await refusal(access.createApiKey(request)), field).toMatchObject({ code: "INVALID_ARGUMENT", fields: [field] });
  expect((await refusal(access.rotateApiKey({}))).fields).toEqual(["key_id"]);
  expect((await refusal(access.rotateApiKey({ keyId: "key_x", keepPrevious: seconds(30 * 86_400 + 1) }))).fields).toEqual(["keep_previous"]);
  expect((await refusal(access.rotateApiKey({ keyId: "key_x", keepPrevious: seconds(-1) }))).fields).toEqual(["keep_previous"]);
  expect(await refusal(access.rotateApiKey({ keyId: "key_x" }))).toMatchObject({ code: "NOT_FOUND", reason: "KEY_NOT_FOUND" });
  const unknown = refusalOfJson(await postJson(service.server, "AccessService/CreateApiKey", { ...good, tenantId: "rival" }));
  expect(unknown).toMatchObject({ code: "INVALID_ARGUMENT", reason: "VALIDATION_FAILED" });
});

it("a rotated key keeps id and scopes; its old secret goes on for its time, or ends at once with the streams it opened", async () => {
  const { access } = service.clients;
  const { id: executionId } = await begin(service.clients, [delayStep("sleep", "3600s")]);
  const first = await access.createApiKey({ name: "worker", scopes: ["workflows:read", "executions:read"] });
  const keyId = first.apiKey?.id ?? "";
  expect((await access.rotateApiKey({ keyId, validateOnly: true })).secret).toBe("");
  const second = await access.rotateApiKey({ keyId, reason: "every quarter" });
  expect(second.apiKey).toMatchObject({ id: keyId, name: "worker", scopes: ["workflows:read", "executions:read"] });
  expect(second.apiKey?.previousExpireTime?.seconds).toBe((second.apiKey?.rotateTime?.seconds ?? 0n) + 86_400n);
  for (const server of [service.server, peer]) for (const { secret } of [first, second]) await list(secret, server);

  const watching = [service.server, peer].map((server) => as(second.secret, server).workflows.watchExecution({ executionId })[Symbol.asyncIterator]());
  await Promise.all(watching.map((stream) => stream.next()));
  const ends = watching.map((stream) => refusal({ [Symbol.asyncIterator]: () => stream }));
  const third = await access.rotateApiKey({ keyId, keepPrevious: seconds(0) });
  for (const end of await Promise.all(ends)) expect(end).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_EXPIRED" });
  for (const server of [service.server, peer]) {
    await list(third.secret, server);
    // A replica that has not heard of it yet may trust it for a moment.
    for (const [{ secret }, reason] of [[first, "KEY_INVALID"] as const, [second, "KEY_EXPIRED"] as const])
      await expect.poll(() => refusal(list(secret, server)).catch(() => undefined)).toMatchObject({ reason });
  }
  const { entries } = await access.listAuditEntries({ filter: `target = ${keyId} AND method = "RotateApiKey"` });
  expect(entries.map(({ reason }) => reason)).toEqual(["", "every quarter"]);
  await access.revokeApiKey({ keyId });
  expect(await refusal(list(third.secret))).toMatchObject({ reason: "KEY_REVOKED" });
  expect(await refusal(access.rotateApiKey({ keyId }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
});

it("another tenant's keys can neither be rotated nor are they told from ones that do not exist", async () => {
  const rival = await addTenant(service, "rival", ["access:admin", "workflows:read"]);
  const made = await service.clients.access.createApiKey({ name: "mine", scopes: ["workflows:read"] });
  const keyId = made.apiKey?.id ?? "";
  const [foreign, unknown] = [
    await refusal(rival.access.rotateApiKey({ keyId })),
    await refusal(rival.access.rotateApiKey({ keyId: `${keyId.slice(0, -1)}0` })),
  ];
  expect({ ...foreign, metadata: {}, requestId: "" }).toEqual({ ...unknown, metadata: {}, requestId: "" });
  expect(foreign.reason).toBe("KEY_NOT_FOUND");
  await list(made.secret);
  const theirs = await rival.access.createApiKey({ name: "theirs", scopes: ["workflows:read"] });
  expect((await as(theirs.secret).workflows.listWorkflows({})).workflows).toEqual([]);
  expect((await service.clients.access.listApiKeys({})).apiKeys.map(({ id }) => id)).not.toContain(theirs.apiKey?.id);
});
