/**
 * Workflows and their revisions. Heads change (under a row lock, guarded by an etag), revisions never do. A workflow of
 * another tenant reads exactly like one that does not exist: undefined.
 *
 * A workflow is referred to by id (`wfl_…`) or, unless it is deleted, by name.
 */
import type { Caller } from "../base/caller.ts";
import { formatId, type IdSource, parseId, systemIds } from "../base/ids.ts";
import { isJsonObject, type Json } from "../base/json.ts";
import type { Database } from "./database.ts";
import { guarded, isUniqueViolation } from "./database-error.ts";
import type { WorkflowStatus } from "./entities/workflow.ts";
import { type NameMatch, type Page, pageOf, readListing } from "./listing.ts";
import { assertStorableRevision, type NewRevision, nameTaken, revisionEntity, workflowEtag } from "./new-revision.ts";
import { findRevision } from "./sql/find-revision.ts";
import { findWorkflow, type WorkflowReference } from "./sql/find-workflow.ts";
import { insertWorkflow } from "./sql/insert-workflow.ts";
import { listRevisions, type RevisionSummaryRow } from "./sql/list-revisions.ts";
import { countWorkflows, type ListWorkflowsParameters, listWorkflows, type WorkflowConditions } from "./sql/list-workflows.ts";
import { countOpenExecutions, findPossibleParents } from "./sql/revision-impact.ts";
import { isStorable } from "./storable.ts";
import { inTransaction } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";
import { VersionCache } from "./version-cache.ts";
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
  readonly id?: string | undefined;
  readonly name?: NameMatch | undefined;
  readonly displayName?: NameMatch | undefined;
  readonly times?: WorkflowConditions["times"];
  /** `tpl_…` of the template that the latest revision was rendered from. */
  readonly templateId?: string | undefined;
  /** All of these. */
  readonly labels?: Labels | undefined;
}

export interface ListWorkflowsOptions {
  readonly pageSize: number;
  /** `nextAfterId` of the page before, in the same order. */
  readonly afterId?: string | undefined;
  /** Default: newest first. */
  readonly order?: ListWorkflowsParameters["order"] | undefined;
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
  readonly creator: string;
  readonly createdAt: number;
}

export interface WorkflowRepository extends WorkflowChanges {
  /** Head and revision 1 in one transaction. @throws AppError NAME_TAKEN */
  createWorkflow(caller: Caller, input: NewWorkflow): Promise<WorkflowWithRevision>;
  getWorkflow(caller: Caller, reference: string, options?: { readonly showDeleted?: boolean }): Promise<WorkflowRecord | undefined>;
  /** Newest first. @throws AppError DEADLINE_EXCEEDED after 5 s */
  listWorkflows(caller: Caller, options: ListWorkflowsOptions): Promise<Page<WorkflowRecord>>;
  /** `afterId` of a page that begins behind this workflow. */
  positionAfter(order: ListWorkflowsParameters["order"], workflow: WorkflowRecord): string;
  /** How many `listWorkflows` would list. @throws AppError DEADLINE_EXCEEDED after 5 s */
  countWorkflows(caller: Caller, options: Pick<ListWorkflowsOptions, "filter" | "showDeleted">): Promise<number>;
  /** `revision` 0 is the active one. */
  getRevision(caller: Caller, workflowId: string, revision: number | "active" | "latest"): Promise<RevisionRecord | undefined>;
  /** Newest first, those below `beforeRevision`; the page is full when more may follow. */
  listRevisions(
    caller: Caller,
    workflowId: string,
    options: { readonly pageSize: number; readonly beforeRevision?: number | undefined },
  ): Promise<RevisionSummary[]>;
  /** Open executions of a revision. @throws AppError DEADLINE_EXCEEDED after 5 s */
  countOpenExecutions(caller: Caller, workflowId: string, revision: number): Promise<number>;
  /** Ids of workflows whose active revision runs this one as a step, at most 1,000. @throws AppError DEADLINE_EXCEEDED after 5 s */
  findParents(caller: Caller, workflow: { readonly id: string; readonly name: string }): Promise<readonly string[]>;
}

const parentsMax = 1_000;
/** Above any revision number. */
const revisionMax = 2_147_483_647;

