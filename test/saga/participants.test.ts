/**
 * Participants that move, and participants that pull. A moved one: running sagas, one or all, go on at its new address, with the keys they had.
 * A pulling one: the steps of a saga are tasks, as are their undos and confirmations, mixed with called ones in one saga.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation, type Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { Clients } from "../service/support/connect-client.ts";
import { refusal } from "../service/support/refusal.ts";
import { complete, failed, jsonOf, Outcome, success, take } from "../service/support/tasks.ts";
import { atEnd, callsOf, named, useHouse } from "./support/house.ts";
import type { Participant } from "./support/participant.ts";
import { quick, sagaOf } from "./support/steps.ts";

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
  await expect.poll(() => asked(old, sagaId)).toEqual(["a action 1 a/action", "b action 1 b/action"]);
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
  for (const sagaId of running) await expect.poll(() => asked(old, sagaId)).toHaveLength(1);
  for (const sagaId of stuck) await expect.poll(() => stateOf(sagaId)).toBe(SagaState.STUCK);
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

function pulledStep(name: string, queue: string, more: JsonObject = {}): JsonObject {
  const pull = (task_type: string): JsonObject => ({ pull: { task_type, task_queue: queue } });
  return { name, action: pull(`book_${name}`), compensation: pull(`cancel_${name}`), action_retry: quick, compensation_retry: quick, ...more };
}

/** The next task of a queue, taken at either replica. */
async function nextTask(queue: string, clients = two()): Promise<Task> {
  const [task] = await take(clients, queue);
  if (!task) throw new Error("no task");
  return task;
}

it("runs forward over pulled and called steps, and the confirmation is a task, too", async () => {
  const confirmation = { pull: { task_type: "confirm_a", task_queue: "forward" } };
  const { saga } = await one().sagas.startSaga(sagaOf([pulledStep("a", "forward", { confirmation, input: { seat: 7 } }), house.participant.httpStep("b")]));
  const sagaId = saga?.id ?? "";
  const action = await nextTask("forward");
  expect(action).toMatchObject({ executionId: sagaId, stepPath: "a", operation: Operation.ACTION, taskType: "book_a", attempt: 1, input: { seat: 7 } });
  expect(action.idempotencyKey).toBe(`${sagaId}/a/action`);
  expect(await callsOf(house, sagaId)).toEqual([]);
  expect(await complete(one(), action, success({ id: 5 }))).toBe("CONTINUE");
  const confirm = await nextTask("forward");
  expect(confirm).toMatchObject({ operation: Operation.CONFIRM, taskType: "confirm_a", idempotencyKey: `${sagaId}/a/confirm` });
  expect(await complete(two(), confirm, success())).toBe("CONTINUE");
  expect((await atEnd(house, sagaId)).steps[0]).toMatchObject({ actionState: OperationState.SUCCEEDED, confirmationState: OperationState.SUCCEEDED });
  expect(named(await callsOf(house, sagaId))).toEqual(["b"]);
});

it("turns back over them in reverse: the undo has its action's result and input, is tried again, and repeats are absorbed", async () => {
  await house.participant.script({ "d action": [422] });
  const { saga } = await one().sagas.startSaga(sagaOf([pulledStep("c", "back", { input: { seat: 8 } }), house.participant.httpStep("d")]));
  const sagaId = saga?.id ?? "";
  const first = await nextTask("back");
  // Perhaps an effect: tried again under the same key.
  expect(await complete(one(), first, failed("busy", Outcome.FAILED))).toBe("CONTINUE");
  const again = await nextTask("back");
  expect([again.attempt, again.idempotencyKey]).toEqual([2, first.idempotencyKey]);
  expect(await complete(one(), again, success({ id: 6 }))).toBe("CONTINUE");
  expect(await complete(two(), again, success({ id: 6 }))).toBe("ALREADY");
  const undo = await nextTask("back");
  expect(undo).toMatchObject({ operation: Operation.COMPENSATE, taskType: "cancel_c", idempotencyKey: `${sagaId}/c/compensate`, mayNotHaveRun: false });
  expect([undo.input, jsonOf(undo.actionOutput)]).toEqual([{ seat: 8 }, { id: 6 }]);
  expect(await complete(one(), undo, failed("busy"))).toBe("CONTINUE");
  const second = await nextTask("back");
  expect([second.attempt, second.idempotencyKey]).toEqual([2, undo.idempotencyKey]);
  expect(await complete(one(), second, { outcome: Outcome.NULL_COMPENSATED })).toBe("CONTINUE");
  const read = await atEnd(house, sagaId);
  expect(read).toMatchObject({ state: SagaState.COMPENSATED, steps: [{ compensationState: OperationState.NOTHING_TO_UNDO }, {}] });
});

it("that nobody has taken is taken back when the saga turns; what somebody has is waited for", async () => {
  const { saga } = await one().sagas.startSaga(
    sagaOf([
      { ...pulledStep("e", "waits"), stage: 1 },
      { ...pulledStep("f", "taken"), stage: 1 },
    ]),
  );
  const sagaId = saga?.id ?? "";
  const held = await nextTask("taken");
  await one().sagas.abortSaga({ sagaId, reason: "no" });
  await expect.poll(async () => (await one().tasks.listTaskQueues({})).taskQueues.find(({ name }) => name === "waits")?.backlog ?? 0n).toBe(0n);
  // No undo stands in a queue before its action was heard of.
  expect((await one().tasks.pollTasks({ worker: { workerId: "w", taskQueues: ["waits", "taken"] }, maxTasks: 9 })).tasks).toEqual([]);
  expect(await complete(two(), held, success())).toBe("WILL_COMPENSATE");
  const undo = await nextTask("taken");
  expect(undo.operation).toBe(Operation.COMPENSATE);
  expect(await complete(two(), undo, success())).toBe("CONTINUE");
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
});

it("is listed by its queue as a participant, shows who waits and what runs, and is reported by ReportStep as well", async () => {
  const { saga } = await one().sagas.startSaga(sagaOf([pulledStep("g", "listed")], { correlation_id: "pull-1" }));
  const sagaId = saga?.id ?? "";
  expect((await one().sagas.listSagas({ filter: 'participant = "listed" correlation_id = "pull-1"' })).sagas.map(({ id }) => id)).toEqual([sagaId]);
  const shown = async (): Promise<unknown> => [
    (await two().sagas.getSaga({ sagaId })).saga?.steps[0]?.state,
    (await two().workflows.getExecutionStep({ executionId: sagaId, path: "g" })).step?.state,
  ];
  expect(await shown()).toEqual([StepState.QUEUED, StepState.QUEUED]);
  const task = await nextTask("listed");
  // Taken, though nothing was heard of it yet.
  expect(await shown()).toEqual([StepState.RUNNING, StepState.RUNNING]);
  const wrong = await refusal(one().sagas.reportStep({ sagaId, step: "g", token: "nonsense", result: success() }));
  expect(wrong.reason).toBe("TOKEN_INVALID");
  await one().sagas.reportStep({ sagaId, step: "g", token: task.token, result: success() });
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
});
