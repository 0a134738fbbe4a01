/**
 * What usage is counted from: rows of executions whose revision came from a template, in pages by the order in which the rollup
 * reads them. Nothing is written for it when an execution runs: both orders are indexes that other readers need, too.
 *
 * Started: by id, which is a UUIDv7 and so by creation. Ended: by (end_time, id). A reopened execution ends twice; `reopened`
 * names the hours of its earlier ends, so that they can be counted again without it.
 */
import type { ClientBase } from "pg";
import type { EndedGroup, StartedGroup } from "../../domain/templates/usage-cells.ts";
import { bucketSql } from "../../domain/templates/usage-counts.ts";
import { spanMsSql, stepNameSql } from "./step-name.ts";

const hourOf = (moment: string): string => `(extract(epoch from date_trunc('hour', ${moment}, 'UTC')) * 1000)::bigint`;
const msOf = (moment: string): string => `(extract(epoch from ${moment}) * 1000)::bigint`;
const tookMs = spanMsSql("coalesce(p.start_time, p.create_time)", "p.end_time");
const revision = `join workflow_revisions r on r.tenant_id = $1 and r.workflow_id = p.workflow_id and r.revision = p.revision and r.template_id is not null`;

const startedGroups = `select r.template_id as "templateUuid", r.template_version as version, ${hourOf("p.create_time")} as "hourAt",
    count(*) as started, max(${msOf("p.create_time")}) as "lastStartedAt"
  from page p ${revision}`;
const endedGroups = `select r.template_id as "templateUuid", r.template_version as version, ${hourOf("p.end_time")} as "hourAt",
    p.state = 'completed' as completed, case when p.state = 'completed' then ${bucketSql(tookMs)} end as bucket,
    case when p.state <> 'completed' then ${stepNameSql("p.failed_step")} end as "failedStep", count(*) as count
  from page p ${revision}`;

const startedColumns = "id, workflow_id, revision, create_time";
const endedColumns = "id, workflow_id, revision, state, failed_step, create_time, start_time, end_time";

const startedPage = `with page as materialized (
  select ${startedColumns} from workflow_executions where tenant_id = $1 and id > $2::uuid and id < $3::uuid order by id limit $4
)
select (select count(*) from page) as rows, (select id from page order by id desc limit 1) as "lastId",
  coalesce((select json_agg(g) from (${startedGroups} group by 1, 2, 3) g), '[]') as groups`;

const endedPage = `with page as materialized (
  select ${endedColumns} from workflow_executions
  where tenant_id = $1 and end_time is not null and (end_time, id) > ($2::timestamptz, $3::uuid) and end_time < $4::timestamptz
  order by end_time, id limit $5
),
again as materialized (
  select p.id, p.end_time from page p
  where exists (select 1 from execution_events o where o.tenant_id = $1 and o.execution_id = p.id and o.type = 'execution_reopened')
),
reopened as (
  select distinct ${hourOf("v.at")} as hour from again a
  join execution_events v on v.tenant_id = $1 and v.execution_id = a.id and v.type = 'execution_ended' and v.at < a.end_time
)
select (select count(*) from page) as rows,
  (select json_build_array(end_time::text, id) from page order by end_time desc, id desc limit 1) as last,
  coalesce((select json_agg(g) from (${endedGroups} group by 1, 2, 3, 4, 5, 6) g), '[]') as groups,
  coalesce((select json_agg(hour) from reopened), '[]') as reopened`;

export interface EndedCursor {
  /** Text of the database, exact. */
  readonly endTime: string;
  readonly endId: string;
}

export interface StartedPage {
  readonly rows: number;
  readonly lastId: string | null;
  readonly groups: readonly StartedGroup[];
}

export interface EndedPage {
  readonly rows: number;
  readonly last: readonly [endTime: string, endId: string] | null;
  readonly groups: readonly EndedGroup[];
  /** Starts of hours in which executions of this page ended before. */
  readonly reopened: readonly number[];
}

/** Created behind `afterId` and before `beforeId`, at most `limit`. */
export async function readStartedPage(client: ClientBase, tenantId: string, afterId: string, beforeId: string, limit: number): Promise<StartedPage> {
  const { rows } = await client.query<StartedPage>({ name: "usage_started", text: startedPage, values: [tenantId, afterId, beforeId, limit] });
  return rows[0] as StartedPage;
}

