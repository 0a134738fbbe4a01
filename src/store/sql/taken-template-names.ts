/** Which of some names a tenant uses for templates of its own; these hide the built-in templates of that name. */
import type { ClientBase } from "pg";

const text = "select name from workflow_templates where tenant_id = $1 and name = any($2::text[]) and delete_time is null";

export async function takenTemplateNames(client: ClientBase, tenantId: string, names: readonly string[]): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ name: string }>({ name: "taken_template_names", text, values: [tenantId, names] });
  return new Set(rows.map(({ name }) => name));
}
