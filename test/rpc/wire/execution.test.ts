import { fromBinary, toBinary, toJson } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import {
  type Execution,
  ExecutionSchema,
  type ExecutionStep,
  ExecutionStepSchema,
  SagaState,
  ExecutionState as State,
  StepState,
} from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { SagaSchema } from "#gen/pyairtable/workflow/v1/saga_pb.js";
import { blockTypes } from "../../../src/domain/block-types.ts";
import type { Definition } from "../../../src/domain/definition.ts";
import type { EventPayloads, EventType, ExecutionEvent } from "../../../src/domain/events.ts";
import { foldExecution } from "../../../src/domain/execution.ts";
import type { ExecutionState } from "../../../src/domain/execution-state.ts";
import { parseDefinition } from "../../../src/domain/parse-definition.ts";
import { executionFromState, executionToMessage, snapshotFromState } from "../../../src/rpc/wire/execution.ts";
import { sagaFromState, sagaSnapshotFromState, sagaToMessage } from "../../../src/rpc/wire/saga.ts";
import { stepsFromState } from "../../../src/rpc/wire/step.ts";
import { stepHandlers } from "../../../src/steps/registry.ts";
import type { ExecutionRecord } from "../../../src/store/execution-row.ts";

const begin = 1_900_000_000_000;
type Happening = { [Type in EventType]: readonly [Type, EventPayloads[Type], string?, number?] }[EventType];

/** Folds a ledger whose events are one second apart. */
function fold(...happenings: readonly Happening[]): ExecutionState {
  const events = happenings.map(([type, payload, stepPath = "", attempt = stepPath === "" ? 0 : 1], index) => {
    return { type, payload, stepPath, attempt, sequence: index + 1, at: begin + index * 1_000 } as ExecutionEvent;
  });
  return foldExecution({ executionId: "exe_1", tenantId: "acme" }, events);
}

const created: Happening = [
  "execution_created",
  {
    workflowId: "wfl_1",
    workflowName: "orders",
    revision: 4,
    input: { order: 7 },
    correlationId: "c-1",
    triggerType: "api",
    labels: { team: "a" },
    timeoutAt: begin + 60_000,
  },
];
const started: Happening = ["execution_started", { variables: { total: 0 } }];

