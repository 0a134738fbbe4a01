/** Workflows made from templates (their first revision was), deleted ones left out. */
import type { ClientBase } from "pg";

const made = `from workflow_revisions r join workflows w on w.tenant_id = r.tenant_id and w.id = r.workflow_id and w.delete_time is null
where r.tenant_id = $1 and r.revision = 1`;

const changedText = `select distinct r.template_id as uuid from workflows w
join workflow_revisions r on r.tenant_id = w.tenant_id and r.workflow_id = w.id and r.revision = 1 and r.template_id is not null
where w.tenant_id = $1 and w.update_time > $2::timestamptz`;

/** Counted anew, never added up: a deletion, an undeletion and a count taken twice all come out right. */
const writeText = `insert into template_usage_totals (tenant_id, template_id, workflows)
select $1, c.id, (select count(*) ${made} and r.template_id = c.id) from unnest($2::uuid[]) as c (id)
on conflict (tenant_id, template_id) do update set workflows = excluded.workflows`;

const hourlyText = `select r.template_version as version, (extract(epoch from date_trunc('hour', w.create_time, 'UTC')) * 1000)::bigint as "hourAt", count(*) as count
${made} and r.template_id = $2 and w.create_time >= $3::timestamptz and w.create_time < $4::timestamptz group by 1, 2`;

/** Templates whose workflows were created, deleted or changed since a moment; all of them since the first one. */
export async function templatesWithChangedWorkflows(client: ClientBase, tenantId: string, since: string): Promise<string[]> {
  const { rows } = await client.query<{ uuid: string }>({ name: "usage_changed_workflows", text: changedText, values: [tenantId, since] });
  return rows.map(({ uuid }) => uuid);
}

export async function countMadeWorkflows(client: ClientBase, tenantId: string, templateUuids: readonly string[]): Promise<void> {
  if (templateUuids.length === 0) return;
  await client.query({ name: "usage_count_workflows", text: writeText, values: [tenantId, templateUuids] });
}

export interface MadeWorkflows {
  readonly version: number;
  readonly hourAt: number;
  readonly count: number;
}

/** Of one template, by the version they were first made from and the hour in which they were created. */
export async function readMadeWorkflows(client: ClientBase, tenantId: string, templateUuid: string, from: string, to: string): Promise<MadeWorkflows[]> {
  return (await client.query<MadeWorkflows>({ name: "usage_made_workflows", text: hourlyText, values: [tenantId, templateUuid, from, to] })).rows;
}
