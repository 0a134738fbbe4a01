/** Replicas of the service on one database, and a participant as a process of its own. */
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll } from "vitest";
import type { Saga } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import { type Clients, connect } from "../../service/support/connect-client.ts";
import { ended } from "../../service/support/fixture.ts";
import { startHostedServer } from "../../service/support/hosted-server.ts";
import { makeApiKey, type RunningServer, type Server, type ServerOptions, startServer } from "../../service/support/server.ts";
import { createMigratedDatabase, type TestDatabase } from "../../support/postgres.ts";
import { type Participant, type ParticipantCall, startParticipant } from "./participant.ts";
import type { sagaOf } from "./steps.ts";

export interface House<S extends RunningServer = RunningServer> {
  database: TestDatabase;
  servers: S[];
  /** One for each replica. */
  clients: Clients[];
  participant: Participant;
  /** Another one, where it was asked for. */
  other: Participant;
}

/** Call at the top of a test file. The fields are there from beforeAll on. The replicas share a process with those of other files. */
export function useHouse(replicas = 2, env: Readonly<Record<string, string>> = {}, hasOther = false): House {
  return useHouseOf(startHostedServer, replicas, env, hasOther);
}

/** The same with a process for each replica, for tests that kill them. */
export function useHouseOfProcesses(replicas = 2, env: Readonly<Record<string, string>> = {}): House<Server> {
  return useHouseOf(startServer, replicas, env, false);
}

function useHouseOf<S extends RunningServer>(
  start: (options: ServerOptions & { readonly databaseUrl: string }) => Promise<S>,
  replicas: number,
  env: Readonly<Record<string, string>>,
  hasOther: boolean,
): House<S> {
  const house = {} as House<S>;
  beforeAll(async () => {
    house.participant = await startParticipant();
    if (hasOther) house.other = await startParticipant();
    const addresses = [...house.participant.addresses, ...(house.other?.addresses ?? [])];
    house.database = await createMigratedDatabase();
    const siblings = { PAWF_SIBLINGS: addresses.join(","), ...env };
    const keys = { masterKey: randomBytes(24).toString("hex"), apiKey: makeApiKey() };
    const options = { databaseUrl: house.database.databaseUrl, egressAllow: addresses, env: siblings, ...keys };
    house.servers = [];
    while (house.servers.length < replicas) house.servers.push(await start(options));
    house.clients = house.servers.map((server) => connect(server));
  });
  afterAll(async () => {
    for (const server of house.servers ?? []) await server.stop();
    await house.participant?.kill();
    await house.other?.kill();
    await house.database?.drop();
  });
  return house;
}

/** The saga when it has ended. */
export async function finished(house: House, request: ReturnType<typeof sagaOf>, replica = 0): Promise<Saga> {
  const clients = house.clients[replica] as Clients;
  const { saga } = await clients.sagas.startSaga(request);
  return await atEnd(house, saga?.id ?? "");
}

export async function atEnd(house: House, sagaId: string): Promise<Saga> {
  const clients = house.clients[0] as Clients;
  await ended(clients, sagaId);
  const { saga } = await clients.sagas.getSaga({ sagaId });
  if (!saga) throw new Error("no saga");
  return saga;
}

/** What the participant was called for, in order: "flight", "undo hotel", "confirm car". */
export async function callsOf(house: House, sagaId: string): Promise<readonly ParticipantCall[]> {
  return (await house.participant.ledger()).calls.filter(({ saga }) => saga === sagaId);
}

export function named(calls: readonly ParticipantCall[]): string[] {
  return calls.map(({ step, op }) => (op === "action" ? step : `${op === "compensate" ? "undo" : "confirm"} ${step}`));
}

/** The participant's effects that stand are those that the saga says stand; a compensated saga leaves none. */
export async function balanceOf(house: House, sagaId: string): Promise<readonly string[]> {
  return (await house.participant.ledger()).standing.filter((effect) => effect.startsWith(`${sagaId}/`)).map((effect) => effect.slice(sagaId.length + 1));
}
