/** Tenants that the operator makes and changes: what it says of one holds on every replica at once, and nobody else can say it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, seconds, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { startLedger } from "./support/ledger.ts";
import { refusal } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";
import { addTenant } from "./support/tenants.ts";

const service = useServer();
let peer: RunningServer;
beforeAll(async () => {
  peer = await startAnother(service.server);
});
afterAll(() => peer?.stop());

const as = (apiKey: string, { url }: { readonly url: string } = service.server): Clients => connect({ url, apiKey });
let made = 0;
/** A new tenant with all scopes, as a client sees it here and at the peer. */
async function newTenant(settings: object = {}) {
  const id = `t${++made}`;
  const { secret, apiKey, tenant } = await service.clients.access.createTenant({ tenant: { id, ...settings } });
  return { id, secret, apiKey, tenant, here: as(secret), there: as(secret, peer) };
}
const suspended = { code: "PERMISSION_DENIED", reason: "TENANT_SUSPENDED" };

describe("CreateTenant", () => {
  it("makes a tenant with a key that opens it on every replica, shown once and again to a repeat, and on record without its secret", async () => {
    const { access } = service.clients;
    const wish = { tenant: { id: "acme", displayName: "Acme Ltd" }, keyName: "Ada", requestId: crypto.randomUUID() };
    const tried = await access.createTenant({ ...wish, requestId: "", validateOnly: true });
    expect(tried).toMatchObject({ tenant: { id: "acme", weight: 1, suspended: false }, secret: "" });
    expect(await refusal(access.getTenant({ tenant: "acme" }))).toMatchObject({ code: "NOT_FOUND", reason: "TENANT_NOT_FOUND" });
    let replayed: string | null = null;
    const first = await access.createTenant(wish);
    const again = await connect(peer).access.createTenant(wish, { onHeader: (headers) => (replayed = headers.get("idempotent-replayed")) });
    expect(again).toEqual(first);
    expect(replayed).toBe("true");
    expect(first.apiKey).toMatchObject({ name: "Ada", creator: expect.stringMatching(/^key_/) });
    expect(first.apiKey?.scopes).toContain("access:admin");
    expect(first.apiKey?.scopes).not.toContain("tenants:admin");
    for (const server of [service.server, peer]) expect((await as(first.secret, server).access.listApiKeys({})).apiKeys).toEqual([first.apiKey]);
    const workflow = await createWorkflow(as(first.secret), [logStep("a")]);
    expect(await refusal(service.clients.workflows.getWorkflow({ workflow }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
    expect((await access.getTenant({ tenant: "acme" })).tenant).toEqual(first.tenant);
    const { entries } = await access.listAuditEntries({ filter: "target = acme" });
    expect(entries).toMatchObject([{ method: "CreateTenant", actor: first.apiKey?.creator, detail: { key_name: "Ada" } }]);
    expect(JSON.stringify(entries[0]?.detail)).not.toContain("pawf_");
  });

  it("gives its key what was asked for and no more, and takes no id twice", async () => {
    const { access } = service.clients;
    const { apiKey, secret } = await access.createTenant({ tenant: { id: "narrow" }, keyScopes: ["workflows:read"] });
    expect(apiKey).toMatchObject({ name: "first key", scopes: ["workflows:read"] });
    await as(secret).workflows.listWorkflows({});
    expect(await refusal(access.createTenant({ tenant: { id: "narrow" } }))).toMatchObject({ code: "ALREADY_EXISTS", reason: "NAME_TAKEN" });
    expect((await as(secret).workflows.listWorkflows({})).workflows).toEqual([]);
  });
});

it("nobody but the operator sees or changes tenants, and no key can be made that does", async () => {
  const { here, id } = await newTenant();
  const full = { code: "PERMISSION_DENIED", reason: "SCOPE_MISSING", metadata: { scope: "tenants:admin" } };
  const calls = [
    () => here.access.createTenant({ tenant: { id: "mine" } }),
    () => here.access.getTenant({ tenant: id }),
    () => here.access.listTenants({}),
    () => here.access.updateTenant({ tenant: id, changes: { weight: 100 } }),
  ];
  for (const call of calls) expect(await refusal(call())).toMatchObject(full);
  expect(await refusal(here.access.createApiKey({ name: "x", scopes: ["tenants:admin"] }))).toMatchObject({ fields: ["scopes[0]"] });
  // A key of the operator's tenant that lacks a scope cannot have it in another tenant either; only one that came by SQL is such a key.
  const poor = await addTenant(service, "default", ["tenants:admin", "workflows:read"]);
  expect(await refusal(poor.access.createTenant({ tenant: { id: "rich" }, keyScopes: ["secrets:write"] }))).toMatchObject({
    reason: "SCOPE_MISSING",
    metadata: { scope: "secrets:write" },
  });
  expect(await refusal(poor.access.getTenant({ tenant: "rich" }))).toMatchObject({ reason: "TENANT_NOT_FOUND" });
  expect((await poor.access.createTenant({ tenant: { id: "poor" } })).apiKey?.scopes).toEqual(["workflows:read"]);
});

it("what is wrong with a request is named by its field, and nothing of it stands", async () => {
  const { access } = service.clients;
  const id = "faulty";
  const creations: [object, string][] = [
    [{}, "tenant"],
    [{ tenant: {} }, "tenant.id"],
    [{ tenant: { id: "Upper" } }, "tenant.id"],
    [{ tenant: { id: "system" } }, "tenant.id"],
    [{ tenant: { id, displayName: "a\u0007" } }, "tenant.display_name"],
    [{ tenant: { id, weight: 101 } }, "tenant.weight"],
    [{ tenant: { id, weight: -1 } }, "tenant.weight"],
    [{ tenant: { id, egressAllow: ["a:1", "nowhere"] } }, "tenant.egress_allow[1]"],
    [{ tenant: { id, egressAllow: [""] } }, "tenant.egress_allow[0]"],
    [{ tenant: { id, egressAllow: ["a:1", "a:1"] } }, "tenant.egress_allow"],
    [{ tenant: { id, quotas: { files: -1 } } }, "tenant.quotas.files"],
    [{ tenant: { id, quotas: { apiKeys: 0 } } }, "tenant.quotas.api_keys"],
    [{ tenant: { id, quotas: { fileBytes: 2n ** 60n } } }, "tenant.quotas.file_bytes"],
    [{ tenant: { id, retentionMax: seconds(3_600) } }, "tenant.retention_max"],
    [{ tenant: { id }, keyName: "a\u0000" }, "key_name"],
    [{ tenant: { id }, keyScopes: ["workflows:read", "tenants:admin"] }, "key_scopes[1]"],
  ];
  for (const [request, field] of creations)
    expect(await refusal(access.createTenant(request)), field).toMatchObject({ code: "INVALID_ARGUMENT", fields: [field] });
  const { id: tenant } = await newTenant();
  const updates: [object, string][] = [
    [{ changes: { weight: 2 } }, "tenant"],
    [{ tenant }, "changes"],
    [{ tenant, changes: { egressAllow: ["nowhere"] } }, "changes.egress_allow[0]"],
    [{ tenant, changes: { weight: 2 }, updateMask: { paths: ["nobody"] } }, "update_mask"],
    [{ tenant: "default", changes: { suspended: true } }, "changes.suspended"],
  ];
  for (const [request, field] of updates)
    expect(await refusal(access.updateTenant(request)), field).toMatchObject({ code: "INVALID_ARGUMENT", fields: [field] });
  for (const unknown of ["nobody", "' or true --", "x".repeat(128)]) {
    expect(await refusal(access.updateTenant({ tenant: unknown, changes: { weight: 2 } })), unknown).toMatchObject({ reason: "TENANT_NOT_FOUND" });
    expect(await refusal(access.getTenant({ tenant: unknown })), unknown).toMatchObject({ reason: "TENANT_NOT_FOUND" });
  }
});

it("an update takes what it names, once, with the etag that was read, and is on record with its reason", async () => {
  const { access } = service.clients;
  const { id: tenant, tenant: before } = await newTenant({ weight: 3, displayName: "Before", quotas: { files: 5, fileBytes: 2n ** 45n } });
  const changed = await access.updateTenant({ tenant, changes: { weight: 7 }, etag: before?.etag ?? "", reason: "paid for more" });
  expect(changed.tenant).toMatchObject({ weight: 7, displayName: "Before", quotas: { files: 5, fileBytes: 2n ** 45n } });
  expect(await refusal(access.updateTenant({ tenant, changes: { weight: 8 }, etag: before?.etag ?? "" }))).toMatchObject({
    code: "ABORTED",
    reason: "ETAG_MISMATCH",
    metadata: { currentEtag: changed.tenant?.etag },
  });
  const tried = await access.updateTenant({ tenant, changes: { displayName: "After" }, updateMask: { paths: ["*"] }, validateOnly: true });
  expect(tried.tenant).toMatchObject({ displayName: "After", weight: 1, quotas: {} });
  expect((await access.getTenant({ tenant })).tenant).toEqual(changed.tenant);
  const { entries } = await access.listAuditEntries({ filter: `target = ${tenant} AND method = "UpdateTenant"` });
  expect(entries).toMatchObject([{ reason: "paid for more", detail: { changes: { weight: 7 } } }]);
});

it("tenants are listed by id, in pages", async () => {
  const { access } = service.clients;
  for (let count = 0; count < 3; count++) await newTenant();
  const all = (await access.listTenants({})).tenants.map(({ id }) => id);
  expect(all).toEqual(all.toSorted());
  expect(all).toContain("default");
  const paged: string[] = [];
  for (let pageToken = ""; ; ) {
    const page = await access.listTenants({ pageSize: 2, pageToken });
    paged.push(...page.tenants.map(({ id }) => id));
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  expect(paged).toEqual(all);
});

describe("a tenant that is suspended", () => {
  it("is refused on every replica and loses its streams there; its execution runs on; then it is let in again", async () => {
    const { access } = service.clients;
    const { id: tenant, here, there } = await newTenant();
    const neighbour = await newTenant();
    const { id: executionId } = await begin(here, [delayStep("sleep", "0.2s"), logStep("a")]);
    const { id: sleeping } = await begin(here, [delayStep("sleep", "3600s")]);
    const streams = [here, there].map(({ workflows }) => workflows.watchExecution({ executionId: sleeping })[Symbol.asyncIterator]());
    await Promise.all(streams.map((stream) => stream.next()));
    const ends = streams.map((stream) => refusal({ [Symbol.asyncIterator]: () => stream }));
    const { tenant: stored } = await access.updateTenant({ tenant, changes: { suspended: true }, reason: "bill unpaid" });
    expect(stored?.suspended).toBe(true);
    expect(await refusal(here.workflows.listWorkflows({}))).toMatchObject(suspended);
    for (const end of await Promise.all(ends)) expect(end).toMatchObject(suspended);
    await expect.poll(() => refusal(there.workflows.listWorkflows({})).catch(() => undefined), { timeout: 20_000 }).toMatchObject(suspended);
    await neighbour.there.workflows.listWorkflows({});
    await access.updateTenant({ tenant, changes: {}, updateMask: { paths: ["suspended"] } });
    for (const clients of [here, there]) await clients.workflows.listWorkflows({});
    expect((await ended(here, executionId)).endReason).toBe(1);
  });
});

describe("what a tenant may", () => {
  it("call is opened and closed for its next step on every replica, and stays closed for others", async () => {
    const other = await startLedger();
    try {
      const { access } = service.clients;
      const { id: tenant, here, there } = await newTenant();
      const made = (clients: Clients) => createWorkflow(clients, [httpStep("call", `${other.url}/x`)]);
      const blocked = { code: "INVALID_ARGUMENT", reason: "EGRESS_BLOCKED" };
      for (const clients of [here, there]) expect(await refusal(made(clients))).toMatchObject(blocked);
      await access.updateTenant({ tenant, changes: { egressAllow: [other.address] } });
      const workflow = await made(here);
      // An attempt's failure, or that there was none.
      const outcome = async (clients: Clients): Promise<string> =>
        (await clients.workflows.startExecution({ workflow, wait: seconds(30) })).execution?.failure?.name ?? "none";
      expect(await outcome(here)).toBe("none");
      await expect.poll(() => outcome(there), { timeout: 30_000 }).toBe("none");
      expect(await refusal(made((await newTenant()).here))).toMatchObject(blocked);
      await access.updateTenant({ tenant, changes: {}, updateMask: { paths: ["egress_allow"] } });
      expect(await outcome(here)).toBe("LIMIT.EGRESS");
      await expect.poll(() => outcome(there), { timeout: 30_000 }).toBe("LIMIT.EGRESS");
    } finally {
      other.release();
      await other.close();
    }
  });

  it("keep is bounded by its quotas at once on every replica; what it has stays", async () => {
    const { access } = service.clients;
    const { id: tenant, here, there } = await newTenant({ quotas: { files: 2, fileBytes: 100n, apiKeys: 2, secrets: 1, storedEvents: 1 } });
    const over = { code: "RESOURCE_EXHAUSTED", reason: "QUOTA_EXCEEDED" };
    const { file } = await here.files.createFile({ name: "a.txt" });
    await here.files.appendFile({ fileId: file?.id ?? "", data: new Uint8Array(100) });
    expect(await refusal(here.files.appendFile({ fileId: file?.id ?? "", offsetBytes: 100n, data: new Uint8Array(1) }))).toMatchObject(over);
    expect(await refusal(there.files.createFile({ name: "b.txt" }))).toMatchObject(over);
    await there.access.createApiKey({ name: "second", scopes: ["workflows:read"] });
    expect(await refusal(here.access.createApiKey({ name: "third", scopes: ["workflows:read"] }))).toMatchObject(over);
    await here.secrets.setSecret({ name: "one", value: "the-first" });
    expect(await refusal(there.secrets.setSecret({ name: "two", value: "the-second" }))).toMatchObject(over);
    await here.workflows.publishEvent({ eventType: "paid", correlationKey: "1" });
    const full = { code: "RESOURCE_EXHAUSTED", reason: "SIGNAL_LIMIT" };
    expect(await refusal(there.workflows.publishEvent({ eventType: "paid", correlationKey: "2" }))).toMatchObject(full);
    await access.updateTenant({ tenant, changes: { quotas: { files: 1, fileBytes: 1_000n } } });
    await there.access.createApiKey({ name: "third", scopes: ["workflows:read"] });
    await there.secrets.setSecret({ name: "two", value: "the-second" });
    await there.workflows.publishEvent({ eventType: "paid", correlationKey: "2" });
    await there.files.appendFile({ fileId: file?.id ?? "", offsetBytes: 100n, data: new Uint8Array(10) });
    expect(await refusal(here.files.createFile({ name: "c.txt" }))).toMatchObject(over);
    await access.updateTenant({ tenant, changes: { quotas: {} } });
    await here.files.createFile({ name: "c.txt" });
  });
});
