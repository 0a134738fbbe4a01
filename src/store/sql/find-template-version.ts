/** One published version of a template. */
import type { Pool } from "pg";
import { type TemplateVersionRow, templateVersionColumns } from "../template-row.ts";

const text = `select ${templateVersionColumns} from workflow_template_versions where tenant_id = $1 and template_id = $2 and version = $3`;

export async function findTemplateVersion(pool: Pool, tenantId: string, templateUuid: string, version: number): Promise<TemplateVersionRow | undefined> {
  return (await pool.query<TemplateVersionRow>({ name: "find_template_version", text, values: [tenantId, templateUuid, version] })).rows[0];
}
