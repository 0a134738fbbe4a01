/**
 * What became of the newest executions that were created in a window, and of their steps, as groups. Both statements read the same
 * page of executions, by an index and at most so many; the ledger is read by execution, as far as the row knows it, so that its
 * rows say beforehand how many events that is.
 */
import type { ClientBase } from "pg";
import { bucketSql } from "../../domain/templates/usage-counts.ts";
import { shownState } from "../execution-conditions.ts";
import { spanMsSql, stepNameSql } from "./step-name.ts";

export interface PageParameters {
  readonly tenantId: string;
  /** ISO 8601; `to` is not part of it. */
  readonly from: string;
  readonly to: string;
  /** Ids are UUIDv7: everything of the window lies between these. */
  readonly fromId: string;
  readonly toId: string;
  readonly rowsMax: number;
  readonly workflowUuid: string | undefined;
  readonly revision: number | undefined;
}

/** What a page held before the revision was chosen. */
interface PageSummary {
  readonly rows: number;
  readonly oldest: Date | null;
}

export interface ExecutionGroupRow {
  readonly workflowUuid: string | null;
  readonly workflowName: string;
  readonly newestId: string;
  readonly revision: number;
  readonly state: string;
  readonly ended: boolean;
  readonly bucket: number | null;
  readonly failure: string | null;
  readonly step: string | null;
  readonly count: number;
}

export interface StepGroupRow {
  readonly workflowUuid: string | null;
  readonly revision: number;
  readonly name: string;
  readonly state: string;
  readonly action: "succeeded" | "failed" | null;
  readonly bucket: number | null;
  readonly count: number;
  readonly retries: number;
}

export interface StepFailureRow {
  readonly workflowUuid: string | null;
  readonly revision: number;
  readonly name: string;
  readonly failure: string;
  readonly count: number;
}

/** The limit comes before the revision: however rare that is, no more is read. */
const page = (workflow: boolean, revision: boolean): string => `read as materialized (
  select e.id, e.workflow_id, e.workflow_name, e.revision, ${shownState} as state, e.failure, e.failed_step, e.last_sequence, e.rerun_of,
    e.create_time, e.start_time, e.end_time
  from workflow_executions e
  where e.tenant_id = $1 and e.create_time >= $2::timestamptz and e.create_time < $3::timestamptz and e.id >= $4::uuid and e.id < $5::uuid${workflow ? " and e.workflow_id = $7::uuid" : ""}
  order by e.id desc limit $6
),
page as materialized (select * from read${revision ? " where revision = $8::int" : ""})`;

const tookMs = spanMsSql("coalesce(start_time, create_time)", "end_time");
const isFailed = "end_time is not null and state <> 'completed'";

const executionGroups = `select workflow_id as "workflowUuid", (array_agg(workflow_name order by id desc))[1] as "workflowName", max(id::text) as "newestId",
    revision, state, end_time is not null as ended, case when state = 'completed' then ${bucketSql(tookMs)} end as bucket,
    case when ${isFailed} then failure ->> 'name' end as failure, case when ${isFailed} then ${stepNameSql("failed_step")} end as step, count(*) as count
  from page group by workflow_id, revision, state, ended, bucket, 8, 9`;

const executionsText = (workflow: boolean, revision: boolean): string => `with ${page(workflow, revision)}
select (select count(*) from read) as rows, (select min(create_time) from read) as oldest,
  coalesce((select json_agg(g) from (${executionGroups}) g), '[]') as groups`;

const outcomes = "('step_succeeded', 'step_failed', 'step_skipped', 'step_canceled')";
const wanted = `('step_started', 'step_waiting', 'step_retry_scheduled', 'step_succeeded', 'step_failed', 'step_skipped', 'step_canceled',
  'compensation_started', 'compensation_succeeded', 'compensation_retry_scheduled', 'compensation_failed')`;
/** As the view workflow_execution_steps names them. */
const stepState = `case last_type
  when 'step_started' then 'running' when 'step_waiting' then 'waiting' when 'step_retry_scheduled' then 'retrying' when 'step_succeeded' then 'completed'
  when 'step_failed' then 'failed' when 'step_skipped' then 'skipped' when 'step_canceled' then 'canceled'
  when 'compensation_succeeded' then 'compensated' when 'compensation_failed' then 'compensation_failed' else 'compensating' end`;

