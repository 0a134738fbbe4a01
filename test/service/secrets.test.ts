/** SecretService as its callers meet it, and secrets from the save of a workflow to the call that carries them. */
import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Secret } from "#gen/pyairtable/workflow/v1/secret_pb.js";
import { parseId, systemIds } from "../../src/base/ids.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { connect } from "./support/connect-client.ts";
import { definition, newName } from "./support/definitions.ts";
import { type EchoServer, startEchoServer } from "./support/echo-server.ts";
import { run, seconds, useServer } from "./support/fixture.ts";
import { startAnother, startHostedServer } from "./support/hosted-server.ts";
import { plain } from "./support/plain.ts";
import { refusal } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";

let echo: EchoServer;
beforeAll(async () => {
  echo = await startEchoServer("token");
});
afterAll(() => echo.close());
const service = useServer({ egressAllow: ["127.0.0.1:*"] });

const slots = (...names: string[]) => ({ secret_slots: names.map((name) => ({ name })) });
const call = (slot: string, url = `${echo.url}/200`) => ({ name: "call", http_request: { url, auth: { bearer: { slot } } } });

describe("SecretService", () => {
  test("sets, rotates, lists and deletes; a value is in no answer", async () => {
    const { secrets } = service.clients;
    const made = (await secrets.setSecret({ name: "listed", value: "listed-value-1", description: "d" })).secret as Secret;
    expect(made).toMatchObject({ name: "listed", description: "d", version: 1, versions: [{ version: 1 }] });
    const rotated = (await secrets.rotateSecret({ name: "listed", value: "listed-value-2", keepPrevious: seconds(60), etag: made.etag })).secret as Secret;
    expect(rotated.versions.map(({ version, expireTime }) => [version, expireTime !== undefined])).toEqual([
      [2, false],
      [1, true],
    ]);
    expect((await refusal(secrets.setSecret({ name: "listed", value: "listed-value-3", etag: made.etag }))).reason).toBe("ETAG_MISMATCH");
    const listed = await secrets.listSecrets({ filter: 'name = "list*"' });
    expect(listed.secrets.map(({ name, version }) => [name, version])).toEqual([["listed", 2]]);
    expect(JSON.stringify(listed, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toContain("listed-value");
    expect((await secrets.deleteSecret({ name: "listed" })).secret?.name).toBe("listed");
    const gone = { code: "NOT_FOUND", reason: "SECRET_NOT_FOUND", metadata: { secret: "listed" } };
    expect(await refusal(secrets.deleteSecret({ name: "listed" }))).toMatchObject(gone);
    expect(await refusal(secrets.rotateSecret({ name: "listed", value: "listed-value-4" }))).toMatchObject(gone);
  });

  test.each([
    ["a name with capitals", { name: "Bad", value: "value-x" }],
    ["a value too short to be masked", { name: "ok", value: "abc" }],
    ["a value too long", { name: "ok", value: "x".repeat(16_385) }],
    ["no value", { name: "ok" }],
  ])("refuses %s", async (_, request) => {
    expect((await refusal(service.clients.secrets.setSecret(request))).reason).toBe("VALIDATION_FAILED");
  });

  test("needs its own scope, and another tenant's secrets are not there", async () => {
    const { secrets } = service.clients;
    await secrets.setSecret({ name: "mine", value: "mine-value" });
    const readOnly = await keyOf("default", ["workflows:write", "executions:start"]);
    expect((await refusal(connect({ ...service.server, apiKey: readOnly }).secrets.listSecrets({}))).reason).toBe("SCOPE_MISSING");
    const rival = connect({ ...service.server, apiKey: await keyOf("rival", ["secrets:write", "workflows:write"]) });
    expect((await rival.secrets.listSecrets({})).secrets).toEqual([]);
    expect((await refusal(rival.secrets.deleteSecret({ name: "mine" }))).reason).toBe("SECRET_NOT_FOUND");
    expect((await refusal(rival.secrets.rotateSecret({ name: "mine", value: "stolen-value" }))).reason).toBe("SECRET_NOT_FOUND");
    const workflow = { name: newName(), definition: definition([call("mine")], slots("mine")) };
    expect((await refusal(rival.workflows.createWorkflow({ workflow }))).reason).toBe("SECRET_NOT_FOUND");
  });
});

async function sql(text: string, values: unknown[]): Promise<void> {
  const client = new pg.Client({ connectionString: service.database.databaseUrl });
  await client.connect();
  await client.query(text, values).finally(() => client.end());
}

/** An API key made by hand, as a later AccessService would. */
async function keyOf(tenantId: string, scopes: string[]): Promise<string> {
  // pawf_<26 characters>_<secret>, which may hold an underscore itself.
  const [ownId, secret] = [service.server.apiKey.slice(5, 31), service.server.apiKey.slice(32)];
  const id = systemIds.next("key");
  const own = parseId("key", `key_${ownId}`);
  await sql("insert into tenants (id) values ($1) on conflict do nothing", [tenantId]);
  await sql("insert into api_keys (id, tenant_id, name, secret_hash, scopes) select $1, $2, 'test', secret_hash, $3 from api_keys where id = $4", [
    parseId("key", id),
    tenantId,
    scopes,
    own,
  ]);
  return `pawf_${id.slice(4)}_${secret}`;
}

describe("a workflow with slots", () => {
  test("is refused while a slot has no secret, and a binding needs a slot", async () => {
    const { workflows, secrets } = service.clients;
    const wish = { name: newName(), definition: definition([call("crm")], slots("crm")) };
    const missing = await refusal(workflows.createWorkflow({ workflow: wish }));
    expect(missing).toMatchObject({ code: "NOT_FOUND", reason: "SECRET_NOT_FOUND" });
    expect(missing.message).toMatch(/workflow.secret_bindings.crm: slot "crm" needs the secret "crm"/);
    const report = await workflows.validateDefinition({ definition: wish.definition, secretBindings: { crm: "nobody" } });
    expect([report.valid, report.missingSecrets]).toEqual([true, ["nobody"]]);
    await secrets.setSecret({ name: "crm-token", value: "crm-token-value" });
    const unknown = await refusal(workflows.createWorkflow({ workflow: { ...wish, secretBindings: { crm: "crm-token", other: "crm-token" } } }));
    expect(unknown.reason).toBe("SECRET_SLOT_UNKNOWN");
    const stored = await workflows.createWorkflow({ workflow: { ...wish, secretBindings: { crm: "crm-token" } } });
    expect(stored.workflow?.secretBindings).toEqual({ crm: "crm-token" });
    const undeclared = await refusal(workflows.createWorkflow({ workflow: { name: newName(), definition: definition([call("crm")]) } }));
    expect(undeclared).toMatchObject({ code: "INVALID_ARGUMENT", reason: "SECRET_SLOT_UNKNOWN" });
  });

  test("sends the bound secret, after a change the new value, and fails by name when it is gone", async () => {
    const { workflows, secrets } = service.clients;
    await secrets.setSecret({ name: "live", value: "live-value-1" });
    const workflow = newName();
    await workflows.createWorkflow({ workflow: { name: workflow, definition: definition([call("slot")], slots("slot")), secretBindings: { slot: "live" } } });
    const start = async () => (await workflows.startExecution({ workflow, wait: seconds(50) })).execution;
    expect(JSON.stringify(plain((await start())?.output))).toContain("Bearer ***");
    await secrets.setSecret({ name: "live", value: "live-value-2" });
    expect((await start())?.state).toBe(ExecutionState.COMPLETED);
    expect(echo.seen.join()).toMatch(/Bearer live-value-1.*Bearer live-value-2/s);
    await expect.poll(async () => (await secrets.listSecrets({ filter: 'name = "live"' })).secrets[0]?.lastUsedTime).toBeDefined();
    await secrets.deleteSecret({ name: "live" });
    const failed = await start();
    expect(failed).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "SECRET.MISSING" } });
    expect(failed?.failure?.message).toContain('"live"');
  });

  test("an optional slot without a secret leaves the credential out", async () => {
    const execution = await run(service.clients, [call("maybe")], { secret_slots: [{ name: "maybe", optional: true }] });
    expect(execution.state).toBe(ExecutionState.COMPLETED);
    expect(echo.seen.at(-1)).not.toContain("authorization");
  });

  test("a changed binding is a new revision, and the running ones keep theirs", async () => {
    const { workflows, secrets } = service.clients;
    for (const name of ["first", "second"]) await secrets.setSecret({ name, value: `${name}-value` });
    const name = newName();
    await workflows.createWorkflow({ workflow: { name, definition: definition([call("s")], slots("s")), secretBindings: { s: "first" } } });
    const updated = await workflows.updateWorkflow({ workflow: name, changes: { secretBindings: { s: "second" } } });
    expect(updated.workflow).toMatchObject({ latestRevision: 2, secretBindings: { s: "second" } });
    expect((await refusal(workflows.updateWorkflow({ workflow: name, changes: { secretBindings: { s: "nobody" } } }))).reason).toBe("SECRET_NOT_FOUND");
    await workflows.startExecution({ workflow: name, revision: 1, wait: seconds(50) });
    expect(echo.seen.at(-1)).toContain("Bearer first-value");
    await workflows.startExecution({ workflow: name, wait: seconds(50) });
    expect(echo.seen.at(-1)).toContain("Bearer second-value");
  });
});

