/** What a tenant's executions did since a moment, and what of it waits now. Everything is read by an index, at most so many rows. */
import type { ClientBase } from "pg";
import { bucketSql } from "../../domain/templates/usage-counts.ts";
import { spanMsSql } from "./step-name.ts";

/** Newest starts and ends that are left when `rowsMax` of each have been passed over: what is older is too much for one answer. */
const edgesText = `select
  (select e.create_time from workflow_executions e where e.tenant_id = $1 and e.id >= $2::uuid and e.create_time >= $3::timestamptz order by e.id desc offset $4 limit 1) as started,
  (select e.end_time from workflow_executions e where e.tenant_id = $1 and e.end_time >= $3::timestamptz order by e.end_time desc, e.id desc offset $4 limit 1) as ended`;

export interface ActivityEdges {
  readonly started: Date | null;
  readonly ended: Date | null;
}

export async function readActivityEdges(client: ClientBase, tenantId: string, fromId: string, from: string, rowsMax: number): Promise<ActivityEdges> {
  const { rows } = await client.query<ActivityEdges>({ name: "activity_edges", text: edgesText, values: [tenantId, fromId, from, rowsMax] });
  return rows[0] as ActivityEdges;
}

const tookMs = spanMsSql("coalesce(e.start_time, e.create_time)", "e.end_time");
const activityText = `select
  (select count(*) from workflow_executions e where e.tenant_id = $1 and e.id >= $2::uuid and e.create_time >= $3::timestamptz) as started,
  coalesce((select json_agg(g) from (
    select e.state, case when e.state = 'completed' then ${bucketSql(tookMs)} end as bucket,
      case when e.state <> 'completed' then e.failure ->> 'name' end as failure, count(*) as count
    from workflow_executions e where e.tenant_id = $1 and e.end_time >= $3::timestamptz group by 1, 2, 3
  ) g), '[]') as ended`;

export interface EndedRow {
  readonly state: string;
  readonly bucket: number | null;
  readonly failure: string | null;
  readonly count: number;
}

export interface ActivityRow {
  readonly started: number;
  readonly ended: readonly EndedRow[];
}

export async function readActivity(client: ClientBase, tenantId: string, fromId: string, from: string): Promise<ActivityRow> {
  const { rows } = await client.query<ActivityRow>({ name: "activity", text: activityText, values: [tenantId, fromId, from] });
  return rows[0] as ActivityRow;
}

const ageMs = (moment: string): string => `greatest(0, ${spanMsSql(moment, "clock_timestamp()")})`;
const backlogText = `select due.ready, due.age as "oldestMs", open.count as open, stuck.count as stuck, waiting.count as "tasksWaiting", waiting.age as "taskOldestMs"
from (
  select count(*) as ready, ${ageMs("min(d.wake_at)")} as age from (
    select e.wake_at from workflow_executions e
    where e.tenant_id = $1 and e.owner is null and e.wake_at is not null and e.wake_at <= clock_timestamp() order by e.wake_at limit $2
  ) d
) due
cross join (select count(*) as count from (select from workflow_executions e where e.tenant_id = $1 and e.end_time is null limit $2) o) open
cross join (select count(*) as count from (select from workflow_executions e where e.tenant_id = $1 and e.state = 'stuck' limit $2) s) stuck
cross join (
  select count(*) as count, ${ageMs("min(w.create_time)")} as age from (select t.create_time from tasks t where t.tenant_id = $1 and t.worker is null limit $2) w
) waiting`;

export interface TenantBacklog {
  readonly ready: number;
  /** Null: nothing is due. */
  readonly oldestMs: number | null;
  readonly open: number;
  readonly stuck: number;
  readonly tasksWaiting: number;
  readonly taskOldestMs: number | null;
}

/** Each is counted up to `countMax`. */
export async function readTenantBacklog(client: ClientBase, tenantId: string, countMax: number): Promise<TenantBacklog> {
  const { rows } = await client.query<TenantBacklog>({ name: "tenant_backlog", text: backlogText, values: [tenantId, countMax] });
  const { ready, oldestMs, tasksWaiting, taskOldestMs, ...rest } = rows[0] as TenantBacklog;
  return { ...rest, ready, oldestMs: ready === 0 ? null : oldestMs, tasksWaiting, taskOldestMs: tasksWaiting === 0 ? null : taskOldestMs };
}
