/**
 * Adding up how templates are used, on a connection of its own: a session advisory lock on it keeps all other replicas out and
 * is freed by PostgreSQL when this process dies. One transaction reads a page of executions, adds it to the cells and totals and
 * moves the tenant's cursor: a crash neither loses a page nor counts it twice.
 */

import { Client, type ClientConfig } from "pg";
import { formatId, uuidV7 } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import { cellKey, cellsOf, replaceUsage, totalsOf, type UsageCell } from "../domain/templates/usage-cells.ts";
import { addUsage, noUsage } from "../domain/templates/usage-counts.ts";
import { guarded } from "./database-error.ts";
import { planGuard } from "./plan-guard.ts";
import { countMadeWorkflows, templatesWithChangedWorkflows } from "./sql/count-made-workflows.ts";
import {
  deleteCellsFrom,
  firstCursor,
  isoOf,
  readAllCells,
  readCells,
  readCellsBetween,
  readTotals,
  readUsageCursor,
  type UsageCursor,
  writeCells,
  writeTotals,
  writeUsageCursor,
} from "./sql/usage-cells.ts";
import { nextEnded, nextStarted, readAllEnded, readAllStarted, readEndedPage, readStartedPage } from "./sql/usage-sources.ts";

export interface UsageRollupStore {
  /** Undefined when another replica is at it; with `wait` it is waited for. */
  open(wait?: boolean): Promise<UsageRollupPass | undefined>;
}

export interface UsageRollupPass {
  /** The database's clock, milliseconds since the epoch. */
  now(): Promise<number>;
  /** Tenants with something that may not be counted yet. */
  tenants(): Promise<readonly string[]>;
  everyTenant(): Promise<readonly string[]>;
  /** How long the tenant's definitions want their executions kept, where they say so. */
  retentions(tenantId: string): Promise<readonly JsonObject[]>;
  /**
   * Counts one page of what was created, ended and changed before `before`; true when more may be left. Hours before
   * `intactAfter`, of which executions may have been deleted, are never counted anew.
   */
  advance(tenantId: string, before: number, intactAfter: number, page?: UsagePage): Promise<boolean>;
  /** Moves the cursor of starts or of ends past one execution without counting it; answers its id. Undefined: there is none. */
  passOver(tenantId: string, of: UsageSource, before: number): Promise<string | undefined>;
  /** Counts everything anew that was created or ended after `intactAfter`; what is older stays as it is. Answers the number of cells. */
  recompute(tenantId: string, intactAfter: number): Promise<number>;
  close(): Promise<void>;
}

/** Executions that one transaction reads at most of each source. */
export type UsagePage = Readonly<Record<UsageSource, number>>;
export type UsageSource = "started" | "ended";

/** Any constant that no other program takes in this database ("PAWF" as bytes, then 3). */
const lockKey = "344737564675";
/** Executions of one transaction: some tens of milliseconds. */
export const usagePageRows = 5_000;
const hourMs = 3_600_000;
/** Changes of workflows are looked at again for this long, since their time is that of their transaction's start. */
const workflowsAgainMs = 60_000;

const tenantsText = `select t.id from tenants t left join template_usage_cursors c on c.tenant_id = t.id
where exists (select 1 from workflow_executions e where e.tenant_id = t.id and (c.started_id is null or e.id > c.started_id))
   or exists (select 1 from workflow_executions e where e.tenant_id = t.id and e.end_time is not null and (c.end_id is null or (e.end_time, e.id) > (c.end_time, c.end_id)))
   or exists (select 1 from workflows w where w.tenant_id = t.id and (c.workflows_time is null or w.update_time > c.workflows_time))
order by t.id`;

const retentionsText = `select distinct on (definition->>'retention') definition->'retention' as retention from workflow_revisions
where tenant_id = $1 and json_typeof(definition->'retention') = 'object'`;

export function createUsageRollupStore(connection: ClientConfig): UsageRollupStore {
  return {
    async open(wait = false) {
      const client = new Client({ ...connection, options: planGuard, keepAlive: true });
      // A connection that breaks fails the statement under way, or the next one.
      client.on("error", () => undefined);
      await client.connect();
      try {
        const lock = wait ? "select true as locked from (select pg_advisory_lock($1::bigint)) as l" : "select pg_try_advisory_lock($1::bigint) as locked";
        const { rows } = await client.query<{ locked: boolean }>(lock, [lockKey]);
        if (rows[0]?.locked === true) return passOn(client);
      } catch (error) {
        await client.end().catch(() => undefined);
        throw error;
      }
      await client.end();
      return undefined;
    },
  };
}

function passOn(client: Client): UsageRollupPass {
  const inTransaction = async <T>(work: () => Promise<T>): Promise<T> => {
    await client.query("begin");
    try {
      const result = await work();
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback").catch(() => undefined);
      throw error;
    }
  };
  return {
    now: () =>
      guarded(async () => Number((await client.query<{ now: number }>("select (extract(epoch from clock_timestamp()) * 1000)::bigint as now")).rows[0]?.now)),
    tenants: () => guarded(async () => (await client.query<{ id: string }>(tenantsText)).rows.map(({ id }) => id)),
    everyTenant: async () => (await client.query<{ id: string }>("select id from tenants order by id")).rows.map(({ id }) => id),
    retentions: async (tenantId) => (await client.query<{ retention: JsonObject }>(retentionsText, [tenantId])).rows.map(({ retention }) => retention),
    advance: (tenantId, before, intactAfter, page = { started: usagePageRows, ended: usagePageRows }) =>
      guarded(() => inTransaction(() => advance(client, tenantId, before, intactAfter, page))),
    passOver: (tenantId, of, before) => guarded(() => inTransaction(() => passOver(client, tenantId, of, before))),
    recompute: (tenantId, intactAfter) => guarded(() => inTransaction(() => recompute(client, tenantId, intactAfter))),
    close: () => client.end().catch(() => undefined),
  };
}

