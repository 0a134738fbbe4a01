/**
 * Lets go of executions that this replica owns and does not drive: one whose append was refused, which becomes due again after
 * a pause, or all that a lost answer left behind (a claim that was committed and never heard of). Whoever claims them starts
 * from the ledger. Fenced, and only while this replica is the owner. An ended one only loses its owner.
 */
import type { Pool } from "pg";
import type { Fence } from "../journal.ts";

const text = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
)
update workflow_executions e
set owner = null, wake_at = case when e.end_time is null then clock_timestamp() + $5 * interval '1 millisecond' end
from fence f where e.tenant_id = $3 and e.id = $4 and e.owner = f.id`;

export interface LostExecution {
  readonly tenantId: string;
  readonly executionUuid: string | undefined;
  readonly pauseMs: number;
}

export async function releaseLost(pool: Pool, fence: Fence, { tenantId, executionUuid, pauseMs }: LostExecution): Promise<void> {
  await pool.query({ name: "release_lost", text, values: [fence.replicaId, fence.epoch, tenantId, executionUuid, pauseMs] });
}

// Ids are unique beyond tenants; the owner's index finds the rows.
const orphans = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
)
update workflow_executions e set owner = null, wake_at = case when e.end_time is null then clock_timestamp() end
from fence f where e.owner = f.id and e.id <> all($3::uuid[])`;

/** All that this replica owns but those; answers how many that were. */
export async function releaseOrphans(pool: Pool, fence: Fence, drivenUuids: readonly string[]): Promise<number> {
  const { rowCount } = await pool.query({ name: "release_orphans", text: orphans, values: [fence.replicaId, fence.epoch, drivenUuids] });
  return rowCount ?? 0;
}
