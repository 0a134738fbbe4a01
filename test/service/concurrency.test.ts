/** The concurrency limit of a definition, over two replicas: how many run at once, and what happens to the others. */
import type { JsonObject } from "@bufbuild/protobuf";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, httpStep } from "./support/definitions.ts";
import { ended } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { type Ledger, startLedger } from "./support/ledger.ts";
import { refusal } from "./support/refusal.ts";
import { type RunningServer, type Server, startServer } from "./support/server.ts";

let database: TestDatabase;
let ledger: Ledger;
let mortal: Server;
let servers: RunningServer[] = [];
let one: Clients;
let other: Clients;

beforeAll(async () => {
  ledger = await startLedger();
  database = await createMigratedDatabase();
  mortal = await startServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] });
  servers = [mortal, await startAnother(mortal)];
  [one, other] = servers.map((server) => connect(server)) as [Clients, Clients];
});
afterAll(async () => {
  ledger?.release();
  await Promise.all(servers.map((server) => server.stop()));
  await ledger?.close();
  await database?.drop();
});

/** Counts how many calls to `path` are under way at once. */
function watched(path: string, tookMs: number): { most: () => number } {
  let now = 0;
  let most = 0;
  // The first call waits for a second one, else they might never be seen together.
  const met = Promise.withResolvers<void>();
  ledger.script(path, async () => {
    most = Math.max(most, ++now);
    if (most > 1) met.resolve();
    await met.promise;
    await new Promise((resolve) => setTimeout(resolve, tookMs));
    now--;
    return { status: 200, body: {} };
  });
  return { most: () => most };
}

const limited = (path: string, concurrency: JsonObject): Promise<string> => createWorkflow(one, [httpStep("call", ledger.url + path)], { concurrency });
const start = async (clients: Clients, workflow: string, input: JsonObject = {}) =>
  (await clients.workflows.startExecution({ workflow, input })).execution?.id ?? "";
const stateOf = async (executionId: string) => (await one.workflows.getExecution({ executionId })).execution?.state;

describe("a concurrency limit", () => {
  it("lets no more run at once, whichever replica starts them, and all in the end", async () => {
    const { most } = watched("/limited", 30);
    const workflow = await limited("/limited", { max_running: 2 });
    const ids = await Promise.all(Array.from({ length: 12 }, (_, index) => start(index % 2 === 0 ? one : other, workflow)));
    for (const id of ids) expect(await ended(one, id)).toMatchObject({ state: ExecutionState.COMPLETED });
    expect(ledger.callsTo("/limited")).toHaveLength(12);
    expect(most()).toBe(2);
    await expect.poll(slots).toEqual([]);
  });

  it("counts each group by itself", async () => {
    ledger.script("/grouped", ["hang"]);
    const workflow = await limited("/grouped", { key: "trigger.data.customer", max_running: 1 });
    const [a, second, b] = [
      await start(one, workflow, { customer: "a" }),
      await start(other, workflow, { customer: "a" }),
      await start(other, workflow, { customer: "b" }),
    ];
    await ledger.called("/grouped", 2);
    expect([await stateOf(a), await stateOf(second), await stateOf(b)]).toEqual([ExecutionState.RUNNING, ExecutionState.PENDING, ExecutionState.RUNNING]);
    const { blockers } = await one.workflows.explainExecution({ executionId: second });
    expect(blockers.map(({ message }) => message)).toEqual([expect.stringContaining("as many executions run as its workflow allows")]);
    await one.workflows.cancelExecution({ executionId: second });
    expect(await ended(one, second)).toMatchObject({ state: ExecutionState.CANCELED });
    ledger.release();
    for (const id of [a, b]) expect(await ended(one, id)).toMatchObject({ state: ExecutionState.COMPLETED });
    expect(await refusal(one.workflows.startExecution({ workflow, input: {} }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["input"] });
  });

  it("refuses what is above it when told so, but not a repeated call", async () => {
    ledger.script("/refusing", ["hang"]);
    const workflow = await limited("/refusing", { max_running: 1, on_limit: "LIMIT_ACTION_REJECT" });
    const requestId = "11111111-1111-4111-8111-111111111111";
    const { execution } = await one.workflows.startExecution({ workflow, requestId });
    expect(await refusal(other.workflows.startExecution({ workflow }))).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "CONCURRENCY_LIMIT" });
    expect((await other.workflows.startExecution({ workflow, requestId })).execution?.id).toBe(execution?.id);
    await ledger.called("/refusing");
    ledger.release();
    expect(await ended(one, execution?.id ?? "")).toMatchObject({ state: ExecutionState.COMPLETED });
    await expect.poll(async () => await start(other, workflow).catch(() => "")).not.toBe("");
  });

  it("cancels what runs when told so, and starts the newer one after it", async () => {
    ledger.script("/replacing", ["hang", 200]);
    const workflow = await limited("/replacing", { max_running: 1, on_limit: "LIMIT_ACTION_CANCEL_RUNNING" });
    const old = await start(one, workflow);
    await ledger.called("/replacing");
    const next = await start(other, workflow);
    expect(await ended(one, old)).toMatchObject({ state: ExecutionState.CANCELED });
    expect(await ended(one, next)).toMatchObject({ state: ExecutionState.COMPLETED });
  });

  it("holds through a pause of the workflow and the death of a replica", async () => {
    ledger.script("/dying", ["hang", "hang", 200]);
    const workflow = await limited("/dying", { max_running: 1 });
    const running = await start(one, workflow);
    await ledger.called("/dying");
    await one.workflows.pauseWorkflow({ workflow });
    const queued = await start(other, workflow);
    await mortal.kill();
    // The other one takes over what ran, sends it again, and keeps the place of what waits.
    await ledger.called("/dying", 2);
    ledger.release();
    expect(await ended(other, running)).toMatchObject({ state: ExecutionState.COMPLETED });
    expect((await other.workflows.getExecution({ executionId: queued })).execution).toMatchObject({ state: ExecutionState.PENDING });
    await other.workflows.resumeWorkflow({ workflow });
    expect(await ended(other, queued)).toMatchObject({ state: ExecutionState.COMPLETED });
    servers[0] = await startAnother(mortal);
  });
});

/** Executions that hold or wait for a slot. */
async function slots(): Promise<unknown[]> {
  const client = new Client(database.connection);
  await client.connect();
  try {
    return (await client.query("select execution_id from workflow_slots")).rows;
  } finally {
    await client.end();
  }
}
