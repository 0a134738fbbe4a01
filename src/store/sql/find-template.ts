/** A template's head by id or name: the tenant's own, else the built-in one. */
import type { Pool } from "pg";
import { builtInTenant, type TemplateRow, templateColumns } from "../template-row.ts";

const select = `select tenant_id as "tenantId", ${templateColumns} from workflow_templates where tenant_id in ($1, '${builtInTenant}')`;
const ownFirst = "order by (tenant_id = $1) desc limit 1";
const byId = `${select} and id = $2 and ($3 or delete_time is null) ${ownFirst}`;
const byName = `${select} and name = $2 and delete_time is null ${ownFirst}`;

export type TemplateReference = { readonly uuid: string; readonly deletedToo: boolean } | { readonly name: string };
export type FoundTemplateRow = TemplateRow & { readonly tenantId: string };

export async function findTemplate(pool: Pool, tenantId: string, reference: TemplateReference): Promise<FoundTemplateRow | undefined> {
  const query =
    "uuid" in reference
      ? { name: "find_template", text: byId, values: [tenantId, reference.uuid, reference.deletedToo] }
      : { name: "find_template_name", text: byName, values: [tenantId, reference.name] };
  return (await pool.query<FoundTemplateRow>(query)).rows[0];
}
