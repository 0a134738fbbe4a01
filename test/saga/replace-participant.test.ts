/** A participant has moved: running sagas, one or all, go on at its new address, with the keys they had. */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Clients } from "../service/support/connect-client.ts";
import { take } from "../service/support/tasks.ts";
import { atEnd, useHouse } from "./support/house.ts";
import type { Participant } from "./support/participant.ts";
import { sagaOf } from "./support/steps.ts";

const house = useHouse(2, {}, true);
const one = (): Clients => house.clients[0] as Clients;
const two = (): Clients => house.clients[1] as Clients;
const hour = { initial_interval: "3600s", maximum_interval: "3600s", jitter: 0 };

/** So that no success of another saga brings the next try forward. */
const away = { status: 503, headers: { "retry-after": "3600" } };

/** What it was asked, in order: "a action 1 <key>". */
async function asked(participant: Participant, sagaId: string): Promise<string[]> {
  const { calls } = await participant.ledger();
  return calls
    .filter(({ saga }) => saga === sagaId)
    .map(({ step, op, attempt, key }) => `${step} ${op} ${attempt} ${key.replaceAll('"', "").replace(`${sagaId}/`, "")}`);
}
const stateOf = async (sagaId: string): Promise<SagaState | undefined> => (await one().sagas.getSaga({ sagaId })).saga?.state;

async function started(steps: readonly JsonObject[], clients = one()): Promise<string> {
  const { saga } = await clients.sagas.startSaga(sagaOf(steps));
  return saga?.id ?? "";
}

it("one saga that waits an hour for another try goes on at the new address at once; its undo, too, is sent there", async () => {
  const { participant: old, other } = house;
  await old.script({ "b action": [away] });
  await other.script({ "c action": [422] });
  const sagaId = await started([old.httpStep("a"), old.httpStep("b", { action_retry: hour, barrier: true }), old.httpStep("c")]);
  const untouched = await started([old.httpStep("a"), old.grpcStep("u")]);
  await expect.poll(() => asked(old, sagaId), { timeout: 10_000 }).toEqual(["a action 1 a/action", "b action 1 b/action"]);
  const move = { fromAddress: old.httpUrl, toAddress: other.httpUrl, reason: "moved" };
  // Through a replica that does not drive it.
  expect(await two().sagas.replaceParticipant({ target: { case: "sagaId", value: sagaId }, ...move })).toMatchObject({ sagaCount: 1n, stepCount: 3n });
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
  expect(await asked(other, sagaId)).toEqual(["b action 2 b/action", "c action 1 c/action", "b compensate 1 b/compensate", "a compensate 1 a/compensate"]);
  expect(await asked(old, sagaId)).toHaveLength(2);
  expect((await atEnd(house, untouched)).state).toBe(SagaState.COMPLETED);
  expect(await asked(other, untouched)).toEqual([]);
  const { events } = await one().workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["operator_acted"] });
  expect(events.map(({ payload }) => payload.value)).toMatchObject([{ action: "replace_participant", reason: "moved" }]);
});

it("all open sagas of a participant go on at the new address: running, stuck and turning back; others and the ended are left alone", async () => {
  const { participant: old, other } = house;
  const retry = { action_retry: hour, compensation_retry: { ...hour, maximum_attempts: 1 } };
  await old.script({
    "p action": [away, away],
    "q compensate": [away, away],
    "r action": [
      { outcome: "OUTCOME_FAILED_NO_EFFECT", error: "USER.full" },
      { outcome: "OUTCOME_FAILED_NO_EFFECT", error: "USER.full" },
    ],
  });
  const ended = await started([old.httpStep("e")]);
  await atEnd(house, ended);
  const running = [await started([old.httpStep("p", retry)]), await started([old.httpStep("p", retry)], two())];
  const stuck = [await started([old.httpStep("q", retry), old.grpcStep("r")]), await started([old.httpStep("q", retry), old.grpcStep("r")], two())];
  for (const sagaId of running) await expect.poll(() => asked(old, sagaId), { timeout: 10_000 }).toHaveLength(1);
  for (const sagaId of stuck) await expect.poll(() => stateOf(sagaId), { timeout: 10_000 }).toBe(SagaState.STUCK);
  const move = { target: { case: "allOpen", value: true }, fromAddress: old.httpUrl, toAddress: other.httpUrl, reason: "moved" } as const;
  expect(await one().sagas.replaceParticipant({ ...move, validateOnly: true })).toMatchObject({ sagaCount: 4n, stepCount: 4n });
  expect(await one().sagas.replaceParticipant(move)).toMatchObject({ sagaCount: 4n, stepCount: 4n });
  for (const sagaId of running) {
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
    expect(await asked(other, sagaId)).toEqual(["p action 2 p/action"]);
  }
  for (const sagaId of stuck) {
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
    expect(await asked(other, sagaId)).toEqual(["q compensate 2 q/compensate"]);
  }
  expect(await one().sagas.replaceParticipant(move)).toMatchObject({ sagaCount: 0n, stepCount: 0n });
});

it("a participant that pulls is moved to another queue", async () => {
  const pulled = { name: "t", action: { pull: { task_type: "book", task_queue: "old" } }, action_retry: hour };
  const later = { name: "u", action: { pull: { task_type: "book", task_queue: "old" } } };
  const sagaId = await started([pulled, later]);
  const [first] = await take(one(), "old");
  const move = { fromAddress: "old", toAddress: "new", reason: "moved" };
  expect(await one().sagas.replaceParticipant({ target: { case: "sagaId", value: sagaId }, ...move })).toMatchObject({ sagaCount: 1n, stepCount: 2n });
  // What somebody has already is reported as before; what comes next stands in the new queue.
  await one().tasks.completeTasks({ results: [{ taskId: first?.id ?? "", token: first?.token ?? "", result: { outcome: 1 } }] });
  const [second] = await take(two(), "new");
  expect(second).toMatchObject({ executionId: sagaId, stepPath: "u" });
  await two().tasks.completeTasks({ results: [{ taskId: second?.id ?? "", token: second?.token ?? "", result: { outcome: 1 } }] });
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
});
