/** When a run turns back: which effects are undone, in which order, with what, and what is shown meanwhile and afterwards. */
import { describe, expect, test } from "vitest";
import { EndReason, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { CompensationKind } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import { httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, run, stepsOf, useServer } from "./support/fixture.ts";
import { collect } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
/** Paths called by one execution, in order. */
const pathsOf = (id: string): string[] => service.ledger.calls.filter((call) => call.headers["saga-id"] === id).map((call) => call.path);

describe("a refused third step", () => {
  test("undoes the second, then the first, with what they had answered", async () => {
    const { clients, ledger } = service;
    ledger.script("/reserve", [{ status: 201, body: { reservation: "r-1" } }]);
    ledger.script("/pay", [{ status: 201, body: { charge: "c-1" } }]);
    ledger.script("/ship", [{ status: 402, body: { code: "NO_CREDIT" } }]);
    const execution = await run(
      clients,
      [
        httpStep("reserve", at("/reserve"), { undo: at("/unreserve") }),
        httpStep("pay", at("/pay"), {
          undo: at("/refund"),
          undoJson: { charge: "{{original.result.body.charge}}", was: "{{original.input.json.step}}", why: "{{error.name}}" },
        }),
        httpStep("note", at("/note")),
        httpStep("ship", at("/ship"), { undo: at("/unship") }),
      ],
      {},
      { order: 1 },
    );
    expect(execution).toMatchObject({
      state: ExecutionState.COMPENSATED,
      endReason: EndReason.STEP_FAILED,
      sagaState: SagaState.COMPENSATED,
      failedStep: "ship",
      standingEffects: ["note"],
      failure: { name: "HTTP.402" },
    });
    expect(pathsOf(execution.id)).toEqual(["/reserve", "/pay", "/note", "/ship", "/refund", "/unreserve"]);
    const [refund] = ledger.callsTo("/refund");
    expect(refund?.body).toEqual({ charge: "c-1", was: "pay", why: "HTTP.402" });
    expect(refund?.key).toBe(`"${execution.id}/pay/compensate"`);
    expect(refund?.headers).toMatchObject({ "saga-step": "pay", "saga-op": "compensate", "saga-attempt": "1", "x-correlation-id": execution.correlationId });
    expect(ledger.callsTo("/unreserve")[0]?.body).toEqual({ undo: "reserve", original: { reservation: "r-1" } });

    const steps = await stepsOf(clients, execution.id);
    expect(steps.get("pay")).toMatchObject({
      state: StepState.COMPENSATED,
      actionState: OperationState.SUCCEEDED,
      compensationState: OperationState.SUCCEEDED,
      kind: CompensationKind.COMPENSATABLE,
    });
    expect(steps.get("reserve")?.state).toBe(StepState.COMPENSATED);
    expect(steps.get("note")).toMatchObject({ state: StepState.COMPLETED, compensationState: OperationState.NONE });
    expect(steps.get("ship")).toMatchObject({
      state: StepState.FAILED,
      actionState: OperationState.FAILED,
      compensationState: OperationState.NONE,
      attempt: 1,
    });

    const { saga } = await clients.sagas.getSaga({ sagaId: execution.id });
    expect(saga).toMatchObject({
      id: execution.id,
      state: SagaState.COMPENSATED,
      endReason: EndReason.STEP_FAILED,
      correlationId: execution.correlationId,
      openSteps: 0,
      standingEffects: ["note"],
      failure: { name: "HTTP.402" },
      lastSequence: execution.lastSequence,
    });
    expect(saga?.steps.map((step) => [step.path, step.state])).toEqual([
      ["reserve", StepState.COMPENSATED],
      ["pay", StepState.COMPENSATED],
      ["note", StepState.COMPLETED],
      ["ship", StepState.FAILED],
    ]);
    const { events } = await clients.workflows.listExecutionEvents({
      executionId: execution.id,
      eventTypes: ["saga_state_changed", "compensation_started", "compensation_succeeded", "execution_ended"],
    });
    expect(events.map((event) => `${event.type} ${event.stepPath}`.trim())).toEqual([
      "saga_state_changed",
      "compensation_started pay",
      "compensation_succeeded pay",
      "compensation_started reserve",
      "compensation_succeeded reserve",
      "execution_ended",
    ]);
  });

  test("is undone itself when it may have had an effect, and before the others", async () => {
    const { clients, ledger } = service;
    ledger.script("/u1", [500]);
    const unknown = await run(clients, [
      httpStep("a", at("/x1"), { undo: at("/undo-x1") }),
      {
        ...httpStep("b", at("/u1"), { undo: at("/undo-u1"), undoJson: { of: "{{original.input.json.step}}" } }),
        retry_policy: { maximum_attempts: 2, initial_interval: "0.02s" },
      },
    ]);
    expect(unknown).toMatchObject({ state: ExecutionState.COMPENSATED, failure: { name: "HTTP.500" } });
    expect(pathsOf(unknown.id)).toEqual(["/x1", "/u1", "/u1", "/undo-u1", "/undo-x1"]);
    expect(ledger.callsTo("/undo-u1")[0]?.body).toEqual({ of: "b" });
    const { events } = await clients.workflows.listExecutionEvents({ executionId: unknown.id, eventTypes: ["compensation_started"] });
    expect(events.map((event) => (event.payload.case === "compensationStarted" ? event.payload.value.mayNotHaveRun === true : null))).toEqual([true, false]);
  });

  test("is undone although it surely failed when it asks for that", async () => {
    const { clients, ledger } = service;
    ledger.script("/u3", [402]);
    const step = httpStep("b", at("/u3"), { undo: at("/undo-u3"), undoJson: {} });
    const asked = await run(clients, [{ ...step, compensation: { ...(step["compensation"] as object), compensate_on_failure: true } }]);
    expect(asked.state).toBe(ExecutionState.COMPENSATED);
    expect(ledger.callsTo("/undo-u3")).toHaveLength(1);
  });

  test("waits for a human when its undo needs an output that is not there", async () => {
    const { clients, ledger } = service;
    ledger.script("/u2", [500]);
    const step = httpStep("b", at("/u2"), { undo: at("/undo-u2"), undoJson: {} });
    const { id } = await begin(clients, [
      { ...step, retry_policy: { maximum_attempts: 1 }, compensation: { ...(step["compensation"] as object), undo_requires_output: true } },
    ]);
    await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.STUCK);
    expect(ledger.callsTo("/undo-u2")).toHaveLength(0);
  });

  test("leaves effects standing when the definition says so", async () => {
    const { clients, ledger } = service;
    ledger.script("/k2", [402]);
    const execution = await run(clients, [httpStep("a", at("/k1"), { undo: at("/undo-k1") }), httpStep("b", at("/k2"))], {
      on_failure: "FAILURE_POLICY_KEEP_EFFECTS",
    });
    expect(execution).toMatchObject({ state: ExecutionState.FAILED, sagaState: SagaState.FAILED, standingEffects: ["a"] });
    expect(ledger.callsTo("/undo-k1")).toHaveLength(0);
  });
});

