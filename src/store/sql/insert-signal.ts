/**
 * Stores a signal once, unless its dedup id is known, the execution it is for is over, or too much is stored already. The
 * three are told apart by a second look; twins at once are decided by the unique indexes. What a caller sends to one execution
 * has its line in the audit log, in the same statement.
 */
import type { Pool } from "pg";
import type { Json } from "../../base/json.ts";

export interface NewSignalRow {
  readonly tenantId: string;
  readonly uuid: string;
  /** Set for a signal to one execution; the key then is not. */
  readonly executionUuid: string | undefined;
  readonly eventType: string;
  readonly correlationKey: string | undefined;
  readonly data: Json;
  readonly dedupId: string | undefined;
  readonly ttlMs: number;
  readonly dedupMs: number;
  readonly replicaId: string;
  /** Its call may be repeated, so the row is kept as long as one with a dedup id. */
  readonly isRepeatable: boolean;
  /** Signals that nobody took for one execution, or stored under one type and key. */
  readonly storedMax: number;
  /** Signals of the tenant in all, where its row names no other number. */
  readonly tenantMax: number;
  /** Who sent it to the one execution, by which rpc; undefined: no line. */
  readonly sentBy: { readonly actor: string; readonly method: string } | undefined;
}

/** Whoever waited when the signal came gets it even if its time is over when it is delivered. */
const deliveryMs = 600_000;

/** The tenant's own quota, else the service's. */
const tenantMax = "coalesce((select (t.quotas->>'storedEvents')::int from tenants t where t.id = $1::text), $12::int)";

const stored = `
with place as (
  select (select count(*) from (
      select 1 from signals where tenant_id = $1::text and execution_id = $3::uuid and not taken and expire_time > now() limit $11::int) a) as of_execution,
    (select count(*) from (
      select 1 from signals where tenant_id = $1 and event_type = $4::text and correlation_key = $5::text and execution_id is null and expire_time > now() limit $11::int) b) as of_key,
    (select count(*) from (select 1 from signals where tenant_id = $1 limit ${tenantMax}) c) as of_tenant
), made as (
insert into signals (tenant_id, id, execution_id, event_type, correlation_key, data, dedup_id, attempted_by, expire_time, purge_time)
select $1, $2::uuid, $3::uuid, $4, $5, $6::json, $7, $10::uuid, now() + $8::float8 * interval '1 millisecond',
  now() + greatest($8::float8, case when $7::text is null then $13::float8 else $9::float8 end) * interval '1 millisecond'
from place where of_execution < $11::int and of_key < $11::int and of_tenant < ${tenantMax}
  and ($3::uuid is null or exists (select 1 from workflow_executions e where e.tenant_id = $1 and e.id = $3 and e.end_time is null))
on conflict do nothing returning create_time
), line as (
insert into audit_log (tenant_id, id, time, actor, method, target, execution_id, correlation_id, detail, xid)
select $1, $2::uuid::text, clock_timestamp(), $14::text, $15::text, e.workflow_name, e.id, e.correlation_id, json_build_object('event_type', $4::text), pg_current_xact_id()::text::bigint
from made, workflow_executions e where $14::text is not null and e.tenant_id = $1 and e.id = $3::uuid
on conflict do nothing
)
select create_time from made`;

/** False when nothing was stored. */
export async function insertSignal(pool: Pool, row: NewSignalRow): Promise<boolean> {
  const { tenantId, uuid, executionUuid, eventType, correlationKey, data, dedupId, ttlMs, dedupMs, replicaId, storedMax, tenantMax } = row;
  const values = [
    ...[tenantId, uuid, executionUuid ?? null, eventType, correlationKey ?? null, JSON.stringify(data), dedupId ?? null],
    ...[ttlMs, dedupMs, replicaId, storedMax, tenantMax, row.isRepeatable ? Math.max(deliveryMs, dedupMs) : deliveryMs],
    ...[row.sentBy?.actor ?? null, row.sentBy?.method ?? null],
  ];
  return (await pool.query({ name: "insert_signal", text: stored, values })).rowCount === 1;
}

const twin = `
select id, matched from signals where tenant_id = $1 and id = $4
union all
select id, matched from signals where tenant_id = $1 and execution_id = $3 and dedup_id = $2
union all
select id, matched from signals where tenant_id = $1 and execution_id is null and $3::uuid is null and dedup_id = $2
limit 1`;

/** The signal that is this one, or has its dedup id. */
export async function findTwin(pool: Pool, { tenantId, dedupId, executionUuid, uuid }: NewSignalRow): Promise<{ id: string; matched: number } | undefined> {
  const values = [tenantId, dedupId ?? null, executionUuid ?? null, uuid];
  return (await pool.query<{ id: string; matched: number }>({ name: "find_signal_twin", text: twin, values })).rows[0];
}
