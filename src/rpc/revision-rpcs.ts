/** WorkflowService: changing workflows, their revisions, pausing them, and drawing them. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { type Workflow, WorkflowRevisionSchema, WorkflowSchema } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import {
  ActivateWorkflowRevisionResponseSchema,
  DiffWorkflowRevisionsResponseSchema,
  GetWorkflowGraphResponseSchema,
  GraphEdgeKind,
  GraphFormat,
  ListWorkflowRevisionsResponseSchema,
  PausedStartPolicy,
  PauseWorkflowResponseSchema,
  ResumeWorkflowResponseSchema,
  RollbackWorkflowResponseSchema,
  type UpdateWorkflowRequest,
  UpdateWorkflowResponseSchema,
  type WorkflowService,
} from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { afterCommit } from "../base/change.ts";
import { AppError, missingField, violationsError } from "../base/errors.ts";
import { diffDefinitions } from "../domain/definition-diff.ts";
import { mermaidOf } from "../domain/mermaid.ts";
import { graphOf, type WorkflowGraph } from "../domain/workflow-graph.ts";
import type { PauseChange, WorkflowUpdate } from "../store/workflow-changes.ts";
import type { RevisionRecord, WorkflowRecord } from "../store/workflow-row.ts";
import { checkDefinition } from "./definition-check.ts";
import { inTurns, wholeItemsMax } from "./in-turns.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { pinChildren } from "./pin-children.ts";
import { executionNotFound } from "./read-execution-message.ts";
import { bindingsOfSlots, checkSecretBindings } from "./secret-bindings.ts";
import { loadExecution } from "./send-command.ts";
import { changeToMessage } from "./wire/definition-change.ts";
import { compensationKindWords, stepStateWords } from "./wire/enums.ts";
import { countFitting } from "./wire/fit.ts";
import { fieldsToUpdate, type MaskRules } from "./wire/update-mask.ts";
import { revisionSummaryToMessage, revisionToMessage, workflowToMessage } from "./wire/workflow.ts";
import { workflowNotFound } from "./workflow-rpcs.ts";

type RevisionRpcs = Pick<
  ServiceImpl<typeof WorkflowService>,
  | "updateWorkflow"
  | "listWorkflowRevisions"
  | "activateWorkflowRevision"
  | "rollbackWorkflow"
  | "diffWorkflowRevisions"
  | "pauseWorkflow"
  | "resumeWorkflow"
  | "getWorkflowGraph"
>;

/** How long a call waits for the executions it concerns; the rest goes on without it. */
const sweepBudgetMs = 5_000;

const maskRules: MaskRules = {
  writable: ["name", "display_name", "description", "definition", "secret_bindings", "labels", "annotations"],
  outputOnly: ["id", "state", "active_revision", "latest_revision", "lineage", "etag", "create_time", "update_time", "delete_time", "purge_time"],
};

