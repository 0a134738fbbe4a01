/** Runs that are waited for, delayed, cancelled, terminated, or run out of time. */
import { describe, expect, test } from "vitest";
import { EndReason, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { CompensationChoice } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, ms, run, seconds, stepsOf, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
/** A call that does not answer; its undo may come while it runs. */
const hanging = (name: string, path: string): object => {
  service.ledger.script(path, ["hang"]);
  const step = httpStep(name, at(path), { undo: at(`/undo${path}`), undoJson: {} });
  return { ...step, compensation: { ...(step["compensation"] as object), barrier: true } };
};
const steps = (...list: unknown[]): never[] => list as never[];

describe("cancel", () => {
  test("aborts the running step after its grace, then undoes it and what came before", async () => {
    const { clients, ledger } = service;
    const { id } = await begin(clients, steps(httpStep("first", at("/c1"), { undo: at("/undo-c1") }), hanging("second", "/c2"), logStep("never")));
    await ledger.called("/c2");
    const { execution } = await clients.workflows.cancelExecution({ executionId: id, gracePeriod: seconds(0.2), reason: "changed my mind" });
    expect([ExecutionState.RUNNING, ExecutionState.COMPENSATING, ExecutionState.COMPENSATED]).toContain(execution?.state);
    const done = await ended(clients, id);
    expect(done).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.CANCELED, sagaState: SagaState.COMPENSATED });
    expect(ledger.callsTo("/c2")[0]?.aborted).toBe(true);
    expect(ledger.calls.filter((call) => call.headers["saga-id"] === id).map((call) => call.path)).toEqual(["/c1", "/c2", "/undo/c2", "/undo-c1"]);
    const shown = await stepsOf(clients, id);
    expect(shown.get("second")).toMatchObject({ actionState: OperationState.UNKNOWN, compensationState: OperationState.SUCCEEDED });
    expect(shown.get("never")?.attempt ?? 0).toBe(0);
    const { events } = await clients.workflows.listExecutionEvents({ executionId: id, eventTypes: ["execution_cancel_requested"] });
    expect(events[0]?.payload.value).toMatchObject({ reason: "changed my mind", actor: expect.stringMatching(/.+/) });
  });

  test("ends at once what has nothing to undo, and a repeat is OK until the end", async () => {
    const { clients } = service;
    const { id } = await begin(clients, [delayStep("long", "3600s")]);
    await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.WAITING);
    await Promise.all(
      [1, 2, 3].map(() =>
        clients.workflows.cancelExecution({ executionId: id }).catch((error: unknown) => expect(String(error)).toMatch(/ended|terminal|precondition/i)),
      ),
    );
    const done = await ended(clients, id);
    expect(done).toMatchObject({ state: ExecutionState.CANCELED, endReason: EndReason.CANCELED, sagaState: SagaState.COMPENSATED });
    expect((await stepsOf(clients, id)).get("long")?.state).toBe(StepState.CANCELED);
    const late = await refusal(clients.workflows.cancelExecution({ executionId: id }));
    expect(late).toMatchObject({ code: "FAILED_PRECONDITION", reason: "EXECUTION_TERMINAL" });
    expect(Object.values(late.metadata).join()).toMatch(/CANCELED/i);
  });

  test("leaves effects standing when it is told to", async () => {
    const { clients, ledger } = service;
    const { id } = await begin(clients, [httpStep("first", at("/n1"), { undo: at("/undo-n1") }), delayStep("long", "3600s")]);
    await ledger.called("/n1");
    await expect.poll(async () => (await clients.workflows.getExecution({ executionId: id })).execution?.state).toBe(ExecutionState.WAITING);
    await clients.workflows.cancelExecution({ executionId: id, compensate: CompensationChoice.NO });
    expect(await ended(clients, id)).toMatchObject({ state: ExecutionState.CANCELED, sagaState: SagaState.FAILED, standingEffects: ["first"] });
    expect(ledger.callsTo("/undo-n1")).toHaveLength(0);
  });

  test("and terminate at the same moment end an execution once", async () => {
    const { clients } = service;
    const workflow = await createWorkflow(clients, [delayStep("long", "3600s")]);
    const ids = await Promise.all(Array.from({ length: 30 }, async () => (await clients.workflows.startExecution({ workflow })).execution?.id ?? ""));
    await Promise.all(
      ids.flatMap((executionId) =>
        [clients.workflows.cancelExecution({ executionId }), clients.workflows.terminateExecution({ executionId, reason: "race" })].map((call) =>
          call.catch(() => undefined),
        ),
      ),
    );
    for (const executionId of ids) {
      const { state } = await ended(clients, executionId);
      expect([ExecutionState.CANCELED, ExecutionState.TERMINATED]).toContain(state);
      const { events } = await clients.workflows.listExecutionEvents({ executionId, eventTypes: ["execution_ended"] });
      expect(events).toHaveLength(1);
    }
  });
});

