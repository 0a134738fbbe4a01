/** Pausing and deleting workflows with what they run: starts that queue, running ones that pause, executions that are cancelled. */
import { describe, expect, it } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { WorkflowState } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { PausedStartPolicy } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow, delayStep, logStep } from "./support/definitions.ts";
import { ended, seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();
const api = () => fixture.clients.workflows;
const start = async (workflow: string) => (await api().startExecution({ workflow })).execution?.id ?? "";
/** Its row says so once it has left memory. */
const waits = (executionId: string) => expect.poll(async () => (await stateOf(executionId))?.state).toBe(ExecutionState.WAITING);
const stateOf = async (executionId: string) => (await api().getExecution({ executionId })).execution;

describe("a paused workflow", () => {
  it("queues new starts and lets them run when it is resumed", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say")]);
    const paused = await api().pauseWorkflow({ workflow, reason: "stocktaking" });
    expect(paused).toMatchObject({ workflow: { state: WorkflowState.PAUSED }, pausedExecutionCount: 0n });
    const { execution } = await api().startExecution({ workflow });
    expect(execution).toMatchObject({ state: ExecutionState.PENDING, paused: false });
    const queued = [execution?.id ?? "", await start(workflow), await start(workflow)];
    const explained = await api().explainExecution({ executionId: queued[0] ?? "" });
    expect(explained.blockers.map(({ message }) => message)).toEqual([expect.stringContaining("workflow is paused")]);
    // A queued one is cancelled and resumed like any other; a resume does not let it pass.
    await api().cancelExecution({ executionId: queued[2] ?? "" });
    expect(await ended(fixture.clients, queued[2] ?? "")).toMatchObject({ state: ExecutionState.CANCELED });
    await api().resumeExecution({ executionId: queued[0] ?? "" });
    expect(await stateOf(queued[0] ?? "")).toMatchObject({ state: ExecutionState.PENDING });
    expect((await api().resumeWorkflow({ workflow })).workflow).toMatchObject({ state: WorkflowState.ACTIVE });
    for (const id of queued.slice(0, 2)) expect(await ended(fixture.clients, id)).toMatchObject({ state: ExecutionState.COMPLETED });
    expect((await api().startExecution({ workflow, wait: seconds(50) })).execution).toMatchObject({ state: ExecutionState.COMPLETED });
  });

  it("keeps a queued execution that was paused by itself paused after its release", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say")]);
    await api().pauseWorkflow({ workflow });
    const executionId = await start(workflow);
    await api().pauseExecution({ executionId });
    await api().resumeWorkflow({ workflow });
    expect(await stateOf(executionId)).toMatchObject({ state: ExecutionState.PAUSED });
    await api().resumeExecution({ executionId });
    expect(await ended(fixture.clients, executionId)).toMatchObject({ state: ExecutionState.COMPLETED });
  });

  it("refuses new starts when told so, and a draft cannot be paused", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say")]);
    await api().pauseWorkflow({ workflow, pausedStarts: PausedStartPolicy.REJECT });
    expect(await refusal(api().startExecution({ workflow }))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "WORKFLOW_PAUSED" });
    await api().pauseWorkflow({ workflow });
    const executionId = await start(workflow);
    await api().resumeWorkflow({ workflow });
    expect(await ended(fixture.clients, executionId)).toMatchObject({ state: ExecutionState.COMPLETED });
    const { workflow: draft } = await api().createWorkflow({ workflow: { name: "pause-draft", definition: { steps: [] } }, draftOnly: true });
    expect(await refusal(api().pauseWorkflow({ workflow: draft?.id ?? "" }))).toMatchObject({ reason: "WORKFLOW_NOT_ACTIVE" });
  });

  it("pauses and resumes its open executions too when asked to, but only previews with validate_only", async () => {
    const workflow = await createWorkflow(fixture.clients, [delayStep("rest", "600s")]);
    const running = await Promise.all(Array.from({ length: 12 }, () => start(workflow)));
    expect((await api().pauseWorkflow({ workflow, alsoRunning: true, validateOnly: true })).workflow).toMatchObject({ state: WorkflowState.PAUSED });
    expect((await api().getWorkflow({ workflow })).workflow).toMatchObject({ state: WorkflowState.ACTIVE });
    expect(await api().pauseWorkflow({ workflow, alsoRunning: true })).toMatchObject({ pausedExecutionCount: 12n });
    for (const id of running) expect(await stateOf(id)).toMatchObject({ state: ExecutionState.PAUSED });
    const queued = await start(workflow);
    expect(await api().resumeWorkflow({ workflow, alsoRunning: true })).toMatchObject({ resumedExecutionCount: 13n });
    for (const id of [...running, queued]) await waits(id);
    expect(await api().deleteWorkflow({ workflow, force: true })).toMatchObject({ canceledExecutionCount: 13n, workflow: { state: WorkflowState.DELETED } });
    for (const id of [...running, queued]) expect(await ended(fixture.clients, id)).toMatchObject({ state: ExecutionState.CANCELED });
  });

  it("is not deleted without force while it runs something", async () => {
    const workflow = await createWorkflow(fixture.clients, [delayStep("rest", "600s")]);
    const executionId = await start(workflow);
    expect(await refusal(api().deleteWorkflow({ workflow }))).toMatchObject({ code: "FAILED_PRECONDITION", reason: "WORKFLOW_IN_USE" });
    expect(await api().deleteWorkflow({ workflow, force: true, validateOnly: true })).toMatchObject({ canceledExecutionCount: 1n });
    await waits(executionId);
    await api().cancelExecution({ executionId });
    await ended(fixture.clients, executionId);
    await api().deleteWorkflow({ workflow });
  });
});
