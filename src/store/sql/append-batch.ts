/**
 * The hot statement: one batch of many executions' events and projections in one prepared statement.
 *
 * Fenced once per flush: the replica's own lease row is read FOR KEY SHARE; a takeover takes the same row FOR UPDATE and
 * raises its epoch, so a stale replica's whole flush writes nothing. (KEY SHARE rather than SHARE: a renewal of the lease
 * does not touch the key and need not wait for a flush, nor a flush for a renewal.)
 *
 * A row of an execution that this replica does not own any more is left alone (`coalesce` keeps the planner from looking
 * for it by owner). The batch is never joined to itself; the one membership test (`started`) is a hashed subplan. Array
 * parameters keep a text, and so its prepared plan, the same for every batch size; a few rows, which is what one execution
 * alone writes, are scalar parameters, because `unnest` of nine arrays costs a quarter of a commit. Parts that a batch does not
 * have are left out of the text: each costs its start-up even without rows. A batch of events alone is a plain insert.
 */
import type { ClientBase } from "pg";
import { type BatchRows, type Part, type PartRow, partColumns, parts } from "./batch-parts.ts";

export interface BatchAnswer {
  readonly fenced: boolean;
  /** Ids of the starts that were new. */
  readonly started: readonly string[];
}

/** Writes one batch in its own transaction; durable when it resolves. Throws what PostgreSQL throws: then nothing was written. */
export async function appendBatch(client: ClientBase, replicaId: string, epoch: number, batch: BatchRows): Promise<BatchAnswer> {
  const present = parts.filter((part) => batch[part].length > 0).map((name) => ({ name, form: formOf(batch[name].length) }));
  const key = present.map(({ name, form }) => `${name}${form}`).join(" ");
  const { rows, rowCount } = await client.query<{ fence: number; started: string[] }>({
    name: `append ${key}`,
    text: textOf(key, present),
    values: [replicaId, epoch, ...present.flatMap((part) => valuesOf(part, batch[part.name]))],
  });
  if (isEventsOnly(present)) return { fenced: rowCount === 0, started: [] };
  const row = rows[0];
  return { fenced: row?.fence !== 1, started: row?.started ?? [] };
}

/** How many rows of a part are sent as scalar parameters; 0: its columns are arrays, of any length. */
type Form = number;

interface PresentPart {
  readonly name: Part;
  readonly form: Form;
}

/** Rows of a part up to which scalars are used: what a start writes. Each number of rows is one more prepared text. */
const scalarRowsMax = 3;

function formOf(rows: number): Form {
  return rows <= scalarRowsMax ? rows : 0;
}

/** Most batches between a start and an end: the insert itself is the statement, and the number of its rows is the fence's answer. */
function isEventsOnly(present: readonly PresentPart[]): boolean {
  return present.length === 1 && present[0]?.name === "events";
}

function valuesOf({ name, form }: PresentPart, rows: readonly PartRow[]): PartRow | string[] {
  return form === 0 ? columnsOf(name, rows) : rows.flat();
}

/** One array per column as PostgreSQL's text form of an array: the client's own way quotes every element, numbers too. */
function columnsOf(part: Part, rows: readonly PartRow[]): string[] {
  return partColumns[part].map(([, type], column) => {
    const isText = type === "text";
    let text = "{";
    for (const row of rows) {
      const value = row[column] ?? null;
      if (text.length > 1) text += ",";
      text += value === null ? "NULL" : isText ? quoted(String(value)) : value;
    }
    return `${text}}`;
  });
}

function quoted(text: string): string {
  return `"${text.includes('"') || text.includes("\\") ? text.replace(/[\\"]/g, "\\$&") : text}"`;
}

const texts = new Map<string, string>();

function textOf(key: string, present: readonly PresentPart[]): string {
  let text = texts.get(key);
  if (text === undefined) texts.set(key, (text = compose(present)));
  return text;
}

/** The part's rows as a table named `alias`, from parameters. */
type Source = (alias: string) => string;

