/**
 * Workflows and their revisions, as they leave the store.
 *
 * SQL names its columns as the entities do, so a row that was selected and an entity that was just written go through the
 * same function: ids leave in text form with their prefix, moments as milliseconds, absent values as undefined.
 */
import { formatId } from "../base/ids.ts";
import type { Json, JsonObject } from "../base/json.ts";
import type { Workflow, WorkflowStatus } from "./entities/workflow.ts";
import type { WorkflowRevision } from "./entities/workflow-revision.ts";

export type Labels = Readonly<Record<string, string>>;

/** New starts of a paused workflow wait until it is resumed, or are refused. */
export type PausedStarts = "queue" | "reject";

export interface WorkflowRecord {
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly state: WorkflowStatus;
  /** 0 while no revision was activated. */
  readonly activeRevision: number;
  readonly latestRevision: number;
  /** Active before the present one; 0: none. */
  readonly previousRevision: number;
  /** What it does with new starts while it is paused. */
  readonly pausedStarts: PausedStarts;
  readonly labels: Labels;
  readonly annotations: Labels;
  readonly etag: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly deletedAt: number | undefined;
}

/** Where a definition came from, when it was rendered from a template. */
export interface Lineage {
  readonly templateId: string;
  readonly templateVersion: number;
  readonly parameters: JsonObject;
  readonly overrides: Json;
}

export interface RevisionRecord {
  readonly workflowId: string;
  readonly revision: number;
  /** As its author wrote it, members in their order. */
  readonly definition: JsonObject;
  /** SHA-256 (hex) of the definition's canonical JSON. */
  readonly digest: string;
  readonly changeNote: string;
  readonly lineage: Lineage | undefined;
  readonly secretBindings: Labels;
  /** Key that made it; empty where that is not known. */
  readonly creator: string;
  readonly createdAt: number;
}

export interface WorkflowWithRevision {
  readonly workflow: WorkflowRecord;
  readonly revision: RevisionRecord;
}

export type WorkflowRow = Pick<
  Workflow,
  | "id"
  | "name"
  | "displayName"
  | "description"
  | "state"
  | "activeRevision"
  | "latestRevision"
  | "previousRevision"
  | "pausedStarts"
  | "labels"
  | "annotations"
  | "etag"
  | "createTime"
  | "updateTime"
  | "deleteTime"
>;
export const workflowColumns = `id, name, display_name as "displayName", description, state, active_revision as "activeRevision",
  latest_revision as "latestRevision", previous_revision as "previousRevision", paused_starts as "pausedStarts", labels, annotations, etag, create_time as "createTime", update_time as "updateTime", delete_time as "deleteTime"`;

export function toWorkflow(row: WorkflowRow): WorkflowRecord {
  return {
    id: formatId("workflow", row.id),
    name: row.name,
    displayName: row.displayName,
    description: row.description,
    state: row.state,
    activeRevision: row.activeRevision,
    latestRevision: row.latestRevision,
    previousRevision: row.previousRevision,
    pausedStarts: row.pausedStarts === "reject" ? "reject" : "queue",
    labels: row.labels,
    annotations: row.annotations,
    etag: row.etag,
    createdAt: row.createTime.getTime(),
    updatedAt: row.updateTime.getTime(),
    deletedAt: row.deleteTime?.getTime(),
  };
}

export type RevisionRow = Omit<Pick<WorkflowRevision, keyof WorkflowRevision>, "tenantId">;
export const revisionColumns = `workflow_id as "workflowId", revision, definition, digest, change_note as "changeNote", template_id as "templateId",
  template_version as "templateVersion", parameters, overrides, secret_bindings as "secretBindings", creator, create_time as "createTime"`;

export function toRevision(row: RevisionRow): RevisionRecord {
  return {
    workflowId: formatId("workflow", row.workflowId),
    revision: row.revision,
    definition: row.definition,
    digest: row.digest,
    changeNote: row.changeNote,
    lineage: lineageOf(row),
    secretBindings: row.secretBindings,
    creator: row.creator,
    createdAt: row.createTime.getTime(),
  };
}

function lineageOf(row: RevisionRow): Lineage | undefined {
  if (row.templateId == null || row.templateVersion == null) return undefined;
  return {
    templateId: formatId("template", row.templateId),
    templateVersion: row.templateVersion,
    parameters: row.parameters ?? {},
    overrides: row.overrides ?? [],
  };
}