describe("what steps may never reach", () => {
  test("is the service's own port and the database, though everything on this machine is open", async () => {
    const { port } = new URL(service.server.url);
    for (const own of [`http://127.0.0.1:${port}/health`, `http://127.0.0.2:${port}/`, `http://[::ffff:127.0.0.1]:${port}/`]) {
      const execution = await run(service.clients, [{ name: "own", http_request: { url: "{{trigger.data.url}}" } }], {}, { url: own });
      expect([own, execution.failure?.name]).toEqual([own, "LIMIT.EGRESS"]);
    }
  });

  test("a tenant's own list opens a target for that tenant alone, at save and at run", async () => {
    const server = await startHostedServer({ databaseUrl: service.database.databaseUrl, masterKey: service.server.options.masterKey as string });
    try {
      await sql("insert into tenants (id, egress_allow) values ('opened', $1) on conflict (id) do update set egress_allow = excluded.egress_allow", [
        [echo.address],
      ]);
      const scopes = ["workflows:write", "executions:start", "workflows:read"];
      const [opened, closed] = await Promise.all(["opened", "closed"].map(async (tenant) => connect({ ...server, apiKey: await keyOf(tenant, scopes) })));
      const wish = { name: "direct", definition: definition([{ name: "call", http_request: { url: `${echo.url}/200` } }]) };
      expect((await refusal((closed as typeof service.clients).workflows.createWorkflow({ workflow: wish }))).reason).toBe("EGRESS_BLOCKED");
      await opened?.workflows.createWorkflow({ workflow: wish });
      const { execution } = (await opened?.workflows.startExecution({ workflow: "direct", wait: seconds(50) })) ?? {};
      expect(execution?.state).toBe(ExecutionState.COMPLETED);
    } finally {
      await server.stop();
    }
  });
});

