/** A participant was away and is back: its first success, at any replica, wakes every saga that waits for it, at once. */
import type { JsonObject } from "@bufbuild/protobuf";
import { Client } from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Clients } from "../service/support/connect-client.ts";
import { atEnd, balanceOf, callsOf, finished, named, useHouse } from "./support/house.ts";
import { sagaOf } from "./support/steps.ts";

const house = useHouse(2);
let client: Client;
beforeAll(async () => {
  client = new Client({ connectionString: house.database.databaseUrl });
  await client.connect();
});
afterAll(() => client?.end());

const waiting = async (): Promise<number> => (await client.query("select from destination_waits")).rowCount ?? 0;
const hour = { initial_interval: "3600s", maximum_interval: "3600s", jitter: 0 };

/** Acts over gRPC and is undone over HTTP, so that the two have a breaker of their own. */
function step(name: string, more: JsonObject): JsonObject {
  return house.participant.httpStep(name, { action: { grpc: { target: house.participant.grpcTarget, plaintext: true, participant: true } }, ...more });
}

it("sagas that wait an hour for their next undo, half of them stuck, end once one call has succeeded", async () => {
  const { participant, clients } = house;
  const refused = Array.from({ length: 6 }, () => ({ outcome: "OUTCOME_FAILED_NO_EFFECT", error: "USER.full" }));
  await participant.script({ "a compensate": Array.from({ length: 6 }, () => 503), "b action": refused });
  const ids: string[] = [];
  for (let n = 0; n < 6; n++) {
    const undo = { compensation_retry: { ...hour, maximum_attempts: n % 2 === 0 ? 1 : 10 } };
    const { saga } = await (clients[n % 2] as Clients).sagas.startSaga(sagaOf([step("a", undo), step("b", {})]));
    ids.push(saga?.id ?? "");
  }
  await expect.poll(waiting).toBe(6);
  const states = await Promise.all(ids.map(async (sagaId) => (await (clients[0] as Clients).sagas.getSaga({ sagaId })).saga?.state));
  expect(states).toEqual(Array.from({ length: 3 }, () => [SagaState.STUCK, SagaState.COMPENSATING]).flat());

  expect((await finished(house, sagaOf([participant.httpStep("c")]), 1)).state).toBe(SagaState.COMPLETED);
  for (const sagaId of ids) {
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
    expect(named(await callsOf(house, sagaId))).toEqual(["a", "b", "undo a", "undo a"]);
    expect(await balanceOf(house, sagaId)).toEqual([]);
    const { events } = await (clients[0] as Clients).workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["compensation_retry_scheduled"] });
    expect(events.map(({ payload }) => payload.value)).toContainEqual(expect.objectContaining({ recovered: true, waitsFor: participant.httpUrl }));
  }
  expect(await waiting()).toBe(0);
});

it("a saga that is in memory at another replica hears of it, too", async () => {
  const { participant, clients } = house;
  // Something else of it is under way, so it does not leave memory.
  await participant.script({ "held action": ["hold"], "y action": [503] });
  const held = { stage: 1, barrier: true, timeouts: { start_to_close: "600s" } };
  const steps = [participant.grpcStep("held", held), participant.httpStep("y", { stage: 1, action_retry: hour })];
  const { saga } = await (clients[0] as Clients).sagas.startSaga(sagaOf(steps));
  const sagaId = saga?.id ?? "";
  const calls = async (): Promise<number> => (await callsOf(house, sagaId)).filter(({ step: name }) => name === "y").length;
  await expect.poll(calls).toBe(1);
  // The word that it was away may reach the other replica after its next success.
  const afterSuccess = async (): Promise<number> => {
    await finished(house, sagaOf([participant.httpStep("z")]), 1);
    return await calls();
  };
  await expect.poll(afterSuccess).toBe(2);
  const { events } = await (clients[1] as Clients).workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["step_retry_scheduled"] });
  expect(events.at(-1)?.payload.value).toMatchObject({ recovered: true });
  expect(await waiting()).toBe(0);
  await (clients[1] as Clients).sagas.abortSaga({ sagaId });
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
});

it("a participant that says itself when to come back is taken at its word", async () => {
  const { participant, clients } = house;
  await participant.script({ "d action": [{ status: 503, headers: { "retry-after": "3600" } }] });
  const { saga } = await (clients[0] as Clients).sagas.startSaga(sagaOf([participant.httpStep("d", { action_retry: hour })]));
  const sagaId = saga?.id ?? "";
  await expect.poll(async () => (await callsOf(house, sagaId)).length).toBe(1);
  expect((await finished(house, sagaOf([participant.httpStep("e")]))).state).toBe(SagaState.COMPLETED);
  const { saga: read } = await (clients[0] as Clients).sagas.getSaga({ sagaId });
  expect(read?.state).toBe(SagaState.RUNNING);
  expect(await callsOf(house, sagaId)).toHaveLength(1);
  expect(await waiting()).toBe(0);
});
