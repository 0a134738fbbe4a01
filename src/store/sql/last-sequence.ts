/** Number of an execution's last event; what a watcher compares its own position with. */
import type { Pool } from "pg";

const text = "select last_sequence from workflow_executions where tenant_id = $1 and id = $2";

export async function lastSequence(pool: Pool, tenantId: string, executionUuid: string): Promise<number | undefined> {
  const { rows } = await pool.query<{ last_sequence: number }>({ name: "last_sequence", text, values: [tenantId, executionUuid] });
  return rows[0]?.last_sequence;
}
