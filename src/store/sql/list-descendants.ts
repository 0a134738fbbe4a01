/**
 * What comes from a template: templates that inherit from it (as their newest version says, or their draft while there is none),
 * and workflows whose active revision was made from it or from a version that inherits from it. Each part by name, behind a name.
 */
import type { ClientBase } from "pg";
import type { BaseReference } from "../entities/workflow-template.ts";

const templatesText = `
select t.id as uuid, t.name, t.bases from workflow_templates t
where t.tenant_id = $1 and t.delete_time is null and t.bases @> jsonb_build_array(jsonb_build_object('id', $2::text)) and t.name collate "C" > $3
order by t.name collate "C" limit $4`;

/** `own`: the template itself; the others: versions that inherit from it, with their bases. */
const linesCte = `lines as (
  select $2::uuid as template_id, null::int as version, null::jsonb as bases
  union all
  select v.template_id, v.version, v.bases from workflow_template_versions v
  where v.tenant_id = $1 and v.bases @> jsonb_build_array(jsonb_build_object('id', $2::text))
),
made as (
  select w.id as uuid, w.name, r.template_version as version, l.bases
  from lines l
  join workflow_revisions r on r.tenant_id = $1 and r.template_id = l.template_id and (l.version is null or r.template_version = l.version)
  join workflows w on w.tenant_id = $1 and w.id = r.workflow_id and w.delete_time is null
    and r.revision = coalesce(nullif(w.active_revision, 0), w.latest_revision)
)`;

const workflowsText = `with ${linesCte} select uuid, name, version, bases from made where name collate "C" > $3 order by name collate "C" limit $4`;

const countText = `with ${linesCte} select (select count(*) from made) + (select count(*) from workflow_templates t
  where t.tenant_id = $1 and t.delete_time is null and t.bases @> jsonb_build_array(jsonb_build_object('id', $2::text))) as count`;

export interface InheritingRow {
  readonly uuid: string;
  readonly name: string;
  readonly bases: readonly BaseReference[];
}

export interface DerivedRow {
  readonly uuid: string;
  readonly name: string;
  /** Of the template it was made from. */
  readonly version: number;
  /** Of that version; null when it was made from the template itself. */
  readonly bases: readonly BaseReference[] | null;
}

export async function listInheriting(client: ClientBase, tenantId: string, templateUuid: string, afterName: string, limit: number): Promise<InheritingRow[]> {
  return (await client.query<InheritingRow>({ name: "list_inheriting", text: templatesText, values: [tenantId, templateUuid, afterName, limit] })).rows;
}

export async function listDerived(client: ClientBase, tenantId: string, templateUuid: string, afterName: string, limit: number): Promise<DerivedRow[]> {
  return (await client.query<DerivedRow>({ name: "list_derived", text: workflowsText, values: [tenantId, templateUuid, afterName, limit] })).rows;
}

export async function countDescendants(client: ClientBase, tenantId: string, templateUuid: string): Promise<number> {
  const { rows } = await client.query<{ count: number }>({ name: "count_descendants", text: countText, values: [tenantId, templateUuid] });
  return rows[0]?.count ?? 0;
}
