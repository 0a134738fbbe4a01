/**
 * The hot statement: one batch of many executions' events and projections in one prepared statement.
 *
 * Fenced once per flush: the replica's own lease row is read FOR KEY SHARE; a takeover takes the same row FOR UPDATE and
 * raises its epoch, so a stale replica's whole flush writes nothing. (KEY SHARE rather than SHARE: a renewal of the lease
 * does not touch the key and need not wait for a flush, nor a flush for a renewal.)
 *
 * A row of an execution that this replica does not own any more is left alone (`coalesce` keeps the planner from looking
 * for it by owner). The batch is never joined to itself; the one membership test (`started`) is a hashed subplan. Array parameters keep
 * the statement's text, and so its prepared plan, the same for every batch size.
 */
import type { ClientBase } from "pg";

/** Steps as columns; the same for new rows and changed ones. */
export interface StepColumns {
  readonly tenant: string[];
  readonly execution: string[];
  readonly path: string[];
  readonly state: string[];
  readonly attempt: number[];
  readonly action: string[];
  readonly compensation: string[];
  readonly result: number[];
  readonly startTime: (string | null)[];
  readonly endTime: (string | null)[];
}

export interface BatchColumns {
  readonly events: {
    readonly tenant: string[];
    readonly execution: string[];
    readonly sequence: number[];
    readonly type: string[];
    readonly path: string[];
    readonly attempt: number[];
    readonly at: string[];
    readonly payload: string[];
    /** The event belongs to a start that may turn out to exist already. */
    readonly first: boolean[];
  };
  readonly starts: {
    readonly tenant: string[];
    readonly id: string[];
    readonly workflow: (string | null)[];
    readonly workflowName: string[];
    readonly revision: number[];
    readonly input: string[];
    readonly executionKey: (string | null)[];
    readonly requestId: (string | null)[];
    readonly requestHash: (string | null)[];
    readonly correlation: string[];
    readonly labels: string[];
    readonly priority: number[];
    readonly traceparent: (string | null)[];
    readonly createTime: string[];
    /** Everything a change carries too, as one JSON text. */
    readonly row: string[];
    readonly released: boolean[];
  };
  readonly changes: { readonly tenant: string[]; readonly id: string[]; readonly row: string[]; readonly released: boolean[] };
  readonly steps: StepColumns & {
    /** The step belongs to a start that may turn out to exist already. */
    readonly first: boolean[];
  };
  readonly stepChanges: StepColumns;
}

export interface BatchAnswer {
  readonly fenced: boolean;
  /** Ids of the starts that were new. */
  readonly started: readonly string[];
}

