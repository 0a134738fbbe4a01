/** The tenant's files as steps use them: refusals become failures that a retry policy understands. */
import { createHash } from "node:crypto";
import { AppError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { fail, ok } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { StepFile, StepFiles } from "../steps/step-files.ts";
import type { FileRecord, FileRepository } from "../store/file-repository.ts";

export function createStepFiles(files: FileRepository): StepFiles {
  return {
    async find(tenantId, id) {
      try {
        const file = await files.get(tenantId, id);
        return file.state === "ready" ? ok(toStepFile(file)) : fail(failure("FILE.NOT_READY", `file ${id} is still being uploaded`));
      } catch (error) {
        return fail(toFailure(error));
      }
    },

    async *read(tenantId, id) {
      try {
        yield* files.read(tenantId, id);
      } catch (error) {
        throw toFailure(error);
      }
    },

    async save(tenantId, { name, mediaType, ttlMs = limits.fileTtlMsDefault, bytesMax }, source) {
      let id: string | undefined;
      let isOurs = true;
      try {
        id = (await files.create(tenantId, { name, mediaType, ttlMs })).id;
        let offset = 0;
        const hash = createHash("sha256");
        isOurs = false;
        for await (const chunk of inChunks(source)) {
          isOurs = true;
          await files.append(tenantId, id, offset, chunk, { bytesMax });
          hash.update(chunk);
          offset += chunk.length;
          isOurs = false;
        }
        isOurs = true;
        return ok(toStepFile(await files.complete(tenantId, id, undefined, { sizeBytes: offset, sha256: hash.digest("hex") })));
      } catch (error) {
        // Without it the unfinished file would count against the quota until it expires.
        if (id !== undefined) await files.remove(tenantId, id).catch(() => undefined);
        if (!isOurs) throw error;
        return fail(toFailure(error));
      }
    },

    async discard(tenantId, id) {
      await files.remove(tenantId, id).catch(() => undefined);
    },
  };
}

/**
 * Large enough that a file of many small pieces does not become many rows; small enough that neither a digest of one is noticed on the
 * event loop nor its commit by those who commit beside it.
 */
const chunkBytes = 256 * 1024;

const firstChunkBytes = 64 * 1024;

/** Each chunk lasts until the next one is asked for. Its memory grows with the file, so that small files need little. */
async function* inChunks(source: AsyncIterable<Uint8Array>): AsyncIterable<Buffer> {
  let chunk = Buffer.allocUnsafe(firstChunkBytes);
  let bytes = 0;
  for await (const piece of source) {
    for (let from = 0; from < piece.length; ) {
      const part = piece.subarray(from, from + chunkBytes - bytes);
      while (bytes + part.length > chunk.length) chunk = Buffer.concat([chunk], Math.min(2 * chunk.length, chunkBytes));
      chunk.set(part, bytes);
      bytes += part.length;
      from += part.length;
      if (bytes < chunkBytes) continue;
      yield chunk;
      bytes = 0;
    }
  }
  if (bytes > 0) yield chunk.subarray(0, bytes);
}

function toStepFile({ id, name, mediaType, sizeBytes, sha256 }: FileRecord): StepFile {
  return { id, name, mediaType, sizeBytes, sha256: sha256 ?? "" };
}

function toFailure(error: unknown): Failure {
  if (!(error instanceof AppError)) throw error;
  const { reason, message } = error;
  if (reason === "FILE_NOT_FOUND") return failure("FILE.NOT_FOUND", message);
  if (reason === "LIMIT_EXCEEDED") return failure("LIMIT.BODY", message);
  if (reason === "QUOTA_EXCEEDED") return failure("LIMIT.FILES", message);
  return failure(error.code === "UNAVAILABLE" ? "NETWORK" : "SCHEMA", message);
}
