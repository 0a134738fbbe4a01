/** Reading and writing usage: cells, totals and the cursor of a tenant. All of it runs in the rollup's transaction. */

import type { ClientBase } from "pg";
import { nilUuid } from "../../base/ids.ts";
import type { UsageCell } from "../../domain/templates/usage-cells.ts";
import type { UsageCounts } from "../../domain/templates/usage-counts.ts";
import { toUsage, type UsageRow, usageColumns } from "../usage-row.ts";
import type { EndedCursor } from "./usage-sources.ts";

export interface UsageCursor {
  readonly startedId: string;
  readonly ended: EndedCursor;
  /** Text of the database. */
  readonly workflowsTime: string;
}
const firstMoment = "1970-01-01T00:00:00Z";

/** Where a tenant's rollup begins: before everything. */
export const firstCursor: UsageCursor = { startedId: nilUuid, ended: { endTime: firstMoment, endId: nilUuid }, workflowsTime: firstMoment };

interface CursorRow {
  readonly startedId: string;
  readonly endTime: string;
  readonly endId: string;
  readonly workflowsTime: string;
}

const cursorColumns = `started_id as "startedId", end_time::text as "endTime", end_id as "endId", workflows_time::text as "workflowsTime"`;

/** Undefined: the tenant has none yet. */
export async function readUsageCursor(client: ClientBase, tenantId: string, lock: boolean): Promise<UsageCursor | undefined> {
  const text = `select ${cursorColumns} from template_usage_cursors where tenant_id = $1${lock ? " for update" : ""}`;
  const row = (await client.query<CursorRow>({ name: lock ? "usage_cursor_lock" : "usage_cursor", text, values: [tenantId] })).rows[0];
  return row && { startedId: row.startedId, ended: { endTime: row.endTime, endId: row.endId }, workflowsTime: row.workflowsTime };
}

const writeCursorText = `insert into template_usage_cursors (tenant_id, started_id, end_time, end_id, workflows_time) values ($1, $2, $3, $4, $5)
on conflict (tenant_id) do update set started_id = excluded.started_id, end_time = excluded.end_time, end_id = excluded.end_id, workflows_time = excluded.workflows_time`;

export async function writeUsageCursor(client: ClientBase, tenantId: string, { startedId, ended, workflowsTime }: UsageCursor): Promise<void> {
  await client.query({ name: "usage_cursor_write", text: writeCursorText, values: [tenantId, startedId, ended.endTime, ended.endId, workflowsTime] });
}

export interface CellKey {
  readonly templateUuid: string;
  readonly version: number;
  readonly hourAt: number;
}

type CellRow = UsageRow & { readonly templateUuid: string; readonly version: number; readonly hour: Date };
const cellColumns = `u.template_id as "templateUuid", u.version, u.hour, ${usageColumns}`;
const cellsByKey = `select ${cellColumns} from template_usage u
where u.tenant_id = $1 and (u.template_id, u.version, u.hour) in (select * from unnest($2::uuid[], $3::int[], $4::timestamptz[]))`;
const cellsByHour = `select ${cellColumns} from template_usage u where u.tenant_id = $1 and u.hour >= $2::timestamptz and u.hour < $3::timestamptz`;
const cellsOfTemplate = `${cellsByHour} and u.template_id = $4`;
const allCells = `select ${cellColumns} from template_usage u where u.tenant_id = $1`;

export async function readCells(client: ClientBase, tenantId: string, keys: readonly CellKey[]): Promise<UsageCell[]> {
  const values = [tenantId, keys.map(({ templateUuid }) => templateUuid), keys.map(({ version }) => version), keys.map(({ hourAt }) => isoOf(hourAt))];
  return (await client.query<CellRow>({ name: "usage_cells", text: cellsByKey, values })).rows.map(toCell);
}