function compose(present: readonly PresentPart[]): string {
  let parameter = 2;
  const sources = new Map<Part, Source>();
  for (const { name, form } of present) {
    const columns = partColumns[name];
    const row = (suffix: string): string => columns.map(([, type]) => `$${++parameter}::${type}${suffix}`).join(", ");
    const table = form === 0 ? `unnest(${row("[]")})` : `(${Array.from({ length: form }, () => `select ${row("")}`).join(" union all ")})`;
    const names = columns.map(([column]) => column).join(", ");
    sources.set(name, (alias) => `${table} as ${alias} (${names})`);
  }
  const hasStarts = sources.has("starts");
  const fence = "fence as materialized (select id from replicas where id = $1 and epoch = $2 and expire_time > clock_timestamp() for key share)";
  if (isEventsOnly(present)) return `with ${fence}\n${insertEvents(sources.get("events") as Source, false)}`;
  const expressions = [fence, ...present.flatMap(({ name }) => statements[name](sources.get(name) as Source, hasStarts))];
  const started = hasStarts ? "array(select id::text from started)" : "'{}'::text[]";
  return `with ${expressions.join(",\n")}\nselect (select count(*) from fence)::int as fence, ${started} as started`;
}

/** What an execution's row takes from its projection, a JSON text. */
const projected = `r (state text, end_reason text, failure json, failed_step text, standing_effects text[], variables json,
  paused boolean, last_sequence int, start_time timestamptz, end_time timestamptz, wake_at timestamptz, revision int, input json, rerun_of uuid,
  parent uuid, root uuid)`;

/** What a saga's row takes from it. */
const projectedSaga = `r (saga text, end_reason text, paused boolean, expire_time timestamptz, end_time timestamptz, participants text[], open_steps int,
  notice_at timestamptz)`;

/** Rows of an execution that turned out to exist already are not written. */
function unlessExisting(alias: string, hasStarts: boolean): string {
  return hasStarts ? `where not ${alias}.first or ${alias}.execution_id in (select id from started)` : "";
}

/**
 * `changed`: revision and input change when a retry says so. A retry opens an ended execution again, whose key may belong
 * to another one by then, so it does not take it back.
 */
