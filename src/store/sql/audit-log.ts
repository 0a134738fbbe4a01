/**
 * The audit log: lines of changes that were transactions, and, read beside them, the events of executions that a command of a
 * caller began with. Those are moved here by `delete-expired.ts` when their ledger goes, under the same id.
 */
import type { ClientBase, Pool } from "pg";
import type { JsonObject } from "../../base/json.ts";

export interface NewAuditLine {
  readonly tenantId: string;
  readonly id: string;
  readonly actor: string;
  readonly method: string;
  readonly target: string;
  readonly executionUuid: string | null;
  readonly reason: string;
  readonly correlationId: string;
  readonly detail: JsonObject | undefined;
}

const insert = `
insert into audit_log (tenant_id, id, time, actor, method, target, execution_id, reason, correlation_id, detail, xid)
values ($1, $2, clock_timestamp(), $3, $4, $5, $6, $7, $8, $9::json, pg_current_xact_id()::text::bigint)`;

export async function insertAuditLine(client: ClientBase, line: NewAuditLine): Promise<void> {
  const { tenantId, id, actor, method, target, executionUuid, reason, correlationId, detail } = line;
  const values = [tenantId, id, actor, method, target, executionUuid, reason, correlationId, detail === undefined ? null : JSON.stringify(detail)];
  await client.query({ name: "audit_insert", text: insert, values });
}

/** Literal, so that the planner finds the partial index. The same list as in the migration and in `delete-expired.ts`. */
export const auditedTypes = `('operator_acted', 'execution_paused', 'execution_resumed', 'execution_cancel_requested', 'execution_reopened', 'saga_state_changed', 'step_enlisted', 'step_skipped')`;

/** An event `v` of execution `x` as a line of the log. */
export const eventColumns = `v.execution_id || '/' || lpad(v.sequence::text, 10, '0') as id, v.at as time, v.payload->'change'->>'actor' as actor,
  v.payload->'change'->>'method' as method, x.workflow_name as target, v.execution_id, coalesce(nullif(v.step_path, ''), v.payload->>'stepPath', '') as step_path,
  coalesce(v.payload->>'reason', '') as reason, x.correlation_id, case when octet_length(v.payload::text) <= 16384 then v.payload->'result' end as detail`;

export interface AuditRow {
  readonly id: string;
  readonly time: Date;
  readonly actor: string;
  readonly method: string;
  readonly target: string;
  readonly execution_id: string | null;
  readonly step_path: string;
  readonly reason: string;
  readonly correlation_id: string;
  readonly detail: unknown;
}

export interface AuditConditions {
  readonly actor?: string | undefined;
  readonly method?: string | undefined;
  readonly target?: string | undefined;
  readonly executionUuid?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly times?: readonly { readonly operator: "=" | "<" | "<=" | ">" | ">="; readonly at: Date }[] | undefined;
}

export interface AuditPosition {
  readonly time: Date;
  readonly id: string;
}

/** Conditions on a line `l`, each of them a comparison with a value that `put` numbers. */
export function lineConditions({ actor, method, target, executionUuid, correlationId }: AuditConditions, put: (value: unknown) => string): string[] {
  return [
    ...(actor === undefined ? [] : [`l.actor = ${put(actor)}`]),
    ...(method === undefined ? [] : [`l.method = ${put(method)}`]),
    ...(target === undefined ? [] : [`l.target = ${put(target)}`]),
    ...(executionUuid === undefined ? [] : [`l.execution_id = ${put(executionUuid)}`]),
    ...(correlationId === undefined ? [] : [`l.correlation_id = ${put(correlationId)}`]),
  ];
}

/** Newest first, those behind `after`. Each half reads no more rows than the page has, by its own index of time. */
export async function listAuditRows(
  client: ClientBase | Pool,
  tenantId: string,
  conditions: AuditConditions,
  after: AuditPosition | undefined,
  limit: number,
): Promise<AuditRow[]> {
  const values: unknown[] = [tenantId, limit];
  const put = (value: unknown): string => `$${values.push(value)}`;
  const { times = [] } = conditions;
  // On columns of the table, before anything is computed, so that an index is used; on the computed ones after that.
  const onTime = (column: string): string =>
    [...times.map(({ operator, at }) => ` and ${column} ${operator} ${put(at)}`), ...(after ? [` and ${column} <= ${put(after.time)}`] : [])].join("");
  const onLine = [...lineConditions(conditions, put), ...(after ? [`(l.time, l.id collate "C") < (${put(after.time)}, ${put(after.id)})`] : [])];
  const where = onLine.length === 0 ? "" : `where ${onLine.join(" and ")}`;
  const half = (source: string): string => `(select * from (${source}) l ${where} order by l.time desc, l.id collate "C" desc limit $2)`;
  const columns = "id, time, actor, method, target, execution_id, step_path, reason, correlation_id, detail";
  const calls = `select ${columns} from audit_log a where a.tenant_id = $1${onTime("a.time")}`;
  const told = `select ${eventColumns} from execution_events v join workflow_executions x on x.tenant_id = v.tenant_id and x.id = v.execution_id
    where v.tenant_id = $1 and v.type in ${auditedTypes} and v.payload->'change' is not null${onTime("v.at")}`;
  const text = `select * from (${half(calls)} union all ${half(told)}) line order by time desc, id collate "C" desc limit $2`;
  return (await client.query<AuditRow>({ text, values })).rows;
}

const purge = `
delete from audit_log where (tenant_id, id) in (
  select tenant_id, id from audit_log where tenant_id = $1 and time < clock_timestamp() - $2 * interval '1 millisecond' order by time limit $3
)`;

/** Deletes at most `rowsMax` lines of the tenant that are older than `keptMs`; answers how many. */
export async function purgeAuditLines(client: ClientBase, tenantId: string, keptMs: number, rowsMax: number): Promise<number> {
  return (await client.query({ name: "audit_purge", text: purge, values: [tenantId, keptMs, rowsMax] })).rowCount ?? 0;
}
