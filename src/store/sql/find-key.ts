/** A key and its tenant's state, before the tenant is known. Both tables are small and are reference tables when distributed. */
import type { Pool } from "pg";

const text = `select k.tenant_id as "tenantId", k.name, k.secret_hash as "secretHash", k.scopes, k.expire_time as "expireTime",
  k.revoke_time as "revokeTime", t.suspended as "tenantSuspended"
from api_keys k join tenants t on t.id = k.tenant_id where k.id = $1`;

export interface KeyRow {
  readonly tenantId: string;
  readonly name: string;
  readonly secretHash: Buffer;
  readonly scopes: readonly string[];
  readonly expireTime: Date | null;
  readonly revokeTime: Date | null;
  readonly tenantSuspended: boolean;
}

export async function findKey(pool: Pool, keyUuid: string): Promise<KeyRow | undefined> {
  return (await pool.query<KeyRow>({ name: "find_key", text, values: [keyUuid] })).rows[0];
}
