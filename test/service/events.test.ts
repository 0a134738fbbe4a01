/** wait_for_event, SignalExecution and PublishEvent as a caller meets them. */
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";
import { Client } from "pg";
import { describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { ErrorReason } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import { parseId } from "../../src/base/ids.ts";
import { limits } from "../../src/base/limits.ts";
import { connect, postJson } from "./support/connect-client.ts";
import { createWorkflow, definition, httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, ms, run, stepsOf, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";
import { collect, types } from "./support/watching.ts";

const service = useServer();
const value = (json: JsonValue): Value => fromJson(ValueSchema, json);
let keys = 0;
const newKey = (): string => `order-${++keys}`;
const waitStep = (name: string, key: string, more: object = {}) => ({
  name,
  wait_for_event: { any_of: [{ event_type: "payment.settled", ...(key === "" ? {} : { correlation_key: key }) }], ...more },
});

/** Resolves when the execution waits. */
async function waiting(executionId: string): Promise<void> {
  await collect(service.clients.workflows.watchExecution({ executionId, afterSequence: 0n }), ({ events }) => events.at(-1)?.type === "step_waiting");
}

describe("an execution that waits for an event", () => {
  test("says so, and goes on with the event's data, shown in its watch", async () => {
    const { workflows } = service.clients;
    const key = newKey();
    const workflow = await createWorkflow(service.clients, [
      waitStep("paid", "{{trigger.data.order}}", { timeout: "600s" }),
      logStep("done", "{{steps.paid.result.data.amount}} by {{steps.paid.result.event_type}}"),
    ]);
    const { execution } = await workflows.startExecution({ workflow, input: { order: key } });
    const executionId = execution?.id ?? "";
    const seen = collect(workflows.watchExecution({ executionId, afterSequence: 0n }));
    await waiting(executionId);
    const { summary, blockers } = await workflows.explainExecution({ executionId });
    expect(blockers).toMatchObject([{ stepPath: "paid", cause: { case: "event", value: { eventType: "payment.settled", correlationKey: key } } }]);
    expect(ms(blockers[0]?.untilTime) - ms(execution?.createTime)).toBeGreaterThan(500_000);
    expect(summary).toContain(`waits for the event payment.settled under the key ${key} until `);
    const published = await workflows.publishEvent({ eventType: "payment.settled", correlationKey: key, data: value({ amount: 12.5 }) });
    expect(published).toMatchObject({ signalId: expect.stringMatching(/^sig_/), matchedExecutionCount: 1, duplicate: false });
    expect(await ended(service.clients, executionId)).toMatchObject({ state: ExecutionState.COMPLETED });
    const { events } = await seen;
    expect(types(events).slice(2, 5)).toEqual(["step_waiting", "event_received", "step_succeeded"]);
    expect(events[3]?.payload.value).toMatchObject({ eventType: "payment.settled", signalId: published.signalId, correlationKey: key });
    expect((await stepsOf(service.clients, executionId)).get("done")?.result).toMatchObject({ kind: { case: "structValue" } });
  });

  test("shows WAITING once it left memory, and can be canceled, which undoes what was done before", async () => {
    const { clients, ledger } = service;
    const execution = await begin(clients, [httpStep("reserve", `${ledger.url}/r1`, { undo: `${ledger.url}/undo-r1` }), waitStep("paid", newKey())]);
    await expect.poll(async () => (await clients.workflows.getExecution({ executionId: execution.id })).execution?.state).toBe(ExecutionState.WAITING);
    await clients.workflows.cancelExecution({ executionId: execution.id });
    expect(await ended(clients, execution.id)).toMatchObject({ state: ExecutionState.COMPENSATED });
    expect(ledger.callsTo("/undo-r1")).toHaveLength(1);
    expect(await refusal(clients.workflows.signalExecution({ executionId: execution.id, eventType: "payment.settled" }))).toMatchObject({
      code: "FAILED_PRECONDITION",
      reason: "EXECUTION_TERMINAL",
    });
  });

  test("fails with TIMEOUT.EVENT when nothing comes, and RetryExecution waits anew and finds what came meanwhile", async () => {
    const { clients } = service;
    const key = newKey();
    const failed = await run(clients, [waitStep("paid", key, { timeout: "0.3s" })]);
    expect(failed).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "TIMEOUT.EVENT" } });
    await clients.workflows.publishEvent({ eventType: "payment.settled", correlationKey: key });
    await clients.workflows.retryExecution({ executionId: failed.id });
    expect(await ended(clients, failed.id)).toMatchObject({ state: ExecutionState.COMPLETED });
  });

  test("is paused and still receives; it goes on when it is resumed", async () => {
    const { clients } = service;
    const key = newKey();
    const { id: executionId } = await begin(clients, [waitStep("paid", key), logStep("after")]);
    await waiting(executionId);
    await clients.workflows.pauseExecution({ executionId });
    await clients.workflows.publishEvent({ eventType: "payment.settled", correlationKey: key });
    await expect.poll(async () => types((await clients.workflows.listExecutionEvents({ executionId })).events)).toContain("event_received");
    expect((await clients.workflows.getExecution({ executionId })).execution?.endTime).toBeUndefined();
    await clients.workflows.resumeExecution({ executionId });
    expect((await ended(clients, executionId)).state).toBe(ExecutionState.COMPLETED);
  });
});

