/** A key that is revoked opens nothing any more, on whichever replica. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { connect } from "./support/connect-client.ts";
import { useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";
import { restart, type Server } from "./support/server.ts";
import { addTenant } from "./support/tenants.ts";

const service = useServer();
let peer: Server;
beforeAll(async () => {
  const { dataDir: _, ...options } = service.server.options;
  peer = await restart({ ...service.server, options });
});
afterAll(() => peer?.stop());

it("its next call is refused, here and there; who revoked it is on record; other tenants do not see it", async () => {
  const { access } = service.clients;
  const here = await addTenant(service, "default", ["workflows:read"]);
  const there = await addTenant({ ...service, server: { ...service.server, url: peer.url } }, "default", ["tasks:work", "workflows:read"]);
  const { apiKeys } = await access.listApiKeys({});
  // The fixture's keys have random ids, so their order says nothing.
  const [first, second] = ["workflows:read", "tasks:work,workflows:read"].map((scopes) => apiKeys.find((key) => key.scopes.join() === scopes));
  expect([first, second]).toMatchObject([{ name: "test" }, { name: "test" }]);
  expect(first?.revokeTime ?? second?.revokeTime).toBeUndefined();
  for (const clients of [here, there]) await clients.workflows.listWorkflows({});
  const rival = await addTenant(service, "rival", ["access:admin"]);
  expect(await refusal(rival.access.revokeApiKey({ keyId: first?.id ?? "" }))).toMatchObject({ reason: "KEY_NOT_FOUND" });
  expect((await rival.access.listApiKeys({})).apiKeys).toHaveLength(1);
  expect((await access.revokeApiKey({ keyId: first?.id ?? "", validateOnly: true })).apiKey?.revokeTime).toBeDefined();
  await here.workflows.listWorkflows({});
  const revoked = await access.revokeApiKey({ keyId: first?.id ?? "", reason: "leaked" });
  expect(revoked.apiKey?.revokeTime).toBeDefined();
  expect(await refusal(here.workflows.listWorkflows({}))).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_REVOKED" });
  await access.revokeApiKey({ keyId: second?.id ?? "" });
  await expect.poll(() => refusal(there.workflows.listWorkflows({})).catch(() => undefined), { timeout: 10_000 }).toMatchObject({ reason: "KEY_REVOKED" });
  const { entries } = await access.listAuditEntries({ filter: `target = ${first?.id}` });
  expect(entries).toMatchObject([{ method: "RevokeApiKey", reason: "leaked", detail: { key_id: first?.id } }]);
  const pages = [await access.listApiKeys({ pageSize: 2 })];
  pages.push(await access.listApiKeys({ pageSize: 2, pageToken: pages[0]?.nextPageToken ?? "" }));
  expect(pages.flatMap((page) => page.apiKeys.map(({ id }) => id))).toEqual((await access.listApiKeys({})).apiKeys.map(({ id }) => id));
  expect((await connect(service.server).access.listApiKeys({})).apiKeys.filter(({ revokeTime }) => revokeTime !== undefined)).toHaveLength(2);
});
