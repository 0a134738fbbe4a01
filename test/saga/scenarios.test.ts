/** The acceptance scenarios of sagas, over the wire, with two replicas and a participant as a process of its own. */
import type { JsonObject } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { EndReason, OperationState, SagaState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { StepResolution } from "#gen/pyairtable/workflow/v1/saga_coordination_service_pb.js";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { createWorkflow } from "../service/support/definitions.ts";
import { ended } from "../service/support/fixture.ts";
import { refusal } from "../service/support/refusal.ts";
import { atEnd, balanceOf, callsOf, finished, named, useHouseOfProcesses } from "./support/house.ts";
import { quick, sagaOf } from "./support/steps.ts";

const house = useHouseOfProcesses();
const one = (): Clients => house.clients[0] as Clients;
const steps = (...names: string[]): JsonObject[] =>
  names.map((name, index) => (index % 2 === 0 ? house.participant.grpcStep(name) : house.participant.httpStep(name)));
const once = { action_retry: { maximum_attempts: 1 } };

describe("forward", () => {
  it("1: three steps succeed: completed, three calls, no undo", async () => {
    const saga = await finished(house, sagaOf(steps("a1", "b1", "c1")));
    expect(saga.state).toBe(SagaState.COMPLETED);
    expect(named(await callsOf(house, saga.id))).toEqual(["a1", "b1", "c1"]);
    expect(await balanceOf(house, saga.id)).toEqual(["a1", "b1", "c1"]);
  });

  it("3: started twice at once on two replicas there is one saga with equal answers; another payload is refused", async () => {
    const request = sagaOf(steps("a3", "b3"), { execution_key: "order-3", auto_complete: false });
    const answers = await Promise.all(house.clients.flatMap((clients) => [clients.sagas.startSaga(request), clients.sagas.startSaga(request)]));
    expect(new Set(answers.map(({ saga }) => saga?.id)).size).toBe(1);
    expect(answers.filter(({ existing }) => !existing)).toHaveLength(1);
    const other = await refusal((house.clients[1] as Clients).sagas.startSaga(sagaOf(steps("a3"), { execution_key: "order-3", auto_complete: false })));
    expect(other).toMatchObject({ code: "ALREADY_EXISTS", reason: "EXECUTION_EXISTS" });
    const byId = sagaOf(steps("x3"), { request_id: "5f6c2a1e-0000-4000-8000-000000000003" });
    const twins = await Promise.all(house.clients.map((clients) => clients.sagas.startSaga(byId)));
    expect(new Set(twins.map(({ saga }) => saga?.id)).size).toBe(1);
  });

  it("5: a participant at work is asked again at an even pace, however often", async () => {
    await house.participant.script({
      "a5 action": Array.from({ length: 6 }, () => ({ outcome: "OUTCOME_IN_PROGRESS", retry_after: "0.03s" })),
      "b5 action": [{ status: 202, headers: { "retry-after": "0" } }, 409, 425],
    });
    const saga = await finished(house, sagaOf(steps("a5", "b5")));
    expect(saga.state).toBe(SagaState.COMPLETED);
    const calls = await callsOf(house, saga.id);
    expect(named(calls)).toEqual([...Array.from({ length: 7 }, () => "a5"), ...Array.from({ length: 4 }, () => "b5")]);
    expect(new Set(calls.map(({ key }) => key)).size).toBe(2);
  });

  it("6: passing errors below the budget: success, attempts visible, one key, rising tokens", async () => {
    await house.participant.script({ "a6 action": [14, "lost"], "b6 action": [503, "lost"] });
    const saga = await finished(house, sagaOf(steps("a6", "b6")));
    expect(saga.state).toBe(SagaState.COMPLETED);
    expect(saga.steps.map(({ attempt }) => attempt)).toEqual([3, 3]);
    const calls = await callsOf(house, saga.id);
    expect(calls.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 1, 2, 3]);
    expect(new Set(calls.map(({ key }) => key.replaceAll('"', "")))).toEqual(new Set([`${saga.id}/a6/action`, `${saga.id}/b6/action`]));
    expect(new Set(calls.map(({ headers }) => headers["saga-token"])).size).toBe(6);
    expect(await balanceOf(house, saga.id)).toEqual(["a6", "b6"]);
  });

  it("a participant that can tell what became of an unclear action is asked first, and only otherwise called again", async () => {
    const answers = {
      known: { outcome: "OUTCOME_SUCCEEDED", output: { asked: true } },
      without: { outcome: "OUTCOME_FAILED_NO_EFFECT" },
      unsure: { outcome: "OUTCOME_FAILED" },
      silent: 14,
      mute: "hold",
    };
    const names = Object.keys(answers);
    await house.participant.script(
      Object.fromEntries(Object.entries(answers).flatMap(([name, answer]) => [[`${name} action`, ["lost"]] as const, [`${name} query`, [answer]] as const])),
    );
    await house.participant.script({ "busy action": ["lost"], "busy query": [{ outcome: "OUTCOME_IN_PROGRESS", retry_after: "0.02s" }, answers.known] });
    const brief = { timeouts: { start_to_close: "2s" } };
    const saga = await finished(house, sagaOf([...names, "busy"].map((name) => house.participant.grpcStep(name, brief))));
    expect(saga.state).toBe(SagaState.COMPLETED);
    const calls = named(await callsOf(house, saga.id));
    expect(calls).toEqual(["known", ...names.slice(1).flatMap((name) => [name, name]), "busy"]);
    const { queries } = await house.participant.ledger();
    expect(queries.filter((query) => query.startsWith(saga.id))).toEqual([...names, "busy", "busy"].map((name) => `${saga.id}/${name}`));
    expect(await balanceOf(house, saga.id)).toEqual([...names, "busy"]);
  });

  it("9: past the pivot an abort is refused, what must succeed goes on to the end", async () => {
    await house.participant.script({ "ship9 action": [14, 14, 14, 14, 14] });
    const pivot = house.participant.grpcStep("pay9", { kind: "COMPENSATION_KIND_PIVOT" });
    const ship = house.participant.grpcStep("ship9", { kind: "COMPENSATION_KIND_RETRIABLE", action_retry: { ...quick, initial_interval: "0.1s" } });
    const { saga } = await one().sagas.startSaga(sagaOf([...steps("book9"), pivot, ship]));
    const sagaId = saga?.id ?? "";
    await expect.poll(async () => (await one().sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.COMPLETING);
    expect((await refusal(one().sagas.abortSaga({ sagaId }))).reason).toBe("PAST_PIVOT");
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
    const late = await refusal(one().sagas.startSaga(sagaOf([pivot, house.participant.grpcStep("late9")])));
    expect(late).toMatchObject({ code: "INVALID_ARGUMENT", reason: "PIVOT_ORDER" });
  });

  it("past the pivot what must succeed is tried on while the saga is stuck, with one key, until the participant is back", async () => {
    await house.participant.script({ "ship15 action": Array.from({ length: 4 }, () => ({ outcome: "OUTCOME_FAILED_NO_EFFECT", error: "USER.closed" })) });
    const pivot = house.participant.grpcStep("pay15", { kind: "COMPENSATION_KIND_PIVOT" });
    const ship = house.participant.grpcStep("ship15", { kind: "COMPENSATION_KIND_RETRIABLE", action_retry: { ...quick, maximum_interval: "0.3s" } });
    const { saga } = await one().sagas.startSaga(sagaOf([pivot, ship]));
    const sagaId = saga?.id ?? "";
    await expect.poll(async () => (await one().sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.STUCK);
    expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPLETED);
    const calls = (await callsOf(house, sagaId)).filter(({ step }) => step === "ship15");
    expect(calls.map(({ attempt }) => attempt)).toEqual([1, 2, 3, 4, 5]);
    expect(new Set(calls.map(({ key }) => key)).size).toBe(1);
    const { events } = await one().workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["step_retry_scheduled"] });
    expect(events.map(({ payload }) => payload.value)).toMatchObject(Array.from({ length: 4 }, () => ({ slow: true })));
  });

  it("makes final what it did, once it can no longer turn back", async () => {
    const confirmation = { grpc: { target: house.participant.grpcTarget, plaintext: true, participant: true } };
    await house.participant.script({ "a0 confirm": [14] });
    const saga = await finished(house, sagaOf([house.participant.grpcStep("a0", { confirmation }), ...steps("b0")]));
    expect(saga.state).toBe(SagaState.COMPLETED);
    expect(named(await callsOf(house, saga.id))).toEqual(["a0", "b0", "confirm a0", "confirm a0"]);
    expect(saga.steps[0]?.confirmationState).toBe(OperationState.SUCCEEDED);
  });
});

