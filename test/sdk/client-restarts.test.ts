/** A watch and a wait of the TypeScript client while the server behind their address is killed, started again and drained. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createWorkflowClient, type RunEvent, type WorkflowClient } from "../../sdk/typescript/client.ts";
import { connect } from "../service/support/connect-client.ts";
import { createWorkflow, delayStep, httpStep } from "../service/support/definitions.ts";
import { type Ledger, startLedger } from "../service/support/ledger.ts";
import { restart, type Server, startServer } from "../service/support/server.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Relay, startRelay } from "./relay.ts";

let database: TestDatabase;
let ledger: Ledger;
let server: Server;
let relay: Relay;
let wf: WorkflowClient;
beforeAll(async () => {
  ledger = await startLedger();
  database = await createMigratedDatabase();
  server = await startServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] });
  relay = await startRelay(server.port);
  wf = createWorkflowClient({ url: relay.url, apiKey: server.apiKey });
});
afterAll(async () => {
  wf?.close();
  await relay?.close();
  await server?.stop();
  await ledger?.close();
  await database?.drop();
});

/** The address answers nobody until the next server is there. */
async function replace(end: (server: Server) => Promise<unknown>): Promise<void> {
  relay.target = undefined;
  await end(server);
  server = await restart(server);
  relay.target = server.port;
}

test("kill -9 and then SIGTERM in the middle: the watch tells every event once, the wait gives the result", async () => {
  const call = (name: string) => httpStep(name, `${ledger.url}/${name}`);
  const steps = [call("a"), delayStep("first", "1s"), call("b"), delayStep("second", "1s"), call("c")];
  const run = await wf.start(await createWorkflow(connect(server), steps, { outputs: { done: "{{steps.c.result.status}}" } }));
  const waiting = run.result();
  waiting.catch(() => undefined); // looked at below
  const told: RunEvent[] = [];
  for await (const one of run.watch()) {
    told.push(one);
    if (one.event !== "step_waiting") continue;
    await replace((running) => (told.filter(({ event }) => event === "step_waiting").length === 1 ? running.kill() : running.stop()));
  }
  expect(told.map(({ sequence }) => sequence)).toEqual(told.map((_, index) => index + 1));
  expect(told.at(-1)).toMatchObject({ event: "execution_ended", state: "COMPLETED" });
  const states = (step: string) => told.flatMap((one) => (one.type === "step" && one.step === step ? [one.state] : []));
  expect(states("first")).toEqual(["WAITING", "COMPLETED"]);
  expect(states("c").at(-1)).toBe("COMPLETED");
  expect(await waiting).toEqual({ done: 200 });
});
