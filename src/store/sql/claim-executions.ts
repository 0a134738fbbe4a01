/**
 * Takes due executions that nobody drives. Per tenant (equality on tenant_id), so that one tenant's backlog is never
 * read for another and a database distributed by tenant can run it; SKIP LOCKED, so that replicas do not wait for each other.
 * Without a name, as in next-due.ts. `now()` and not `clock_timestamp()`, which no index can be asked for: every sleeper of
 * the tenant would be read (1,731 blocks instead of 123 for 5 due among 5,000).
 */
import type { Pool } from "pg";
import { formatId } from "../../base/ids.ts";
import type { Fence } from "../journal.ts";

export interface ClaimedExecution {
  readonly tenantId: string;
  readonly executionId: string;
  /** Undefined for a standalone saga. */
  readonly workflowId: string | undefined;
  readonly revision: number;
}

export const claimText = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
),
due as (
  select tenant_id, id from workflow_executions
  where tenant_id = $3 and owner is null and wake_at <= now()
  order by wake_at limit $4 for update skip locked
)
update workflow_executions e set owner = f.id, wake_at = null
from fence f, due d where e.tenant_id = d.tenant_id and e.id = d.id
returning e.id, e.workflow_id, e.revision`;

export async function claimExecutions(pool: Pool, fence: Fence, tenantId: string, rowsMax: number): Promise<ClaimedExecution[]> {
  const { rows } = await pool.query<{ id: string; workflow_id: string | null; revision: number }>({
    text: claimText,
    values: [fence.replicaId, fence.epoch, tenantId, rowsMax],
  });
  return rows.map((row) => ({
    tenantId,
    executionId: formatId("execution", row.id),
    workflowId: row.workflow_id === null ? undefined : formatId("workflow", row.workflow_id),
    revision: row.revision,
  }));
}
