/** PREPARED sagas: nothing acts before the starter has committed, and nobody guesses whether it has. */
import { describe, expect, it } from "vitest";
import { EndReason, SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { PreparedState } from "#gen/pyairtable/workflow/v1/saga_participant_pb.js";
import { parseId } from "../../src/base/ids.ts";
import type { Clients } from "../service/support/connect-client.ts";
import { refusal } from "../service/support/refusal.ts";
import { atEnd, callsOf, named, useHouse } from "./support/house.ts";
import { query } from "./support/query.ts";
import { sagaOf } from "./support/steps.ts";

const house = useHouse(2);
const one = (): Clients => house.clients[0] as Clients;
const checkBack = (): object => ({ check_back: { grpc: { target: house.participant.grpcTarget, plaintext: true, participant: true } } });

async function prepare(name: string, more: object = checkBack()): Promise<string> {
  const { saga } = await one().sagas.startSaga(sagaOf([house.participant.grpcStep(name)], { mode: "SAGA_MODE_PREPARED", execution_key: name, ...more }));
  expect(saga?.state).toBe(SagaState.INITIALIZING);
  return saga?.id ?? "";
}

/** As if ten seconds had gone by. */
async function letTimePass(sagaId: string): Promise<void> {
  await query(house.database, "update workflow_instances set notice_at = now() where id = $1 and notice_at is not null", [parseId("execution", sagaId)]);
}

describe("a prepared saga", () => {
  it("begins when it is submitted, not before; asked again nothing changes; whoever started it hears of its end", async () => {
    const sagaId = await prepare("p1");
    expect((await refusal(one().sagas.completeSaga({ sagaId }))).reason).toBe("SAGA_STATE_CONFLICT");
    expect(await callsOf(house, sagaId)).toEqual([]);
    await (house.clients[1] as Clients).sagas.submitSaga({ sagaId });
    const saga = await atEnd(house, sagaId);
    expect(saga.state).toBe(SagaState.COMPLETED);
    expect(named(await callsOf(house, sagaId))).toEqual(["p1"]);
    const heard = async (): Promise<unknown[]> => (await house.participant.ledger()).ended.filter((notice) => notice["sagaId"] === sagaId);
    await expect.poll(heard).toMatchObject([{ state: "SAGA_STATE_COMPLETED", executionKey: "p1", correlationId: saga.correlationId }]);
    expect((await refusal(one().sagas.submitSaga({ sagaId }))).reason).toBe("SAGA_STATE_CONFLICT");
  });

  it("asks whether its starter has committed: unknown asks again, committed begins", async () => {
    await house.participant.prepared([PreparedState.UNKNOWN, PreparedState.COMMITTED]);
    const sagaId = await prepare("p2");
    await letTimePass(sagaId);
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
    expect(named(await callsOf(house, sagaId))).toEqual(["p2"]);
  });

  it("ends without having acted when its starter has rolled back or aborts it", async () => {
    await house.participant.prepared([PreparedState.ROLLED_BACK]);
    const rolledBack = await prepare("p3");
    await letTimePass(rolledBack);
    expect(await atEnd(house, rolledBack)).toMatchObject({ state: SagaState.COMPENSATED, endReason: EndReason.CHECKBACK_NO });
    const aborted = await prepare("p4");
    await one().sagas.abortSaga({ sagaId: aborted, reason: "no" });
    expect(await atEnd(house, aborted)).toMatchObject({ state: SagaState.COMPENSATED, endReason: EndReason.ABORTED });
    expect((await refusal(one().sagas.submitSaga({ sagaId: aborted }))).reason).toBe("SAGA_STATE_CONFLICT");
    expect(await callsOf(house, rolledBack)).toEqual([]);
    expect(await callsOf(house, aborted)).toEqual([]);
  });

  it("becomes stuck when its time is over and nobody knows, and begins all the same once it is submitted", async () => {
    const sagaId = await prepare("p5", { ttl: "0.3s" });
    await expect.poll(async () => (await one().sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.STUCK);
    const { saga } = await one().sagas.extendSaga({ sagaId, ttl: { seconds: 60n, nanos: 0 } });
    expect(saga?.state).toBe(SagaState.INITIALIZING);
    await one().sagas.submitSaga({ sagaId });
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
    const late = await prepare("p6", { ttl: "0.2s" });
    await expect.poll(async () => (await one().sagas.getSaga({ sagaId: late })).saga?.state).toBe(SagaState.STUCK);
    await one().sagas.submitSaga({ sagaId: late });
    expect((await atEnd(house, late)).endReason).toBe(EndReason.SUCCESS);
  });

  it("names who is asked correctly, or is refused", async () => {
    for (const check_back of [{ pull: { task_type: "x" } }, { grpc: { target: house.participant.grpcTarget, plaintext: true, service: "a.B", method: "C" } }]) {
      const refused = await refusal(one().sagas.startSaga(sagaOf([], { mode: "SAGA_MODE_PREPARED", check_back } as never)));
      expect(refused.reason).toBe("ENDPOINT_INVALID");
    }
  });
});
