/**
 * Deletes ended executions whole, in one statement and so in one transaction: the row, its saga, its ledger and
 * what others had sent it. What was reopened, claimed or deleted meanwhile is passed over, because the rows are locked and
 * looked at again here.
 */
import type { ClientBase } from "pg";
import { auditedTypes, eventColumns } from "./audit-log.ts";
import { fullXid } from "./full-xid.ts";

const text = `
with doomed as materialized (
  select tenant_id, id, workflow_name, correlation_id from workflow_executions
  where tenant_id = $1 and id = any($2::uuid[]) and end_time is not null and owner is null
  for update skip locked
),
ledger as (
  delete from execution_events v using doomed d where v.tenant_id = d.tenant_id and v.execution_id = d.id
  returning v.tenant_id, v.execution_id, v.sequence, v.at, v.step_path, case when v.type in ${auditedTypes} then v.payload end as payload,
    ${fullXid("v.xmin", "pg_snapshot_xmax(pg_current_snapshot())::text::bigint")} as xid
),
-- What callers and operators decided outlives what they decided about.
kept as (
  insert into audit_log (tenant_id, id, time, actor, method, target, execution_id, step_path, reason, correlation_id, detail, xid)
  select v.tenant_id, ${eventColumns}, v.xid
  from ledger v join doomed d on d.id = v.execution_id, lateral (select d.workflow_name, d.correlation_id) x
  where v.payload->'change'->>'actor' is not null
),
sagas as (
  delete from workflow_instances i using doomed d where i.tenant_id = d.tenant_id and i.id = d.id
),
commands as (
  delete from execution_commands c using doomed d where c.tenant_id = d.tenant_id and c.execution_id = d.id
),
outgoing as (
  delete from execution_outbox o using doomed d where o.tenant_id = d.tenant_id and o.execution_id = d.id
),
waits as (
  delete from event_waits w using doomed d where w.tenant_id = d.tenant_id and w.execution_id = d.id
),
sent as (
  delete from signals s using doomed d where s.tenant_id = d.tenant_id and s.execution_id = d.id
),
executions as (
  delete from workflow_executions e using doomed d where e.tenant_id = d.tenant_id and e.id = d.id returning 1
)
select (select count(*) from executions)::int as executions, (select count(*) from ledger)::int as events`;

export interface Deleted {
  readonly executions: number;
  readonly events: number;
}

export async function deleteExpired(client: ClientBase, tenantId: string, uuids: readonly string[]): Promise<Deleted> {
  const { rows } = await client.query<Deleted>({ name: "delete_expired", text, values: [tenantId, uuids] });
  return rows[0] ?? { executions: 0, events: 0 };
}