export function revisionRpcs(parts: RpcParts): RevisionRpcs {
  const { workflows } = parts;
  return {
    async updateWorkflow(request, context) {
      const caller = callerOf(context);
      const { update, warnings } = await updateOf(parts, caller, request);
      const stored = await workflows.updateWorkflow(caller, request.workflow, update);
      if (!stored) throw workflowNotFound(request.workflow);
      if (!request.validateOnly) await afterCommit(caller, () => parts.workflowsChanged(caller.tenantId));
      return create(UpdateWorkflowResponseSchema, { workflow: await fullMessage(parts, caller, stored.workflow, stored.revision), warnings });
    },

    async listWorkflowRevisions(request, context) {
      const caller = callerOf(context);
      const workflow = await findWorkflow(parts, caller, request.workflow);
      const { pageSize, pageToken, view } = request;
      const wish = { pageSize, pageToken, shape: [workflow.id, view] };
      const { items, nextPageToken } = await listPage(parts, caller, "ListWorkflowRevisions", wish, async (page) => {
        const isWhole = view === View.FULL;
        const pageSize = isWhole ? Math.min(page.pageSize, wholeItemsMax) : page.pageSize;
        const found = await workflows.listRevisions(caller, workflow.id, {
          pageSize,
          beforeRevision: page.afterId === undefined ? undefined : Number(page.afterId),
        });
        const messages = isWhole
          ? await inTurns(found, async ({ revision }) =>
              revisionToMessage(await findRevision(parts, caller, workflow, revision), workflow.activeRevision, "full"),
            )
          : found.map((summary) => revisionSummaryToMessage(summary, workflow.activeRevision));
        const fitting = messages.slice(0, countFitting(WorkflowRevisionSchema, messages));
        const last = found[fitting.length - 1]?.revision ?? 1;
        const mayFollow = fitting.length < found.length || found.length === pageSize;
        return { items: fitting, nextAfterId: mayFollow && last > 1 ? String(last) : undefined };
      });
      const totalSize = request.includeTotalSize ? { totalSize: BigInt(workflow.latestRevision) } : {};
      return create(ListWorkflowRevisionsResponseSchema, { revisions: [...items], nextPageToken, ...totalSize });
    },

    async activateWorkflowRevision(request, context) {
      const caller = callerOf(context);
      const workflow = await workflows.activateRevision(caller, request.workflow, request.revision, request);
      return create(ActivateWorkflowRevisionResponseSchema, { workflow: await changed(parts, caller, request, workflow) });
    },

    async rollbackWorkflow(request, context) {
      const caller = callerOf(context);
      const workflow = await workflows.rollbackWorkflow(caller, request.workflow, request);
      return create(RollbackWorkflowResponseSchema, { workflow: await changed(parts, caller, request, workflow) });
    },

    async diffWorkflowRevisions(request, context) {
      const caller = callerOf(context);
      const workflow = await findWorkflow(parts, caller, request.workflow);
      const before = await findRevision(parts, caller, workflow, request.fromRevision || workflow.activeRevision);
      const after = await findRevision(parts, caller, workflow, request.toRevision || workflow.latestRevision);
      const changes = diffDefinitions(before.definition, after.definition);
      const [openExecutionCount, parentWorkflowIds] = await Promise.all([
        workflows.countOpenExecutions(caller, workflow.id, before.revision),
        workflows.findParents(caller, workflow),
      ]);
      return create(DiffWorkflowRevisionsResponseSchema, {
        changes: changes.map(changeToMessage),
        breaking: changes.some(({ breaking }) => breaking),
        openExecutionCount: BigInt(openExecutionCount),
        parentWorkflowIds: [...parentWorkflowIds],
      });
    },

    async pauseWorkflow(request, context) {
      const starts = request.pausedStarts === PausedStartPolicy.REJECT ? "reject" : "queue";
      const change = { paused: true, starts, reason: request.reason, alsoRunning: request.alsoRunning } as const;
      const { workflow, count } = await setPaused(parts, callerOf(context), request, change);
      return create(PauseWorkflowResponseSchema, { workflow, pausedExecutionCount: BigInt(count) });
    },

    async resumeWorkflow(request, context) {
      const change = { paused: false, starts: "queue", reason: request.reason, alsoRunning: request.alsoRunning } as const;
      const { workflow, count } = await setPaused(parts, callerOf(context), request, change);
      return create(ResumeWorkflowResponseSchema, { workflow, resumedExecutionCount: BigInt(request.alsoRunning ? count : 0) });
    },

    async getWorkflowGraph(request, context) {
      const caller = callerOf(context);
      const loaded = request.executionId === "" ? undefined : await loadExecution(parts, caller, request.executionId);
      const { workflowId, revision } = loaded?.state.info ?? { workflowId: "", revision: 0 };
      const workflow = request.workflow === "" ? undefined : await findWorkflow(parts, caller, request.workflow);
      if (loaded && workflow && workflow.id !== workflowId) throw executionNotFound(request.executionId);
      const number = request.revision || revision || (workflow ? workflow.activeRevision || workflow.latestRevision : 0);
      const drawn = loaded && number === revision ? loaded.revision : await parts.definitions.get(caller.tenantId, workflow?.id ?? workflowId, number);
      const graph = graphOf(drawn.definition, loaded?.state);
      const shown = request.format === GraphFormat.MERMAID ? { mermaid: mermaidOf(graph) } : graphMessage(graph);
      return create(GetWorkflowGraphResponseSchema, { revision: number, ...shown });
    },
  };
}