describe("SignalExecution", () => {
  test("reaches an execution by its key, before it waits and after, in the order in which signals came", async () => {
    const { clients, ledger } = service;
    ledger.script("/slow", ["hang"]);
    const workflow = await createWorkflow(clients, [
      { name: "slow", http_request: { url: `${ledger.url}/slow` } },
      waitStep("first", ""),
      waitStep("second", ""),
      waitStep("third", ""),
    ]);
    const { execution } = await clients.workflows.startExecution({ workflow, executionKey: "signaled" });
    const signal = (data: string) => clients.workflows.signalExecution({ executionId: "key:signaled", eventType: "payment.settled", data: value(data) });
    await ledger.called("/slow");
    await signal("one");
    await signal("two");
    ledger.release();
    const executionId = execution?.id ?? "";
    await collect(clients.workflows.watchExecution({ executionId, afterSequence: 0n }), ({ events }) => {
      return types(events).filter((type) => type === "step_waiting").length === 3;
    });
    await signal("three");
    expect((await ended(clients, executionId)).state).toBe(ExecutionState.COMPLETED);
    const { events } = await clients.workflows.listExecutionEvents({ executionId, eventTypes: ["event_received"] });
    expect(events.map(({ stepPath, payload }) => [stepPath, payload.case === "eventReceived" ? payload.value.data?.kind.value : ""])).toEqual([
      ["first", "one"],
      ["second", "two"],
      ["third", "three"],
    ]);
  });

  test("with the same dedup_id twice is one event on that execution, and another one on the next", async () => {
    const { clients } = service;
    const steps = [waitStep("a", ""), waitStep("b", "", { timeout: "0.3s", on_timeout: "TIMEOUT_ACTION_CONTINUE" })];
    const [one, two] = [await begin(clients, steps), await begin(clients, steps)];
    const signal = (executionId: string) => clients.workflows.signalExecution({ executionId, eventType: "payment.settled", dedupId: "d-1" });
    const first = await signal(one.id);
    expect(await signal(one.id)).toMatchObject({ signalId: first.signalId, duplicate: true });
    expect((await signal(two.id)).duplicate).toBe(false);
    for (const { id } of [one, two]) expect((await ended(clients, id)).state).toBe(ExecutionState.COMPLETED);
    expect((await stepsOf(clients, one.id)).get("b")?.result?.kind.case).toBe("nullValue");
    expect((await signal(one.id)).duplicate, "after the end too: it is the answer to the first call").toBe(true);
  });

  test("of an unknown execution, or another tenant's, is not found; validate_only stores nothing", async () => {
    const { clients, ledger } = service;
    const unknown = clients.workflows.signalExecution({ executionId: "exe_01M84XF5YCEN3SNB41TB8SZ433", eventType: "e" });
    expect(await refusal(unknown)).toMatchObject({ code: "NOT_FOUND", reason: "EXECUTION_NOT_FOUND" });
    ledger.script("/before", ["hang"]);
    const { id: executionId } = await begin(clients, [
      httpStep("before", `${ledger.url}/before`),
      waitStep("a", "", { timeout: "0.2s", on_timeout: "TIMEOUT_ACTION_CONTINUE" }),
    ]);
    await ledger.called("/before");
    expect((await clients.workflows.signalExecution({ executionId, eventType: "payment.settled", validateOnly: true })).signalId).toBe("");
    ledger.release();
    await ended(clients, executionId);
    expect((await stepsOf(clients, executionId)).get("a")?.result?.kind.case).toBe("nullValue");
  });

  test("beyond what may be stored for one execution is refused, and what is stored stays", async () => {
    const { clients, database } = service;
    const { id: executionId } = await begin(clients, [{ name: "d", delay: { duration: "600s" } }]);
    const looker = new Client({ ...database.connection });
    await looker.connect();
    await looker.query(
      `insert into signals (tenant_id, id, execution_id, event_type, data, attempted_by, delivered, expire_time, purge_time)
       select tenant_id, gen_random_uuid(), id, 'x', 'null', id, true, now() + interval '1 day', now() + interval '1 day'
       from workflow_executions, generate_series(1, $2) where id = $1`,
      [parseId("execution", executionId), limits.signalsStoredMax],
    );
    const refused = await refusal(clients.workflows.signalExecution({ executionId, eventType: "payment.settled" }));
    expect(refused).toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "SIGNAL_LIMIT" });
    const { rows } = await looker.query("select count(*)::int as rows from signals where execution_id = $1", [parseId("execution", executionId)]);
    await looker.end();
    expect(rows).toEqual([{ rows: limits.signalsStoredMax }]);
  });
});

