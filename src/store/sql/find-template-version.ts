/** One published version of a template; without a number the latest one. */
import type { Pool } from "pg";
import { type TemplateVersionRow, templateVersionColumns } from "../template-row.ts";

const select = `select ${templateVersionColumns} from workflow_template_versions where tenant_id = $1 and template_id = $2`;
const given = `${select} and version = $3`;
const latest = `${select} order by version desc limit 1`;

export async function findTemplateVersion(
  pool: Pool,
  tenantId: string,
  templateUuid: string,
  version: number | undefined,
): Promise<TemplateVersionRow | undefined> {
  const query =
    version === undefined
      ? { name: "find_template_version_latest", text: latest, values: [tenantId, templateUuid] }
      : { name: "find_template_version", text: given, values: [tenantId, templateUuid, version] };
  return (await pool.query<TemplateVersionRow>(query)).rows[0];
}