/** What a request changes, its definition checked. */
async function updateOf(parts: RpcParts, caller: Caller, request: UpdateWorkflowRequest) {
  const { changes, draftOnly, revisionNote, etag, validateOnly } = request;
  if (!changes) throw missingField("changes");
  const fields = fieldsToUpdate(WorkflowSchema, changes, request.updateMask, maskRules);
  const missing = (["name", "definition"] as const).filter((field) => fields.has(field) && !(field === "name" ? changes.name : changes.definition));
  if (missing.length > 0) {
    throw violationsError(missing.map((field) => ({ field: `changes.${field}`, reason: "VALIDATION_FAILED" as const, description: "cannot be empty" })));
  }
  const checked =
    fields.has("definition") && changes.definition
      ? checkDefinition(changes.definition, await parts.stepTypesOf(caller.tenantId), "changes.definition")
      : undefined;
  const bindings = fields.has("secret_bindings") ? changes.secretBindings : undefined;
  const latest = checked || bindings ? await latestRevision(parts, caller, request.workflow) : undefined;
  const self = { id: latest?.workflowId };
  const pinned = checked && (await pinChildren(parts.workflows, caller, checked.source, "changes.definition", self));
  const definition = pinned ?? latest?.definition;
  const secretBindings = bindings ?? (definition && latest ? bindingsOfSlots(definition, latest.secretBindings) : undefined);
  if (definition) await checkSecretBindings(parts.secrets, caller, definition, secretBindings ?? {}, "changes.secret_bindings");
  const update: WorkflowUpdate = {
    etag,
    validateOnly,
    ...(fields.has("name") ? { name: changes.name } : {}),
    ...(fields.has("display_name") ? { displayName: changes.displayName } : {}),
    ...(fields.has("description") ? { description: changes.description } : {}),
    ...(fields.has("labels") ? { labels: changes.labels } : {}),
    ...(fields.has("annotations") ? { annotations: changes.annotations } : {}),
    ...(definition ? { revision: { definition, secretBindings, changeNote: revisionNote, lineage: "as before", activate: !draftOnly } } : {}),
  };
  return { update, warnings: checked?.warnings ?? [] };
}

async function latestRevision(parts: RpcParts, caller: Caller, reference: string): Promise<RevisionRecord> {
  const workflow = await findWorkflow(parts, caller, reference);
  return await findRevision(parts, caller, workflow, workflow.latestRevision);
}

async function setPaused(
  parts: RpcParts,
  caller: Caller,
  request: { readonly workflow: string; readonly etag: string; readonly validateOnly: boolean },
  change: PauseChange,
): Promise<{ workflow: Workflow; count: number }> {
  const paused = await parts.workflows.setPaused(caller, request.workflow, change, request);
  const message = await changed(parts, caller, request, paused);
  if (!request.validateOnly) await afterCommit(caller, () => parts.sweeps.run(caller.tenantId, message.id, sweepBudgetMs));
  return { workflow: message, count: request.validateOnly ? 0 : (paused?.concernedExecutions ?? 0) };
}

/** A changed head as its message; the caches forget what they had of it. */
async function changed(
  parts: RpcParts,
  caller: Caller,
  request: { readonly workflow: string; readonly validateOnly: boolean },
  workflow: WorkflowRecord | undefined,
): Promise<Workflow> {
  if (!workflow) throw workflowNotFound(request.workflow);
  if (!request.validateOnly) await afterCommit(caller, () => parts.workflowsChanged(caller.tenantId));
  return workflowToMessage(workflow, "basic");
}

/** FULL view shows the active revision; `latest` is at hand. */
async function fullMessage(parts: RpcParts, caller: Caller, workflow: WorkflowRecord, latest: RevisionRecord): Promise<Workflow> {
  const shown = workflow.activeRevision || workflow.latestRevision;
  const revision = shown === latest.revision ? latest : await parts.workflows.getRevision(caller, workflow.id, shown);
  return workflowToMessage(workflow, "full", revision);
}

async function findWorkflow(parts: RpcParts, caller: Caller, reference: string): Promise<WorkflowRecord> {
  const workflow = await parts.workflows.getWorkflow(caller, reference);
  if (!workflow) throw workflowNotFound(reference);
  return workflow;
}

/** 0 stands for a workflow's active revision that does not exist. */
async function findRevision(parts: RpcParts, caller: Caller, workflow: WorkflowRecord, number: number): Promise<RevisionRecord> {
  const revision = number === 0 ? undefined : await parts.workflows.getRevision(caller, workflow.id, number);
  if (revision) return revision;
  const what = number === 0 ? "no active revision; name one" : `no revision ${number}`;
  throw new AppError("REVISION_NOT_FOUND", `workflow ${workflow.name} has ${what}`, { metadata: { workflow: workflow.name, revision: String(number) } });
}

const edgeKinds = { next: GraphEdgeKind.NEXT, enter: GraphEdgeKind.ENTER, catch: GraphEdgeKind.CATCH, compensate: GraphEdgeKind.COMPENSATE } as const;

function graphMessage({ nodes, edges }: WorkflowGraph) {
  return {
    nodes: nodes.map(({ kind, state, ...node }) => ({ ...node, kind: compensationKindWords.valueOf(kind), state: stepStateWords.valueOf(state) })),
    edges: edges.map((edge) => ({ ...edge, kind: edgeKinds[edge.kind] })),
  };
}