describe("backward", () => {
  it("2: step 3 fails for good: 2 is undone, then 1; 3 only if it asks for it", async () => {
    for (const [more, undos] of [
      [{}, ["undo b2", "undo a2"]],
      [{ compensate_on_failure: true }, ["undo c2", "undo b2", "undo a2"]],
    ] as const) {
      await house.participant.script({ "c2 action": [{ outcome: "OUTCOME_FAILED_NO_EFFECT", error: "USER.full", message: "no seat" }] });
      const saga = await finished(house, sagaOf([...steps("a2", "b2"), house.participant.grpcStep("c2", more)]));
      expect(saga).toMatchObject({ state: SagaState.COMPENSATED, endReason: EndReason.STEP_FAILED, failure: { name: "USER.full", message: "no seat" } });
      expect(named(await callsOf(house, saga.id))).toEqual(["a2", "b2", "c2", ...undos]);
      expect(await balanceOf(house, saga.id)).toEqual([]);
    }
  });

  it("7: attempts spent without a definite answer: turned back with that reason, and the unknown step is undone too", async () => {
    await house.participant.script({ "b7 action": ["lost", "lost", 503] });
    const saga = await finished(house, sagaOf([...steps("a7"), house.participant.httpStep("b7", { barrier: true })]));
    expect(saga).toMatchObject({ state: SagaState.COMPENSATED, failure: { stepPath: "b7" } });
    expect(named(await callsOf(house, saga.id))).toEqual(["a7", "b7", "b7", "b7", "undo b7", "undo a7"]);
    expect(saga.steps.map(({ actionState }) => actionState)).toEqual([OperationState.SUCCEEDED, OperationState.UNKNOWN]);
    expect(await balanceOf(house, saga.id)).toEqual([]);
  });

  it("tells a participant that its action may not have run, and takes its word that there is nothing to undo", async () => {
    await house.participant.script({ "a8 action": [14, 14, 14] });
    const saga = await finished(house, sagaOf([house.participant.grpcStep("a8", { barrier: true })]));
    expect(saga.steps[0]).toMatchObject({ actionState: OperationState.UNKNOWN, compensationState: OperationState.NOTHING_TO_UNDO });
    const calls = await callsOf(house, saga.id);
    expect(calls.at(-1)).toMatchObject({ op: "compensate", mayNotHaveRun: true });
  });

  it("10: an undo that fails several times holds the next one back until it works", async () => {
    await house.participant.script({ "c10 action": [400], "b10 compensate": [500, 503, 500], "a10 compensate": [14] });
    const saga = await finished(house, sagaOf([...steps("a10", "b10"), house.participant.httpStep("c10", once)]));
    expect(saga.state).toBe(SagaState.COMPENSATED);
    expect(named(await callsOf(house, saga.id))).toEqual(["a10", "b10", "c10", "undo b10", "undo b10", "undo b10", "undo b10", "undo a10", "undo a10"]);
    expect(await balanceOf(house, saga.id)).toEqual([]);
  });

  it("11: an undo that never works: stuck, listed, still tried; an operator ends it, on record", async () => {
    const broken = Array.from({ length: 5_000 }, () => 500);
    await house.participant.script({ "b11 action": [400], "a11 compensate": broken });
    const retry = { initial_interval: "0.02s", maximum_interval: "0.05s", maximum_attempts: 3 };
    const { saga } = await one().sagas.startSaga(
      sagaOf([house.participant.httpStep("a11", { compensation_retry: retry }), house.participant.httpStep("b11", once)], { correlation_id: "stuck-11" }),
    );
    const sagaId = saga?.id ?? "";
    await expect.poll(async () => (await one().sagas.getSaga({ sagaId })).saga?.state).toBe(SagaState.STUCK);
    const [listed] = (await one().sagas.listSagas({ filter: `stuck = true correlation_id = "stuck-11" participant = "${house.participant.httpUrl}"` })).sagas;
    expect(listed?.id).toBe(sagaId);
    const before = (await callsOf(house, sagaId)).length;
    await expect.poll(async () => (await callsOf(house, sagaId)).length).toBeGreaterThan(before);
    expect((await one().sagas.retrySaga({ target: { case: "filter", value: 'correlation_id = "stuck-11"' }, validateOnly: true })).matchedCount).toBe(1n);
    const resolved = await one().sagas.resolveStep({ sagaId, step: "a11", resolution: StepResolution.ABANDON, reason: "written off" });
    expect(resolved.saga).toMatchObject({ state: SagaState.FAILED, standingEffects: ["a11"] });
    const { events } = await one().workflows.listExecutionEvents({ executionId: sagaId, eventTypes: ["operator_acted"] });
    expect(events.map(({ payload }) => payload.value)).toMatchObject([{ action: "resolve_step.abandon", reason: "written off" }]);
    expect(await balanceOf(house, sagaId)).toEqual(["a11"]);
  });

  it("a stuck saga goes on at once with a new budget, or at the new address of its participant", async () => {
    const retry = { initial_interval: "0.02s", maximum_attempts: 1, maximum_interval: "60s" };
    const stuck = async (): Promise<string> => {
      // It says itself when to come back, else the word of its success with the saga before could bring the next try forward.
      await house.participant.script({ "b12 action": [400], "a12 compensate": [{ status: 503, headers: { "retry-after": "3600" } }] });
      const { saga } = await one().sagas.startSaga(
        sagaOf([house.participant.httpStep("a12", { compensation_retry: retry }), house.participant.httpStep("b12", once)]),
      );
      await expect.poll(async () => (await one().sagas.getSaga({ sagaId: saga?.id ?? "" })).saga?.state).toBe(SagaState.STUCK);
      return saga?.id ?? "";
    };
    const first = await stuck();
    await one().sagas.retrySaga({ target: { case: "sagaId", value: first } });
    expect((await atEnd(house, first)).state).toBe(SagaState.COMPENSATED);
    expect((await refusal(one().sagas.retrySaga({ target: { case: "sagaId", value: first } }))).reason).toBe("SAGA_NOT_STUCK");
    const second = await stuck();
    const moved = { fromAddress: house.participant.httpUrl, toAddress: house.participant.httpUrl.replace("127.0.0.1", "localhost"), reason: "new host" };
    const counted = await one().sagas.replaceParticipant({ target: { case: "sagaId", value: second }, ...moved, validateOnly: true });
    expect(counted).toMatchObject({ sagaCount: 1n, stepCount: 2n });
    expect((await refusal(one().sagas.replaceParticipant({ target: { case: "sagaId", value: second }, ...moved, toAddress: "nowhere" }))).reason).toBe(
      "ENDPOINT_INVALID",
    );
  });

  it("12: a workflow whose step fails was a saga from its start, with its correlation id, and its undos get their steps' results", async () => {
    const { httpUrl } = house.participant;
    const call = (step: string, op: string, json: JsonObject = {}): JsonObject => ({
      http_request: { method: "POST", url: `${httpUrl}/steps/${step}/${op}`, json },
    });
    const workflow = await createWorkflow(one(), [
      {
        name: "a13",
        ...call("a13", "action"),
        compensation: { step: { name: "back", ...call("a13", "compensate", { was: "{{original.result.body.step}}" }) } },
      },
      { name: "bad", fail: { error: "no", message: "no" } },
    ]);
    const { execution } = await one().workflows.startExecution({ workflow, correlationId: "wf-12" });
    const sagaId = execution?.id ?? "";
    expect((await ended(one(), sagaId)).sagaState).toBe(SagaState.COMPENSATED);
    expect((await one().sagas.listSagas({ filter: 'correlation_id = "wf-12"' })).sagas.map(({ id }) => id)).toEqual([sagaId]);
    expect((await callsOf(house, sagaId)).at(-1)).toMatchObject({ op: "compensate", input: { was: "a13" } });
    expect(await balanceOf(house, sagaId)).toEqual([]);
  });
});

