/** A page of one tenant's template heads, newest first. The built-in ones are read by a second call and merged. */
import type { ClientBase } from "pg";
import { likeName, type NameMatch } from "../listing.ts";
import { type TemplateRow, templateColumns } from "../template-row.ts";

export interface ListTemplatesParameters {
  readonly category: string | undefined;
  /** All of these. */
  readonly tags: readonly string[] | undefined;
  readonly name: NameMatch | undefined;
  readonly deletedToo: boolean;
  readonly afterUuid: string | undefined;
  readonly limit: number;
}

export async function listTemplates(client: ClientBase, tenantId: string, parameters: ListTemplatesParameters): Promise<TemplateRow[]> {
  const { category, tags, name, deletedToo, afterUuid, limit } = parameters;
  const values: unknown[] = [tenantId, limit];
  const conditions = ["tenant_id = $1"];
  const add = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
  };
  if (!deletedToo) conditions.push("delete_time is null");
  add(category, (place) => `category = ${place}`);
  add(tags, (place) => `tags @> ${place}::text[]`);
  add(name && likeName(name), (place) => `name like ${place}`);
  add(afterUuid, (place) => `id < ${place}`);
  const text = `select ${templateColumns} from workflow_templates where ${conditions.join(" and ")} order by id desc limit $2`;
  return (await client.query<TemplateRow>({ text, values })).rows;
}
