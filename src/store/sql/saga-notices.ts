/**
 * Sagas whose starter is to be asked or told something. A notice is put off before it is tried, in one statement, so two replicas do
 * not try it at once and one that dies over it leaves it to the next. Claimed per tenant, as executions are.
 */
import type { Pool } from "pg";

const tenants = "select distinct tenant_id from workflow_instances where notice_at <= now() limit 100";

export async function tenantsWithNotices(pool: Pool): Promise<string[]> {
  return (await pool.query<{ tenant_id: string }>({ name: "tenants_with_notices", text: tenants })).rows.map((row) => row.tenant_id);
}

export interface NoticeRow {
  readonly id: string;
  /** From 1. */
  readonly attempt: number;
}

const claim = `
with due as (
  select tenant_id, id from workflow_instances where tenant_id = $1 and notice_at <= now() order by notice_at limit $2 for update skip locked
)
update workflow_instances i set notice_at = now() + $3 * interval '1 millisecond', notice_attempts = i.notice_attempts + 1
from due d where i.tenant_id = d.tenant_id and i.id = d.id
returning i.id, i.notice_attempts as attempt`;

export async function claimNotices(pool: Pool, tenantId: string, rowsMax: number, putOffMs: number): Promise<NoticeRow[]> {
  return (await pool.query<NoticeRow>({ name: "claim_notices", text: claim, values: [tenantId, rowsMax, putOffMs] })).rows;
}

// Only as long as nothing else changed it: the attempt is the one that was claimed.
const settle = `
update workflow_instances set notice_at = case when $4::double precision is null then null else now() + $4 * interval '1 millisecond' end
where tenant_id = $1 and id = $2 and notice_attempts = $3 and notice_at is not null`;

/** `againMs` undefined: it is done. */
export async function settleNotice(pool: Pool, tenantId: string, { id, attempt }: NoticeRow, againMs: number | undefined): Promise<void> {
  await pool.query({ name: "settle_notice", text: settle, values: [tenantId, id, attempt, againMs ?? null] });
}
