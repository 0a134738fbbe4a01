/** Several templates' versions by number, in one read, without their resolved forms. */
import type { ClientBase } from "pg";
import { type TemplateVersionRow, versionColumnsOf } from "../template-row.ts";

const text = `select ${versionColumnsOf("content")} from workflow_template_versions
where (tenant_id, template_id, version) in (select * from unnest($1::text[], $2::uuid[], $3::int[]))`;

export interface VersionKey {
  readonly tenantId: string;
  readonly templateUuid: string;
  readonly version: number;
}

export async function findVersions(client: Pick<ClientBase, "query">, keys: readonly VersionKey[]): Promise<TemplateVersionRow[]> {
  if (keys.length === 0) return [];
  const values = [keys.map(({ tenantId }) => tenantId), keys.map(({ templateUuid }) => templateUuid), keys.map(({ version }) => version)];
  return (await client.query<TemplateVersionRow>({ name: "find_template_versions", text, values })).rows;
}
