/** Tenants as the operator makes and changes them. The table is small, and a reference table when distributed. */
import type { ClientBase, Pool } from "pg";

export interface TenantSettingsRow {
  readonly id: string;
  readonly displayName: string;
  readonly suspended: boolean;
  readonly weight: number;
  readonly egressAllow: readonly string[];
  readonly quotas: unknown;
  readonly retentionMsMax: number | null;
}

export interface TenantRow extends TenantSettingsRow {
  readonly createTime: Date;
  readonly updateTime: Date;
}

const columns = `id, display_name as "displayName", suspended, weight, egress_allow as "egressAllow", quotas, retention_ms_max::float8 as "retentionMsMax",
  create_time as "createTime", update_time as "updateTime"`;
const findText = `select ${columns} from tenants where id = $1`;
const listText = `select ${columns} from tenants where $1::text is null or id collate "C" > $1 order by id collate "C" limit $2`;
const insertText = `insert into tenants (id, display_name, suspended, weight, egress_allow, quotas, retention_ms_max) values ($1, $2, $3, $4, $5, $6::json, $7)
on conflict (id) do nothing returning ${columns}`;
const updateText = `update tenants set display_name = $2, suspended = $3, weight = $4, egress_allow = $5, quotas = $6::json, retention_ms_max = $7,
  update_time = clock_timestamp() where id = $1 returning ${columns}`;
const quotasText = "select quotas from tenants where id = $1";

export async function findTenantRow(pool: Pool, id: string): Promise<TenantRow | undefined> {
  return (await pool.query<TenantRow>(findText, [id])).rows[0];
}

/** Until the end of the transaction nobody else changes it. */
export async function lockTenantRow(client: ClientBase, id: string): Promise<TenantRow | undefined> {
  return (await client.query<TenantRow>(`${findText} for update`, [id])).rows[0];
}

/** By id, those behind `afterId`. */
export async function listTenantRows(pool: Pool, afterId: string | undefined, countMax: number): Promise<TenantRow[]> {
  return (await pool.query<TenantRow>(listText, [afterId ?? null, countMax])).rows;
}

/** Undefined when there is one of that id. */
export async function insertTenantRow(client: ClientBase, row: TenantSettingsRow): Promise<TenantRow | undefined> {
  return (await client.query<TenantRow>(insertText, valuesOf(row))).rows[0];
}

export async function updateTenantRow(client: ClientBase, row: TenantSettingsRow): Promise<TenantRow | undefined> {
  return (await client.query<TenantRow>(updateText, valuesOf(row))).rows[0];
}

/** As stored; undefined where there is no such tenant. */
export async function findQuotas(client: ClientBase | Pool, tenantId: string): Promise<unknown> {
  return (await client.query<{ quotas: unknown }>({ name: "tenant_quotas", text: quotasText, values: [tenantId] })).rows[0]?.quotas;
}

function valuesOf({ id, displayName, suspended, weight, egressAllow, quotas, retentionMsMax }: TenantSettingsRow): unknown[] {
  return [id, displayName, suspended, weight, egressAllow, JSON.stringify(quotas), retentionMsMax];
}
