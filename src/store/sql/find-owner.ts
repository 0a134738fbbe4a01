/** Which replica drives an execution, and how long its lease still holds. */
import type { Pool } from "pg";

export interface ExecutionOwner {
  readonly replicaId: string;
  readonly address: string;
  /** Milliseconds since the epoch, by the database's clock. */
  readonly leaseEndsAt: number;
}

const text = `
select r.id, r.address, extract(epoch from r.expire_time) * 1000 as lease_ends_at
from workflow_executions e join replicas r on r.id = e.owner where e.tenant_id = $1 and e.id = $2`;

export async function findOwner(pool: Pool, tenantId: string, executionUuid: string): Promise<ExecutionOwner | undefined> {
  const { rows } = await pool.query<{ id: string; address: string; lease_ends_at: string }>({ name: "find_owner", text, values: [tenantId, executionUuid] });
  const row = rows[0];
  return row && { replicaId: row.id, address: row.address, leaseEndsAt: Math.floor(Number(row.lease_ends_at)) };
}
