/** Published versions of a template, newest first. */
import type { ClientBase } from "pg";
import { type TemplateVersionRow, type VersionParts, versionColumnsOf } from "../template-row.ts";

const textOf = (parts: VersionParts): string => `select ${versionColumnsOf(parts)} from workflow_template_versions
where tenant_id = $1 and template_id = $2 and version < $3 order by version desc limit $4`;

export async function listTemplateVersions(
  client: ClientBase,
  tenantId: string,
  templateUuid: string,
  beforeVersion: number,
  limit: number,
  parts: VersionParts,
): Promise<TemplateVersionRow[]> {
  const values = [tenantId, templateUuid, beforeVersion, limit];
  return (await client.query<TemplateVersionRow>({ name: `list_template_versions_${parts}`, text: textOf(parts), values })).rows;
}

export async function countTemplateVersions(client: ClientBase, tenantId: string, templateUuid: string): Promise<number> {
  const count = "select count(*) as count from workflow_template_versions where tenant_id = $1 and template_id = $2";
  return (await client.query<{ count: number }>({ name: "count_template_versions", text: count, values: [tenantId, templateUuid] })).rows[0]?.count ?? 0;
}
