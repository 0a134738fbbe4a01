/**
 * Lets go of an execution that this replica owns but stopped driving, because an append of it was refused: it becomes due
 * again after a pause, and whoever claims it starts from the ledger. Fenced, and only while this replica is the owner.
 */
import type { Pool } from "pg";
import type { Fence } from "../journal.ts";

const text = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
)
update workflow_executions e set owner = null, wake_at = clock_timestamp() + $5 * interval '1 millisecond'
from fence f where e.tenant_id = $3 and e.id = $4 and e.owner = f.id and e.end_time is null`;

export interface LostExecution {
  readonly tenantId: string;
  readonly executionUuid: string | undefined;
  readonly pauseMs: number;
}

export async function releaseLost(pool: Pool, fence: Fence, { tenantId, executionUuid, pauseMs }: LostExecution): Promise<void> {
  await pool.query({ name: "release_lost", text, values: [fence.replicaId, fence.epoch, tenantId, executionUuid, pauseMs] });
}