const text = `
with fence as materialized (
  select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share
),
started as (
  insert into workflow_executions as e (
    tenant_id, id, workflow_id, workflow_name, revision, input, execution_key, request_id, request_hash, correlation_id, labels,
    priority, traceparent, create_time, state, end_reason, output, failure, failed_step, standing_effects, variables, paused,
    last_sequence, start_time, end_time, owner, wake_at)
  select s.tenant_id, s.id, s.workflow_id, s.workflow_name, s.revision, s.input::json, s.execution_key, s.request_id,
    decode(s.request_hash, 'hex'), s.correlation_id, s.labels::jsonb, s.priority, s.traceparent, s.create_time,
    r.state, r.end_reason, r.output, r.failure, r.failed_step, coalesce(r.standing_effects, '{}'), r.variables, r.paused, r.last_sequence, r.start_time, r.end_time,
    case when s.released then null else f.id end, r.wake_at
  from fence f, unnest($3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::int[], $8::text[], $9::text[], $10::text[], $11::text[],
      $12::text[], $13::text[], $14::int[], $15::text[], $16::timestamptz[], $17::text[], $18::boolean[])
    as s (tenant_id, id, workflow_id, workflow_name, revision, input, execution_key, request_id, request_hash, correlation_id, labels,
      priority, traceparent, create_time, projection, released),
    json_to_record(s.projection::json) as r (state text, end_reason text, output json, failure json, failed_step text, standing_effects text[],
      variables json, paused boolean, last_sequence int, start_time timestamptz, end_time timestamptz, wake_at timestamptz)
  on conflict do nothing
  returning id
),
started_sagas as (
  insert into workflow_instances (tenant_id, id, state, end_reason, paused, expire_time, create_time, update_time, end_time)
  select s.tenant_id, s.id, r.saga, r.end_reason, r.paused, r.expire_time, s.create_time, coalesce(r.end_time, s.create_time), r.end_time
  from unnest($3::text[], $4::uuid[], $16::timestamptz[], $17::text[]) as s (tenant_id, id, create_time, projection),
    json_to_record(s.projection::json) as r (saga text, end_reason text, paused boolean, expire_time timestamptz, end_time timestamptz)
  where s.id in (select id from started)
),
changed as (
  update workflow_executions e set
    state = r.state, end_reason = r.end_reason, output = r.output, failure = r.failure, failed_step = r.failed_step,
    standing_effects = coalesce(r.standing_effects, '{}'), variables = r.variables, paused = r.paused, last_sequence = r.last_sequence,
    start_time = r.start_time, end_time = r.end_time, owner = case when c.released then null else f.id end, wake_at = r.wake_at
  from fence f, unnest($19::text[], $20::uuid[], $21::text[], $22::boolean[]) as c (tenant_id, id, projection, released),
    json_to_record(c.projection::json) as r (state text, end_reason text, output json, failure json, failed_step text, standing_effects text[],
      variables json, paused boolean, last_sequence int, start_time timestamptz, end_time timestamptz, wake_at timestamptz)
  where e.tenant_id = c.tenant_id and e.id = c.id and coalesce(e.owner = f.id, false)
),
changed_sagas as (
  update workflow_instances i set state = r.saga, end_reason = r.end_reason, paused = r.paused, update_time = coalesce(r.end_time, now()), end_time = r.end_time
  from fence f, unnest($19::text[], $20::uuid[], $21::text[]) as c (tenant_id, id, projection),
    json_to_record(c.projection::json) as r (saga text, end_reason text, paused boolean, end_time timestamptz)
  where i.tenant_id = c.tenant_id and i.id = c.id and (i.state, i.paused, i.end_reason) is distinct from (r.saga, r.paused, r.end_reason)
),
ledger as (
  insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
  select v.tenant_id, v.execution_id, v.sequence, v.type, v.step_path, v.attempt, v.at, v.payload::json
  from fence f, unnest($23::text[], $24::uuid[], $25::int[], $26::text[], $27::text[], $28::int[], $29::timestamptz[], $30::text[], $31::boolean[])
    as v (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload, first)
  where not v.first or v.execution_id in (select id from started)
),
step_rows as (
  insert into workflow_execution_steps (tenant_id, execution_id, path, state, attempt, action_state, compensation_state, result_sequence, start_time, end_time)
  select p.tenant_id, p.execution_id, p.path, p.state, p.attempt, p.action_state, p.compensation_state, p.result_sequence, p.start_time, p.end_time
  from fence f, unnest($32::text[], $33::uuid[], $34::text[], $35::text[], $36::int[], $37::text[], $38::text[], $39::int[],
    $40::timestamptz[], $41::timestamptz[], $42::boolean[])
    as p (tenant_id, execution_id, path, state, attempt, action_state, compensation_state, result_sequence, start_time, end_time, first)
  where not p.first or p.execution_id in (select id from started)
),
step_changes as (
  update workflow_execution_steps s set state = p.state, attempt = p.attempt, action_state = p.action_state, compensation_state = p.compensation_state,
    result_sequence = p.result_sequence, start_time = p.start_time, end_time = p.end_time
  from fence f, unnest($43::text[], $44::uuid[], $45::text[], $46::text[], $47::int[], $48::text[], $49::text[], $50::int[],
    $51::timestamptz[], $52::timestamptz[]) as p (tenant_id, execution_id, path, state, attempt, action_state, compensation_state, result_sequence, start_time, end_time)
  where s.tenant_id = p.tenant_id and s.execution_id = p.execution_id and s.path = p.path
)
select (select count(*) from fence)::int as fence, array(select id::text from started) as started`;

/** Writes one batch in its own transaction; durable when it resolves. Throws what PostgreSQL throws: then nothing was written. */
export async function appendBatch(client: ClientBase, replicaId: string, epoch: number, batch: BatchColumns): Promise<BatchAnswer> {
  const { starts, changes, events, steps } = batch;
  const { rows } = await client.query<{ fence: number; started: string[] }>({
    name: "append_batch",
    text,
    values: [
      replicaId,
      epoch,
      starts.tenant,
      starts.id,
      starts.workflow,
      starts.workflowName,
      starts.revision,
      starts.input,
      starts.executionKey,
      starts.requestId,
      starts.requestHash,
      starts.correlation,
      starts.labels,
      starts.priority,
      starts.traceparent,
      starts.createTime,
      starts.row,
      starts.released,
      changes.tenant,
      changes.id,
      changes.row,
      changes.released,
      events.tenant,
      events.execution,
      events.sequence,
      events.type,
      events.path,
      events.attempt,
      events.at,
      events.payload,
      events.first,
      ...stepValues(steps),
      steps.first,
      ...stepValues(batch.stepChanges),
    ],
  });
  const row = rows[0];
  return { fenced: row?.fence !== 1, started: row?.started ?? [] };
}

function stepValues(steps: StepColumns): unknown[] {
  const { tenant, execution, path, state, attempt, action, compensation, result, startTime, endTime } = steps;
  return [tenant, execution, path, state, attempt, action, compensation, result, startTime, endTime];
}
