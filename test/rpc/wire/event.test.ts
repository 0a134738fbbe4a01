import { fromBinary, isFieldSet, toBinary, toJson } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { describe, expect, it } from "vitest";
import { ExecutionEventSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type EventPayloads, type EventType, type ExecutionEvent, eventTypes } from "../../../src/domain/events.ts";
import type { Failure } from "../../../src/domain/failure.ts";
import { eventToMessage } from "../../../src/rpc/wire/event.ts";

const failure: Failure = { name: "HTTP.503", message: "busy", details: { status: 503 }, stepPath: "charge", cause: { name: "NETWORK", message: "reset" } };
const at = 1_900_000_000_123;
const again = { failure, outcome: "unknown", nextAttemptAt: at } as const;
const told = { reported: true, mayRunUntil: at };
const start = {
  input: { url: "x" },
  idempotencyKey: "k",
  deadlineAt: at,
  reported: { from: "queue", closeMs: 300_000, heartbeatMs: 10_000, childId: "exe_5" },
} as const;

const waiting = { waitsFor: "https://a:443" };
/** A payload with every field, per type. */
const full: { readonly [Type in EventType]: Required<EventPayloads[Type]> } = {
  execution_created: {
    workflowId: "wfl_1",
    workflowName: "w",
    revision: 3,
    input: { a: [1, null] },
    correlationId: "c",
    executionKey: "key",
    labels: { team: "a" },
    priority: 0,
    triggerType: "api",
    startAt: at,
    timeoutAt: at + 1,
    traceparent: "00-1",
    tracestate: "vendor=1",
    baggage: "order.id=7",
    parentExecutionId: "exe_1",
    rootExecutionId: "exe_0",
    depth: 0,
    detached: false,
    rerunOf: "exe_2",
    saga: { autoComplete: false, prepared: true, compensationPolicy: { halt_on_stuck: true }, checkBack: { http: { url: "http://a" } } },
    held: "workflow_paused",
  },
  execution_started: { variables: { n: 1 } },
  execution_paused: { actor: "key_1", reason: "r" },
  execution_resumed: { actor: "key_1", reason: "r", released: true },
  execution_cancel_requested: { actor: "key_1", reason: "r", compensate: false, graceUntil: at, endReason: "aborted" },
  execution_ended: {
    state: "failed",
    endReason: "step_failed",
    output: null,
    failure,
    failedStep: "charge",
    standingEffects: ["a"],
    compensatableStanding: true,
  },
  execution_reopened: {
    from: "timed_out",
    reason: "r",
    actor: "key_1",
    steps: ["a"],
    blocks: ["b"],
    timeoutAt: at,
    revision: 2,
    input: { a: 1 },
    evidence: "charge",
  },
  step_started: { ...start, branch: "else" },
  step_progressed: { percent: 0, message: "m", details: false, operation: "compensate", heartbeatMs: 5_000 },
  step_succeeded: { result: null, startedAt: at, input: "i", exports: { n: 2 }, copiedFrom: "exe_3", late: true },
  step_failed: { failure, outcome: "failed", handled: true, caughtBy: 0, startedAt: at, input: [], surely: true, copiedFrom: "exe_3", ...told, ...waiting },
  step_retry_scheduled: { ...again, putBack: true, slow: true, polled: true, ...told, ...waiting, recovered: true, steps: ["a"], blocks: ["b"] },
  step_skipped: { reason: "r", result: 1, surely: true },
  step_canceled: { reason: "r", outcome: "unknown", mayRunUntil: at },
  step_waiting: { wakeAt: at, awaiting: "paid", startedAt: at, input: {}, events: [{ eventType: "paid", correlationKey: "7" }] },
  event_received: { eventType: "paid", data: 0, dedupId: "d", signalId: "sig_1", correlationKey: "7" },
  variables_set: { variables: { n: null }, actor: "key_1" },
  step_enlisted: { step: { name: "s" }, selfDriven: false },
  compensation_started: { ...start, mayNotHaveRun: true, generation: 0 },
  compensation_succeeded: { result: "", nothingToUndo: false, resolved: false },
  compensation_retry_scheduled: { ...again, putBack: false, polled: false, ...waiting, recovered: false },
  compensation_failed: { failure, outcome: "unknown", exhausted: true, nextAttemptAt: at, abandoned: false, ...waiting },
  confirmation_started: start,
  confirmation_succeeded: { result: 1, resolved: true },
  confirmation_retry_scheduled: { ...again, putBack: false, polled: false, ...waiting, recovered: false },
  confirmation_failed: { failure, outcome: "failed", exhausted: false, nextAttemptAt: at, abandoned: true, ...waiting },
  saga_state_changed: { state: "compensating", endReason: "timeout", failure, stepPath: "charge", timeoutAt: at, completeWhenIdle: false },
  operator_acted: { actor: "key_1", action: "resolve_step.mark_done", reason: "r", stepPath: "charge", result: { a: 1 } },
  anomaly: { kind: "late_success", message: "m", details: [true] },
};

const eventOf = (type: EventType, payload: unknown): ExecutionEvent =>
  ({ type, payload, at, stepPath: "orders[3]/charge", attempt: 2, sequence: 7 }) as ExecutionEvent;

describe.each(eventTypes)("%s", (type) => {
  const message = eventToMessage({ executionId: "exe_0", correlationId: "c" }, eventOf(type, full[type]));

  it("becomes the payload of its own name and survives binary and JSON", () => {
    const received = fromBinary(ExecutionEventSchema, toBinary(ExecutionEventSchema, message));
    expect(toJson(ExecutionEventSchema, received, { useProtoFieldName: true })).toEqual(toJson(ExecutionEventSchema, message, { useProtoFieldName: true }));
    expect(toJson(ExecutionEventSchema, received, { useProtoFieldName: true })).toMatchObject({
      sequence: "7",
      execution_id: "exe_0",
      time: "2030-03-17T17:46:40.123Z",
      type,
      step_path: "orders[3]/charge",
      attempt: 2,
      [type]: {},
    });
  });

  it("fills every field that the contract has for it", () => {
    const field = ExecutionEventSchema.fields.find(({ name }) => name === type);
    expect(field?.message).toBeDefined();
    const payload = reflect(field?.message as NonNullable<typeof field>["message"] & object, message.payload.value as never);
    const unset = payload.fields.filter((member) => !payload.isSet(member)).map(({ name }) => name);
    expect(unset).toEqual([]);
    expect(payload.fields).toHaveLength(Object.keys(full[type]).length);
  });
});

it("leaves absent fields absent", () => {
  const message = eventToMessage({ executionId: "exe_0", correlationId: "c" }, eventOf("step_succeeded", { result: null }));
  expect(isFieldSet(message, ExecutionEventSchema.field.live)).toBe(false);
  expect(toJson(ExecutionEventSchema, message, { useProtoFieldName: true })).toMatchObject({ step_succeeded: { result: null } });
  const value = message.payload.value as { startedTime?: unknown; input?: unknown; exports?: unknown };
  expect([value.startedTime, value.input, value.exports]).toEqual([undefined, undefined, undefined]);
  const canceled = eventToMessage({ executionId: "exe_0", correlationId: "c" }, eventOf("step_canceled", { reason: "r" }));
  expect(toJson(ExecutionEventSchema, canceled)).toMatchObject({ stepCanceled: { reason: "r" } });
  expect((canceled.payload.value as { outcome?: number }).outcome).toBeUndefined();
});
