/** A new workflow and its revision 1 in one statement: one round trip, one commit. */
import type { ClientBase } from "pg";
import type { revisionEntity } from "../new-revision.ts";
import { type RevisionRow, type WorkflowRow, workflowColumns } from "../workflow-row.ts";

const text = `with head as (
  insert into workflows (tenant_id, id, name, display_name, description, state, active_revision, latest_revision, labels, annotations, etag)
  values ($1, $2, $3, $4, $5, $6, $7, 1, $8, $9, $10) returning ${workflowColumns}
),
first as (
  insert into workflow_revisions (tenant_id, workflow_id, revision, definition, digest, change_note, template_id, template_version, parameters, overrides, secret_bindings, creator)
  values ($1, $2, 1, $11, $12, $13, $14, $15, $16, $17, $18, $19) returning create_time
)
select head.*, first.create_time as "revisionTime" from head, first`;

export interface NewWorkflowRow {
  readonly tenantId: string;
  readonly id: string;
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
  readonly state: string;
  readonly activeRevision: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly etag: string;
}

/** Throws what PostgreSQL throws: a taken name breaks workflows_name_key. */
export async function insertWorkflow(
  client: ClientBase,
  head: NewWorkflowRow,
  revision: ReturnType<typeof revisionEntity>,
): Promise<{ readonly workflow: WorkflowRow; readonly revision: RevisionRow }> {
  const json = (value: unknown): string | null => (value === null ? null : JSON.stringify(value));
  const { rows } = await client.query<WorkflowRow & { readonly revisionTime: Date }>({
    name: "insert_workflow",
    text,
    values: [
      head.tenantId,
      head.id,
      head.name,
      head.displayName,
      head.description,
      head.state,
      head.activeRevision,
      json(head.labels),
      json(head.annotations),
      head.etag,
      json(revision.definition),
      revision.digest,
      revision.changeNote,
      revision.templateId,
      revision.templateVersion,
      json(revision.parameters),
      json(revision.overrides),
      json(revision.secretBindings),
      revision.creator,
    ],
  });
  const row = rows[0] as WorkflowRow & { readonly revisionTime: Date };
  return { workflow: row, revision: { ...revision, createTime: row.revisionTime } };
}
