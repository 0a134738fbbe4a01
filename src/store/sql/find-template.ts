/** A template's head by id or name, with the tenant's own usage of it: the tenant's own template, else the built-in one. */
import type { Pool } from "pg";
import { builtInTenant, type TemplateRowWithUsage, templateColumns } from "../template-row.ts";
import { usageColumns } from "../usage-row.ts";

const head = `t.tenant_id as "tenantId", ${templateColumns}, ${usageColumns}, u.workflows`;
const from = `from workflow_templates t left join template_usage_totals u on u.tenant_id = $1 and u.template_id = t.id`;
const seen = `where t.tenant_id in ($1, '${builtInTenant}')`;
const ownFirst = "order by (t.tenant_id = $1) desc limit 1";
const idIs = `and t.id = $2 and ($3 or t.delete_time is null) ${ownFirst}`;
const nameIs = `and t.name = $2 and t.delete_time is null ${ownFirst}`;
const byId = `select ${head} ${from} ${seen} ${idIs}`;
const byName = `select ${head} ${from} ${seen} ${nameIs}`;

export type TemplateReference = { readonly uuid: string; readonly deletedToo: boolean } | { readonly name: string };
export type FoundTemplateRow = TemplateRowWithUsage & { readonly tenantId: string };

export async function findTemplate(pool: Pool, tenantId: string, reference: TemplateReference): Promise<FoundTemplateRow | undefined> {
  const query =
    "uuid" in reference
      ? { name: "find_template", text: byId, values: [tenantId, reference.uuid, reference.deletedToo] }
      : { name: "find_template_name", text: byName, values: [tenantId, reference.name] };
  return (await pool.query<FoundTemplateRow>(query)).rows[0];
}
