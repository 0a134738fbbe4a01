/** Secrets and their sealed versions. What is written here is sealed before; names and descriptions are not secret. */
import type { ClientBase, Pool } from "pg";
import { likeName, type NameMatch } from "../listing.ts";

export interface SecretRow {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly version: number;
  readonly etag: string;
  readonly lastUseTime: Date | null;
  readonly createTime: Date;
  readonly updateTime: Date;
  /** Those that are valid now, newest first. Times as JSON writes them. */
  readonly versions: readonly { readonly version: number; readonly createTime: string; readonly expireTime: string | null }[];
}

export interface SealedRow {
  readonly secretId: string;
  readonly version: number;
  readonly keyNumber: number;
  readonly sealed: Buffer;
}

export interface NewVersion {
  readonly tenantId: string;
  readonly secretId: string;
  readonly version: number;
  readonly keyNumber: number;
  readonly sealed: Buffer;
}

const isValid = "(v.expire_time is null or v.expire_time > now())";
const columns = `s.id, s.name, s.description, s.version, s.etag, s.last_use_time as "lastUseTime", s.create_time as "createTime",
  s.update_time as "updateTime", coalesce((select json_agg(json_build_object('version', v.version, 'createTime', v.create_time, 'expireTime', v.expire_time)
    order by v.version desc) from secret_versions v where v.tenant_id = s.tenant_id and v.secret_id = s.id and ${isValid}), '[]'::json) as versions`;
const findSecret = `select ${columns} from secrets s where s.tenant_id = $1 and s.name = $2`;
const lockSecret = `select id, version, description, etag from secrets where tenant_id = $1 and name = $2 for update`;
const countSecrets = "select count(*) as count from secrets where tenant_id = $1";
const insertSecret = `insert into secrets (tenant_id, id, name, description, version, etag) values ($1, $2, $3, $4, 0, '') on conflict (tenant_id, name) do nothing`;
const updateSecret = "update secrets set description = $3, version = $4, etag = $5, update_time = now() where tenant_id = $1 and id = $2";
const insertVersion = "insert into secret_versions (tenant_id, secret_id, version, key_number, sealed) values ($1, $2, $3, $4, $5)";
/** The version before stays for $4 milliseconds, none when that is 0; every older one goes. */
const retireVersions = `with gone as (
  delete from secret_versions where tenant_id = $1 and secret_id = $2 and (version < $3 or $4::float8 <= 0)
) update secret_versions set expire_time = now() + $4::float8 * interval '1 millisecond'
  where tenant_id = $1 and secret_id = $2 and version = $3 and $4::float8 > 0`;
const deleteSecret = `with gone as (delete from secret_versions where tenant_id = $1 and secret_id = $2) delete from secrets where tenant_id = $1 and id = $2`;
const readSealed = `select s.id as "secretId", v.version, v.key_number as "keyNumber", v.sealed from secrets s
  join secret_versions v on v.tenant_id = s.tenant_id and v.secret_id = s.id
  where s.tenant_id = $1 and s.name = $2 and ${isValid} order by v.version desc`;
const touchSecret = "update secrets set last_use_time = now() where tenant_id = $1 and id = $2";
const knownNames = "select name from secrets where tenant_id = $1 and name = any($2)";
const purgeVersions = `delete from secret_versions where (tenant_id, secret_id, version) in (
  select tenant_id, secret_id, version from secret_versions where expire_time <= now() limit $1)`;

export async function findSecretRow(client: ClientBase | Pool, tenantId: string, name: string): Promise<SecretRow | undefined> {
  return (await client.query<SecretRow>({ name: "secret_find", text: findSecret, values: [tenantId, name] })).rows[0];
}

export async function lockSecretRow(
  client: ClientBase,
  tenantId: string,
  name: string,
): Promise<Pick<SecretRow, "id" | "version" | "description" | "etag"> | undefined> {
  return (await client.query({ name: "secret_lock", text: lockSecret, values: [tenantId, name] })).rows[0];
}

export async function countSecretRows(client: ClientBase, tenantId: string): Promise<number> {
  return (await client.query<{ count: number }>({ name: "secret_count", text: countSecrets, values: [tenantId] })).rows[0]?.count ?? 0;
}

/** An empty head, to be given its first version in the same transaction. Nothing when a twin was first. */
export async function insertSecretRow(client: ClientBase, tenantId: string, id: string, name: string, description: string): Promise<void> {
  await client.query({ name: "secret_insert", text: insertSecret, values: [tenantId, id, name, description] });
}

export async function updateSecretRow(
  client: ClientBase,
  tenantId: string,
  { id, description, version, etag }: Pick<SecretRow, "id" | "description" | "version" | "etag">,
): Promise<void> {
  await client.query({ name: "secret_update", text: updateSecret, values: [tenantId, id, description, version, etag] });
}

export async function insertVersionRow(client: ClientBase, { tenantId, secretId, version, keyNumber, sealed }: NewVersion): Promise<void> {
  await client.query({ name: "secret_version_insert", text: insertVersion, values: [tenantId, secretId, version, keyNumber, sealed] });
}

/** Before the version that follows `current` is written. */
export async function retireVersionRows(client: ClientBase, tenantId: string, secretId: string, current: number, keepMs: number): Promise<void> {
  await client.query({ name: "secret_versions_retire", text: retireVersions, values: [tenantId, secretId, current, keepMs] });
}

export async function deleteSecretRow(client: ClientBase, tenantId: string, id: string): Promise<void> {
  await client.query({ name: "secret_delete", text: deleteSecret, values: [tenantId, id] });
}

/** The versions that are valid now, the current one first. */
export async function readSealedRows(pool: Pool, tenantId: string, name: string): Promise<SealedRow[]> {
  return (await pool.query<SealedRow>({ name: "secret_read", text: readSealed, values: [tenantId, name] })).rows;
}

export async function touchSecretRow(pool: Pool, tenantId: string, id: string): Promise<void> {
  await pool.query({ name: "secret_touch", text: touchSecret, values: [tenantId, id] });
}

/** Which of these names there are. */
export async function knownSecretNames(pool: Pool, tenantId: string, names: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ name: string }>({ name: "secret_names", text: knownNames, values: [tenantId, names] });
  return rows.map(({ name }) => name);
}

/** At most `rowsMax` versions that are no longer valid, whatever tenant's. */
export async function purgeVersionRows(pool: Pool, rowsMax: number): Promise<number> {
  return (await pool.query({ name: "secret_versions_purge", text: purgeVersions, values: [rowsMax] })).rowCount ?? 0;
}

export interface ListSecretsParameters {
  readonly name: NameMatch | undefined;
  /** Name after which the page starts. */
  readonly after: string | undefined;
  readonly limit: number;
}

export async function listSecretRows(client: ClientBase, tenantId: string, { name, after, limit }: ListSecretsParameters): Promise<SecretRow[]> {
  const values: unknown[] = [tenantId, limit];
  const conditions = ["s.tenant_id = $1"];
  if (name) conditions.push(`s.name like $${values.push(likeName(name))}`);
  if (after !== undefined) conditions.push(`s.name > $${values.push(after)}`);
  const text = `select ${columns} from secrets s where ${conditions.join(" and ")} order by s.name limit $2`;
  return (await client.query<SecretRow>({ text, values })).rows;
}
