/** Hands waiting tasks of one queue to a worker: each to one only, in the order of the queue, nobody waiting for anybody. */
import type { Pool } from "pg";
import type { Json, JsonObject } from "../../base/json.ts";

export interface TakeRequest {
  readonly tenantId: string;
  readonly queue: string;
  /** Empty: any. */
  readonly taskTypes: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly worker: string;
  /** The stream that takes it; null for polls. */
  readonly session: string | null;
  readonly countMax: number;
}

export interface TakenRow {
  readonly id: string;
  readonly execution_id: string;
  readonly step_path: string;
  readonly operation: "action" | "compensate" | "confirm";
  readonly generation: number;
  readonly attempt: number;
  readonly queue: string;
  readonly task_type: string;
  readonly idempotency_key: string;
  readonly input: JsonObject;
  readonly action_output: Json | null;
  /** `action_output` as it stands is null for both "none" and a result that is null. */
  readonly has_output: boolean;
  readonly may_not_have_run: boolean;
  readonly correlation_id: string;
  readonly traceparent: string;
  readonly tracestate: string | null;
  readonly baggage: string | null;
  readonly close_ms: number;
  readonly heartbeat_ms: number | null;
  readonly create_time: Date;
  readonly take_time: Date;
  readonly deadline_time: Date;
}

// `materialized`: the rows are picked and locked once, whatever the plan of the update is. `any(array(…))`: they are found by their key; as a mere join, a
// plan that was made while the table was empty reads all tasks of the tenant for them, and stays.
const text = `
with picked as materialized (
  select id from tasks
  where tenant_id = $1 and queue = $2 and worker is null and (expire_time is null or expire_time > clock_timestamp())
    and (cardinality($3::text[]) = 0 or task_type = any($3)) and required_labels <@ $4::jsonb
  order by sort_time limit $7
  for update skip locked)
update tasks t set worker = $5, session = $6, take_time = now.at, deadline_time = now.at + t.close_ms * interval '1 millisecond',
  expire_time = now.at + least(t.close_ms, coalesce(t.heartbeat_ms, t.close_ms)) * interval '1 millisecond'
from picked, (select clock_timestamp() as at) now
where t.tenant_id = $1 and t.id = any(array(select id from picked)) and t.id = picked.id
returning t.id, t.execution_id, t.step_path, t.operation, t.generation, t.attempt, t.queue, t.task_type, t.idempotency_key, t.input, t.action_output,
  t.action_output is not null as has_output, t.may_not_have_run, t.correlation_id, t.traceparent, t.tracestate, t.baggage, t.close_ms, t.heartbeat_ms, t.create_time,
  t.take_time, t.deadline_time, t.sort_time`;

export async function takeTasks(pool: Pool, request: TakeRequest): Promise<TakenRow[]> {
  const { tenantId, queue, taskTypes, labels, worker, session, countMax } = request;
  const { rows } = await pool.query<TakenRow & { sort_time: Date }>({
    name: "take_tasks",
    text,
    values: [tenantId, queue, taskTypes, JSON.stringify(labels), worker, session, countMax],
  });
  return rows.sort((a, b) => a.sort_time.getTime() - b.sort_time.getTime());
}
