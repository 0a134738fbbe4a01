/** Keys wrapped by a master key: the server's own, and one data key per tenant. A row changes only by being wrapped anew. */
import type { Pool } from "pg";
import type { Wrapped } from "../../base/master-keys.ts";

const columns = `master_key_id as "masterKeyId", wrapped`;
const insertServerKey = "insert into server_keys (name, master_key_id, wrapped) values ($1, $2, $3) on conflict (name) do nothing";
const findServerKey = `select ${columns} from server_keys where name = $1`;
const insertTenantKey = `insert into tenant_keys (tenant_id, number, master_key_id, wrapped) values ($1, $2, $3, $4)
on conflict (tenant_id, number) do nothing`;
const findTenantKey = `select ${columns} from tenant_keys where tenant_id = $1 and number = $2`;
const serverKeysOf = `select name, ${columns} from server_keys where master_key_id = any($1) limit $2`;
const tenantKeysOf = `select tenant_id as "tenantId", number, ${columns} from tenant_keys where master_key_id = any($1) limit $2`;
const others = `select (select count(*) from tenant_keys where master_key_id <> $1) + (select count(*) from server_keys where master_key_id <> $1) as count`;
const renewServerKey = "update server_keys set master_key_id = $3, wrapped = $4 where name = $1 and master_key_id = $2";
const renewTenantKey = "update tenant_keys set master_key_id = $4, wrapped = $5 where tenant_id = $1 and number = $2 and master_key_id = $3";

export interface TenantKeyPlace {
  readonly tenantId: string;
  readonly number: number;
}

/** Of twins that come at once the first one stays; both read it afterwards. */
export async function offerServerKey(pool: Pool, name: string, { masterKeyId, wrapped }: Wrapped): Promise<void> {
  await pool.query({ name: "server_key_insert", text: insertServerKey, values: [name, masterKeyId, wrapped] });
}

export async function readServerKey(pool: Pool, name: string): Promise<Wrapped | undefined> {
  return (await pool.query<Wrapped>({ name: "server_key_find", text: findServerKey, values: [name] })).rows[0];
}

export async function offerTenantKey(pool: Pool, { tenantId, number }: TenantKeyPlace, { masterKeyId, wrapped }: Wrapped): Promise<void> {
  await pool.query({ name: "tenant_key_insert", text: insertTenantKey, values: [tenantId, number, masterKeyId, wrapped] });
}

export async function readTenantKey(pool: Pool, { tenantId, number }: TenantKeyPlace): Promise<Wrapped | undefined> {
  return (await pool.query<Wrapped>({ name: "tenant_key_find", text: findTenantKey, values: [tenantId, number] })).rows[0];
}

/** Those that one of these master keys wrapped. */
export async function listServerKeysOf(pool: Pool, masterKeyIds: readonly string[], limit: number): Promise<(Wrapped & { readonly name: string })[]> {
  return (await pool.query({ name: "server_keys_of", text: serverKeysOf, values: [masterKeyIds, limit] })).rows;
}

export async function listTenantKeysOf(pool: Pool, masterKeyIds: readonly string[], limit: number): Promise<(Wrapped & TenantKeyPlace)[]> {
  return (await pool.query({ name: "tenant_keys_of", text: tenantKeysOf, values: [masterKeyIds, limit] })).rows;
}

/** How many rows another master key than this one still wraps. */
export async function countKeysOfOthers(pool: Pool, masterKeyId: string): Promise<number> {
  return (await pool.query<{ count: number }>({ name: "wrapped_keys_of_others", text: others, values: [masterKeyId] })).rows[0]?.count ?? 0;
}

/** False when another replica was first. */
export async function rewrapServerKey(pool: Pool, name: string, before: string, { masterKeyId, wrapped }: Wrapped): Promise<boolean> {
  return (await pool.query({ name: "server_key_renew", text: renewServerKey, values: [name, before, masterKeyId, wrapped] })).rowCount === 1;
}

export async function rewrapTenantKey(pool: Pool, { tenantId, number }: TenantKeyPlace, before: string, { masterKeyId, wrapped }: Wrapped): Promise<boolean> {
  const values = [tenantId, number, before, masterKeyId, wrapped];
  return (await pool.query({ name: "tenant_key_renew", text: renewTenantKey, values })).rowCount === 1;
}
