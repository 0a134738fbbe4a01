/**
 * Files: heads in one table, bytes in chunks, or, once whole and where object storage is configured, in an object of their own.
 *
 * An append and the new size are one transaction on the locked head, so a broken upload goes on at the size that stands there. A
 * chunk that is repeated because its answer was lost is recognised by its bytes. What is READY never changes. Deleting only marks;
 * the purge removes the object first and the row last, so that a crash in between leaves something to be found, never an orphan.
 */
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import type { Pool, PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { formatId, type IdSource, parseId } from "../base/ids.ts";
import type { LeftOut } from "../base/left-out.ts";
import { limits } from "../base/limits.ts";
import { guarded } from "./database-error.ts";
import type { FileStatus } from "./entities/file.ts";
import { type NameMatch, type Page, pageOf, readListing } from "./listing.ts";
import type { ObjectStorage } from "./object-storage.ts";
import {
  appendChunk,
  beginObject,
  chunkStands,
  completeFile,
  dropChunkRows,
  dropFileRow,
  type FileRow,
  findDoomed,
  findFile,
  insertFile,
  listFileRows,
  lockFile,
  markDeleted,
  readPieceAt,
  readUsage,
} from "./sql/files.ts";
import { assertStorable } from "./storable.ts";
import { readQuota } from "./tenant-quota.ts";
import { inTransaction } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";

export interface FileRecord {
  /** `blb_…` */
  readonly id: string;
  readonly name: string;
  readonly mediaType: string;
  readonly state: FileStatus;
  readonly sizeBytes: number;
  /** Undefined until it is ready. */
  readonly sha256: string | undefined;
  readonly createdAt: number;
  readonly completedAt: number | undefined;
  readonly expiresAt: number;
}

export interface NewFile {
  readonly name: string;
  readonly mediaType: string;
  readonly ttlMs: number;
}

/** Whose change it is, where a caller asked for it. */
type Writer = Pick<Caller, "change">;

export interface FileRepository {
  /** @throws AppError QUOTA_EXCEEDED */
  create(tenantId: string, file: NewFile, writer?: Writer): Promise<FileRecord>;
  /**
   * @param writer `bytesMax` of the whole file [100 MiB]
   * @throws AppError FILE_NOT_FOUND, FILE_NOT_UPLOADING, FILE_OFFSET_CONFLICT, LIMIT_EXCEEDED, QUOTA_EXCEEDED
   */
  append(tenantId: string, id: string, offset: number, data: Uint8Array, writer?: Writer & { readonly bytesMax?: number | undefined }): Promise<FileRecord>;
  /**
   * Makes it readable. @param sha256 is compared with the digest of what is stored.
   * @param written what the caller itself has appended, all of it in one go: of a file of just that size it is the digest, unread.
   * @throws AppError FILE_NOT_FOUND, FILE_DIGEST_MISMATCH
   */
  complete(
    tenantId: string,
    id: string,
    sha256?: string,
    written?: { readonly sizeBytes: number; readonly sha256: string },
    writer?: Writer,
  ): Promise<FileRecord>;
  /** @throws AppError FILE_NOT_FOUND */
  get(tenantId: string, id: string): Promise<FileRecord>;
  /** Bytes from `start` to before `end` of a ready file, in pieces of at most 256 KiB that are the reader's. @throws AppError FILE_NOT_FOUND, FILE_NOT_READY */
  read(tenantId: string, id: string, start?: number, end?: number): AsyncIterable<Buffer>;
  /** Newest first. */
  list(tenantId: string, page: { readonly pageSize: number; readonly afterId?: string; readonly name: NameMatch | undefined }): Promise<Page<FileRecord>>;
  /** @throws AppError FILE_NOT_FOUND */
  remove(tenantId: string, id: string, writer?: Writer): Promise<FileRecord>;
  /** Removes up to 100 files whose time is over, with their bytes; returns how many. */
  purge(): Promise<number>;
}

/**
 * Bytes of one read. They come as twice as many hexadecimal digits; as long as that text is a small object of V8 (below 128 KiB) it dies young, larger ones
 * cost a full collection of 11 to 23 ms every few: a step beside a file of 100 MiB had a p99 of 4.4 times its usual one, with this size 2.
 */
const pieceBytes = 48 * 1024;
const purgedMax = 100;
/** One pass goes past so many files; the next one tries them again. */
const unremovedMax = 1_000;

export function createFileRepository({
  pool,
  ids,
  objects,
  leftOut,
}: {
  readonly pool: Pool;
  readonly ids: IdSource;
  /** Undefined: finished files stay in the database. */
  readonly objects?: ObjectStorage | undefined;
  /** Files that cannot be removed are told there, and the purge goes on behind them. */
  readonly leftOut?: LeftOut;
}): FileRepository {
  /** Of the pass under way. */
  const unremoved: string[] = [];
  const uuidOf = (id: string): string => {
    const uuid = parseId("blob", id);
    if (uuid === undefined) throw notFound(id);
    return uuid;
  };

  const writing = <T>(writer: Writer, work: (client: PoolClient) => Promise<T>): Promise<T> => inTransaction(pool, work, { unit: unitOf(writer) });

  async function requireFile(tenantId: string, id: string): Promise<FileRow> {
    const row = await guarded(() => findFile(pool, tenantId, uuidOf(id)));
    if (!row) throw notFound(id);
    return row;
  }

  async function* chunks(tenantId: string, uuid: string, start: number, end: number): AsyncIterable<Buffer> {
    for (let at = start; at < end; ) {
      const piece = await guarded(() => readPieceAt(pool, tenantId, uuid, at, Math.min(pieceBytes, end - at)));
      if (!piece || piece.length === 0) throw notFound(formatId("blob", uuid));
      // Before it is given away: whoever reads may hand its memory on.
      at += piece.length;
      yield piece;
    }
  }

  return {
    async create(tenantId, file, writer = {}) {
      assertStorable({ name: file.name });
      const uuid = uuidOf(ids.next("blob"));
      const row = await guarded(() =>
        writing(writer, async (client) => {
          const used = await readUsage(client, tenantId);
          const [files, bytes] = [await readQuota(client, tenantId, "files"), await readQuota(client, tenantId, "fileBytes")];
          if (used.files >= files) throw quotaExceeded(`${files} files`);
          if (used.bytes >= bytes) throw quotaExceeded(`${bytes} bytes of files`);
          return insertFile(client, { tenantId, id: uuid, ...file });
        }),
      );
      return toFile(row);
    },

    async append(tenantId, id, offset, data, { bytesMax = limits.fileBytesMax, ...writer } = {}) {
      const uuid = uuidOf(id);
      return guarded(() =>
        writing(writer, async (client) => {
          const file = await lockFile(client, tenantId, uuid);
          if (!file) throw notFound(id);
          if (offset < file.sizeBytes && (await chunkStands(client, tenantId, uuid, offset, data))) return toFile(file);
          if (file.state !== "uploading") throw new AppError("FILE_NOT_UPLOADING", `file ${id} is complete; make a new one for other bytes`, metadata(file));
          if (offset !== file.sizeBytes) {
            const place = `the file ends at ${file.sizeBytes}, the chunk begins at ${offset}; go on at ${file.sizeBytes}`;
            throw new AppError("FILE_OFFSET_CONFLICT", place, metadata(file));
          }
          if (offset + data.length > bytesMax) throw new AppError("LIMIT_EXCEEDED", `a file has at most ${bytesMax} bytes`);
          const used = await readUsage(client, tenantId);
          const quota = await readQuota(client, tenantId, "fileBytes");
          if (used.bytes + data.length > quota) throw quotaExceeded(`${quota} bytes of files`);
          return toFile(await appendChunk(client, tenantId, uuid, offset, data));
        }),
      );
    },

    async complete(tenantId, id, sha256, written, writer = {}) {
      const file = await requireFile(tenantId, id);
      const uuid = file.id;
      const known = file.state === "ready" ? file.sha256 : written?.sizeBytes === file.sizeBytes ? written.sha256 : undefined;
      const digest = known ?? (await digestOf(chunks(tenantId, uuid, 0, file.sizeBytes)));
      if (sha256 && sha256.toLowerCase() !== digest) {
        const message = `the bytes that arrived have the digest ${digest}; upload the file again`;
        throw new AppError("FILE_DIGEST_MISMATCH", message, { metadata: { sha256: digest, sizeBytes: String(file.sizeBytes) } });
      }
      if (file.state === "ready") return toFile(file);
      if (objects) {
        // Before there is an object: a crash from here on leaves one that the next try writes again under the same name, or the purge removes.
        await guarded(() => beginObject(pool, tenantId, uuid));
        await objects.put(objectName(file), file.sizeBytes, chunks(tenantId, uuid, 0, file.sizeBytes));
      }
      return guarded(() =>
        writing(writer, async (client) => {
          const now = await lockFile(client, tenantId, uuid);
          if (!now) {
            // It was deleted meanwhile, and may have been purged before the object was there.
            await objects?.remove(objectName(file));
            throw notFound(id);
          }
          if (now.state === "ready") return toFile(now);
          if (now.sizeBytes !== file.sizeBytes)
            throw new AppError("FILE_OFFSET_CONFLICT", "the file grew while it was completed; complete it again", metadata(now));
          const row = await completeFile(client, tenantId, uuid, digest, objects ? "s3" : "database");
          if (objects) await dropChunkRows(client, tenantId, uuid);
          return toFile(row as FileRow);
        }),
      );
    },

    async get(tenantId, id) {
      return toFile(await requireFile(tenantId, id));
    },

    async *read(tenantId, id, start = 0, end = Number.MAX_SAFE_INTEGER) {
      const file = await requireFile(tenantId, id);
      if (file.state !== "ready") throw new AppError("FILE_NOT_READY", `file ${id} is still being uploaded; complete it first`, metadata(file));
      const last = Math.min(end, file.sizeBytes);
      if (start >= last) return;
      if (file.storage === "database") yield* chunks(tenantId, file.id, start, last);
      else if (objects) yield* objects.get(objectName(file), start, last);
      else throw new AppError("STORAGE_UNAVAILABLE", "this file stands in object storage, and none is configured", { retryAfterMs: 60_000 });
    },

    async list(tenantId, { pageSize, afterId, name }) {
      const after = afterId === undefined ? undefined : uuidOf(afterId);
      const rows = await guarded(() => readListing(pool, (client) => listFileRows(client, tenantId, { name, afterId: after, limit: pageSize + 1 })));
      return pageOf(rows, pageSize, toFile);
    },

    async remove(tenantId, id, writer = {}) {
      const row = await guarded(() => writing(writer, (client) => markDeleted(client, tenantId, uuidOf(id))));
      if (!row) throw notFound(id);
      return toFile(row);
    },

    async purge() {
      const doomed = await guarded(() => findDoomed(pool, purgedMax, objects ? ["database", "s3"] : ["database"], unremoved));
      if (doomed.length === 0) unremoved.length = 0;
      for (const file of doomed) {
        try {
          if (file.storage === "s3") await objects?.remove(objectName(file));
          await guarded(() => dropChunkRows(pool, file.tenantId, file.id));
          await guarded(() => dropFileRow(pool, file.tenantId, file.id));
        } catch (error) {
          if (!leftOut || unremoved.length >= unremovedMax) throw error;
          leftOut.goOn({ tenantId: file.tenantId, fileId: formatId("blob", file.id) }, error);
          unremoved.push(file.id);
        }
      }
      return doomed.length;
    },
  };
}

async function digestOf(bytes: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of bytes) {
    hash.update(piece);
    await setImmediate();
  }
  return hash.digest("hex");
}

function objectName({ tenantId, id }: FileRow): string {
  return `${encodeURIComponent(tenantId)}/${id}`;
}

function metadata({ sizeBytes }: FileRow): { readonly metadata: Record<string, string> } {
  return { metadata: { sizeBytes: String(sizeBytes) } };
}

function notFound(id: string): AppError {
  return new AppError("FILE_NOT_FOUND", `file ${id} does not exist, or its time is over`, { metadata: { fileId: id } });
}

function quotaExceeded(limit: string): AppError {
  return new AppError("QUOTA_EXCEEDED", `this tenant has at most ${limit}; delete some or let them expire`, { retryAfterMs: 60_000 });
}

function toFile(row: FileRow): FileRecord {
  return {
    id: formatId("blob", row.id),
    name: row.name,
    mediaType: row.mediaType,
    state: row.state,
    sizeBytes: row.sizeBytes,
    sha256: row.sha256 ?? undefined,
    createdAt: row.createTime.getTime(),
    completedAt: row.completeTime?.getTime(),
    expiresAt: row.expireTime.getTime(),
  };
}