export async function readCellsBetween(client: ClientBase, tenantId: string, from: string, to: string, templateUuid?: string): Promise<UsageCell[]> {
  const query =
    templateUuid === undefined
      ? { name: "usage_cells_hours", text: cellsByHour, values: [tenantId, from, to] }
      : { name: "usage_cells_template", text: cellsOfTemplate, values: [tenantId, from, to, templateUuid] };
  return (await client.query<CellRow>(query)).rows.map(toCell);
}

export async function readAllCells(client: ClientBase, tenantId: string): Promise<UsageCell[]> {
  return (await client.query<CellRow>({ text: allCells, values: [tenantId] })).rows.map(toCell);
}

const counts = `started, ended, completed, durations, failed_steps, last_start_time`;
const countArrays = (first: number): string =>
  ["bigint", "bigint", "bigint", "jsonb", "jsonb", "timestamptz"].map((type, index) => `$${first + index}::${type}[]`).join(", ");
const setCounts = counts
  .split(", ")
  .map((name) => `${name} = excluded.${name}`)
  .join(", ");

const writeCellsText = `insert into template_usage (tenant_id, template_id, version, hour, ${counts})
select $1, * from unnest($2::uuid[], $3::int[], $4::timestamptz[], ${countArrays(5)})
on conflict (tenant_id, template_id, version, hour) do update set ${setCounts}`;

export async function writeCells(client: ClientBase, tenantId: string, cells: readonly UsageCell[]): Promise<void> {
  if (cells.length === 0) return;
  const keys = [cells.map(({ templateUuid }) => templateUuid), cells.map(({ version }) => version), cells.map(({ hourAt }) => isoOf(hourAt))];
  await client.query({ name: "usage_cells_write", text: writeCellsText, values: [tenantId, ...keys, ...columnsOf(cells.map(({ counts }) => counts))] });
}

export async function deleteCellsFrom(client: ClientBase, tenantId: string, from: string): Promise<void> {
  await client.query("delete from template_usage where tenant_id = $1 and hour >= $2::timestamptz", [tenantId, from]);
}

const totalsText = `select u.template_id as "templateUuid", ${usageColumns} from template_usage_totals u where u.tenant_id = $1 and u.template_id = any($2::uuid[])`;

export async function readTotals(client: ClientBase, tenantId: string, templateUuids: readonly string[]): Promise<Map<string, UsageCounts>> {
  const { rows } = await client.query<UsageRow & { readonly templateUuid: string }>({
    name: "usage_totals",
    text: totalsText,
    values: [tenantId, templateUuids],
  });
  return new Map(rows.map((row) => [row.templateUuid, toUsage(row)]));
}

const writeTotalsText = `insert into template_usage_totals (tenant_id, template_id, ${counts})
select $1, * from unnest($2::uuid[], ${countArrays(3)})
on conflict (tenant_id, template_id) do update set ${setCounts}`;

export async function writeTotals(client: ClientBase, tenantId: string, totals: ReadonlyMap<string, UsageCounts>): Promise<void> {
  if (totals.size === 0) return;
  await client.query({ name: "usage_totals_write", text: writeTotalsText, values: [tenantId, [...totals.keys()], ...columnsOf([...totals.values()])] });
}

function toCell({ templateUuid, version, hour, ...row }: CellRow): UsageCell {
  return { templateUuid, version, hourAt: hour.getTime(), counts: toUsage(row) };
}

function columnsOf(all: readonly UsageCounts[]): unknown[][] {
  return [
    all.map(({ started }) => started),
    all.map(({ ended }) => ended),
    all.map(({ completed }) => completed),
    all.map(({ durations }) => JSON.stringify(durations)),
    all.map(({ failedSteps }) => JSON.stringify(failedSteps)),
    all.map(({ lastStartedAt }) => (lastStartedAt === undefined ? null : isoOf(lastStartedAt))),
  ];
}

export function isoOf(at: number): string {
  return new Date(at).toISOString();
}