const statements: Record<Part, (source: Source, hasStarts: boolean) => string[]> = {
  starts: (source) => [
    `started as (
      insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, execution_key, request_id, request_hash,
        correlation_id, labels, priority, traceparent, create_time, state, end_reason, failure, failed_step, standing_effects,
        variables, paused, last_sequence, start_time, end_time, owner, wake_at, rerun_of, parent_execution_id, root_execution_id)
      select s.tenant_id, s.id, s.workflow_id, s.workflow_name, s.revision, s.execution_key, s.request_id,
        decode(s.request_hash, 'hex'), s.correlation_id, s.labels::jsonb, s.priority, s.traceparent, s.create_time, r.state, r.end_reason,
        r.failure, r.failed_step, r.standing_effects, r.variables, r.paused, r.last_sequence, r.start_time,
        r.end_time, case when s.released then null else f.id end, r.wake_at, r.rerun_of, r.parent, r.root
      from fence f, ${source("s")}, json_to_record(s.projection::json) as ${projected}
      on conflict do nothing returning id)`,
    `started_sagas as (
      insert into workflow_instances (tenant_id, id, state, end_reason, paused, expire_time, create_time, update_time, end_time, participants, open_steps, notice_at)
      select s.tenant_id, s.id, r.saga, r.end_reason, r.paused, r.expire_time, s.create_time, coalesce(r.end_time, s.create_time), r.end_time,
        r.participants, coalesce(r.open_steps, 0), r.notice_at
      from ${source("s")}, json_to_record(s.projection::json) as ${projectedSaga}
      where s.id in (select id from started))`,
  ],
  changes: (source) => [
    `changed as (
      update workflow_executions e set state = r.state, end_reason = r.end_reason, failure = r.failure,
        failed_step = r.failed_step, standing_effects = r.standing_effects, variables = r.variables, paused = r.paused,
        last_sequence = r.last_sequence, start_time = r.start_time, end_time = r.end_time,
        owner = case when c.released then null else f.id end, wake_at = r.wake_at, revision = coalesce(r.revision, e.revision),
        input = coalesce(r.input, e.input), execution_key = case when e.end_time is null or r.end_time is not null then e.execution_key end
      from fence f, ${source("c")}, json_to_record(c.projection::json) as ${projected}
      where e.tenant_id = c.tenant_id and e.id = c.id and coalesce(e.owner = f.id, false))`,
    `changed_sagas as (
      update workflow_instances i set state = r.saga, end_reason = r.end_reason, paused = r.paused,
        update_time = coalesce(r.end_time, now()), end_time = r.end_time, expire_time = coalesce(r.expire_time, i.expire_time),
        participants = coalesce(r.participants, i.participants), open_steps = coalesce(r.open_steps, i.open_steps), notice_at = r.notice_at,
        notice_attempts = case when r.end_time is null then i.notice_attempts else 0 end
      from fence f, ${source("c")}, json_to_record(c.projection::json) as ${projectedSaga}
      where i.tenant_id = c.tenant_id and i.id = c.id and ((i.state, i.paused, i.end_reason) is distinct from (r.saga, r.paused, r.end_reason)
        or (r.open_steps is not null and (i.open_steps, i.expire_time, i.participants) is distinct from (r.open_steps, r.expire_time, r.participants))
        or i.expire_time < r.expire_time))`,
  ],
  events: (source, hasStarts) => [`ledger as (${insertEvents(source, hasStarts)})`],
  waits: (source, hasStarts) => [
    `waits_opened as (
      insert into event_waits (tenant_id, execution_id, step_path, attempt, position, event_type, correlation_key)
      select w.tenant_id, w.execution_id, w.step_path, w.attempt, w.position, w.event_type, w.correlation_key
      from fence f, ${source("w")} ${unlessExisting("w", hasStarts)})`,
  ],
  waitEnds: (source) => [
    `waits_closed as (
      delete from event_waits w using fence f, ${source("x")}
      where w.tenant_id = x.tenant_id and w.execution_id = x.execution_id and w.step_path = x.step_path and w.attempt = x.attempt)`,
  ],
  taken: (source) => [
    `signals_taken as (
      update signals s set taken = true from fence f, ${source("t")} where s.tenant_id = t.tenant_id and s.id = t.id)`,
  ],
  outbox: (source) => [
    `outgoing as (
      insert into execution_outbox (tenant_id, execution_id, sender_id, sequence, command, attempted_by)
      select o.tenant_id, o.execution_id, o.sender_id, o.sequence, o.command::json, f.id from fence f, ${source("o")}
      on conflict do nothing)`,
  ],
  tasks: (source, hasStarts) => [
    `opened_tasks as (
      insert into tasks (tenant_id, id, execution_id, step_path, operation, generation, attempt, queue, task_type, required_labels, sort_time,
        idempotency_key, input, action_output, may_not_have_run, correlation_id, traceparent, tracestate, baggage, close_ms, heartbeat_ms, create_time, expire_time, start_before)
      select k.tenant_id, k.id, k.execution_id, k.step_path, k.operation, k.generation, k.attempt, k.queue, k.task_type, k.required_labels::jsonb,
        k.sort_time, k.idempotency_key, k.input::json, k.action_output::json, k.may_not_have_run, k.correlation_id, k.traceparent, k.tracestate, k.baggage, k.close_ms,
        k.heartbeat_ms, k.create_time, k.expire_time, k.expire_time
      from fence f, ${source("k")} ${unlessExisting("k", hasStarts)})`,
  ],
  taskEnds: (source) => [
    `closed_tasks as (
      delete from tasks t using fence f, ${source("x")} where t.tenant_id = x.tenant_id and t.id = x.id)`,
  ],
};

function insertEvents(source: Source, hasStarts: boolean): string {
  return `insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
      select v.tenant_id, v.execution_id, v.sequence, v.type, v.step_path, v.attempt, v.at, v.payload::json
      from fence f, ${source("v")} ${unlessExisting("v", hasStarts)}`;
}
