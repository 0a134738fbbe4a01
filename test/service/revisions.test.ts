/** Revisions of workflows over the wire: changing, listing, comparing, activating, rolling back, drawing. */
import { describe, expect, it } from "vitest";
import { ChangeKind } from "#gen/pyairtable/workflow/v1/definition_report_pb.js";
import { ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { GraphEdgeKind, GraphFormat } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { createWorkflow, definition, delayStep, httpStep, logStep, newName } from "./support/definitions.ts";
import { ended, seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();
const api = () => fixture.clients.workflows;
const says = (message: string) => ({ definition: definition([logStep("say", message)]) });

describe("UpdateWorkflow", () => {
  it("makes the next revision, active at once, while a running execution keeps its own", async () => {
    const workflow = await createWorkflow(fixture.clients, [delayStep("rest", "1s"), logStep("say", "old")]);
    const { execution } = await api().startExecution({ workflow });
    const updated = await api().updateWorkflow({ workflow, changes: says("new"), revisionNote: "says it anew" });
    expect(updated.workflow).toMatchObject({ activeRevision: 2, latestRevision: 2 });
    expect(updated.workflow?.definition?.steps.map(({ name }) => name)).toEqual(["say"]);
    const started = await api().startExecution({ workflow, wait: seconds(50) });
    expect(started.execution).toMatchObject({ revision: 2 });
    expect(await ended(fixture.clients, execution?.id ?? "")).toMatchObject({ revision: 1, state: ExecutionState.COMPLETED });
    const { revision } = await api().getWorkflowRevision({ workflow, revision: 2 });
    expect(revision).toMatchObject({ note: "says it anew", active: true, creator: expect.stringMatching(/^key_/) });
  });

  it("makes none for an equal definition, nor for a change of the head", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say")]);
    const { workflow: before } = await api().getWorkflow({ workflow });
    expect((await api().updateWorkflow({ workflow, changes: { definition: before?.definition } })).workflow).toMatchObject({
      latestRevision: 1,
      etag: before?.etag,
    });
    const named = await api().updateWorkflow({ workflow, changes: { displayName: "Says", labels: { a: "1" } } });
    expect(named.workflow).toMatchObject({ displayName: "Says", labels: { a: "1" }, latestRevision: 1 });
    expect(named.workflow?.etag).not.toBe(before?.etag);
  });

  it("takes the fields of the mask, all of them for *, and refuses unknown ones", async () => {
    const name = newName();
    const head = { name, displayName: "A", description: "B", labels: { a: "1" }, annotations: { n: "1" } };
    await api().createWorkflow({ workflow: { ...head, ...says("hi") } });
    const masked = await api().updateWorkflow({ workflow: name, changes: { displayName: "", description: "C" }, updateMask: { paths: ["display_name"] } });
    expect(masked.workflow).toMatchObject({ displayName: "", description: "B" });
    const all = await api().updateWorkflow({ workflow: name, changes: { name, ...says("ho") }, updateMask: { paths: ["*"] } });
    expect(all.workflow).toMatchObject({ name, description: "", labels: {}, annotations: {}, latestRevision: 2 });
    expect((await api().updateWorkflow({ workflow: name, changes: { etag: "x" }, updateMask: { paths: ["etag", "state"] } })).workflow).toMatchObject({
      latestRevision: 2,
    });
    for (const paths of [["nobody"], ["definition.steps"], ["*", "name"]]) {
      expect(await refusal(api().updateWorkflow({ workflow: name, changes: {}, updateMask: { paths } }))).toMatchObject({
        reason: "FIELD_MASK_INVALID",
        code: "INVALID_ARGUMENT",
      });
    }
    expect(await refusal(api().updateWorkflow({ workflow: name, changes: { name }, updateMask: { paths: ["*"] } }))).toMatchObject({
      fields: ["changes.definition"],
    });
  });

  it("lets one of two updates with the same etag win and gives the other the current one", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say")]);
    const etag = (await api().getWorkflow({ workflow })).workflow?.etag ?? "";
    const twins = await Promise.allSettled(["a", "b"].map((message) => api().updateWorkflow({ workflow, etag, changes: says(message) })));
    expect(twins.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const lost = twins.find((twin) => twin.status === "rejected") as PromiseRejectedResult;
    const current = (await api().getWorkflow({ workflow })).workflow;
    expect(await refusal(Promise.reject(lost.reason))).toMatchObject({ code: "ABORTED", reason: "ETAG_MISMATCH", metadata: { currentEtag: current?.etag } });
    expect(current).toMatchObject({ latestRevision: 2 });
  });

  it("renames, unless the name is taken, and stores nothing of a refused or merely validated update", async () => {
    const [workflow, other] = [await createWorkflow(fixture.clients, [logStep("say")]), await createWorkflow(fixture.clients, [logStep("say")])];
    expect(await refusal(api().updateWorkflow({ workflow, changes: { name: other, ...says("x") } }))).toMatchObject({
      code: "ALREADY_EXISTS",
      reason: "NAME_TAKEN",
    });
    const renamed = newName("renamed");
    const preview = await api().updateWorkflow({ workflow, changes: { name: renamed, ...says("x") }, validateOnly: true });
    expect(preview.workflow).toMatchObject({ name: renamed, activeRevision: 2, latestRevision: 2 });
    expect(await refusal(api().updateWorkflow({ workflow, changes: { definition: definition([logStep("say", "{{nothing}}")]) } }))).toMatchObject({
      reason: "UNKNOWN_VARIABLE",
      fields: ["changes.definition.steps[0].log.message"],
    });
    expect((await api().getWorkflow({ workflow })).workflow).toMatchObject({ name: workflow, latestRevision: 1 });
    await api().updateWorkflow({ workflow, changes: { name: renamed } });
    expect(await refusal(api().getWorkflow({ workflow }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
    expect((await api().startExecution({ workflow: renamed, wait: seconds(50) })).execution).toMatchObject({ workflowName: renamed });
  });
});

describe("revisions", () => {
  it("with their definitions come in pages that fit into a message, whatever page size was asked for", async () => {
    const large = (revision: number) => definition(Array.from({ length: 110 }, (_, index) => logStep(`s${index}`, `${revision} ${"x".repeat(8_000)}`)));
    const workflow = newName();
    await api().createWorkflow({ workflow: { name: workflow, definition: large(1) } });
    for (const revision of [2, 3, 4, 5]) await api().updateWorkflow({ workflow, changes: { definition: large(revision) } });
    const pages: number[][] = [];
    for (let pageToken: string | undefined; pageToken !== ""; ) {
      const page = await api().listWorkflowRevisions({ workflow, view: View.FULL, ...(pageToken === undefined ? {} : { pageToken }) });
      pages.push(page.revisions.map(({ revision }) => revision));
      expect(page.revisions.every((revision) => revision.definition?.steps.length === 110)).toBe(true);
      pageToken = page.nextPageToken;
    }
    expect(pages).toEqual([
      [5, 4, 3],
      [2, 1],
    ]);
  });

  it("are listed newest first in pages, drafts too, and read one by one", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say", "1")]);
    for (const message of ["2", "3", "4"]) await api().updateWorkflow({ workflow, changes: says(message), draftOnly: message === "4" });
    const first = await api().listWorkflowRevisions({ workflow, pageSize: 3, includeTotalSize: true });
    expect(first.revisions.map(({ revision, active }) => [revision, active])).toEqual([
      [4, false],
      [3, true],
      [2, false],
    ]);
    expect(first).toMatchObject({ totalSize: 4n });
    expect(first.revisions[0]?.definition).toBeUndefined();
    const second = await api().listWorkflowRevisions({ workflow, pageSize: 3, pageToken: first.nextPageToken });
    expect([second.revisions.map(({ revision }) => revision), second.nextPageToken]).toEqual([[1], ""]);
    const full = await api().listWorkflowRevisions({ workflow, pageSize: 1, view: View.FULL });
    expect(full.revisions[0]?.definition?.steps).toHaveLength(1);
    const rest = await api().listWorkflowRevisions({ workflow, pageSize: 3, view: View.FULL, pageToken: full.nextPageToken });
    expect([rest.revisions.map(({ revision }) => revision), rest.nextPageToken]).toEqual([[3, 2, 1], ""]);
    expect(await refusal(api().listWorkflowRevisions({ workflow, pageToken: "nonsense" }))).toMatchObject({ reason: "PAGE_TOKEN_INVALID" });
    expect(await refusal(api().getWorkflowRevision({ workflow, revision: 9 }))).toMatchObject({ code: "NOT_FOUND", reason: "REVISION_NOT_FOUND" });
  });

  it("are activated and rolled back to the one that was active before", async () => {
    const workflow = await createWorkflow(fixture.clients, [logStep("say", "1")]);
    expect(await refusal(api().rollbackWorkflow({ workflow }))).toMatchObject({ reason: "REVISION_NOT_FOUND" });
    await api().updateWorkflow({ workflow, changes: says("2") });
    await api().updateWorkflow({ workflow, changes: says("3") });
    expect((await api().activateWorkflowRevision({ workflow, revision: 1, validateOnly: true })).workflow).toMatchObject({ activeRevision: 1 });
    expect((await api().getWorkflow({ workflow })).workflow).toMatchObject({ activeRevision: 3 });
    expect((await api().activateWorkflowRevision({ workflow, revision: 1 })).workflow).toMatchObject({ activeRevision: 1, latestRevision: 3 });
    expect((await api().rollbackWorkflow({ workflow })).workflow).toMatchObject({ activeRevision: 3 });
    expect((await api().rollbackWorkflow({ workflow })).workflow).toMatchObject({ activeRevision: 1 });
    expect(await refusal(api().activateWorkflowRevision({ workflow, revision: 4 }))).toMatchObject({ reason: "REVISION_NOT_FOUND" });
    expect(await refusal(api().rollbackWorkflow({ workflow, etag: "stale" }))).toMatchObject({ reason: "ETAG_MISMATCH" });
    expect((await api().startExecution({ workflow, wait: seconds(50) })).execution).toMatchObject({ revision: 1 });
  });

  it("are compared by steps, with the executions that run the old side", async () => {
    const workflow = await createWorkflow(fixture.clients, [delayStep("rest", "600s"), logStep("say", "old")]);
    const { execution } = await api().startExecution({ workflow });
    await api().updateWorkflow({ workflow, changes: { definition: definition([logStep("say", "new"), logStep("more")]) }, draftOnly: true });
    const diff = await api().diffWorkflowRevisions({ workflow });
    expect(diff.changes.map(({ path, kind, breaking }) => [path, kind, breaking])).toEqual([
      ["steps[rest]", ChangeKind.REMOVED, true],
      ["steps[say].log.message", ChangeKind.CHANGED, false],
      ["steps[more]", ChangeKind.ADDED, false],
    ]);
    expect(diff).toMatchObject({ breaking: true, openExecutionCount: 1n, parentWorkflowIds: [] });
    expect((await api().diffWorkflowRevisions({ workflow, fromRevision: 1, toRevision: 1 })).changes).toEqual([]);
    expect(await refusal(api().diffWorkflowRevisions({ workflow, fromRevision: 7 }))).toMatchObject({ reason: "REVISION_NOT_FOUND" });
    await api().cancelExecution({ executionId: execution?.id ?? "" });
  });
});

describe("GetWorkflowGraph", () => {
  const steps = () => [
    httpStep("charge", `${fixture.ledger.url}/graph`, { undo: `${fixture.ledger.url}/graph-undo` }),
    { name: "big", conditional: { cases: [{ name: "large", when: "trigger.data.total > 100", steps: [logStep("alert")] }], else_steps: [logStep("fine")] } },
  ];

  it("gives steps and arrows, and the states of an execution on them", async () => {
    const workflow = await createWorkflow(fixture.clients, steps());
    const bare = await api().getWorkflowGraph({ workflow });
    expect(bare.nodes.map(({ id, parent }) => [id, parent])).toEqual([
      ["start", ""],
      ["charge", ""],
      ["charge.undo", ""],
      ["big", ""],
      ["alert", "big"],
      ["fine", "big"],
      ["end", ""],
    ]);
    expect(bare.edges.map(({ from, to, label, kind }) => [from, to, label, kind])).toEqual([
      ["charge", "charge.undo", "", GraphEdgeKind.COMPENSATE],
      ["charge", "big", "", GraphEdgeKind.NEXT],
      ["big", "alert", "large", GraphEdgeKind.ENTER],
      ["big", "fine", "else", GraphEdgeKind.ENTER],
      ["start", "charge", "", GraphEdgeKind.NEXT],
      ["big", "end", "", GraphEdgeKind.NEXT],
    ]);
    const { execution } = await api().startExecution({ workflow, input: { total: 120 }, wait: seconds(50) });
    const shown = await api().getWorkflowGraph({ executionId: execution?.id ?? "" });
    expect(Object.fromEntries(shown.nodes.map(({ id, state }) => [id, state]))).toMatchObject({
      charge: StepState.COMPLETED,
      "charge.undo": StepState.UNSPECIFIED,
      alert: StepState.COMPLETED,
      fine: StepState.UNSPECIFIED,
    });
    const other = await createWorkflow(fixture.clients, [logStep("a")]);
    expect(await refusal(api().getWorkflowGraph({ workflow: other, executionId: execution?.id ?? "" }))).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
    expect(await refusal(api().getWorkflowGraph({ workflow, revision: 5 }))).toMatchObject({ reason: "REVISION_NOT_FOUND" });
    const { mermaid } = await api().getWorkflowGraph({ executionId: execution?.id ?? "", format: GraphFormat.MERMAID });
    expect(mermaid).toContain('n1["charge<br/>http_request"]:::completed');
    expect(mermaid).toContain('n3 -->|"large"| n4');
  });
});
