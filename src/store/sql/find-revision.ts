/** One revision of a workflow: a given one, the active one or the latest. */
import type { Pool } from "pg";
import { type RevisionRow, revisionColumns } from "../workflow-row.ts";

const select = `select ${revisionColumns} from workflow_revisions where tenant_id = $1 and workflow_id = $2 and revision =`;
const statements = {
  given: `${select} $3`,
  active: `${select} (select active_revision from workflows where tenant_id = $1 and id = $2)`,
  latest: `${select} (select latest_revision from workflows where tenant_id = $1 and id = $2)`,
};

export async function findRevision(pool: Pool, tenantId: string, workflowUuid: string, which: number | "active" | "latest"): Promise<RevisionRow | undefined> {
  const kind = typeof which === "number" ? "given" : which;
  const values = typeof which === "number" ? [tenantId, workflowUuid, which] : [tenantId, workflowUuid];
  return (await pool.query<RevisionRow>({ name: `find_revision_${kind}`, text: statements[kind], values })).rows[0];
}
