/** A new key. By bound parameters and not through the ORM, whose statements carry their values in their text. */
import type { Pool } from "pg";

const text = `insert into api_keys (id, tenant_id, name, secret_hash, scopes, expire_time) values ($1, $2, $3, $4, $5, $6)
returning create_time as "createTime"`;

export interface InsertKeyParameters {
  readonly uuid: string;
  readonly tenantId: string;
  readonly name: string;
  readonly secretHash: Uint8Array;
  readonly scopes: readonly string[];
  readonly expireTime: Date | undefined;
}

export async function insertKey(pool: Pool, { uuid, tenantId, name, secretHash, scopes, expireTime }: InsertKeyParameters): Promise<Date> {
  const values = [uuid, tenantId, name, Buffer.from(secretHash), scopes, expireTime ?? null];
  const { rows } = await pool.query<{ createTime: Date }>({ name: "insert_key", text, values });
  return (rows[0] as { createTime: Date }).createTime;
}