it("13: correlation id and trace are on every call and event, over retries and the change of the replica", async () => {
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const clients = connect(house.servers[1] as never, { traceparent, "x-correlation-id": "trip-13" });
  await house.participant.script({ "a13x action": [14], "b13x action": [{ status: 202, headers: { "retry-after": "1" } }, 503], "c13x action": [400] });
  const { saga } = await clients.sagas.startSaga(sagaOf([...steps("a13x", "b13x"), house.participant.httpStep("c13x", once)]));
  const sagaId = saga?.id ?? "";
  await expect.poll(async () => (await callsOf(house, sagaId)).length).toBeGreaterThanOrEqual(3);
  await house.servers[1]?.kill();
  expect((await atEnd(house, sagaId)).state).toBe(SagaState.COMPENSATED);
  const calls = await callsOf(house, sagaId);
  for (const { headers, step, op } of calls) {
    expect(headers, `${op} ${step}`).toMatchObject({
      "x-correlation-id": "trip-13",
      "saga-id": sagaId,
      "saga-step": step,
      "saga-op": op,
      "x-tenant-id": "default",
    });
    expect(headers["traceparent"]).toMatch(/^00-0af7651916cd43dd8448eb211c80319c-/);
    expect(headers["baggage"]).toContain("correlation.id=trip-13");
  }
  expect(await balanceOf(house, sagaId)).toEqual([]);
  expect((await one().sagas.getSaga({ sagaId })).saga?.correlationId).toBe("trip-13");
});
