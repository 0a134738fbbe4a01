/**
 * Workflows and their revisions. Heads change (under a row lock, guarded by an etag), revisions never do. A workflow of
 * another tenant reads exactly like one that does not exist: undefined.
 *
 * A workflow is referred to by id (`wfl_…`) or, unless it is deleted, by name.
 */
import type { Caller } from "../base/caller.ts";
import { formatId, type IdSource, parseId, systemIds } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import { Workflow, type WorkflowStatus } from "./entities/workflow.ts";
import { WorkflowRevision } from "./entities/workflow-revision.ts";
import { type NameMatch, type Page, pageOf, readListing } from "./listing.ts";
import { assertStorableRevision, type NewRevision, nameTaken, revisionEntity, workflowEtag } from "./new-revision.ts";
import { findRevision } from "./sql/find-revision.ts";
import { findWorkflow, type WorkflowReference } from "./sql/find-workflow.ts";
import { listRevisions, type RevisionSummaryRow } from "./sql/list-revisions.ts";
import { listWorkflows } from "./sql/list-workflows.ts";
import { isStorable } from "./storable.ts";
import { changeWorkflow, type WorkflowChanges } from "./workflow-changes.ts";
import { type Labels, type RevisionRecord, toRevision, toWorkflow, type WorkflowRecord, type WorkflowWithRevision } from "./workflow-row.ts";

export interface NewWorkflow extends NewRevision {
  readonly name: string;
  readonly displayName?: string | undefined;
  readonly description?: string | undefined;
  readonly labels?: Labels | undefined;
  readonly annotations?: Labels | undefined;
}

export interface WorkflowFilter {
  readonly states?: readonly WorkflowStatus[] | undefined;
  readonly name?: NameMatch | undefined;
  /** `tpl_…` of the template that the latest revision was rendered from. */
  readonly templateId?: string | undefined;
  /** All of these. */
  readonly labels?: Labels | undefined;
}

export interface ListWorkflowsOptions {
  readonly pageSize: number;
  readonly afterId?: string | undefined;
  readonly filter?: WorkflowFilter | undefined;
  readonly showDeleted?: boolean | undefined;
}

/** A revision without its definition. */
export interface RevisionSummary {
  readonly workflowId: string;
  readonly revision: number;
  readonly digest: string;
  readonly changeNote: string;
  readonly templateId: string | undefined;
  readonly templateVersion: number | undefined;
  readonly createdAt: number;
}

export interface WorkflowRepository extends WorkflowChanges {
  /** Head and revision 1 in one transaction. @throws AppError NAME_TAKEN */
  createWorkflow(caller: Caller, input: NewWorkflow): Promise<WorkflowWithRevision>;
  getWorkflow(caller: Caller, reference: string, options?: { readonly showDeleted?: boolean }): Promise<WorkflowRecord | undefined>;
  /** Newest first. @throws AppError DEADLINE_EXCEEDED after 5 s */
  listWorkflows(caller: Caller, options: ListWorkflowsOptions): Promise<Page<WorkflowRecord>>;
  /** `revision` 0 is the active one. */
  getRevision(caller: Caller, workflowId: string, revision: number | "active" | "latest"): Promise<RevisionRecord | undefined>;
  /** Newest first, those below `beforeRevision`; the page is full when more may follow. */
  listRevisions(
    caller: Caller,
    workflowId: string,
    options: { readonly pageSize: number; readonly beforeRevision?: number | undefined },
  ): Promise<RevisionSummary[]>;
}

/** Above any revision number. */
const revisionMax = 2_147_483_647;

export function createWorkflowRepository(database: Pick<Database, "orm" | "pool">, ids: IdSource = systemIds): WorkflowRepository {
  const { orm, pool } = database;
  return {
    ...changeWorkflow(database),

    async createWorkflow(caller, input) {
      assertStorableRevision(input);
      const uuid = parseId("workflow", ids.next("workflow")) as string;
      const active = input.activate ?? true;
      const em = orm.em.fork();
      const head = em.create(Workflow, {
        tenantId: caller.tenantId,
        id: uuid,
        name: input.name,
        displayName: input.displayName ?? "",
        description: input.description ?? "",
        state: active ? "active" : "draft",
        activeRevision: active ? 1 : 0,
        latestRevision: 1,
        labels: { ...input.labels },
        annotations: { ...input.annotations },
        etag: "",
      });
      head.etag = workflowEtag(head);
      const revision = em.create(WorkflowRevision, revisionEntity(caller.tenantId, uuid, 1, input));
      await guarded(async () => {
        try {
          await em.flush();
        } catch (error) {
          throw isUniqueViolation(error, "workflows_name_key") ? nameTaken(input.name) : error;
        }
      });
      return { workflow: toWorkflow(head), revision: toRevision(revision) };
    },

    async getWorkflow(caller, reference, { showDeleted = false } = {}) {
      const target = parseReference(reference, showDeleted);
      const row = target && (await guarded(() => findWorkflow(pool, caller.tenantId, target)));
      return row && toWorkflow(row);
    },

    async listWorkflows(caller, { pageSize, afterId, filter = {}, showDeleted = false }) {
      const { states, name, labels, templateId } = filter;
      const templateUuid = templateId === undefined ? undefined : parseId("template", templateId);
      const afterUuid = afterId === undefined ? undefined : parseId("workflow", afterId);
      const unknown = (templateId !== undefined && !templateUuid) || (afterId !== undefined && !afterUuid);
      if (unknown || !isStorable([name?.text ?? "", labels ?? {}])) return { items: [], nextAfterId: undefined };
      const parameters = { states, name, templateUuid, labels, deletedToo: showDeleted, afterUuid, limit: pageSize + 1 };
      const rows = await guarded(() => readListing(pool, (client) => listWorkflows(client, caller.tenantId, parameters)));
      return pageOf(rows, pageSize, toWorkflow);
    },

    async getRevision(caller, workflowId, revision) {
      const uuid = parseId("workflow", workflowId);
      const which = revision === 0 ? "active" : revision;
      if (!uuid || (typeof which === "number" && !(which > 0 && which <= revisionMax))) return undefined;
      const row = await guarded(() => findRevision(pool, caller.tenantId, uuid, which));
      return row && toRevision(row);
    },

    async listRevisions(caller, workflowId, { pageSize, beforeRevision = revisionMax }) {
      const uuid = parseId("workflow", workflowId);
      if (!uuid) return [];
      const rows = await guarded(() => readListing(pool, (client) => listRevisions(client, caller.tenantId, uuid, beforeRevision, pageSize)));
      return rows.map(toSummary);
    },
  };
}

function parseReference(reference: string, deletedToo: boolean): WorkflowReference | undefined {
  const uuid = parseId("workflow", reference);
  if (uuid) return { uuid, deletedToo };
  return isStorable(reference) ? { name: reference } : undefined;
}

function toSummary({ createTime, ...row }: RevisionSummaryRow): RevisionSummary {
  return {
    ...row,
    workflowId: formatId("workflow", row.workflowId),
    templateId: row.templateId === null ? undefined : formatId("template", row.templateId),
    templateVersion: row.templateVersion ?? undefined,
    createdAt: createTime.getTime(),
  };
}
