/**
 * Who waits for a stored signal. Has to run after the signal's own commit, in a statement of its own: a wait that is not
 * registered by then reads the stored signals after it is, so one of the two always finds the other.
 */
import type { Pool } from "pg";

const match = `
with stored as (
  select tenant_id, id, execution_id, event_type, correlation_key from signals where tenant_id = $1 and id = $2
),
found as (
  select w.execution_id from stored s join event_waits w on w.tenant_id = s.tenant_id and w.event_type = s.event_type
    and w.correlation_key = s.correlation_key where s.execution_id is null
  union
  select w.execution_id from stored s join event_waits w on w.tenant_id = s.tenant_id and w.execution_id = s.execution_id
    and w.event_type = s.event_type where s.execution_id is not null
),
counted as (
  update signals s set matched = greatest(s.matched, (select count(*)::int from found)), delivered = not exists (select 1 from found)
  from stored where s.tenant_id = stored.tenant_id and s.id = stored.id
)
select execution_id as id from found`;

/** Uuids of the executions that wait for it. Without any, the signal counts as delivered. */
export async function matchSignal(pool: Pool, tenantId: string, signalUuid: string): Promise<string[]> {
  return (await pool.query<{ id: string }>({ name: "match_signal", text: match, values: [tenantId, signalUuid] })).rows.map(({ id }) => id);
}

const delivered = "update signals set delivered = true where tenant_id = $1 and id = $2";

export async function markDelivered(pool: Pool, tenantId: string, signalUuid: string): Promise<void> {
  await pool.query({ name: "signal_delivered", text: delivered, values: [tenantId, signalUuid] });
}