describe("PublishEvent", () => {
  test("twice with one dedup_id is one event of the tenant, and a repeated request_id gets the first answer", async () => {
    const { workflows } = service.clients;
    const correlationKey = newKey();
    const publish = (more: object) => workflows.publishEvent({ eventType: "payment.settled", correlationKey, ...more });
    const first = await publish({ dedupId: "tenant-wide" });
    expect(await publish({ dedupId: "tenant-wide", data: value("other") })).toMatchObject({ signalId: first.signalId, duplicate: true });
    const requestId = crypto.randomUUID();
    const answered = await publish({ requestId });
    expect((await publish({ requestId })).signalId).toBe(answered.signalId);
  });

  test("does not reach another tenant's executions", async () => {
    const { clients, database, server } = service;
    const key = newKey();
    const { id: executionId } = await begin(clients, [waitStep("a", key, { timeout: "600s" })]);
    await waiting(executionId);
    const looker = new Client({ ...database.connection });
    await looker.connect();
    await looker.query(
      `insert into event_waits (tenant_id, execution_id, step_path, attempt, position, event_type, correlation_key)
       select 'other', execution_id, step_path, attempt, position, event_type, correlation_key from event_waits where correlation_key = $1`,
      [key],
    );
    await looker.end();
    const { matchedExecutionCount } = await connect(server).workflows.publishEvent({ eventType: "payment.settled", correlationKey: key });
    expect(matchedExecutionCount).toBe(1);
    expect((await ended(clients, executionId)).state).toBe(ExecutionState.COMPLETED);
  });

  test("takes data up to 1 MiB and refuses more, and what cannot be stored", async () => {
    const { server, clients } = service;
    const correlationKey = newKey();
    await clients.workflows.publishEvent({ eventType: "big", correlationKey, data: value("x".repeat(1024 * 1024 - 2)) });
    const wish = (data: unknown) => postJson(server, "WorkflowService/PublishEvent", { eventType: "big", correlationKey, data });
    expect((await wish("x".repeat(1024 * 1024))).body.code).toBe("resource_exhausted");
    expect((await wish("a\u0000b")).body.code).toBe("invalid_argument");
    expect((await wish(null)).status).toBe(200);
  });
});

test("ValidateDefinition knows the step and names what is wrong in it", async () => {
  const { workflows } = service.clients;
  const bad = definition([waitStep("a", "{{nobody}}"), { name: "b", wait_for_event: { any_of: [{ event_type: "e", filter: "1 + 'x'" }] } }]);
  const { valid, errors } = await workflows.validateDefinition({ definition: bad });
  expect(valid).toBe(false);
  expect(errors).toMatchObject([{ field: "steps[0].wait_for_event.any_of[0].correlation_key", step: "a", reason: ErrorReason.UNKNOWN_VARIABLE }]);
  expect((await workflows.validateDefinition({ definition: definition([waitStep("a", "k", { timeout: "60s" })]) })).valid).toBe(true);
});
