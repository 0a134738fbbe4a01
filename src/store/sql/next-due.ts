/**
 * For every tenant with parked executions: when the first of them is due.
 *
 * Jumps from tenant to tenant along the partial index of parked executions, one entry each, however many executions sleep and
 * however many tenants have none. The statement has no name: its plan must fit the table as it is now, not as it was
 * when a connection first asked.
 */
import type { Pool } from "pg";

export interface TenantDue {
  readonly tenantId: string;
  /** Milliseconds until it is due by the database's clock; zero or less means now. */
  readonly dueInMs: number;
  /** Share of claims beside other tenants; 1 is usual. */
  readonly weight: number;
}

export const nextDueText = `
with recursive parked as (
  (select tenant_id, wake_at from workflow_executions where owner is null and wake_at is not null order by tenant_id, wake_at limit 1)
  union all
  select n.tenant_id, n.wake_at from parked p cross join lateral (
    select e.tenant_id, e.wake_at from workflow_executions e
    where e.tenant_id > p.tenant_id and e.owner is null and e.wake_at is not null order by e.tenant_id, e.wake_at limit 1
  ) n
)
select p.tenant_id as id, (extract(epoch from p.wake_at - clock_timestamp()) * 1000)::float8 as due_in_ms,
  coalesce((select weight from tenants t where t.id = p.tenant_id), 1) as weight
from parked p`;

export async function nextDue(pool: Pool): Promise<readonly TenantDue[]> {
  const { rows } = await pool.query<{ id: string; due_in_ms: number; weight: number }>(nextDueText);
  return rows.map((row) => ({ tenantId: row.id, dueInMs: Number(row.due_in_ms), weight: row.weight }));
}
