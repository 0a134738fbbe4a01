/** The coordinator dies or freezes at each place where it may, with a participant that keeps its own ledger: the net effect is as if it had not. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { ended } from "../service/support/fixture.ts";
import { type Server, startServer } from "../service/support/server.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Participant, type ParticipantCall, startParticipant } from "./support/participant.ts";
import { query } from "./support/query.ts";
import { sagaOf } from "./support/steps.ts";

let participant: Participant;
let database: TestDatabase;
let server: Server;
let clients: Clients;
beforeAll(async () => {
  participant = await startParticipant();
  database = await createMigratedDatabase();
  server = await startServer({ databaseUrl: database.databaseUrl, egressAllow: participant.addresses });
  clients = connect(server);
});
afterAll(async () => {
  server?.signal("SIGCONT");
  await server?.stop();
  await participant?.kill();
  await database?.drop();
});

async function comeBack(): Promise<void> {
  const { dataDir: _, ...options } = server.options;
  server = await startServer(options);
  clients = connect(server);
}

async function callsOf(sagaId: string): Promise<readonly ParticipantCall[]> {
  return (await participant.ledger()).calls.filter(({ saga }) => saga === sagaId);
}

/** Resolves once the participant was called so often for that operation. */
async function called(sagaId: string, step: string, op: string): Promise<void> {
  await expect.poll(async () => (await callsOf(sagaId)).some((call) => call.step === step && call.op === op)).toBe(true);
}

async function standing(sagaId: string): Promise<string[]> {
  return (await participant.ledger()).standing.filter((effect) => effect.startsWith(`${sagaId}/`)).map((effect) => effect.slice(sagaId.length + 1));
}

const grpc = (name: string): ReturnType<Participant["grpcStep"]> => participant.grpcStep(name, { barrier: true });
const http = (name: string): ReturnType<Participant["httpStep"]> => participant.httpStep(name, { barrier: true });

describe("kill -9 of the coordinator", () => {
  it.each(["hold", "acted"])("while an action is out (%s): it is sent again under the same key, one attempt later, and has its effect once", async (answer) => {
    const [a, b] = [`a_${answer}`, `b_${answer}`];
    await participant.script({ [`${a} action`]: [answer], [`${b} action`]: [answer] });
    const { saga } = await clients.sagas.startSaga(sagaOf([grpc(a), http(b)]));
    const sagaId = saga?.id ?? "";
    for (const step of [a, b]) {
      await called(sagaId, step, "action");
      await server.kill();
      await comeBack();
    }
    await ended(clients, sagaId);
    expect((await clients.sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.COMPLETED);
    const calls = await callsOf(sagaId);
    expect(calls.map(({ step, attempt }) => `${step} ${attempt}`)).toEqual([`${a} 1`, `${a} 2`, `${b} 1`, `${b} 2`]);
    expect(new Set(calls.map(({ key }) => key)).size).toBe(2);
    expect((await standing(sagaId)).toSorted()).toEqual([a, b]);
  });

  it.each(["hold", "acted"])("while an undo is out (%s): the compensation goes on where it was, in its order", async (answer) => {
    const [a, b, c] = [`d_${answer}`, `e_${answer}`, `f_${answer}`];
    await participant.script({ [`${c} action`]: [422], [`${b} compensate`]: [answer] });
    const { saga } = await clients.sagas.startSaga(sagaOf([grpc(a), http(b), http(c)]));
    const sagaId = saga?.id ?? "";
    await called(sagaId, b, "compensate");
    await server.kill();
    await comeBack();
    await ended(clients, sagaId);
    const read = (await clients.sagas.getSaga({ sagaId })).saga;
    expect(read).toMatchObject({ state: SagaState.COMPENSATED, failure: { stepPath: c } });
    expect((await callsOf(sagaId)).filter(({ op }) => op === "compensate").map(({ step }) => step)).toEqual([b, b, a]);
    expect(await standing(sagaId)).toEqual([]);
  });

  it("before the answer of StartSaga or EnlistStep: the same request again is the same saga and the same step", async () => {
    const request = sagaOf([grpc("g")], { request_id: "5f6c2a1e-0000-4000-8000-00000000000a", auto_complete: false });
    const { saga } = await clients.sagas.startSaga(request);
    const sagaId = saga?.id ?? "";
    const step = sagaOf([{ name: "own", compensation: { http: { method: "POST", url: `${participant.httpUrl}/steps/own/compensate` } } }]).steps[0];
    const first = await clients.sagas.enlistStep({ sagaId, ...(step ? { step } : {}), selfDriven: true });
    await server.kill();
    await comeBack();
    expect((await clients.sagas.startSaga(request)).saga?.id).toBe(sagaId);
    const again = await clients.sagas.enlistStep({ sagaId, ...(step ? { step } : {}), selfDriven: true });
    expect(again.task).toMatchObject({ token: first.task?.token, attempt: 1 });
    await clients.sagas.reportStep({ sagaId, step: "own", token: first.task?.token ?? "", result: { outcome: 1 } });
    await clients.sagas.completeSaga({ sagaId, whenIdle: true });
    await ended(clients, sagaId);
    expect((await clients.sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.COMPLETED);
  });
});

it("a frozen coordinator that wakes after its lease changes nothing: one end, one effect for each key", async () => {
  await participant.script({ "x action": ["hold"] });
  const { saga } = await clients.sagas.startSaga(sagaOf([grpc("x"), http("y")]));
  const sagaId = saga?.id ?? "";
  await called(sagaId, "x", "action");
  const frozen = server;
  frozen.signal("SIGSTOP");
  // As if it had been frozen for longer than its lease.
  await query(database, "update replicas set expire_time = clock_timestamp() - interval '1 second'", []);
  await comeBack();
  await ended(clients, sagaId);
  frozen.signal("SIGCONT");
  const { events } = await clients.workflows.listExecutionEvents({ executionId: sagaId, pageSize: 1000 });
  expect(events.filter(({ type }) => type === "execution_ended")).toHaveLength(1);
  expect(events.map(({ sequence }) => Number(sequence))).toEqual(events.map((_, index) => index + 1));
  expect((await standing(sagaId)).toSorted()).toEqual(["x", "y"]);
  await frozen.stop();
});
