/**
 * What was stored to be told and whose teller has not said that it was: signals and commands between executions. Taken by
 * one replica at a time, from one that died at once, from one that lives when it has not been heard of for a while.
 */
import type { Pool } from "pg";
import type { JsonObject } from "../../base/json.ts";

const stale = (row: string): string => `(${row}.attempt_time < clock_timestamp() - $2 * interval '1 millisecond'
    or not exists (select 1 from replicas r where r.id = ${row}.attempted_by and r.expire_time > clock_timestamp()))`;

const signals = `
with taken as (
  select s.tenant_id, s.id from signals s where not s.delivered and ${stale("s")} order by s.attempt_time limit $3 for update skip locked
)
update signals s set attempted_by = $1, attempt_time = clock_timestamp() from taken t
where s.tenant_id = any(array(select tenant_id from taken)) and s.id = any(array(select id from taken)) and s.tenant_id = t.tenant_id and s.id = t.id
returning s.tenant_id as "tenantId", s.id`;

export async function takeUndelivered(pool: Pool, replicaId: string, staleMs: number, rowsMax: number): Promise<{ tenantId: string; id: string }[]> {
  return (await pool.query<{ tenantId: string; id: string }>({ name: "take_signals", text: signals, values: [replicaId, staleMs, rowsMax] })).rows;
}

export interface OutboxRow {
  readonly tenantId: string;
  readonly executionUuid: string;
  readonly senderUuid: string;
  readonly sequence: number;
  readonly command: JsonObject;
}

const outbox = `
with taken as (
  select o.tenant_id, o.execution_id, o.sender_id, o.sequence from execution_outbox o where ${stale("o")}
  order by o.attempt_time limit $3 for update skip locked
)
update execution_outbox o set attempted_by = $1, attempt_time = clock_timestamp() from taken t
where o.tenant_id = any(array(select tenant_id from taken)) and o.execution_id = any(array(select execution_id from taken))
  and o.tenant_id = t.tenant_id and o.execution_id = t.execution_id and o.sender_id = t.sender_id and o.sequence = t.sequence
returning o.tenant_id as "tenantId", o.execution_id as "executionUuid", o.sender_id as "senderUuid", o.sequence, o.command`;

export async function takeOutbox(pool: Pool, replicaId: string, staleMs: number, rowsMax: number): Promise<OutboxRow[]> {
  return (await pool.query<OutboxRow>({ name: "take_outbox", text: outbox, values: [replicaId, staleMs, rowsMax] })).rows;
}

const done = "delete from execution_outbox where tenant_id = $1 and execution_id = $2 and sender_id = $3 and sequence = $4";

export async function removeFromOutbox(pool: Pool, row: Omit<OutboxRow, "command">): Promise<void> {
  await pool.query({ name: "outbox_done", text: done, values: [row.tenantId, row.executionUuid, row.senderUuid, row.sequence] });
}