export function createWorkflowRepository(
  database: Pick<Database, "orm" | "pool">,
  ids: IdSource = systemIds,
  versions: VersionCache = new VersionCache(),
): WorkflowRepository {
  const { pool } = database;
  return {
    ...changeWorkflow(database, ids),

    async createWorkflow(caller, input) {
      assertStorableRevision(input);
      const uuid = parseId("workflow", ids.next("workflow")) as string;
      const active = input.activate ?? true;
      const head = {
        name: input.name,
        displayName: input.displayName ?? "",
        description: input.description ?? "",
        state: active ? ("active" as const) : ("draft" as const),
        activeRevision: active ? 1 : 0,
        latestRevision: 1,
        labels: { ...input.labels },
        annotations: { ...input.annotations },
        pausedStarts: "queue",
        pauseReason: "",
      };
      const row = { ...head, tenantId: caller.tenantId, id: uuid, etag: workflowEtag(head) };
      return guarded(async () => {
        try {
          const entity = revisionEntity(caller, uuid, 1, input);
          const { workflow, revision } = await inTransaction(pool, (client) => insertWorkflow(client, row, entity), { unit: unitOf(caller) });
          return { workflow: toWorkflow(workflow), revision: toRevision(revision) };
        } catch (error) {
          throw isUniqueViolation(error, "workflows_name_key") ? nameTaken(input.name) : error;
        }
      });
    },

    async getWorkflow(caller, reference, { showDeleted = false } = {}) {
      const target = parseReference(reference, showDeleted);
      const row = target && (await guarded(() => findWorkflow(pool, caller.tenantId, target)));
      return row && toWorkflow(row);
    },

    async listWorkflows(caller, { pageSize, afterId, order = newestFirst, filter = {}, showDeleted = false }) {
      const conditions = conditionsOf(filter, showDeleted);
      const after = afterId === undefined ? undefined : positionOf(afterId);
      if (!conditions || (afterId !== undefined && !after)) return { items: [], nextAfterId: undefined };
      const parameters = { ...conditions, order, after, limit: pageSize + 1 };
      const rows = await guarded(() => readListing(pool, (client) => listWorkflows(client, caller.tenantId, parameters)));
      const page = pageOf(rows, pageSize, toWorkflow);
      return page.nextAfterId === undefined ? page : { ...page, nextAfterId: positionText(order.field, page.items.at(-1) as WorkflowRecord) };
    },

    positionAfter: (order, workflow) => positionText(order.field, workflow),

    async countWorkflows(caller, { filter = {}, showDeleted = false }) {
      const conditions = conditionsOf(filter, showDeleted);
      return conditions ? await guarded(() => readListing(pool, (client) => countWorkflows(client, caller.tenantId, conditions))) : 0;
    },

    async getRevision(caller, workflowId, revision) {
      const uuid = parseId("workflow", workflowId);
      const which = revision === 0 ? "active" : revision;
      if (!uuid || (typeof which === "number" && !(which > 0 && which <= revisionMax))) return undefined;
      const read = async (): Promise<RevisionRecord | undefined> => {
        const row = await guarded(() => findRevision(pool, caller.tenantId, uuid, which));
        return row && toRevision(row);
      };
      return typeof which === "number" ? await versions.get({ kind: "revision", tenantId: caller.tenantId, id: uuid, version: which }, read) : await read();
    },

    async listRevisions(caller, workflowId, { pageSize, beforeRevision = revisionMax }) {
      const uuid = parseId("workflow", workflowId);
      if (!uuid) return [];
      const rows = await guarded(() => readListing(pool, (client) => listRevisions(client, caller.tenantId, uuid, beforeRevision, pageSize)));
      return rows.map(toSummary);
    },

    async countOpenExecutions(caller, workflowId, revision) {
      const uuid = parseId("workflow", workflowId);
      return uuid ? await guarded(() => readListing(pool, (client) => countOpenExecutions(client, caller.tenantId, uuid, revision))) : 0;
    },

    async findParents(caller, workflow) {
      const found = await guarded(() => readListing(pool, (client) => findPossibleParents(client, caller.tenantId, workflow, parentsMax)));
      return found.filter(({ definition }) => runsAsStep(definition, workflow)).map(({ workflowId }) => formatId("workflow", workflowId));
    },
  };
}

/** Whether any step of the definition is a sub_workflow of that workflow. */
function runsAsStep(value: Json, workflow: { readonly id: string; readonly name: string }): boolean {
  if (Array.isArray(value)) return value.some((item) => runsAsStep(item, workflow));
  if (!isJsonObject(value)) return false;
  const child = value["sub_workflow"];
  if (isJsonObject(child) && (child["workflow"] === workflow.id || child["workflow"] === workflow.name)) return true;
  return Object.values(value).some((member) => runsAsStep(member, workflow));
}

const newestFirst = { field: "create_time", descending: true } as const;

/** Undefined: nothing can match. */
function conditionsOf(filter: WorkflowFilter, deletedToo: boolean): WorkflowConditions | undefined {
  const { id, templateId, ...same } = filter;
  const uuid = id === undefined ? undefined : parseId("workflow", id);
  const templateUuid = templateId === undefined ? undefined : parseId("template", templateId);
  const unknown = (id !== undefined && !uuid) || (templateId !== undefined && !templateUuid);
  if (unknown || !isStorable([filter.name?.text ?? "", filter.displayName?.text ?? "", filter.labels ?? {}])) return undefined;
  return { ...same, uuid, templateUuid, deletedToo };
}

/** The place behind a workflow: its id, with the value of the order's field before it where that is not the time of creation. */
function positionText(field: ListWorkflowsParameters["order"]["field"], last: WorkflowRecord): string {
  return field === "create_time" ? last.id : JSON.stringify([field === "name" ? last.name : last.updatedAt, last.id]);
}

function positionOf(text: string): { readonly value: string | number; readonly uuid: string } | undefined {
  const [value, id] = text.startsWith("[") ? (JSON.parse(text) as [string | number, string]) : ["", text];
  const uuid = parseId("workflow", id);
  return uuid === undefined ? undefined : { value, uuid };
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