const stepTypes = new Map([...blockTypes, ...stepHandlers.values()].map((spec) => [spec.type, spec]));
const definition: Definition = (() => {
  const parsed = parseDefinition(
    {
      dsl_version: "v1",
      steps: [
        { name: "price", log: { message: "a" } },
        {
          name: "choose",
          conditional: {
            cases: [{ name: "big", when: "true", steps: [{ name: "inner", log: { message: "b" } }] }],
            else_steps: [{ name: "other", delay: { duration: "5s" } }],
          },
        },
        {
          name: "charge",
          http_request: { method: "POST", url: "https://example.com/charge" },
          compensation: { step: { name: "refund", http_request: { method: "DELETE", url: "https://example.com/charge" } } },
          on_error: { catches: [{ steps: [{ name: "tell", log: { message: "c" } }] }] },
        },
      ],
    },
    stepTypes,
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  return parsed.value.definition;
})();

const jsonOf = (message: Execution): Record<string, unknown> =>
  toJson(ExecutionSchema, fromBinary(ExecutionSchema, toBinary(ExecutionSchema, message)), { useProtoFieldName: true }) as Record<string, unknown>;

describe("an execution from its folded state", () => {
  it("shows what stands in the ledger so far", () => {
    const state = fold(created, started, ["step_succeeded", { result: { n: 1 }, startedAt: begin, input: { message: "a" }, exports: { total: 5 } }, "price"]);
    expect(jsonOf(executionFromState(state))).toEqual({
      id: "exe_1",
      state: "EXECUTION_STATE_RUNNING",
      workflow_id: "wfl_1",
      workflow_name: "orders",
      revision: 4,
      input: { order: 7 },
      correlation_id: "c-1",
      last_sequence: "3",
      variables: { total: 5 },
      saga_state: "SAGA_STATE_RUNNING",
      labels: { team: "a" },
      priority: 5,
      create_time: "2030-03-17T17:46:40Z",
      start_time: "2030-03-17T17:46:41Z",
    });
    const basic = executionFromState(state, "basic");
    expect([basic.input, basic.output, basic.variables]).toEqual([undefined, undefined, undefined]);
  });

  it("is pending until its start delay is over, and says when", () => {
    const state = fold(["execution_created", { ...created[1], startAt: begin + 90_000, priority: 0 } as EventPayloads["execution_created"]]);
    expect(jsonOf(executionFromState(state))).toMatchObject({ state: "EXECUTION_STATE_PENDING", next_wake_time: "2030-03-17T17:48:10Z" });
    expect(executionFromState(state)).toMatchObject({ priority: 0 });
    expect(executionFromState(state).startTime).toBeUndefined();
  });

  it("waits when every open step only waits, with the earliest timer", () => {
    const failure = { name: "NETWORK", message: "gone" };
    const waiting = [created, started, ["step_started", { branch: "big" }, "choose"], ["step_waiting", { wakeAt: begin + 50_000 }, "other"]] as const;
    const retrying: Happening = ["step_retry_scheduled", { failure, outcome: "failed", nextAttemptAt: begin + 40_000 }, "charge"];
    expect(jsonOf(executionFromState(fold(...waiting, retrying)))).toMatchObject({ state: "EXECUTION_STATE_WAITING", next_wake_time: "2030-03-17T17:47:20Z" });
    expect(executionFromState(fold(...waiting, ["step_started", {}, "charge"])).state).toBe(State.RUNNING);
    expect(executionFromState(fold(...waiting, ["execution_paused", { actor: "key_1" }]))).toMatchObject({ state: State.PAUSED, paused: true });
  });

  it("keeps the cause of the turn through the compensation, and its state while paused", () => {
    const failure = { name: "HTTP.500", message: "broken" };
    const undoFailure = { name: "TIMEOUT.START_TO_CLOSE", message: "slow" };
    const turned = [
      created,
      started,
      ["step_started", {}, "charge"],
      ["step_succeeded", { result: 1 }, "charge"],
      ["saga_state_changed", { state: "compensating", endReason: "step_failed", failure, stepPath: "ship" }],
      ["execution_paused", { actor: "key_1" }],
      ["compensation_started", {}, "charge"],
      ["compensation_failed", { failure: undoFailure, outcome: "unknown", exhausted: true, nextAttemptAt: begin + 99_000 }, "charge"],
      ["saga_state_changed", { state: "stuck", failure: undoFailure }],
    ] as const;
    expect(jsonOf(executionFromState(fold(...turned.slice(0, 6))))).toMatchObject({ state: "EXECUTION_STATE_COMPENSATING", paused: true });
    const stuck = fold(...turned);
    expect(jsonOf(executionFromState(stuck))).toMatchObject({
      state: "EXECUTION_STATE_STUCK",
      end_reason: "END_REASON_STEP_FAILED",
      failure,
      failed_step: "ship",
      saga_state: "SAGA_STATE_STUCK",
      next_wake_time: "2030-03-17T17:48:19Z",
    });
    expect(toJson(SagaSchema, sagaFromState(stuck), { useProtoFieldName: true })).toMatchObject({
      state: "SAGA_STATE_STUCK",
      failure: undoFailure,
      expire_time: "2030-03-17T17:47:40Z",
      steps: [
        {
          path: "charge",
          state: "STEP_STATE_COMPENSATION_FAILED",
          action_state: "OPERATION_STATE_SUCCEEDED",
          compensation_state: "OPERATION_STATE_EXHAUSTED",
          compensation_failure: undoFailure,
        },
      ],
    });
  });

  it("shows its end: output, standing effects, no timer", () => {
    const standing = Array.from({ length: 1_200 }, (_, index) => `s${index}`);
    const state = fold(
      created,
      started,
      ["step_waiting", { wakeAt: begin + 50_000 }, "other"],
      [
        "execution_ended",
        {
          state: "failed",
          endReason: "step_failed",
          output: null,
          failure: { name: "USER.x", message: "no" },
          failedStep: "charge",
          standingEffects: standing,
          compensatableStanding: true,
        },
      ],
    );
    const message = executionFromState(state);
    expect(message).toMatchObject({ state: State.FAILED, sagaState: SagaState.FAILED, failedStep: "charge", output: { kind: { case: "nullValue" } } });
    expect(message.nextWakeTime).toBeUndefined();
    expect(message.standingEffects).toEqual(standing.slice(0, 1_000));
    expect(sagaSnapshotFromState(state).saga?.standingEffects).toHaveLength(1_000);
  });
});

describe("the steps of a folded state", () => {
  const state = fold(
    created,
    started,
    ["step_succeeded", { result: null }, "price"],
    ["step_started", { branch: "big" }, "choose"],
    ["step_started", { input: { url: "x" } }, "charge"],
    ["step_retry_scheduled", { failure: { name: "HTTP.503", message: "busy" }, outcome: "unknown", nextAttemptAt: begin + 9_000 }, "charge"],
  );
  const shown = (steps: readonly ExecutionStep[]): unknown[] => steps.map(({ path, type, state: step }) => [path, type, StepState[step]]);

  it("are those that have begun, when no definition says more", () => {
    expect(shown(stepsFromState(state))).toEqual([
      ["price", "", "COMPLETED"],
      ["choose", "", "RUNNING"],
      ["charge", "", "RETRYING"],
    ]);
  });

  it("are all of the definition in its order, nested ones after their block, with those not begun as PENDING", () => {
    expect(shown(stepsFromState(state, definition))).toEqual([
      ["price", "log", "COMPLETED"],
      ["choose", "conditional", "RUNNING"],
      ["inner", "log", "PENDING"],
      ["other", "delay", "PENDING"],
      ["charge", "http_request", "RETRYING"],
      ["tell", "log", "PENDING"],
    ]);
  });

  it("stand at their element's path in loops, and last when the definition does not name them", () => {
    const looped = fold(
      created,
      started,
      ["step_succeeded", { result: 1 }, "enlisted"],
      ["step_started", {}, "loop[0]/price"],
      ["step_started", {}, "loop[1]/price"],
    );
    expect(stepsFromState(looped, definition).map(({ path }) => path)).toEqual([
      "loop[0]/price",
      "loop[1]/price",
      "choose",
      "inner",
      "other",
      "charge",
      "tell",
      "enlisted",
    ]);
  });

  it("tell attempt, times, kind, failure and when the next attempt is due", () => {
    const charge = stepsFromState(state, definition).find(({ path }) => path === "charge") as ExecutionStep;
    expect(toJson(ExecutionStepSchema, charge, { useProtoFieldName: true })).toEqual({
      path: "charge",
      name: "charge",
      type: "http_request",
      state: "STEP_STATE_RETRYING",
      attempt: 1,
      input: { url: "x" },
      failure: { name: "HTTP.503", message: "busy" },
      start_time: "2030-03-17T17:46:44Z",
      next_attempt_time: "2030-03-17T17:46:49Z",
      action_state: "OPERATION_STATE_UNKNOWN",
      compensation_state: "OPERATION_STATE_NONE",
      confirmation_state: "OPERATION_STATE_NONE",
      kind: "COMPENSATION_KIND_COMPENSATABLE",
    });
    expect(stepsFromState(state, definition, "basic").every(({ input, result }) => input === undefined && result === undefined)).toBe(true);
  });

  it("are in a snapshot newest first, at most a thousand, in a saga in their order", () => {
    const snapshot = snapshotFromState(state, definition);
    expect(shown(snapshot.steps)).toEqual([
      ["charge", "http_request", "RETRYING"],
      ["choose", "conditional", "RUNNING"],
      ["price", "log", "COMPLETED"],
    ]);
    expect([snapshot.sequence, snapshot.execution?.lastSequence]).toEqual([6n, 6n]);
    const many = fold(created, started, ...Array.from({ length: 1_500 }, (_, index): Happening => ["step_started", {}, `loop[${index}]/price`]));
    const steps = snapshotFromState(many).steps;
    expect([steps.length, steps[0]?.path, steps.at(-1)?.path]).toEqual([1_000, "loop[1499]/price", "loop[500]/price"]);
    expect(sagaFromState(state, definition)).toMatchObject({ openSteps: 2, steps: [{ path: "price" }, { path: "choose" }, { path: "charge" }] });
    expect(sagaFromState(state, definition, "basic").steps).toEqual([]);
  });
});

describe("stored rows", () => {
  const record: ExecutionRecord = {
    id: "exe_1",
    workflowId: undefined,
    workflowName: "orders",
    revision: 4,
    state: "waiting",
    sagaState: "running",
    endReason: undefined,
    input: { a: 1 },
    output: undefined,
    variables: { b: 2 },
    failure: undefined,
    failedStep: undefined,
    standingEffects: ["x"],
    executionKey: "k",
    requestId: undefined,
    correlationId: "c",
    labels: { t: "1" },
    priority: 9,
    paused: false,
    parentExecutionId: "exe_0",
    rerunOf: undefined,
    traceparent: undefined,
    lastSequence: 12,
    wakeAt: begin,
    createdAt: begin,
    startedAt: begin + 1,
    endedAt: undefined,
  };

  it("become executions and sagas", () => {
    expect(jsonOf(executionToMessage(record, "full"))).toEqual({
      id: "exe_1",
      state: "EXECUTION_STATE_WAITING",
      workflow_name: "orders",
      revision: 4,
      input: { a: 1 },
      execution_key: "k",
      correlation_id: "c",
      last_sequence: "12",
      variables: { b: 2 },
      saga_state: "SAGA_STATE_RUNNING",
      standing_effects: ["x"],
      parent_execution_id: "exe_0",
      labels: { t: "1" },
      priority: 9,
      create_time: "2030-03-17T17:46:40Z",
      start_time: "2030-03-17T17:46:40.001Z",
      next_wake_time: "2030-03-17T17:46:40Z",
    });
    const basic = executionToMessage(record, "basic");
    expect([basic.input, basic.variables]).toEqual([undefined, undefined]);
    expect(executionToMessage({ ...record, paused: true }, "basic").state).toBe(State.PAUSED);
    expect(executionToMessage({ ...record, state: "stuck", paused: true }, "basic").state).toBe(State.STUCK);
    expect(sagaToMessage(record, { openSteps: 2, expiresAt: begin })).toMatchObject({
      id: "exe_1",
      state: SagaState.RUNNING,
      openSteps: 2,
      standingEffects: ["x"],
      lastSequence: 12n,
    });
  });
});
