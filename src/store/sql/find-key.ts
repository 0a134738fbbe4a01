/** Keys and their tenants' state, before the tenant is known. Both tables are small and are reference tables when distributed. */
import type { Pool } from "pg";

const select = `select k.id, k.tenant_id as "tenantId", k.name, k.secret_hash as "secretHash", k.scopes, k.expire_time as "expireTime",
  k.revoke_time as "revokeTime", k.previous_secret_hash as "previousSecretHash", k.previous_expire_time as "previousExpireTime",
  t.suspended as "tenantSuspended"
from api_keys k join tenants t on t.id = k.tenant_id`;
const oneText = `${select} where k.id = $1`;
const manyText = `${select} where k.id = any($1)`;

export interface FoundKeyRow {
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  readonly secretHash: Buffer;
  readonly scopes: readonly string[];
  readonly expireTime: Date | null;
  readonly revokeTime: Date | null;
  readonly previousSecretHash: Buffer | null;
  readonly previousExpireTime: Date | null;
  readonly tenantSuspended: boolean;
}

export async function findKey(pool: Pool, keyUuid: string): Promise<FoundKeyRow | undefined> {
  return (await pool.query<FoundKeyRow>({ name: "find_key", text: oneText, values: [keyUuid] })).rows[0];
}

/** Those that are there. */
export async function findKeys(pool: Pool, keyUuids: readonly string[]): Promise<FoundKeyRow[]> {
  return (await pool.query<FoundKeyRow>({ name: "find_keys", text: manyText, values: [keyUuids] })).rows;
}
