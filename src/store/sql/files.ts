/** Files and their chunks. A file whose time is over or that was deleted is not seen any more, whether it has been purged or not. */
import type { ClientBase, Pool } from "pg";
import type { FileStatus, FileStorage } from "../entities/file.ts";
import { likeName, type NameMatch } from "../listing.ts";

export interface FileRow {
  readonly tenantId: string;
  readonly id: string;
  readonly name: string;
  readonly mediaType: string;
  readonly state: FileStatus;
  readonly storage: FileStorage;
  readonly sizeBytes: number;
  readonly sha256: string | null;
  readonly createTime: Date;
  readonly completeTime: Date | null;
  readonly expireTime: Date;
}

const columns = `f.tenant_id as "tenantId", f.id, f.name, f.media_type as "mediaType", f.state, f.storage, f.size_bytes::float8 as "sizeBytes", f.sha256,
  f.create_time as "createTime", f.complete_time as "completeTime", f.expire_time as "expireTime"`;
const isThere = "f.state <> 'deleted' and f.expire_time > now()";
const insert = `insert into files as f (tenant_id, id, name, media_type, state, size_bytes, expire_time)
  values ($1, $2, $3, $4, 'uploading', 0, now() + $5::float8 * interval '1 millisecond') returning ${columns}`;
const find = `select ${columns} from files f where f.tenant_id = $1 and f.id = $2 and ${isThere}`;
const usage = `select count(*)::int as files, coalesce(sum(f.size_bytes), 0)::float8 as bytes from files f where f.tenant_id = $1 and ${isThere}`;
const append = `with chunk as (insert into file_chunks (tenant_id, file_id, offset_bytes, data) values ($1, $2, $3, $4))
  update files f set size_bytes = $3::bigint + length($4::bytea) where f.tenant_id = $1 and f.id = $2 returning ${columns}`;
const stands = "select data = $4 as equal from file_chunks where tenant_id = $1 and file_id = $2 and offset_bytes = $3";
/** Flushed at once, also on connections that leave that to others: the object that follows is not in this database's log. */
const begin = `update files set storage = 's3' where tenant_id = $1 and id = $2 and state = 'uploading'
  returning set_config('synchronous_commit', 'on', true)`;
const complete = `update files f set state = 'ready', sha256 = $3, storage = $4, complete_time = now()
  where f.tenant_id = $1 and f.id = $2 and f.state = 'uploading' returning ${columns}`;
/** At most $4 bytes from byte $3 on, of the chunk that holds it. Chunks are stored uncompressed, so that only these bytes are read. */
const pieceAt = `select substring(data from ($3::bigint - offset_bytes)::int + 1 for $4::int) as data from file_chunks
  where tenant_id = $1 and file_id = $2 and offset_bytes <= $3 order by offset_bytes desc limit 1`;
const remove = `update files f set state = 'deleted', expire_time = now() where f.tenant_id = $1 and f.id = $2 and ${isThere} returning ${columns}`;
const doomed = `select ${columns} from files f where f.expire_time <= now() and f.storage = any($2) and f.id <> all($3::uuid[]) order by f.expire_time limit $1`;
const dropChunks = "delete from file_chunks where tenant_id = $1 and file_id = $2";
const dropFile = "delete from files where tenant_id = $1 and id = $2 and expire_time <= now()";

export async function insertFile(
  client: ClientBase,
  row: { readonly tenantId: string; readonly id: string; readonly name: string; readonly mediaType: string; readonly ttlMs: number },
): Promise<FileRow> {
  const { rows } = await client.query<FileRow>({ name: "file_insert", text: insert, values: [row.tenantId, row.id, row.name, row.mediaType, row.ttlMs] });
  return rows[0] as FileRow;
}

export async function findFile(client: ClientBase | Pool, tenantId: string, id: string): Promise<FileRow | undefined> {
  return (await client.query<FileRow>({ name: "file_find", text: find, values: [tenantId, id] })).rows[0];
}

