/**
 * Reads for watches of a whole tenant: what is open, what has ended lately, and where something happened since a moment.
 * Without names, because their plans must fit the tables as they are now (see next-due.ts).
 */
import type { Pool } from "pg";
import { type ExecutionConditions, whereOf } from "../execution-conditions.ts";
import { type ExecutionRow, executionColumns } from "../execution-row.ts";

export interface ChangedRow {
  readonly id: string;
  /** Numbers of the first event since then and of the last one. */
  readonly first: number;
  readonly last: number;
}

// Open ones, and those that ended since: each costs one entry of the ledger's key, and only those with news cost more.
export const changedSinceText = `
with candidates as (
  select id from workflow_executions where tenant_id = $1 and end_time is null
  union all
  select id from workflow_executions where tenant_id = $1 and end_time is not null and end_time >= $2
)
select c.id, f.first, l.sequence as last
from candidates c
cross join lateral (
  select sequence, at from execution_events v where v.tenant_id = $1 and v.execution_id = c.id order by sequence desc limit 1
) l
cross join lateral (
  select min(v.sequence) as first from execution_events v where v.tenant_id = $1 and v.execution_id = c.id and v.at >= $2
) f
where l.at >= $2 limit $3`;

export async function changedSince(pool: Pool, tenantId: string, since: Date, rowsMax: number): Promise<ChangedRow[]> {
  return (await pool.query<ChangedRow>(changedSinceText, [tenantId, since, rowsMax])).rows;
}

const firstSinceText = `
select i.id, (select min(v.sequence) from execution_events v where v.tenant_id = $1 and v.execution_id = i.id and v.at >= $3) as first
from unnest($2::uuid[]) i (id)`;

/** Number of the first event since then, for each that has one. */
export async function firstSince(pool: Pool, tenantId: string, executionUuids: readonly string[], since: Date): Promise<ReadonlyMap<string, number>> {
  const { rows } = await pool.query<{ id: string; first: number | null }>(firstSinceText, [tenantId, executionUuids, since]);
  return new Map(rows.flatMap(({ id, first }) => (first === null ? [] : [[id, first] as const])));
}

const columns = `select ${executionColumns}
from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id`;

export async function executionsByIds(pool: Pool, tenantId: string, executionUuids: readonly string[]): Promise<ExecutionRow[]> {
  return (await pool.query<ExecutionRow>(`${columns} where e.tenant_id = $1 and e.id = any($2::uuid[])`, [tenantId, executionUuids])).rows;
}

// The row's own number is as old as the row; the ledger tells where it stands.
const withLedger = `select ${executionColumns.replace("e.last_sequence", "coalesce(l.sequence, e.last_sequence)")}
from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id
left join lateral (
  select sequence from execution_events v where v.tenant_id = e.tenant_id and v.execution_id = e.id order by sequence desc limit 1
) l on true`;

/** Open executions by id, after `afterUuid`. */
export async function openExecutions(
  pool: Pool,
  tenantId: string,
  conditions: ExecutionConditions,
  afterUuid: string,
  rowsMax: number,
): Promise<ExecutionRow[]> {
  const where = whereOf(tenantId, conditions, [afterUuid, rowsMax]);
  const text = `${withLedger} where ${where.text} and e.end_time is null and e.id > $1 order by e.id limit $2`;
  return (await pool.query<ExecutionRow>(text, [...where.values])).rows;
}

/** Executions that ended since, by end and id, after the given ones. */
export async function endedExecutions(
  pool: Pool,
  tenantId: string,
  conditions: ExecutionConditions,
  after: { readonly endTime: Date; readonly uuid: string },
  rowsMax: number,
): Promise<ExecutionRow[]> {
  const where = whereOf(tenantId, conditions, [after.endTime, after.uuid, rowsMax]);
  const text = `${withLedger} where ${where.text} and e.end_time is not null and (e.end_time, e.id) > ($1, $2) order by e.end_time, e.id limit $3`;
  return (await pool.query<ExecutionRow>(text, [...where.values])).rows;
}
