/** Who polls: written in one statement for all workers of a replica, every few seconds. */
import type { Pool } from "pg";
import { limits } from "../../base/limits.ts";

export interface SeenWorker {
  readonly tenantId: string;
  readonly worker: string;
  readonly queues: readonly string[];
  readonly taskTypes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

// A worker that was silent for a minute and comes back has begun anew. A tenant whose workers take new names all the time is remembered up to
// a bound: those it has are kept up, further ones are not written.
const seen = `
with full_tenants as materialized (
  select t.tenant_id from (select distinct unnest($1::text[])) as t (tenant_id)
  where (select count(*) from task_workers k where k.tenant_id = t.tenant_id) >= $6
)
insert into task_workers as w (tenant_id, worker, queues, task_types, labels)
select tenant_id, worker, array(select json_array_elements_text(queues::json)), array(select json_array_elements_text(types::json)), labels::jsonb
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) as s (tenant_id, worker, queues, types, labels)
where not exists (select from full_tenants f where f.tenant_id = s.tenant_id)
  or exists (select from task_workers k where k.tenant_id = s.tenant_id and k.worker = s.worker)
on conflict (tenant_id, worker) do update set queues = excluded.queues, task_types = excluded.task_types, labels = excluded.labels,
  seen_time = clock_timestamp(), start_time = case when w.seen_time < clock_timestamp() - interval '1 minute' then clock_timestamp() else w.start_time end`;

/** Workers of different tenants in one statement, each once. */
export async function noteWorkers(pool: Pool, workers: readonly SeenWorker[], perTenantMax: number = limits.workersPerTenantMax): Promise<void> {
  await pool.query({
    name: "note_workers",
    text: seen,
    values: [
      workers.map(({ tenantId }) => tenantId),
      workers.map(({ worker }) => worker),
      workers.map(({ queues }) => JSON.stringify(queues)),
      workers.map(({ taskTypes }) => JSON.stringify(taskTypes)),
      workers.map(({ labels }) => JSON.stringify(labels)),
      perTenantMax,
    ],
  });
}

const forget = "delete from task_workers where seen_time < clock_timestamp() - interval '1 day'";

export async function forgetWorkers(pool: Pool): Promise<void> {
  await pool.query({ name: "forget_workers", text: forget });
}

export interface WorkerRow {
  readonly worker: string;
  readonly queues: readonly string[];
  readonly taskTypes: readonly string[];
  readonly labels: Record<string, string>;
  readonly startTime: Date;
  readonly seenTime: Date;
  /** Polled within the last minute. */
  readonly alive: boolean;
  readonly taken: number;
}

const list = `
select w.worker, w.queues, w.task_types as "taskTypes", w.labels, w.start_time as "startTime", w.seen_time as "seenTime",
  w.seen_time > clock_timestamp() - $2 * interval '1 millisecond' as alive,
  (select count(*) from tasks t where t.tenant_id = w.tenant_id and t.worker = w.worker)::int as taken
from task_workers w
where w.tenant_id = $1 and w.worker > $3 and ($4 = '' or $4 = any(w.queues))
order by w.worker limit $5`;

export async function listWorkers(pool: Pool, tenantId: string, aliveMs: number, after: string, queue: string, rowsMax: number): Promise<WorkerRow[]> {
  return (await pool.query<WorkerRow>({ name: "list_workers", text: list, values: [tenantId, aliveMs, after, queue, rowsMax] })).rows;
}
