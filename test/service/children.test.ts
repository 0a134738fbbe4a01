/** sub_workflow as a caller meets it: saving, running, explaining, canceling and undoing. */
import { describe, expect, test } from "vitest";
import { EndReason, ExecutionState, OperationState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { ErrorReason } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import { createWorkflow, definition, httpStep, logStep, newName } from "./support/definitions.ts";
import { begin, ended, run, stepsOf, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";
import { collect, types } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
const childStep = (name: string, workflow: string, more: object = {}, outer: object = {}) => ({ name, sub_workflow: { workflow, ...more }, ...outer });
const reserve = (name: string, path: string) => httpStep(name, at(path), { undo: at(`/undo${path}`) });

async function childOf(parentId: string): Promise<string> {
  const { executions } = await service.clients.workflows.listExecutions({ filter: `parent_execution_id = ${parentId}` });
  return executions[0]?.id ?? "";
}

describe("at save", () => {
  test("a child is pinned: a later revision of its workflow changes nothing of what was saved", async () => {
    const { clients } = service;
    const inner = await createWorkflow(clients, [logStep("v", "one")], { outputs: { v: "first" } });
    const outer = await createWorkflow(clients, [childStep("sub", inner)]);
    const { workflow } = await clients.workflows.getWorkflow({ workflow: outer });
    const kind = workflow?.definition?.steps[0]?.kind;
    expect(kind).toMatchObject({ case: "subWorkflow", value: { workflow: expect.stringMatching(/^wfl_/), revision: 1 } });
    const changed = definition([logStep("v", "two")], { outputs: { v: "second" } });
    await clients.workflows.updateWorkflow({ workflow: inner, changes: { definition: changed } });
    const { execution } = await clients.workflows.startExecution({ workflow: outer, wait: { seconds: 50n, nanos: 0 } });
    expect(execution?.output).toMatchObject({ kind: { case: "structValue", value: { fields: { v: { kind: { value: "first" } } } } } });
  });

  test("unknown workflows and revisions, cycles by way of others, and points of no return are refused with their place", async () => {
    const { workflows } = service.clients;
    const save = (name: string, step: object) => refusal(workflows.createWorkflow({ workflow: { name, definition: definition([step as never]) } }));
    expect(await save(newName(), childStep("sub", "nobody"))).toMatchObject({ reason: "VALIDATION_FAILED", code: "INVALID_ARGUMENT" });
    const [low, high] = [await createWorkflow(service.clients, [logStep("a")]), newName()];
    expect(await save(high, childStep("sub", low, { revision: 7 }))).toMatchObject({ reason: "VALIDATION_FAILED" });
    expect(await save(high, childStep("sub", high))).toMatchObject({ reason: "SUB_WORKFLOW_CYCLE" });
    await workflows.createWorkflow({ workflow: { name: high, definition: definition([childStep("sub", low) as never]) } });
    const cycle = workflows.updateWorkflow({ workflow: low, changes: { definition: definition([childStep("back", high) as never]) } });
    expect(await refusal(cycle)).toMatchObject({ reason: "SUB_WORKFLOW_CYCLE", code: "INVALID_ARGUMENT" });
    const final = await createWorkflow(service.clients, [{ ...logStep("p"), compensation: { kind: "COMPENSATION_KIND_PIVOT" } }]);
    expect(await save(newName(), childStep("sub", final))).toMatchObject({ reason: "PIVOT_ORDER" });
    const asPivot = childStep("sub", final, {}, { compensation: { kind: "COMPENSATION_KIND_PIVOT" } });
    await workflows.createWorkflow({ workflow: { name: newName(), definition: definition([asPivot as never]) } });
    const report = await workflows.validateDefinition({ definition: definition([childStep("sub", "nobody") as never]) });
    expect(report.errors).toMatchObject([{ field: "steps[0].sub_workflow.workflow", step: "sub", reason: ErrorReason.VALIDATION_FAILED }]);
    const undo = { ...logStep("x"), compensation: { step: childStep("u", low) } };
    expect(await save(newName(), undo)).toMatchObject({ reason: "COMPENSATION_INVALID" });
  });

  test("workflows nested deeper than eight are refused", async () => {
    let name = await createWorkflow(service.clients, [logStep("bottom")]);
    for (let depth = 0; depth < 8; depth++) name = await createWorkflow(service.clients, [childStep("sub", name)]);
    const tooDeep = service.clients.workflows.createWorkflow({ workflow: { name: newName(), definition: definition([childStep("sub", name) as never]) } });
    expect(await refusal(tooDeep)).toMatchObject({ reason: "LIMIT_EXCEEDED" });
  });
});

describe("a child", () => {
  test("is an execution that can be watched, and its parent says what it waits for", async () => {
    const { clients, ledger } = service;
    ledger.script("/c1", ["hang"]);
    const inner = await createWorkflow(clients, [httpStep("work", at("/c1"))], { outputs: { got: "{{trigger.data.n}}" } });
    const parent = await begin(clients, [childStep("sub", inner, { input: { n: 5 } }), logStep("after", "{{steps.sub.result.got}}")]);
    await ledger.called("/c1");
    const childId = await childOf(parent.id);
    const { execution } = await clients.workflows.getExecution({ executionId: childId });
    expect(execution).toMatchObject({ parentExecutionId: parent.id, correlationId: parent.correlationId, state: ExecutionState.RUNNING });
    const { blockers, summary } = await clients.workflows.explainExecution({ executionId: parent.id });
    expect(blockers).toMatchObject([{ stepPath: "sub", cause: { case: "child", value: { executionId: childId, state: ExecutionState.RUNNING } } }]);
    expect(summary).toContain(`waits for its child ${childId}`);
    expect((await stepsOf(clients, parent.id)).get("sub")?.state).toBe(StepState.WAITING);
    expect(await refusal(clients.workflows.completeStep({ executionId: parent.id, path: "sub", reason: "x" }))).toMatchObject({
      reason: "STEP_STATE_CONFLICT",
    });
    const watched = collect(clients.workflows.watchExecution({ executionId: parent.id, afterSequence: 0n }));
    ledger.release();
    expect(await ended(clients, parent.id)).toMatchObject({ state: ExecutionState.COMPLETED });
    const started = (await watched).events.find(({ type }) => type === "step_started")?.payload;
    expect(started?.value).toMatchObject({ reported: { from: "child", childExecutionId: childId } });
  });

  test("that fails makes its step fail with the state it ended in, and a retry of the parent starts another one", async () => {
    const { clients, ledger } = service;
    ledger.script("/c2", [422, 200]);
    const inner = await createWorkflow(clients, [httpStep("work", at("/c2"))]);
    const failed = await run(clients, [childStep("sub", inner)]);
    expect(failed).toMatchObject({ state: ExecutionState.FAILED, failedStep: "sub", failure: { name: "CHILD.FAILED", cause: { name: "HTTP.422" } } });
    await clients.workflows.retryExecution({ executionId: failed.id });
    expect((await ended(clients, failed.id)).state).toBe(ExecutionState.COMPLETED);
    expect((await clients.workflows.listExecutions({ filter: `parent_execution_id = ${failed.id}` })).executions).toHaveLength(2);
  });

  test("is canceled with its parent, and both undo what they did", async () => {
    const { clients, ledger } = service;
    ledger.script("/hang3", ["hang"]);
    const inner = await createWorkflow(clients, [reserve("inner", "/inner3"), httpStep("hang", at("/hang3"))]);
    const parent = await begin(clients, [reserve("outer", "/outer3"), childStep("sub", inner)]);
    await ledger.called("/hang3");
    const childId = await childOf(parent.id);
    await clients.workflows.cancelExecution({ executionId: parent.id, reason: "changed my mind" });
    expect(await ended(clients, parent.id)).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.CANCELED });
    expect(await ended(clients, childId)).toMatchObject({ state: ExecutionState.COMPENSATED, endReason: EndReason.PARENT });
    const undone = ledger.calls.map(({ path }) => path).filter((path) => path.startsWith("/undo") && path.endsWith("3"));
    expect(undone).toEqual(["/undo/inner3", "/undo/outer3"]);
  });

  test("that completed is undone in its place when its parent turns back, is not deleted before, and shows both ends", async () => {
    const { clients, ledger } = service;
    ledger.script("/bad4", ["hang"]);
    const inner = await createWorkflow(clients, [reserve("i1", "/i14"), reserve("i2", "/i24")]);
    const parent = await begin(clients, [reserve("p1", "/p14"), childStep("sub", inner), reserve("p2", "/p24"), httpStep("bad", at("/bad4"))]);
    await ledger.called("/bad4");
    const childId = await childOf(parent.id);
    expect(await ended(clients, childId)).toMatchObject({ state: ExecutionState.COMPLETED });
    expect(await refusal(clients.workflows.deleteExecution({ executionId: childId }))).toMatchObject({ reason: "EXECUTION_NOT_TERMINAL" });
    const preview = await clients.workflows.previewCompensation({ executionId: parent.id });
    expect(preview.compensations.map(({ path }) => path)).toEqual(["p2", "sub", "p1"]);
    await clients.workflows.cancelExecution({ executionId: parent.id, gracePeriod: { seconds: 0n, nanos: 0 } });
    expect((await ended(clients, parent.id)).state).toBe(ExecutionState.COMPENSATED);
    const undone = ledger.calls.map(({ path }) => path).filter((path) => path.startsWith("/undo") && path.endsWith("4"));
    expect(undone).toEqual(["/undo/p24", "/undo/i24", "/undo/i14", "/undo/p14"]);
    const step = (await stepsOf(clients, parent.id)).get("sub");
    expect(step).toMatchObject({ state: StepState.COMPENSATED, compensationState: OperationState.SUCCEEDED });
    const { events } = await clients.workflows.listExecutionEvents({ executionId: childId });
    expect(types(events).filter((type) => type.startsWith("execution_"))).toEqual([
      ...["execution_created", "execution_started", "execution_ended", "execution_reopened", "execution_ended"],
    ]);
    await clients.workflows.deleteExecution({ executionId: childId });
  });
});
