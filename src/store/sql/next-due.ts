/** For every tenant with parked executions: when the first of them is due. Reads one index entry per tenant. */
import type { Pool } from "pg";

export interface TenantDue {
  readonly tenantId: string;
  /** Milliseconds until it is due by the database's clock; zero or less means now. */
  readonly dueInMs: number;
}

const text = `
select t.id, (extract(epoch from n.wake_at - clock_timestamp()) * 1000)::float8 as due_in_ms
from tenants t cross join lateral (
  select wake_at from workflow_executions e where e.tenant_id = t.id and e.owner is null and e.wake_at is not null order by e.wake_at limit 1
) n order by n.wake_at`;

export async function nextDue(pool: Pool): Promise<readonly TenantDue[]> {
  const { rows } = await pool.query<{ id: string; due_in_ms: number }>({ name: "next_due", text });
  return rows.map((row) => ({ tenantId: row.id, dueInMs: Number(row.due_in_ms) }));
}
