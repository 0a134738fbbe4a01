/**
 * Removes what was deleted long ago and what nothing refers to. One statement finds out and removes, for one head of one
 * tenant: a crash leaves all of it or nothing, and of two replicas one passes by. The head's lock and its look at `delete_time`
 * behind that let an undelete win that came before; one that comes after finds nothing.
 */
import type { Pool } from "pg";

export type DeletedKind = "workflow" | "template";

export interface DeletedHead {
  readonly deleteTime: Date;
  readonly tenantId: string;
  readonly uuid: string;
}

const tables = { workflow: "workflows", template: "workflow_templates" } as const;

const isOver = "h.delete_time < now() - $3 * interval '1 millisecond'";
const head = (kind: DeletedKind, conditions: readonly string[]): string => `head as (
  select h.id from ${tables[kind]} h where h.tenant_id = $1 and h.id = $2 and ${[isOver, ...conditions].join("\n    and ")}
  for update skip locked
)`;
const rows = (table: string, column: string): string => `${table}_gone as (delete from ${table} where tenant_id = $1 and ${column} in (select id from head))`;

/** The definitions of others are read last, and only for a workflow without executions: children stand in them by their id ($4). */
const workflowText = `with ${head("workflow", [
  "not exists (select from workflow_executions x where x.tenant_id = $1 and x.workflow_id = $2)",
  "not exists (select from workflow_sweeps s where s.tenant_id = $1 and s.workflow_id = $2)",
  "not exists (select from workflow_revisions r where r.tenant_id = $1 and r.workflow_id <> $2 and position($4::text in r.definition::text) > 0)",
])},
${rows("workflow_revisions", "workflow_id")},
${rows("workflow_slots", "workflow_id")}
delete from workflows where tenant_id = $1 and id in (select id from head)`;

/** Executions hold a template by the revision that they run, inheriting templates by what they inherit. */
const isBase = "bases @> jsonb_build_array(jsonb_build_object('id', $2::uuid))";
const templateText = `with ${head("template", [
  "not h.built_in",
  "not exists (select from workflow_revisions r where r.tenant_id = $1 and r.template_id = $2)",
  `not exists (select from workflow_templates t where t.tenant_id = $1 and t.id <> $2 and t.${isBase})`,
  `not exists (select from workflow_template_versions v where v.tenant_id = $1 and v.template_id <> $2 and v.${isBase})`,
])},
${rows("workflow_template_versions", "template_id")},
${rows("template_usage", "template_id")},
${rows("template_usage_totals", "template_id")}
delete from workflow_templates where tenant_id = $1 and id in (select id from head)`;

/** Deleted longer than `keptMs` ago, the oldest first, behind `after`. */
export async function listDeletedHeads(
  pool: Pool,
  kind: DeletedKind,
  keptMs: number,
  after: DeletedHead | undefined,
  countMax: number,
): Promise<DeletedHead[]> {
  const text = `select h.delete_time as "deleteTime", h.tenant_id as "tenantId", h.id as uuid from ${tables[kind]} h
    where h.delete_time < now() - $1 * interval '1 millisecond'
      and ($2::timestamptz is null or (h.delete_time, h.tenant_id, h.id) > ($2, $3, $4::uuid))
    order by h.delete_time, h.tenant_id, h.id limit $5`;
  const values = [keptMs, after?.deleteTime ?? null, after?.tenantId ?? null, after?.uuid ?? null, countMax];
  return (await pool.query<DeletedHead>(text, values)).rows;
}

/** `publicId`: as definitions name it. True: it is gone. */
export async function purgeHead(pool: Pool, kind: DeletedKind, { tenantId, uuid }: DeletedHead, publicId: string, keptMs: number): Promise<boolean> {
  const values = [tenantId, uuid, keptMs, ...(kind === "workflow" ? [publicId] : [])];
  return (await pool.query(kind === "workflow" ? workflowText : templateText, values)).rowCount === 1;
}
