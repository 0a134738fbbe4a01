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

/** A row that this replica owns, as it was when it was read. */
export interface OwnedRow {
  readonly executionUuid: string;
  /** Changes with every write of the row. */
  readonly version: string;
}

// Ids are unique beyond tenants; the owner's index finds the rows.
const owned = `select id as "executionUuid", xmin::text as version from workflow_executions where owner = $1 and id <> all($2::uuid[])`;

/** All that this replica owns but those. */
export async function findOwned(pool: Pool, replicaId: string, exceptUuids: readonly string[]): Promise<OwnedRow[]> {
  return (await pool.query<OwnedRow>({ name: "find_owned", text: owned, values: [replicaId, exceptUuids] })).rows;
}

// A row that was written since it was read is somebody's: it was let go of, and perhaps claimed again, meanwhile.
const orphans = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
)
update workflow_executions e set owner = null, wake_at = case when e.end_time is null then clock_timestamp() end
from fence f, unnest($3::uuid[], $4::text[]) as o (id, version) where e.owner = f.id and e.id = any($3::uuid[]) and e.id = o.id and e.xmin::text = o.version`;

/** Answers how many that were; those that were written since they were read are left alone. */
export async function releaseOrphans(pool: Pool, fence: Fence, rows: readonly OwnedRow[]): Promise<number> {
  const values = [fence.replicaId, fence.epoch, rows.map(({ executionUuid }) => executionUuid), rows.map(({ version }) => version)];
  const { rowCount } = await pool.query({ name: "release_orphans", text: orphans, values });
  return rowCount ?? 0;
}
