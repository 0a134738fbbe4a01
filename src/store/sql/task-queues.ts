/** Reads of task queues: what waits, who polls, where one execution's tasks are. */
import type { Pool } from "pg";
import type { TaskFact } from "../../domain/explain-tasks.ts";

// `limit`: queue by queue, by its index; `exists` becomes a join, for which a planner without statistics reads whatever waits anywhere.
const waiting = `
select w.tenant_id as "tenantId", w.queue from unnest($1::text[], $2::text[]) as w (tenant_id, queue)
where (select true from tasks t where t.tenant_id = w.tenant_id and t.queue = w.queue and t.worker is null limit 1)`;

/** Those of the queues that have something waiting. */
export async function waitingQueues(
  pool: Pool,
  queues: readonly { readonly tenantId: string; readonly queue: string }[],
): Promise<{ tenantId: string; queue: string }[]> {
  const values = [queues.map(({ tenantId }) => tenantId), queues.map(({ queue }) => queue)];
  return (await pool.query<{ tenantId: string; queue: string }>({ name: "waiting_queues", text: waiting, values })).rows;
}

export interface QueueRow {
  readonly queue: string;
  readonly waiting: number;
  readonly taken: number;
  /** Of the one that waits longest. */
  readonly oldestAgeMs: number | null;
  readonly workers: number;
}

// Workers are counted by whoever polled in the last minute. Queues that nobody uses and nothing waits in do not exist.
const queues = `
with counts as (
  select queue, count(*) filter (where worker is null)::int as waiting, count(*) filter (where worker is not null)::int as taken,
    min(create_time) filter (where worker is null) as oldest_time
  from tasks where tenant_id = $1 group by queue),
polled as (
  select queue, count(*)::int as workers from task_workers, unnest(queues) as queue
  where tenant_id = $1 and seen_time > clock_timestamp() - $2 * interval '1 millisecond' group by queue)
select coalesce(c.queue, p.queue) as queue, coalesce(c.waiting, 0) as waiting, coalesce(c.taken, 0) as taken,
  (extract(epoch from clock_timestamp() - c.oldest_time) * 1000)::float8 as "oldestAgeMs", coalesce(p.workers, 0) as workers
from counts c full join polled p on p.queue = c.queue
where coalesce(c.queue, p.queue) > $3 order by 1 limit $4`;

export async function listQueues(pool: Pool, tenantId: string, aliveMs: number, after: string, rowsMax: number): Promise<QueueRow[]> {
  return (await pool.query<QueueRow>({ name: "list_task_queues", text: queues, values: [tenantId, aliveMs, after, rowsMax] })).rows;
}

// `backlog` counts as far as anybody wants to know.
const ofExecution = `
select t.step_path as path, t.operation, t.attempt, t.queue, t.task_type as "taskType", t.id, t.worker, t.expire_time as "expireTime",
  t.create_time as "createTime", t.required_labels as "requiredLabels",
  case when t.worker is null then (select count(*) from (select from tasks b where b.tenant_id = t.tenant_id and b.queue = t.queue and b.worker is null
    and b.sort_time < t.sort_time limit 1000) before)::int else 0 end as backlog,
  (select count(*) from task_workers w where w.tenant_id = t.tenant_id and t.queue = any(w.queues)
    and w.seen_time > clock_timestamp() - $3 * interval '1 millisecond'
    and (cardinality(w.task_types) = 0 or t.task_type = any(w.task_types)) and t.required_labels <@ w.labels)::int as workers
from tasks t where t.tenant_id = $1 and t.execution_id = $2 order by t.sort_time limit 100`;

export interface ExecutionTaskRow extends Omit<TaskFact, "worker" | "expiresAt" | "createdAt"> {
  readonly worker: string | null;
  readonly expireTime: Date | null;
  readonly createTime: Date;
}

const takenPaths = "select step_path as path from tasks where tenant_id = $1 and execution_id = $2 and operation = 'action' and worker is not null";

/** Paths of the steps whose action somebody has taken. */
export async function takenPathsOf(pool: Pool, tenantId: string, executionUuid: string): Promise<string[]> {
  const { rows } = await pool.query<{ path: string }>({ name: "taken_paths", text: takenPaths, values: [tenantId, executionUuid] });
  return rows.map(({ path }) => path);
}

export async function tasksOfExecution(pool: Pool, tenantId: string, executionUuid: string, aliveMs: number): Promise<ExecutionTaskRow[]> {
  return (await pool.query<ExecutionTaskRow>({ name: "tasks_of_execution", text: ofExecution, values: [tenantId, executionUuid, aliveMs] })).rows;
}

const known = "select id from tasks where tenant_id = $1 and id = any($2::uuid[])";

export async function knownTasks(pool: Pool, tenantId: string, taskUuids: readonly string[]): Promise<string[]> {
  return (await pool.query<{ id: string }>({ name: "known_tasks", text: known, values: [tenantId, taskUuids] })).rows.map(({ id }) => id);
}

const canceled = "select id from tasks where tenant_id = $1 and id = any($2::uuid[]) and cancel_requested";

export async function canceledTasks(pool: Pool, tenantId: string, taskUuids: readonly string[]): Promise<string[]> {
  return (await pool.query<{ id: string }>({ name: "canceled_tasks", text: canceled, values: [tenantId, taskUuids] })).rows.map(({ id }) => id);
}

const giveBack = `
update tasks set worker = null, session = null, take_time = null, deadline_time = null, expire_time = start_before
where tenant_id = $1 and id = any($2::uuid[]) and worker = $3`;

/** Tasks that were taken and never handed over: their worker is gone, and surely has not seen them. */
export async function giveTasksBack(pool: Pool, tenantId: string, taskUuids: readonly string[], worker: string): Promise<void> {
  await pool.query({ name: "give_tasks_back", text: giveBack, values: [tenantId, taskUuids, worker] });
}

const totals = `
select count(*) filter (where worker is null)::int as waiting, count(*) filter (where worker is not null)::int as taken,
  coalesce(extract(epoch from clock_timestamp() - min(create_time) filter (where worker is null)), 0)::float8 as "oldestSeconds"
from tasks`;

export interface TaskTotals {
  readonly waiting: number;
  readonly taken: number;
  readonly oldestSeconds: number;
}

/** Over all tenants, for metrics. */
export async function taskTotals(pool: Pool): Promise<TaskTotals> {
  const { rows } = await pool.query<TaskTotals>({ name: "task_totals", text: totals });
  return rows[0] ?? { waiting: 0, taken: 0, oldestSeconds: 0 };
}
