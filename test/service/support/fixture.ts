/** What most tests of a file share: one database, one server, one ledger the server may call, clients. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { afterAll, beforeAll } from "vitest";
import type { Execution, ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { createMigratedDatabase, type TestDatabase } from "../../support/postgres.ts";
import { type Clients, connect } from "./connect-client.ts";
import { createWorkflow } from "./definitions.ts";
import { startHostedServer } from "./hosted-server.ts";
import { type Ledger, startLedger } from "./ledger.ts";
import { type RunningServer, type Server, type ServerOptions, startServer } from "./server.ts";

export interface Fixture<S extends RunningServer = RunningServer> {
  database: TestDatabase;
  server: S;
  ledger: Ledger;
  clients: Clients;
}

/** Call at the top of a test file. The fields are there from beforeAll on. The server shares a process with those of other files. */
export function useServer(options: ServerOptions = {}): Fixture {
  return useServerOf(startHostedServer, options);
}

/** The same with a process for the server, for tests that end it the hard way. */
export function useServerProcess(options: ServerOptions = {}): Fixture<Server> {
  return useServerOf(startServer, options);
}

function useServerOf<S extends RunningServer>(
  start: (options: ServerOptions & { readonly databaseUrl: string }) => Promise<S>,
  options: ServerOptions,
): Fixture<S> {
  const fixture = {} as Fixture<S>;
  beforeAll(async () => {
    fixture.ledger = await startLedger();
    fixture.database = await createMigratedDatabase();
    fixture.server = await start({ databaseUrl: fixture.database.databaseUrl, egressAllow: [fixture.ledger.address], ...options });
    fixture.clients = connect(fixture.server);
  });
  afterAll(async () => {
    fixture.ledger?.release();
    await fixture.server?.stop();
    await fixture.ledger?.close();
    await fixture.database?.drop();
  });
  return fixture;
}

export const seconds = (value: number): { seconds: bigint; nanos: number } => ({ seconds: BigInt(Math.floor(value)), nanos: Math.round((value % 1) * 1e9) });

/** Starts a new workflow of these steps and waits for its end, at most 50 s. */
export async function run(clients: Clients, steps: readonly JsonValue[], rest: JsonObject = {}, input?: JsonObject): Promise<Execution> {
  const workflow = await createWorkflow(clients, steps, rest);
  const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50), ...(input ? { input } : {}) });
  if (!execution) throw new Error("no execution");
  return execution;
}

/** Starts it and does not wait. */
export async function begin(clients: Clients, steps: readonly JsonValue[], rest: JsonObject = {}): Promise<Execution> {
  const workflow = await createWorkflow(clients, steps, rest);
  const { execution } = await clients.workflows.startExecution({ workflow });
  if (!execution) throw new Error("no execution");
  return execution;
}

/** The execution as it is when it has ended, or after `waitSeconds`. */
export async function ended(clients: Clients, executionId: string, waitSeconds = 50): Promise<Execution> {
  const { execution } = await clients.workflows.waitExecution({ executionId, timeout: seconds(waitSeconds) });
  if (!execution) throw new Error("no execution");
  return execution;
}

export async function stepsOf(clients: Clients, executionId: string): Promise<ReadonlyMap<string, ExecutionStep>> {
  const { steps } = await clients.workflows.listExecutionSteps({ executionId, view: View.FULL, pageSize: 1000 });
  return new Map(steps.map((step) => [step.path, step]));
}

export function ms(time: { readonly seconds: bigint; readonly nanos: number } | undefined): number {
  if (time === undefined) throw new Error("no time");
  return Number(time.seconds) * 1000 + time.nanos / 1e6;
}
