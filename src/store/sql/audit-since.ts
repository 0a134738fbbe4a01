/** Lines of the audit log in the order of their commits: what one snapshot of the database shows and an earlier one did not. */
import type { ClientBase, Pool } from "pg";
import { type AuditConditions, type AuditPosition, type AuditRow, auditedTypes, eventColumns, lineConditions } from "./audit-log.ts";
import { fullXid } from "./full-xid.ts";

/** What is visible at this moment, and the moment. */
export async function readSnapshot(client: ClientBase | Pool): Promise<{ readonly mark: string; readonly at: Date }> {
  const text = "select pg_current_snapshot()::text as mark, clock_timestamp() as at";
  return (await client.query<{ mark: string; at: Date }>({ name: "audit_snapshot", text })).rows[0] as { mark: string; at: Date };
}

export interface AuditDelta {
  /** Snapshots as text. What `from` shows is left out, what `to` does not show as well. */
  readonly from: string;
  readonly to: string;
  /** No line that is missing bears an earlier time. */
  readonly since: Date;
  /** Undefined: from the first. */
  readonly after: AuditPosition | undefined;
}

/** Oldest first, those behind `after`. Each half begins at `since` in its own index of time. */
export async function listAuditDelta(
  client: ClientBase | Pool,
  tenantId: string,
  conditions: AuditConditions,
  { from, to, since, after }: AuditDelta,
  limit: number,
): Promise<AuditRow[]> {
  const values: unknown[] = [tenantId, limit, from, to, since];
  const put = (value: unknown): string => `$${values.push(value)}`;
  const near = "pg_snapshot_xmax($4::pg_snapshot)::text::bigint";
  // On columns of the tables, so that an index is used.
  const onTime = (column: string): string =>
    [
      ` and ${column} >= $5`,
      ...(after ? [` and ${column} >= ${put(after.time)}`] : []),
      ...(conditions.times ?? []).map(({ operator, at }) => ` and ${column} ${operator} ${put(at)}`),
    ].join("");
  const onLine = [
    "pg_visible_in_snapshot(l.xid::text::xid8, $4::pg_snapshot) and not pg_visible_in_snapshot(l.xid::text::xid8, $3::pg_snapshot)",
    ...lineConditions(conditions, put),
    ...(after ? [`(l.time, l.id collate "C") > (${put(after.time)}, ${put(after.id)})`] : []),
  ].join(" and ");
  const half = (source: string): string => `(select * from (${source}) l where ${onLine} order by l.time, l.id collate "C" limit $2)`;
  const columns = "id, time, actor, method, target, execution_id, step_path, reason, correlation_id, detail";
  const calls = `select ${columns}, coalesce(a.xid, ${fullXid("a.xmin", near)}) as xid from audit_log a where a.tenant_id = $1${onTime("a.time")}`;
  const told = `select ${eventColumns}, ${fullXid("v.xmin", near)} as xid
    from execution_events v join workflow_executions x on x.tenant_id = v.tenant_id and x.id = v.execution_id
    where v.tenant_id = $1 and v.type in ${auditedTypes} and v.payload->'change' is not null${onTime("v.at")}`;
  const text = `select ${columns} from (${half(calls)} union all ${half(told)}) line order by time, id collate "C" limit $2`;
  return (await client.query<AuditRow>({ text, values })).rows;
}
