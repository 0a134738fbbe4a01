/** What happens to a task between its taking and its end: signs of life, and the wish to have it back. */
import type { Pool } from "pg";

export interface Beat {
  readonly taskUuid: string;
  /** It tells something worth an event. */
  readonly hasNews: boolean;
  /** From now on silence may last so long. */
  readonly heartbeatMs?: number | undefined;
}

export interface Held {
  readonly id: string;
  readonly cancel_requested: boolean;
  /** Its first sign of life, or nothing was written of its progress for a while: now is the time. */
  readonly tell: boolean;
  readonly expire_time: Date;
}

// A task that was given up is not taken up again: whoever sweeps it may be at it.
// Locked before it is read, so that of two signs of life at once one tells; in the order in which the journal removes tasks,
// so that neither waits for the other in a circle.
const extend = `
with held as materialized (
  select t.id, b.heartbeat_ms, t.progress_time is null or (b.news and t.progress_time < clock_timestamp() - $5 * interval '1 millisecond') as tell
  from tasks t, unnest($2::uuid[], $3::boolean[], $4::int[]) as b (id, news, heartbeat_ms)
  where t.tenant_id = $1 and t.id = any($2) and t.id = b.id and t.worker is not null and t.expire_time > clock_timestamp()
  order by t.id for update of t)
update tasks t set heartbeat_ms = coalesce(h.heartbeat_ms, t.heartbeat_ms),
  expire_time = least(t.deadline_time, clock_timestamp() + coalesce(h.heartbeat_ms, t.heartbeat_ms, t.close_ms) * interval '1 millisecond'),
  progress_time = case when h.tell then clock_timestamp() else t.progress_time end
from held h where t.tenant_id = $1 and t.id = any($2) and t.id = h.id
returning t.id, t.cancel_requested, h.tell, t.expire_time`;

/** Extends the tasks that are still held; progress is told at most every `tellEveryMs` for each. */
export async function extendTasks(pool: Pool, tenantId: string, beats: readonly Beat[], tellEveryMs: number): Promise<Held[]> {
  const { rows } = await pool.query<Held>({
    name: "extend_tasks",
    text: extend,
    values: [
      tenantId,
      beats.map(({ taskUuid }) => taskUuid),
      beats.map(({ hasNews }) => hasNews),
      beats.map(({ heartbeatMs }) => heartbeatMs ?? null),
      tellEveryMs,
    ],
  });
  return rows;
}

// Not "worker is null": that would let a planner without statistics take the index of waiting tasks and read all of the tenant's for one.
const takeBack = "delete from tasks where tenant_id = $1 and id = $2 and coalesce(worker, '') = ''";
const askBack = "update tasks set cancel_requested = true where tenant_id = $1 and id = $2 and worker is not null returning id";

/**
 * True when nobody has it any more: it was taken back now, or by somebody who did not live to write that down (a row ends
 * with its attempt or by this statement only). False: a worker has it, and will be told.
 */
export async function recallTask(pool: Pool, tenantId: string, taskUuid: string): Promise<boolean> {
  const { rowCount } = await pool.query({ name: "recall_task", text: takeBack, values: [tenantId, taskUuid] });
  if (rowCount === 1) return true;
  // Taken at this moment: only the second statement sees it.
  const { rowCount: held } = await pool.query({ name: "ask_task_back", text: askBack, values: [tenantId, taskUuid] });
  return held === 0;
}

export async function discardTask(pool: Pool, tenantId: string, taskUuid: string): Promise<void> {
  await pool.query({ name: "discard_task", text: "delete from tasks where tenant_id = $1 and id = $2", values: [tenantId, taskUuid] });
}

export interface ExpiredRow {
  readonly tenant_id: string;
  readonly execution_id: string;
  readonly step_path: string;
  readonly operation: "action" | "compensate" | "confirm";
  readonly generation: number;
  readonly attempt: number;
  readonly close_ms: number;
  readonly taken: boolean;
  readonly deadline_time: Date | null;
  readonly silent: boolean;
}

// Read only, over all tenants: who ends the attempt is the execution's own ledger, however many replicas look.
const expired = `
select tenant_id, execution_id, step_path, operation, generation, attempt, close_ms, worker is not null as taken, deadline_time,
  expire_time < deadline_time as silent
from tasks where expire_time <= clock_timestamp() and id <> all($2::uuid[]) order by expire_time limit $1`;

export async function expiredTasks(pool: Pool, rowsMax: number, exceptUuids: readonly string[] = []): Promise<ExpiredRow[]> {
  return (await pool.query<ExpiredRow>({ name: "expired_tasks", text: expired, values: [rowsMax, exceptUuids] })).rows;
}