/** Ended behind the cursor and before a moment, at most `limit`. */
export async function readEndedPage(client: ClientBase, tenantId: string, after: EndedCursor, before: string, limit: number): Promise<EndedPage> {
  const { rows } = await client.query<EndedPage>({ name: "usage_ended", text: endedPage, values: [tenantId, after.endTime, after.endId, before, limit] });
  return rows[0] as EndedPage;
}

const nextStartedText = "select id from workflow_executions where tenant_id = $1 and id > $2::uuid and id < $3::uuid order by id limit 1";
const nextEndedText = `select end_time::text as "endTime", id as "endId" from workflow_executions
  where tenant_id = $1 and end_time is not null and (end_time, id) > ($2::timestamptz, $3::uuid) and end_time < $4::timestamptz order by end_time, id limit 1`;

/** The first row of the page that these would read, by its place alone: nothing else of it is looked at. */
export async function nextStarted(client: ClientBase, tenantId: string, afterId: string, beforeId: string): Promise<{ readonly id: string } | undefined> {
  return (await client.query<{ id: string }>(nextStartedText, [tenantId, afterId, beforeId])).rows[0];
}

export async function nextEnded(client: ClientBase, tenantId: string, after: EndedCursor, before: string): Promise<EndedCursor | undefined> {
  return (await client.query<EndedCursor>(nextEndedText, [tenantId, after.endTime, after.endId, before])).rows[0];
}

export interface SourceRange {
  /** Start of the first hour and end of the last one, ISO 8601. */
  readonly from: string;
  readonly to: string;
  /** Only what the rollup has read. */
  readonly startedId: string;
  readonly ended: EndedCursor;
}

const allStarted = `with page as (
  select ${startedColumns} from workflow_executions where tenant_id = $1 and id <= $2::uuid and create_time >= $3::timestamptz and create_time < $4::timestamptz
) ${startedGroups} group by 1, 2, 3`;
const allEnded = `with page as (
  select ${endedColumns} from workflow_executions
  where tenant_id = $1 and end_time >= $2::timestamptz and end_time < $3::timestamptz and (end_time, id) <= ($4::timestamptz, $5::uuid)
) ${endedGroups} group by 1, 2, 3, 4, 5, 6`;

/** Everything in some hours that the rollup has read, counted anew. */
export async function readAllStarted(client: ClientBase, tenantId: string, { from, to, startedId }: SourceRange): Promise<StartedGroup[]> {
  return (await client.query<StartedGroup>({ text: allStarted, values: [tenantId, startedId, from, to] })).rows;
}

export async function readAllEnded(client: ClientBase, tenantId: string, { from, to, ended }: SourceRange): Promise<EndedGroup[]> {
  return (await client.query<EndedGroup>({ text: allEnded, values: [tenantId, from, to, ended.endTime, ended.endId] })).rows;
}

const tailStarted = `with page as (
  select ${startedColumns} from workflow_executions where tenant_id = $1 and id > $2::uuid
) ${startedGroups} and r.template_id = $3::uuid group by 1, 2, 3`;
const tailEnded = `with page as (
  select ${endedColumns} from workflow_executions where tenant_id = $1 and end_time is not null and (end_time, id) > ($2::timestamptz, $3::uuid)
) ${endedGroups} and r.template_id = $4::uuid group by 1, 2, 3, 4, 5, 6`;

/** What one template's executions did that the rollup has not read yet. */
export async function readTail(
  client: ClientBase,
  tenantId: string,
  templateUuid: string,
  cursor: Pick<SourceRange, "startedId" | "ended">,
): Promise<{ readonly started: readonly StartedGroup[]; readonly ended: readonly EndedGroup[] }> {
  const { startedId, ended } = cursor;
  const started = await client.query<StartedGroup>({ name: "usage_tail_started", text: tailStarted, values: [tenantId, startedId, templateUuid] });
  const values = [tenantId, ended.endTime, ended.endId, templateUuid];
  return { started: started.rows, ended: (await client.query<EndedGroup>({ name: "usage_tail_ended", text: tailEnded, values })).rows };
}