describe("an undo", () => {
  test("of a branch that its block no longer needs sees an error, too", async () => {
    const { clients, ledger } = service;
    const act = httpStep("act", at("/loser"), { undo: at("/unlose"), undoJson: { why: "{{error.name}}" } });
    const branches = [
      { name: "loser", steps: [act, { name: "long", delay: { duration: "60s" } }] },
      // Ends the block when the other branch has acted.
      { name: "winner", steps: [{ name: "wait", wait_for_event: { any_of: [{ event_type: "acted" }] } }] },
    ];
    const { id } = await begin(clients, [{ name: "either", parallel: { join: "JOIN_MODE_ANY", branches } }]);
    await expect.poll(async () => (await stepsOf(clients, id)).get("long")?.state).toBe(StepState.WAITING);
    await clients.workflows.signalExecution({ executionId: id, eventType: "acted" });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPLETED });
    expect(ledger.callsTo("/unlose").map(({ body }) => body)).toEqual([{ why: "CANCELED" }]);
  });

  test("that fails for a while is repeated with one key, and the next never overtakes it", async () => {
    const { clients, ledger } = service;
    ledger.script("/f3", [402]);
    ledger.script("/undo-f2", [500, 503, 404, 200]);
    const execution = await run(clients, [
      httpStep("a", at("/f1"), { undo: at("/undo-f1") }),
      httpStep("b", at("/f2"), { undo: at("/undo-f2") }),
      httpStep("c", at("/f3")),
    ]);
    expect(execution.state).toBe(ExecutionState.COMPENSATED);
    expect(pathsOf(execution.id).slice(3)).toEqual(["/undo-f2", "/undo-f2", "/undo-f2", "/undo-f2", "/undo-f1"]);
    expect(new Set(ledger.callsTo("/undo-f2").map((call) => call.key))).toEqual(new Set([`"${execution.id}/b/compensate"`]));
    expect(ledger.callsTo("/undo-f2").map((call) => call.headers["saga-attempt"])).toEqual(["1", "2", "3", "4"]);
  });

  test("that exceeds its budget ends in STUCK, is still tried, and completes when the other side recovers", async () => {
    const { clients, ledger } = service;
    ledger.script("/s2", [402]);
    ledger.script("/undo-s1", [500]);
    const first = httpStep("a", at("/s1"), { undo: at("/undo-s1") });
    const compensation = {
      ...(first["compensation"] as object),
      timeouts: { schedule_to_close: "0.4s" },
      retry_policy: { initial_interval: "0.05s", maximum_interval: "0.1s", jitter: 0 },
    };
    const { id } = await begin(clients, [{ ...first, compensation }, httpStep("b", at("/s2"))]);
    await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.STUCK);
    const { saga } = await clients.sagas.getSaga({ sagaId: id });
    expect(saga).toMatchObject({ state: SagaState.STUCK });
    const { execution } = await clients.workflows.getExecution({ executionId: id });
    expect.soft(execution, "why it failed is kept").toMatchObject({ failure: { name: "HTTP.402" }, failedStep: "b", endReason: EndReason.STEP_FAILED });
    // The slow retry goes on, so the step is only now and then seen between two attempts.
    const between = { state: StepState.COMPENSATION_FAILED, compensationState: OperationState.EXHAUSTED, compensationFailure: { name: "HTTP.500" } };
    await expect.poll(async () => (await stepsOf(clients, id)).get("a"), { interval: 7 }).toMatchObject(between);
    const tried = ledger.callsTo("/undo-s1").length;
    await ledger.called("/undo-s1", tried + 1);

    ledger.script("/undo-s1", [200]); // the participant recovers: the slow retry ends it
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPENSATED, sagaState: SagaState.COMPENSATED, standingEffects: [] });
  });

  test("stuck for good is terminated with a reason and its effect is on record", async () => {
    const { clients, ledger } = service;
    ledger.script("/t2", [402]);
    ledger.script("/undo-t1", [500]);
    const first = httpStep("a", at("/t1"), { undo: at("/undo-t1") });
    const compensation = { ...(first["compensation"] as object), timeouts: { schedule_to_close: "0.2s" } };
    const { id } = await begin(clients, [{ ...first, compensation }, httpStep("b", at("/t2"))], { compensation_policy: { halt_on_stuck: true } });
    await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.STUCK);
    const { execution } = await clients.workflows.terminateExecution({ executionId: id, reason: "settled by hand" });
    expect(execution).toMatchObject({ state: ExecutionState.TERMINATED, endReason: EndReason.TERMINATED, sagaState: SagaState.FAILED, standingEffects: ["a"] });
  });
});

