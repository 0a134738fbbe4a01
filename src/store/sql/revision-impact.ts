/** Who would be concerned by another revision: open executions of one, and workflows that may run this one as a step. */
import type { ClientBase } from "pg";
import type { JsonObject } from "../../base/json.ts";

const openText = "select count(*) as count from workflow_executions where tenant_id = $1 and workflow_id = $2 and revision = $3 and end_time is null";

export async function countOpenExecutions(client: ClientBase, tenantId: string, workflowUuid: string, revision: number): Promise<number> {
  const { rows } = await client.query<{ count: string }>({ text: openText, values: [tenantId, workflowUuid, revision] });
  return Number(rows[0]?.count ?? 0);
}

/** Active revisions whose text names the step type and the workflow; whether they mean it is for the caller to see. */
const parentsText = `
select w.id as "workflowId", r.definition from workflows w
join workflow_revisions r on r.tenant_id = w.tenant_id and r.workflow_id = w.id and r.revision = w.active_revision
where w.tenant_id = $1 and w.delete_time is null and w.active_revision > 0 and position('"sub_workflow"' in r.definition::text) > 0
  and (position($2 in r.definition::text) > 0 or position($3 in r.definition::text) > 0)
order by w.id limit $4`;

export async function findPossibleParents(
  client: ClientBase,
  tenantId: string,
  workflow: { readonly id: string; readonly name: string },
  limit: number,
): Promise<{ readonly workflowId: string; readonly definition: JsonObject }[]> {
  const values = [tenantId, JSON.stringify(workflow.id), JSON.stringify(workflow.name), limit];
  return (await client.query<{ workflowId: string; definition: JsonObject }>({ text: parentsText, values })).rows;
}
