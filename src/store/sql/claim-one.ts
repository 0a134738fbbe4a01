/** Takes one parked execution before it is due, because a command for it arrived here (cancel, signal …), or an ended one for a retry. */
import type { Pool } from "pg";
import type { Fence } from "../journal.ts";

const text = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
)
update workflow_executions e set owner = f.id, wake_at = null
from fence f where e.tenant_id = $3 and e.id = $4 and e.owner is null and (e.end_time is null or $5)
returning e.workflow_id, e.revision`;

/** Undefined when it is driven somewhere or unknown, or ended without `ended`. */
export async function claimOne(
  pool: Pool,
  fence: Fence,
  tenantId: string,
  executionUuid: string,
  ended: boolean,
): Promise<{ workflowUuid: string | undefined; revision: number } | undefined> {
  const { rows } = await pool.query<{ workflow_id: string | null; revision: number }>({
    name: "claim_one",
    text,
    values: [fence.replicaId, fence.epoch, tenantId, executionUuid, ended],
  });
  const row = rows[0];
  return row && { workflowUuid: row.workflow_id ?? undefined, revision: row.revision };
}