describe("the master key", () => {
  let database: TestDatabase;
  let server: RunningServer | undefined;
  beforeAll(async () => {
    database = await createMigratedDatabase();
  });
  afterAll(async () => {
    await server?.stop();
    await database?.drop();
  });

  test("changes between two starts: API keys and secrets stay valid, and the old one is needed only until everything is wrapped anew", async () => {
    const [old, next] = [randomBytes(24).toString("hex"), `${randomBytes(24).toString("hex")},with a comma`] as const;
    server = await startHostedServer({ databaseUrl: database.databaseUrl, masterKey: old, egressAllow: [echo.address] });
    let clients = connect(server);
    await clients.secrets.setSecret({ name: "kept", value: "kept-through-it" });
    const workflow = newName();
    await clients.workflows.createWorkflow({ workflow: { name: workflow, definition: definition([call("kept")], slots("kept")) } });
    await server.stop();

    server = await startAnother(server, { masterKey: next, env: { PAWF_MASTER_KEY_RING: old } });
    clients = connect(server);
    expect((await clients.workflows.startExecution({ workflow, wait: seconds(50) })).execution?.state).toBe(ExecutionState.COMPLETED);
    expect(echo.seen.at(-1)).toContain("Bearer kept-through-it");
    await expect.poll(() => server?.logLines.join("\n")).toContain("all keys are wrapped with the current master key");
    await server.stop();

    server = await startAnother(server, { masterKey: next, env: {} });
    const { execution } = await connect(server).workflows.startExecution({ workflow, wait: seconds(50) });
    expect(execution?.state).toBe(ExecutionState.COMPLETED);
  });
});
