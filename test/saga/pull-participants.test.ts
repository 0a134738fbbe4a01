/** Participants that pull: the steps of a saga are tasks, as are their undos and confirmations, mixed with called ones in one saga. */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, it } from "vitest";
import { OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Operation, type Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { Clients } from "../service/support/connect-client.ts";
import { refusal } from "../service/support/refusal.ts";
import { complete, failed, jsonOf, Outcome, success, take } from "../service/support/tasks.ts";
import { atEnd, callsOf, named, useHouse } from "./support/house.ts";
import { quick, sagaOf } from "./support/steps.ts";

const house = useHouse(2);
const one = (): Clients => house.clients[0] as Clients;
const two = (): Clients => house.clients[1] as Clients;

function pulled(name: string, queue: string, more: JsonObject = {}): JsonObject {
  const pull = (task_type: string): JsonObject => ({ pull: { task_type, task_queue: queue } });
  return { name, action: pull(`book_${name}`), compensation: pull(`cancel_${name}`), action_retry: quick, compensation_retry: quick, ...more };
}

/** The next task of a queue, taken at either replica. */
async function next(queue: string, clients = two()): Promise<Task> {
  const [task] = await take(clients, queue);
  if (!task) throw new Error("no task");
  return task;
}

it("runs forward over pulled and called steps, and the confirmation is a task, too", async () => {
  const confirmation = { pull: { task_type: "confirm_a", task_queue: "forward" } };
  const { saga } = await one().sagas.startSaga(sagaOf([pulled("a", "forward", { confirmation, input: { seat: 7 } }), house.participant.httpStep("b")]));
  const sagaId = saga?.id ?? "";
  const action = await next("forward");
  expect(action).toMatchObject({ executionId: sagaId, stepPath: "a", operation: Operation.ACTION, taskType: "book_a", attempt: 1, input: { seat: 7 } });
  expect(action.idempotencyKey).toBe(`${sagaId}/a/action`);
  expect(await callsOf(house, sagaId)).toEqual([]);
  expect(await complete(one(), action, success({ id: 5 }))).toBe("CONTINUE");
  const confirm = await next("forward");
  expect(confirm).toMatchObject({ operation: Operation.CONFIRM, taskType: "confirm_a", idempotencyKey: `${sagaId}/a/confirm` });
  expect(await complete(two(), confirm, success())).toBe("CONTINUE");
  expect((await atEnd(house, sagaId)).steps[0]).toMatchObject({ actionState: OperationState.SUCCEEDED, confirmationState: OperationState.SUCCEEDED });
  expect(named(await callsOf(house, sagaId))).toEqual(["b"]);
});

it("turns back over them in reverse: the undo has its action's result and input, is tried again, and repeats are absorbed", async () => {
  await house.participant.script({ "d action": [422] });
  const { saga } = await one().sagas.startSaga(sagaOf([pulled("c", "back", { input: { seat: 8 } }), house.participant.httpStep("d")]));
  const sagaId = saga?.id ?? "";
  const first = await next("back");
  // Perhaps an effect: tried again under the same key.
  expect(await complete(one(), first, failed("busy", Outcome.FAILED))).toBe("CONTINUE");
  const again = await next("back");
  expect([again.attempt, again.idempotencyKey]).toEqual([2, first.idempotencyKey]);
  expect(await complete(one(), again, success({ id: 6 }))).toBe("CONTINUE");
  expect(await complete(two(), again, success({ id: 6 }))).toBe("ALREADY");
  const undo = await next("back");
  expect(undo).toMatchObject({ operation: Operation.COMPENSATE, taskType: "cancel_c", idempotencyKey: `${sagaId}/c/compensate`, mayNotHaveRun: false });
  expect([undo.input, jsonOf(undo.actionOutput)]).toEqual([{ seat: 8 }, { id: 6 }]);
  expect(await complete(one(), undo, failed("busy"))).toBe("CONTINUE");
  const second = await next("back");
  expect([second.attempt, second.idempotencyKey]).toEqual([2, undo.idempotencyKey]);
  expect(await complete(one(), second, { outcome: Outcome.NULL_COMPENSATED })).toBe("CONTINUE");
  const read = await atEnd(house, sagaId);
  expect(read).toMatchObject({ state: SagaState.COMPENSATED, steps: [{ compensationState: OperationState.NOTHING_TO_UNDO }, {}] });
});

it("that nobody has taken is taken back when the saga turns; what somebody has is waited for", async () => {
  const { saga } = await one().sagas.startSaga(
    sagaOf([
      { ...pulled("e", "waits"), stage: 1 },
      { ...pulled("f", "taken"), stage: 1 },
    ]),
  );
  const sagaId = saga?.id ?? "";
  const held = await next("taken");
  await one().sagas.abortSaga({ sagaId, reason: "no" });
  await expect
    .poll(async () => (await one().tasks.listTaskQueues({})).taskQueues.find(({ name }) => name === "waits")?.backlog ?? 0n, { timeout: 10_000 })
    .toBe(0n);
  // No undo stands in a queue before its action was heard of.
  expect((await one().tasks.pollTasks({ worker: { workerId: "w", taskQueues: ["waits", "taken"] }, maxTasks: 9 })).tasks).toEqual([]);
  expect(await complete(two(), held, success())).toBe("WILL_COMPENSATE");
  const undo = await next("taken");
  expect(undo.operation).toBe(Operation.COMPENSATE);
  expect(await complete(two(), undo, success())).toBe("CONTINUE");
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
});

it("is listed by its queue as a participant, shows who waits and what runs, and is reported by ReportStep as well", async () => {
  const { saga } = await one().sagas.startSaga(sagaOf([pulled("g", "listed")], { correlation_id: "pull-1" }));
  const sagaId = saga?.id ?? "";
  expect((await one().sagas.listSagas({ filter: 'participant = "listed" correlation_id = "pull-1"' })).sagas.map(({ id }) => id)).toEqual([sagaId]);
  const shown = async (): Promise<unknown> => [
    (await two().sagas.getSaga({ sagaId })).saga?.steps[0]?.state,
    (await two().workflows.getExecutionStep({ executionId: sagaId, path: "g" })).step?.state,
  ];
  expect(await shown()).toEqual([StepState.QUEUED, StepState.QUEUED]);
  const task = await next("listed");
  // Taken, though nothing was heard of it yet.
  expect(await shown()).toEqual([StepState.RUNNING, StepState.RUNNING]);
  const wrong = await refusal(one().sagas.reportStep({ sagaId, step: "g", token: "nonsense", result: success() }));
  expect(wrong.reason).toBe("TOKEN_INVALID");
  await one().sagas.reportStep({ sagaId, step: "g", token: task.token, result: success() });
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
});
