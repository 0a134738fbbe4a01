/** How many of one tenant's templates stand in each category and bear each tag; names in `hidden` are left out. */
import type { ClientBase } from "pg";

const text = `
with heads as (
  select category, tags from workflow_templates where tenant_id = $1 and delete_time is null and name <> all($2::text[])
)
select 'category' as kind, category as name, count(*) as count from heads group by category
union all
select 'tag', tag, count(*) from heads, unnest(tags) as tag group by tag`;

export interface CategoryCountRow {
  readonly kind: "category" | "tag";
  readonly name: string;
  readonly count: number;
}

export async function countCategories(client: ClientBase, tenantId: string, hidden: readonly string[]): Promise<CategoryCountRow[]> {
  return (await client.query<CategoryCountRow>({ name: "count_categories", text, values: [tenantId, hidden] })).rows;
}
