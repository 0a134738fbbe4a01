/** What waits for somebody: due executions that no replica drives, and sagas that are stuck. Reads partial indexes only. */
import type { Pool } from "pg";

export interface Backlog {
  /** Counted up to 10,000 for each tenant. */
  readonly ready: number;
  /** How long the oldest of them is due, in seconds; 0 when there is none. */
  readonly oldestAgeSeconds: number;
  readonly sagasStuck: number;
}

const text = `
select coalesce(sum(due.ready), 0)::int as ready,
  coalesce(extract(epoch from clock_timestamp() - min(due.oldest)), 0)::float8 as "oldestAgeSeconds",
  coalesce(sum(stuck.sagas), 0)::int as "sagasStuck"
from tenants t
cross join lateral (
  select count(*) as ready, min(d.wake_at) as oldest from (
    select e.wake_at from workflow_executions e
    where e.tenant_id = t.id and e.owner is null and e.wake_at is not null and e.wake_at <= clock_timestamp() order by e.wake_at limit 10000
  ) d
) due
cross join lateral (select count(*) as sagas from workflow_executions e where e.tenant_id = t.id and e.state = 'stuck') stuck`;

export async function readBacklog(pool: Pool): Promise<Backlog> {
  const { rows } = await pool.query<Backlog>({ name: "read_backlog", text });
  return rows[0] ?? { ready: 0, oldestAgeSeconds: 0, sagasStuck: 0 };
}