describe("terminate", () => {
  test("stops hard, undoes nothing and lists what stands", async () => {
    const { clients, ledger } = service;
    const { id } = await begin(clients, steps(httpStep("first", at("/t1"), { undo: at("/undo-t1") }), hanging("second", "/t2")));
    await ledger.called("/t2");
    expect(await refusal(clients.workflows.terminateExecution({ executionId: id }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["reason"] });
    const { execution } = await clients.workflows.terminateExecution({ executionId: id, reason: "fire" });
    expect(execution).toMatchObject({ state: ExecutionState.TERMINATED, endReason: EndReason.TERMINATED, sagaState: SagaState.FAILED });
    expect(execution?.standingEffects).toContain("first");
    expect(ledger.callsTo("/undo-t1")).toHaveLength(0);
    expect(await refusal(clients.workflows.terminateExecution({ executionId: id, reason: "again" }))).toMatchObject({ reason: "EXECUTION_TERMINAL" });
    await expect.poll(() => ledger.callsTo("/t2")[0]?.aborted, { message: "the running call is aborted" }).toBe(true);
  });
});

describe("time", () => {
  test("an execution's own limit ends it TIMED_OUT, or undoes what stands", async () => {
    const { clients, ledger } = service;
    const [empty, undone] = await Promise.all([
      run(clients, [delayStep("long", "3600s")], { execution_timeout: "0.3s" }),
      run(clients, steps(httpStep("first", at("/x1"), { undo: at("/undo-x1") }), hanging("second", "/x2")), { execution_timeout: "1.2s" }),
    ]);
    expect(empty).toMatchObject({ state: ExecutionState.TIMED_OUT, endReason: EndReason.TIMEOUT, failure: { name: "TIMEOUT.EXECUTION" } });
    expect(ms(empty.endTime) - ms(empty.createTime)).toBeGreaterThanOrEqual(300);
    expect(undone).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.TIMEOUT, failure: { name: "TIMEOUT.EXECUTION" } });
    expect(ledger.callsTo("/undo-x1")).toHaveLength(1);
  });

  test("a delay is never early, by duration, expression or moment", async () => {
    const { clients } = service;
    const soon = (seconds: number): string => `timestamp('${new Date(Date.now() + seconds * 1000).toISOString()}')`;
    const before = Date.now();
    const execution = await run(clients, [
      delayStep("a", "0.2s"),
      { name: "b", delay: { duration_expression: "duration('0.15s')" } },
      { name: "c", delay: { until: soon(0.9) } },
      { name: "d", delay: { until: soon(-60) } },
    ]);
    expect(execution.state).toBe(ExecutionState.COMPLETED);
    const shown = await stepsOf(clients, execution.id);
    const took = (name: string): number => ms(shown.get(name)?.endTime) - ms(shown.get(name)?.startTime);
    expect(took("a")).toBeGreaterThanOrEqual(200);
    expect(took("b")).toBeGreaterThanOrEqual(150);
    expect(ms(shown.get("c")?.endTime) - before).toBeGreaterThanOrEqual(895);
    expect(shown.get("d")?.state).toBe(StepState.COMPLETED);
  });

  test("`now` is the moment of the start, as a timestamp", async () => {
    const { clients } = service;
    const execution = await run(clients, [{ name: "c", delay: { until: "now + duration('0.3s')" } }]);
    expect(execution.failure?.message ?? "").toBe("");
    expect(ms(execution.endTime) - ms(execution.startTime)).toBeGreaterThanOrEqual(300);
  });

  test("start_delay keeps it PENDING, with a date, and it can be called off", async () => {
    const { clients, ledger } = service;
    const workflow = await createWorkflow(clients, [httpStep("call", at("/delayed"))]);
    const [soon, never] = await Promise.all([2, 3600].map((delay) => clients.workflows.startExecution({ workflow, startDelay: seconds(delay) })));
    expect(soon?.execution).toMatchObject({ state: ExecutionState.PENDING });
    expect(soon?.execution?.startTime).toBeUndefined();
    expect(ms(never?.execution?.nextWakeTime) - ms(never?.execution?.createTime)).toBeGreaterThan(3_599_000);
    expect(ledger.callsTo("/delayed")).toHaveLength(0);
    const done = await ended(clients, soon?.execution?.id ?? "");
    expect(done.state).toBe(ExecutionState.COMPLETED);
    expect(ms(done.startTime) - ms(done.createTime)).toBeGreaterThanOrEqual(2_000);
    await clients.workflows.cancelExecution({ executionId: never?.execution?.id ?? "" });
    expect((await ended(clients, never?.execution?.id ?? "")).state).toBe(ExecutionState.CANCELED);
    expect(ledger.callsTo("/delayed")).toHaveLength(1);
  });
});

