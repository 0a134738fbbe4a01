/** A key that is revoked opens nothing any more and keeps nothing open, on whichever replica, told of it or not. */
import { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep } from "./support/definitions.ts";
import { begin, seconds, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { type Refusal, refusal } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";
import { addKey, addTenant } from "./support/tenants.ts";

const service = useServer();
let peer: RunningServer;
let executionId: string;
beforeAll(async () => {
  peer = await startAnother(service.server);
  ({ id: executionId } = await begin(service.clients, [delayStep("sleep", "3600s")]));
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
  await expect.poll(() => refusal(there.workflows.listWorkflows({})).catch(() => undefined)).toMatchObject({ reason: "KEY_REVOKED" });
  const { entries } = await access.listAuditEntries({ filter: `target = ${first?.id}` });
  expect(entries).toMatchObject([{ method: "RevokeApiKey", reason: "leaked", detail: { key_id: first?.id } }]);
  const pages = [await access.listApiKeys({ pageSize: 2 })];
  pages.push(await access.listApiKeys({ pageSize: 2, pageToken: pages[0]?.nextPageToken ?? "" }));
  expect(pages.flatMap((page) => page.apiKeys.map(({ id }) => id))).toEqual((await access.listApiKeys({})).apiKeys.map(({ id }) => id));
  expect((await connect(service.server).access.listApiKeys({})).apiKeys.filter(({ revokeTime }) => revokeTime !== undefined)).toHaveLength(2);
});

const scopes = ["executions:read", "executions:start", "sagas:read", "tasks:work", "workflows:read"];

/** Ends with how the stream ended; resolves `open` once it stands. */
function follow(stream: AsyncIterable<unknown>): { readonly open: Promise<void>; readonly end: Promise<Refusal> } {
  const open = Promise.withResolvers<void>();
  async function* noted() {
    for await (const message of stream) {
      open.resolve();
      yield message;
    }
  }
  const end = refusal(noted());
  // What ends before its first message never opens, and whoever waits for that hears why.
  end.then((early) => open.reject(new Error(`ended with ${early.reason}`)), open.reject);
  return { open: open.promise, end };
}

/** One stream of each kind that goes on until something ends it. */
async function openAll({ workflows, sagas, tasks }: Clients, queue: string): Promise<Promise<Refusal>[]> {
  const workflow = await createWorkflow(service.clients, [delayStep("sleep", "3600s")]);
  const watched = [
    workflows.watchExecution({ executionId }),
    workflows.watchExecutions({}),
    workflows.startExecutionAndWatch({ start: { workflow } }),
    sagas.watchSaga({ sagaId: executionId }),
    sagas.watchSagas({}),
  ].map(follow);
  const pushed = follow(tasks.streamTasks({ worker: { workerId: queue, taskQueues: [queue] }, maxInFlight: 1 }));
  pushed.open.catch(() => undefined);
  await Promise.all(watched.map(({ open }) => open));
  await expect.poll(async () => (await service.clients.tasks.listWorkers({ taskQueue: queue })).workers.length).toBe(1);
  return [...watched, pushed].map(({ end }) => end);
}

async function sql(text: string, values: unknown[]): Promise<void> {
  const client = new Client({ connectionString: service.database.databaseUrl });
  await client.connect();
  await client.query(text, values).finally(() => client.end());
}

it("when it is revoked all of them end, here and there; other keys' go on", async () => {
  const { keyId, apiKey } = await addKey(service, "default", scopes);
  const others = follow(connect(peer).workflows.watchExecution({ executionId }));
  await others.open;
  const ends = await Promise.all([service.server, peer].map(({ url }, index) => openAll(connect({ url, apiKey }), `told-${index}`)));
  const poll = connect({ url: peer.url, apiKey }).tasks.pollTasks({ worker: { workerId: "p", taskQueues: ["polled"] }, wait: seconds(60) });
  await expect.poll(async () => (await service.clients.tasks.listWorkers({ taskQueue: "polled" })).workers.length).toBe(1);
  await service.clients.access.revokeApiKey({ keyId });
  for (const end of await Promise.all(ends.flat())) expect(end).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_REVOKED" });
  expect((await poll).tasks).toEqual([]);
  const running = Symbol("running");
  expect(await Promise.race([others.end, Promise.resolve(running)])).toBe(running);
}, 120_000);

it("calls that wait for an execution's end are told so when their key is revoked, here and there", async () => {
  const { keyId, apiKey } = await addKey(service, "default", scopes);
  const workflow = await createWorkflow(service.clients, [delayStep("sleep", "3600s")]);
  const waits = [service.server, peer].flatMap(({ url }, index) => {
    const { workflows } = connect({ url, apiKey });
    return [
      refusal(workflows.waitExecution({ executionId, timeout: seconds(60) })),
      refusal(workflows.startExecution({ workflow, executionKey: `waits-${index}`, wait: seconds(60) })),
    ];
  });
  // Both starts are durable, so both calls are in.
  for (const index of [0, 1])
    await expect.poll(() => service.clients.workflows.getExecution({ executionId: `key:waits-${index}` }).catch(() => undefined)).toBeDefined();
  await service.clients.access.revokeApiKey({ keyId });
  for (const end of await Promise.all(waits)) expect(end).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_REVOKED" });
}, 120_000);

it("a replica that nobody told finds out by itself that a key was revoked, is over, is gone", async () => {
  const ends = [
    ["KEY_REVOKED", "update api_keys set revoke_time = now() where id = $1"],
    ["KEY_EXPIRED", "update api_keys set expire_time = now() where id = $1"],
    ["KEY_INVALID", "delete from api_keys where id = $1"],
  ] as const;
  const opened = await Promise.all(
    ends.map(async ([reason, statement]) => {
      const { keyId, apiKey } = await addKey(service, "default", scopes);
      const streams = [service.server, peer].map(({ url }) => follow(connect({ url, apiKey }).workflows.watchExecution({ executionId })));
      await Promise.all(streams.map(({ open }) => open));
      return { reason, statement, keyId, streams };
    }),
  );
  for (const { statement, keyId } of opened) await sql(statement, [parseId("key", keyId)]);
  for (const { reason, streams } of opened)
    for (const end of await Promise.all(streams.map((stream) => stream.end))) expect(end).toMatchObject({ code: "UNAUTHENTICATED", reason });
});

it("a tenant that is suspended loses its streams, as server-sent events too, and says why", async () => {
  const { apiKey } = await addKey(service, "leaving", ["executions:read", "executions:start", "workflows:write"]);
  const tenant = connect({ url: service.server.url, apiKey });
  const { id } = await begin(tenant, [delayStep("sleep", "3600s")]);
  const neighbour = await addTenant(service, "staying", ["executions:read"]);
  const going = follow(tenant.workflows.watchExecution({ executionId: id }));
  const staying = follow(neighbour.workflows.watchExecutions({}));
  const events = await fetch(`${service.server.url}/api/v1/executions/${id}/events`, {
    headers: { authorization: `Bearer ${apiKey}`, accept: "text/event-stream" },
  });
  await Promise.all([going.open, staying.open]);
  await sql("update tenants set suspended = true where id = $1", ["leaving"]);
  expect(await going.end).toMatchObject({ code: "PERMISSION_DENIED", reason: "TENANT_SUSPENDED" });
  expect(await events.text()).toMatch(/event: error\ndata: .*permission_denied/);
  const running = Symbol("running");
  expect(await Promise.race([staying.end, Promise.resolve(running)])).toBe(running);
});