/** As `findFile`; nobody else changes it until the transaction ends. */
export async function lockFile(client: ClientBase, tenantId: string, id: string): Promise<FileRow | undefined> {
  return (await client.query<FileRow>({ name: "file_lock", text: `${find} for update`, values: [tenantId, id] })).rows[0];
}

export async function readUsage(client: ClientBase, tenantId: string): Promise<{ readonly files: number; readonly bytes: number }> {
  const { rows } = await client.query<{ files: number; bytes: number }>({ name: "file_usage", text: usage, values: [tenantId] });
  return rows[0] ?? { files: 0, bytes: 0 };
}

/** Of a file that this transaction has locked and that ends at `offset`. */
export async function appendChunk(client: ClientBase, tenantId: string, id: string, offset: number, data: Uint8Array): Promise<FileRow> {
  return (await client.query<FileRow>({ name: "file_append", text: append, values: [tenantId, id, offset, data] })).rows[0] as FileRow;
}

/** Whether exactly this chunk stands at `offset`. */
export async function chunkStands(client: ClientBase, tenantId: string, id: string, offset: number, data: Uint8Array): Promise<boolean> {
  const { rows } = await client.query<{ equal: boolean }>({ name: "file_chunk_stands", text: stands, values: [tenantId, id, offset, data] });
  return rows[0]?.equal === true;
}

/** Its bytes still stand in chunks; from now on there may be an object of its name. */
export async function beginObject(pool: Pool, tenantId: string, id: string): Promise<void> {
  await pool.query({ name: "file_begin_object", text: begin, values: [tenantId, id] });
}

/** Undefined when it is no longer uploading. */
export async function completeFile(client: ClientBase, tenantId: string, id: string, sha256: string, storage: FileStorage): Promise<FileRow | undefined> {
  return (await client.query<FileRow>({ name: "file_complete", text: complete, values: [tenantId, id, sha256, storage] })).rows[0];
}

/** Empty behind the end; undefined when there is no chunk. */
export async function readPieceAt(client: ClientBase | Pool, tenantId: string, id: string, offset: number, bytesMax: number): Promise<Buffer | undefined> {
  return (await client.query<{ data: Buffer }>({ name: "file_piece_at", text: pieceAt, values: [tenantId, id, offset, bytesMax] })).rows[0]?.data;
}

/** Its bytes go with the next purge. Undefined: no such file. */
export async function markDeleted(client: ClientBase | Pool, tenantId: string, id: string): Promise<FileRow | undefined> {
  return (await client.query<FileRow>({ name: "file_delete", text: remove, values: [tenantId, id] })).rows[0];
}

/** Files whose time is over, whatever tenant's, longest first; only where their bytes can be reached, and without those. */
export async function findDoomed(pool: Pool, rowsMax: number, storages: readonly FileStorage[], exceptIds: readonly string[]): Promise<FileRow[]> {
  return (await pool.query<FileRow>({ name: "files_doomed", text: doomed, values: [rowsMax, storages, exceptIds] })).rows;
}

export async function dropChunkRows(client: ClientBase | Pool, tenantId: string, id: string): Promise<void> {
  await client.query({ name: "file_chunks_drop", text: dropChunks, values: [tenantId, id] });
}

export async function dropFileRow(pool: Pool, tenantId: string, id: string): Promise<void> {
  await pool.query({ name: "file_drop", text: dropFile, values: [tenantId, id] });
}

export interface ListFilesParameters {
  readonly name: NameMatch | undefined;
  readonly afterId: string | undefined;
  readonly limit: number;
}

/** Newest first: ids are UUIDv7. */
export async function listFileRows(client: ClientBase, tenantId: string, { name, afterId, limit }: ListFilesParameters): Promise<FileRow[]> {
  const values: unknown[] = [tenantId, limit];
  const conditions = ["f.tenant_id = $1", isThere];
  if (name) conditions.push(`f.name like $${values.push(likeName(name))}`);
  if (afterId !== undefined) conditions.push(`f.id < $${values.push(afterId)}`);
  const text = `select ${columns} from files f where ${conditions.join(" and ")} order by f.id desc limit $2`;
  return (await client.query<FileRow>({ text, values })).rows;
}