async function advance(client: Client, tenantId: string, before: number, intactAfter: number, page: UsagePage): Promise<boolean> {
  const cursor = (await readUsageCursor(client, tenantId, true)) ?? firstCursor;
  const started = await readStartedPage(client, tenantId, cursor.startedId, uuidV7(before, new Uint8Array(10)), page.started);
  const ended = await readEndedPage(client, tenantId, cursor.ended, isoOf(before), page.ended);
  const next: UsageCursor = {
    startedId: started.lastId ?? cursor.startedId,
    ended: ended.last ? { endTime: ended.last[0], endId: ended.last[1] } : cursor.ended,
    workflowsTime: isoOf(before - workflowsAgainMs),
  };
  await add(client, tenantId, cellsOf(started.groups, ended.groups));
  for (const hourAt of ended.reopened) if (hourAt >= intactAfter) await countHourAnew(client, tenantId, hourAt, next);
  await countMadeWorkflows(client, tenantId, await templatesWithChangedWorkflows(client, tenantId, cursor.workflowsTime));
  await writeUsageCursor(client, tenantId, next);
  return (page.started > 0 && started.rows === page.started) || (page.ended > 0 && ended.rows === page.ended);
}

async function passOver(client: Client, tenantId: string, of: UsageSource, before: number): Promise<string | undefined> {
  const cursor = (await readUsageCursor(client, tenantId, true)) ?? firstCursor;
  const next =
    of === "started"
      ? await nextStarted(client, tenantId, cursor.startedId, uuidV7(before, new Uint8Array(10)))
      : await nextEnded(client, tenantId, cursor.ended, isoOf(before));
  if (!next) return undefined;
  await writeUsageCursor(client, tenantId, { ...cursor, ...("endTime" in next ? { ended: next } : { startedId: next.id }) });
  return formatId("execution", "endTime" in next ? next.endId : next.id);
}

/** Cells and totals with what is new in them. */
async function add(client: Client, tenantId: string, cells: readonly UsageCell[]): Promise<void> {
  if (cells.length === 0) return;
  const known = new Map((await readCells(client, tenantId, cells)).map((cell) => [cellKey(cell), cell.counts]));
  await writeCells(
    client,
    tenantId,
    cells.map((cell) => ({ ...cell, counts: addUsage(known.get(cellKey(cell)) ?? noUsage, cell.counts) })),
  );
  const more = totalsOf(cells);
  const totals = await readTotals(client, tenantId, [...more.keys()]);
  await writeTotals(client, tenantId, new Map([...more].map(([template, counts]) => [template, addUsage(totals.get(template) ?? noUsage, counts)])));
}

/** What ended in an hour, without those that were reopened since and have not ended in it again. */
async function countHourAnew(client: Client, tenantId: string, hourAt: number, { startedId, ended }: UsageCursor): Promise<void> {
  const range = { from: isoOf(hourAt), to: isoOf(hourAt + hourMs), startedId, ended };
  const stored = await readCellsBetween(client, tenantId, range.from, range.to);
  const counted = new Map(cellsOf([], await readAllEnded(client, tenantId, range)).map((cell) => [cellKey(cell), cell.counts]));
  const anew = stored.map((cell) => {
    const { started, lastStartedAt } = cell.counts;
    return { ...cell, counts: { ...(counted.get(cellKey(cell)) ?? noUsage), started, lastStartedAt } };
  });
  await writeCells(client, tenantId, anew);
  const totals = await readTotals(client, tenantId, [...new Set(stored.map(({ templateUuid }) => templateUuid))]);
  stored.forEach((cell, index) => {
    const total = totals.get(cell.templateUuid) ?? noUsage;
    totals.set(cell.templateUuid, replaceUsage(total, cell.counts, (anew[index] as UsageCell).counts));
  });
  await writeTotals(client, tenantId, totals);
}

async function recompute(client: Client, tenantId: string, intactAfter: number): Promise<number> {
  const cursor = (await readUsageCursor(client, tenantId, true)) ?? firstCursor;
  const firstHour = Math.ceil(intactAfter / hourMs) * hourMs;
  const range = { from: isoOf(Math.max(0, firstHour)), to: "infinity", startedId: cursor.startedId, ended: cursor.ended };
  const cells = cellsOf(await readAllStarted(client, tenantId, range), await readAllEnded(client, tenantId, range));
  await deleteCellsFrom(client, tenantId, range.from);
  await writeCells(client, tenantId, cells);
  await client.query("delete from template_usage_totals where tenant_id = $1", [tenantId]);
  await writeTotals(client, tenantId, totalsOf(await readAllCells(client, tenantId)));
  await countMadeWorkflows(client, tenantId, await templatesWithChangedWorkflows(client, tenantId, firstCursor.workflowsTime));
  await writeUsageCursor(client, tenantId, cursor);
  return cells.length;
}