/** Payloads are opened only of failures; of a rerun also to leave out what it copied, which was counted where it happened. */
const steps = (workflow: boolean, revision: boolean, events: string): string => `with ${page(workflow, revision)},
chosen as materialized (
  select * from (
    select p.*, sum(p.last_sequence) over (order by p.id desc rows between unbounded preceding and 1 preceding) as before from page p
  ) counted where coalesce(before, 0) < ${events}::bigint
),
events as materialized (
  select c.workflow_id, c.revision, c.id, v.step_path, v.sequence, v.type, v.at,
    case when v.type in ('step_failed', 'step_retry_scheduled') then v.payload #>> '{failure,name}' end as failure,
    v.type = 'step_failed' or (v.type = 'step_retry_scheduled' and coalesce(v.payload ->> 'putBack', v.payload ->> 'polled', v.payload ->> 'recovered', 'false') = 'false') as attempted,
    c.rerun_of is not null and v.type in ${outcomes} and v.payload ->> 'copiedFrom' is not null as copied
  from chosen c cross join lateral (
    select * from execution_events e
    where e.tenant_id = $1 and e.execution_id = c.id and e.sequence <= c.last_sequence and e.step_path <> '' and e.type in ${wanted}
  ) v
),
paths as (
  select workflow_id, revision, ${stepNameSql("step_path")} as name, (array_agg(type order by sequence desc))[1] as last_type,
    (array_agg(type order by sequence desc) filter (where type in ${outcomes}))[1] as outcome,
    min(at) filter (where type in ('step_started', 'step_waiting')) as begun, max(at) filter (where type = 'step_succeeded') as done,
    count(*) filter (where type = 'step_retry_scheduled' and attempted) as retries
  from events group by workflow_id, revision, id, step_path having not bool_or(copied)
)`;

const stepGroups = `select workflow_id as "workflowUuid", revision, name, ${stepState} as state,
    case outcome when 'step_succeeded' then 'succeeded' when 'step_failed' then 'failed' end as action,
    case when outcome = 'step_succeeded' and begun <= done then ${bucketSql(spanMsSql("begun", "done"))} end as bucket,
    count(*) as count, sum(retries) as retries
  from paths group by 1, 2, 3, 4, 5, 6`;
const failureGroups = `select workflow_id as "workflowUuid", revision, ${stepNameSql("step_path")} as name, failure, count(*) as count
  from events where attempted and not copied and failure is not null group by 1, 2, 3, 4`;

const stepsText = (workflow: boolean, revision: boolean, events: string): string => `${steps(workflow, revision, events)}
select (select count(*) from chosen) as rows, (select min(create_time) from chosen) as oldest, (select count(*) from page) as "ofRows",
  coalesce((select json_agg(g) from (${stepGroups}) g), '[]') as groups, coalesce((select json_agg(f) from (${failureGroups}) f), '[]') as failures`;

function valuesOf(parameters: PageParameters): unknown[] {
  const { tenantId, from, to, fromId, toId, rowsMax, workflowUuid, revision } = parameters;
  return [tenantId, from, to, fromId, toId, rowsMax, ...(workflowUuid === undefined ? [] : [workflowUuid]), ...(revision === undefined ? [] : [revision])];
}

/** A revision is one of a workflow. */
function shapeOf({ workflowUuid, revision }: PageParameters): [boolean, boolean, string] {
  const name = workflowUuid === undefined ? "all" : revision === undefined ? "workflow" : "revision";
  return [workflowUuid !== undefined, workflowUuid !== undefined && revision !== undefined, name];
}

export async function readExecutionGroups(
  client: ClientBase,
  parameters: PageParameters,
): Promise<PageSummary & { readonly groups: readonly ExecutionGroupRow[] }> {
  const [workflow, revision, name] = shapeOf(parameters);
  type Row = PageSummary & { readonly groups: readonly ExecutionGroupRow[] };
  const { rows } = await client.query<Row>({ name: `execution_stats_${name}`, text: executionsText(workflow, revision), values: valuesOf(parameters) });
  return rows[0] as Row;
}

/** Of the newest executions until their ledgers together hold `eventsMax`; `ofRows` is how many the page has. */
export async function readStepGroups(
  client: ClientBase,
  parameters: PageParameters,
  eventsMax: number,
): Promise<PageSummary & { readonly ofRows: number; readonly groups: readonly StepGroupRow[]; readonly failures: readonly StepFailureRow[] }> {
  const [workflow, revision, name] = shapeOf(parameters);
  const values = [...valuesOf(parameters), eventsMax];
  type Row = PageSummary & { readonly ofRows: number; readonly groups: readonly StepGroupRow[]; readonly failures: readonly StepFailureRow[] };
  const { rows } = await client.query<Row>({ name: `step_stats_${name}`, text: stepsText(workflow, revision, `$${values.length}`), values });
  return rows[0] as Row;
}
