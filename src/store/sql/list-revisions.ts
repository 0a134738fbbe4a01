/** What is told of a workflow's revisions without their definitions, newest first. */
import type { ClientBase } from "pg";

const text = `select workflow_id as "workflowId", revision, digest, change_note as "changeNote", template_id as "templateId",
  template_version as "templateVersion", creator, create_time as "createTime"
from workflow_revisions where tenant_id = $1 and workflow_id = $2 and revision < $3 order by revision desc limit $4`;

export interface RevisionSummaryRow {
  readonly workflowId: string;
  readonly revision: number;
  readonly digest: string;
  readonly changeNote: string;
  readonly templateId: string | null;
  readonly templateVersion: number | null;
  readonly creator: string;
  readonly createTime: Date;
}

export async function listRevisions(
  client: ClientBase,
  tenantId: string,
  workflowUuid: string,
  beforeRevision: number,
  limit: number,
): Promise<RevisionSummaryRow[]> {
  const { rows } = await client.query<RevisionSummaryRow>({ name: "list_revisions", text, values: [tenantId, workflowUuid, beforeRevision, limit] });
  return rows;
}
