/** A tenant's keys: made, listed, rotated, ended. By bound parameters and not through the ORM, whose statements carry their values in their text. */
import type { ClientBase, Pool } from "pg";

export interface KeyRow {
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly creator: string;
  readonly createTime: Date;
  readonly expireTime: Date | null;
  readonly revokeTime: Date | null;
  readonly rotateTime: Date | null;
  readonly previousExpireTime: Date | null;
}

const columns = `id, tenant_id as "tenantId", name, scopes, creator, create_time as "createTime", expire_time as "expireTime", revoke_time as "revokeTime",
  rotate_time as "rotateTime", previous_expire_time as "previousExpireTime"`;
const insertText = `insert into api_keys (id, tenant_id, name, secret_hash, scopes, expire_time, creator) values ($1, $2, $3, $4, $5, $6, $7) returning ${columns}`;
const listText = `select ${columns} from api_keys where tenant_id = $1 and ($2::uuid is null or id < $2) order by id desc limit $3`;
const lockText = `select ${columns}, now() from api_keys where tenant_id = $1 and id = any($2) order by id for update`;
const countText = `select count(*)::int as count from api_keys
where tenant_id = $1 and revoke_time is null and (expire_time is null or expire_time > now())`;
const rotateText = `update api_keys set secret_hash = $3, rotate_time = now(), expire_time = $4,
  previous_secret_hash = secret_hash, previous_expire_time = now() + $5 * interval '1 millisecond'
where tenant_id = $1 and id = $2 returning ${columns}`;
const revokeText = `update api_keys set revoke_time = coalesce(revoke_time, now()) where tenant_id = $1 and id = $2 returning ${columns}`;
const purgeText = `delete from api_keys where id in (select id from api_keys
  where creator <> '' and (revoke_time < now() - $1 * interval '1 millisecond' or expire_time < now() - $1 * interval '1 millisecond') limit $2)`;

export interface NewKeyRow {
  readonly uuid: string;
  readonly tenantId: string;
  readonly name: string;
  readonly secretHash: Uint8Array;
  readonly scopes: readonly string[];
  readonly expireTime: Date | undefined;
  readonly creator: string;
}

export async function insertKeyRow(client: Pool | ClientBase, { uuid, tenantId, name, secretHash, scopes, expireTime, creator }: NewKeyRow): Promise<KeyRow> {
  const values = [uuid, tenantId, name, Buffer.from(secretHash), scopes, expireTime ?? null, creator];
  return (await client.query<KeyRow>(insertText, values)).rows[0] as KeyRow;
}

/** Newest first, those before `afterUuid`. */
export async function listKeyRows(pool: Pool, tenantId: string, afterUuid: string | undefined, countMax: number): Promise<KeyRow[]> {
  return (await pool.query<KeyRow>(listText, [tenantId, afterUuid ?? null, countMax])).rows;
}

/** In the order of their ids, so that two who lock the same keys never wait for each other. */
export async function lockKeyRows(client: ClientBase, tenantId: string, uuids: readonly string[]): Promise<(KeyRow & { readonly now: Date })[]> {
  return (await client.query<KeyRow & { readonly now: Date }>(lockText, [tenantId, uuids])).rows;
}

/** Those that open something now. */
export async function countLiveKeyRows(client: ClientBase, tenantId: string): Promise<number> {
  return (await client.query<{ count: number }>(countText, [tenantId])).rows[0]?.count ?? 0;
}

export interface RotatedKeyRow {
  readonly secretHash: Uint8Array;
  readonly expireTime: Date | undefined;
  /** How long the secret before goes on. */
  readonly keepMs: number;
}

export async function rotateKeyRow(
  client: ClientBase,
  tenantId: string,
  uuid: string,
  { secretHash, expireTime, keepMs }: RotatedKeyRow,
): Promise<KeyRow | undefined> {
  return (await client.query<KeyRow>(rotateText, [tenantId, uuid, Buffer.from(secretHash), expireTime ?? null, keepMs])).rows[0];
}

/** Keeps the first moment. */
export async function revokeKeyRow(client: ClientBase, tenantId: string, uuid: string): Promise<KeyRow | undefined> {
  return (await client.query<KeyRow>(revokeText, [tenantId, uuid])).rows[0];
}

/** Removes keys that were made by others and ended so long ago; answers how many. */
export async function purgeKeyRows(pool: Pool, endedMs: number, countMax: number): Promise<number> {
  return (await pool.query(purgeText, [endedMs, countMax])).rowCount ?? 0;
}
