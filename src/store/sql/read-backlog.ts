/** What waits for somebody: due executions that no replica drives, sagas that are open, and those that are stuck. Reads partial indexes only. */
import type { Pool } from "pg";

export interface Backlog {
  /** Counted up to 10,000 for each tenant. */
  readonly ready: number;
  /** How long the oldest of them is due, in seconds; 0 when there is none. */
  readonly oldestAgeSeconds: number;
  readonly sagasStuck: number;
  /** Open sagas by state; the oldest 10,000 of each tenant. States without any are left out. */
  readonly sagasOpen: Readonly<Record<string, number>>;
  /** Seconds since the oldest of them was created; 0 when there is none. */
  readonly oldestSagaSeconds: number;
}

const text = `
select coalesce(sum(due.ready), 0)::int as ready,
  coalesce(extract(epoch from clock_timestamp() - min(due.oldest)), 0)::float8 as "oldestAgeSeconds",
  coalesce(sum(stuck.sagas), 0)::int as "sagasStuck",
  coalesce((
    select json_object_agg(state, sagas) from (
      select i.state, count(*) as sagas from tenants t
      cross join lateral (select e.id from workflow_executions e where e.tenant_id = t.id and e.end_time is null order by e.id limit 10000) open
      join workflow_instances i on i.tenant_id = t.id and i.id = open.id
      group by i.state
    ) by_state
  ), '{}') as "sagasOpen",
  greatest(coalesce(extract(epoch from clock_timestamp() - min(first.create_time)), 0), 0)::float8 as "oldestSagaSeconds"
from tenants t
cross join lateral (
  select count(*) as ready, min(d.wake_at) as oldest from (
    select e.wake_at from workflow_executions e
    where e.tenant_id = t.id and e.owner is null and e.wake_at is not null and e.wake_at <= clock_timestamp() order by e.wake_at limit 10000
  ) d
) due
cross join lateral (select count(*) as sagas from workflow_executions e where e.tenant_id = t.id and e.state = 'stuck') stuck
left join lateral (
  -- Ids begin with their time.
  select e.create_time from workflow_executions e where e.tenant_id = t.id and e.end_time is null order by e.id limit 1
) first on true`;

export const noBacklog: Backlog = { ready: 0, oldestAgeSeconds: 0, sagasStuck: 0, sagasOpen: {}, oldestSagaSeconds: 0 };

export async function readBacklog(pool: Pool): Promise<Backlog> {
  const { rows } = await pool.query<Backlog>({ name: "read_backlog", text });
  return rows[0] ?? noBacklog;
}