describe("waiting", () => {
  test("gives the state at the end of the time, or the end as soon as it comes", async () => {
    const { clients, ledger } = service;
    ledger.script("/awaited", ["hang"]);
    const workflow = await createWorkflow(clients, [httpStep("a", at("/awaited"))]);
    const before = performance.now();
    const started = await clients.workflows.startExecution({ workflow, wait: seconds(0.2) });
    expect(performance.now() - before).toBeGreaterThanOrEqual(190);
    expect(started.execution?.state).toBe(ExecutionState.RUNNING);
    const executionId = started.execution?.id ?? "";
    expect(await clients.workflows.waitExecution({ executionId, timeout: seconds(0.05) })).toMatchObject({ ended: false, execution: { id: executionId } });
    const waiters = Array.from({ length: 20 }, () => clients.workflows.waitExecution({ executionId, timeout: seconds(50) }));
    await ledger.called("/awaited");
    ledger.release();
    for (const waiter of await Promise.all(waiters)) expect(waiter).toMatchObject({ ended: true, execution: { state: ExecutionState.COMPLETED } });
    expect(await clients.workflows.waitExecution({ executionId })).toMatchObject({ ended: true });
    expect(await refusal(clients.workflows.waitExecution({ executionId, timeout: seconds(61) }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      fields: ["timeout"],
    });
    expect(await refusal(clients.workflows.startExecution({ workflow, wait: seconds(61) }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["wait"] });
  });

  test("a caller that gives up does not stop the run", async () => {
    const { clients, ledger } = service;
    ledger.script("/slow", ["hang"]);
    const workflow = await createWorkflow(clients, [httpStep("slow", at("/slow"))]);
    const caller = new AbortController();
    const gaveUp = refusal(clients.workflows.startExecution({ workflow, executionKey: "gives-up", wait: seconds(50) }, { signal: caller.signal }));
    await ledger.called("/slow");
    caller.abort();
    expect((await gaveUp).code).toBe("CANCELED");
    ledger.release();
    expect((await ended(clients, "key:gives-up")).state).toBe(ExecutionState.COMPLETED);
    const { execution } = await clients.workflows.getExecution({ executionId: "key:gives-up", view: View.BASIC });
    expect(execution?.input).toBeUndefined();
    expect(execution?.output).toBeUndefined();
  });
});
