/** How many of the templates that a tenant sees stand in each category and bear each tag: its own, and built-in ones that it does not hide. */
import type { ClientBase } from "pg";
import { builtInTenant } from "../template-row.ts";

const text = `
with heads as (
  select category, tags from workflow_templates where tenant_id = $1 and delete_time is null
  union all
  select category, tags from workflow_templates t where tenant_id = '${builtInTenant}' and delete_time is null
    and not exists (select 1 from workflow_templates o where o.tenant_id = $1 and o.name = t.name and o.delete_time is null)
)
select 'category' as kind, category as name, count(*) as count from heads group by category
union all
select 'tag', tag, count(*) from heads, unnest(tags) as tag group by tag`;

export interface CategoryCountRow {
  readonly kind: "category" | "tag";
  readonly name: string;
  readonly count: number;
}

export async function countCategories(client: ClientBase, tenantId: string): Promise<CategoryCountRow[]> {
  return (await client.query<CategoryCountRow>({ name: "count_categories", text, values: [tenantId] })).rows;
}