describe("past the pivot", () => {
  test("there is only forward: a retriable step is repeated until it works, and cancel is refused", async () => {
    const { clients, ledger } = service;
    ledger.script("/p3", [500, 500, 500, 500, 500, 200]);
    const { id } = await begin(clients, [
      httpStep("a", at("/p1"), { undo: at("/undo-p1") }),
      { ...httpStep("b", at("/p2")), compensation: { kind: "COMPENSATION_KIND_PIVOT" } },
      {
        ...httpStep("c", at("/p3")),
        compensation: { kind: "COMPENSATION_KIND_RETRIABLE" },
        retry_policy: { initial_interval: "0.05s", maximum_interval: "0.1s" },
      },
    ]);
    await ledger.called("/p3");
    const error = await clients.workflows.cancelExecution({ executionId: id }).then(() => undefined, String);
    expect(error).toMatch(/failed_precondition/);
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.COMPLETED, sagaState: SagaState.COMPLETED });
    expect(ledger.callsTo("/p3")).toHaveLength(6);
    expect(ledger.callsTo("/undo-p1")).toHaveLength(0);
  });

  test("a pivot that is refused turns the saga back", async () => {
    const { clients, ledger } = service;
    ledger.script("/q2", [402]);
    const execution = await run(clients, [
      httpStep("a", at("/q1"), { undo: at("/undo-q1") }),
      { ...httpStep("b", at("/q2")), compensation: { kind: "COMPENSATION_KIND_PIVOT" } },
      logStep("c"),
    ]);
    expect(execution).toMatchObject({ state: ExecutionState.COMPENSATED, failedStep: "b" });
    expect(ledger.callsTo("/undo-q1")).toHaveLength(1);
  });
});

test("states never go back on a watch, and the turn is seen", async () => {
  const { clients, ledger } = service;
  ledger.script("/w2", [402]);
  const { id } = await begin(clients, [httpStep("a", at("/w1"), { undo: at("/undo-w1") }), httpStep("b", at("/w2"))]);
  const seen = await collect(clients.workflows.watchExecution({ executionId: id, afterSequence: 0n }));
  const states = seen.events.flatMap((event) => (event.payload.case === "sagaStateChanged" ? [event.payload.value.state] : []));
  expect(states[0]).toBe(SagaState.COMPENSATING);
  expect(seen.events.at(-1)?.payload).toMatchObject({
    case: "executionEnded",
    value: { state: ExecutionState.COMPENSATED, endReason: EndReason.STEP_FAILED, failedStep: "b" },
  });
});
