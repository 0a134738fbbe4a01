/** Whether a workflow has executions that have not ended; one index entry is enough for the answer. */
import type { Pool } from "pg";

const text = "select exists (select from workflow_executions where tenant_id = $1 and workflow_id = $2 and end_time is null) as found";

export async function hasOpenExecutions(pool: Pool, tenantId: string, workflowUuid: string): Promise<boolean> {
  const { rows } = await pool.query<{ found: boolean }>({ name: "has_open_executions", text, values: [tenantId, workflowUuid] });
  return rows[0]?.found === true;
}
