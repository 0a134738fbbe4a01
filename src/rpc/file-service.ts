/** FileService: uploads by chunks, downloads by streams. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  AppendFileResponseSchema,
  CompleteFileResponseSchema,
  CreateFileResponseSchema,
  DeleteFileResponseSchema,
  type FileService,
  GetFileResponseSchema,
  ListFilesResponseSchema,
  ReadFileResponseSchema,
} from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { limits } from "../base/limits.ts";
import type { FileRecord } from "../store/file-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { fileToMessage } from "./wire/file.ts";
import { fileFilterOf } from "./wire/list-filters.ts";
import { msOfDuration } from "./wire/time.ts";

export function fileRpcs(parts: Pick<RpcParts, "files" | "expectFile" | "pageTokenKey" | "clock">): ServiceImpl<typeof FileService> {
  const { files } = parts;
  return {
    async createFile({ name, mediaType, ttl, validateOnly }, context) {
      const caller = callerOf(context);
      const wanted = { name, mediaType: mediaType || "application/octet-stream", ttlMs: msOfDuration(ttl) ?? limits.fileTtlMsDefault };
      const file = validateOnly ? preview(wanted, parts.clock.now()) : await files.create(caller.tenantId, wanted, caller);
      return create(CreateFileResponseSchema, { file: fileToMessage(file) });
    },

    async appendFile({ fileId, offsetBytes, data }, context) {
      const caller = callerOf(context);
      const file = await files.append(caller.tenantId, fileId, Number(offsetBytes), data, caller);
      return create(AppendFileResponseSchema, { file: fileToMessage(file) });
    },

    async completeFile({ fileId, sha256 }, context) {
      const caller = callerOf(context);
      const file = await files.complete(caller.tenantId, fileId, sha256, undefined, caller);
      parts.expectFile(file.sizeBytes);
      return create(CompleteFileResponseSchema, { file: fileToMessage(file) });
    },

    async getFile({ fileId }, context) {
      return create(GetFileResponseSchema, { file: fileToMessage(await files.get(callerOf(context).tenantId, fileId)) });
    },

    async *readFile({ fileId, offsetBytes, lengthBytes }, context) {
      const { tenantId } = callerOf(context);
      const start = Number(offsetBytes);
      const end = lengthBytes === 0n ? Number.MAX_SAFE_INTEGER : start + Number(lengthBytes);
      // The head is read first, so that NOT_FOUND comes before any message.
      const file = await files.get(tenantId, fileId);
      const bytes = files.read(tenantId, fileId, start, end)[Symbol.asyncIterator]();
      try {
        const first = await bytes.next();
        yield create(ReadFileResponseSchema, { item: { case: "file", value: fileToMessage(file) } });
        for (let piece = first; !piece.done; piece = await bytes.next()) yield create(ReadFileResponseSchema, { item: { case: "data", value: piece.value } });
      } finally {
        // A reader who leaves early must not keep the storage's answer open.
        await bytes.return?.();
      }
    },

    async listFiles({ pageSize, pageToken, filter }, context) {
      const caller = callerOf(context);
      const { name } = fileFilterOf(filter);
      const { items, nextPageToken } = await listPage(parts, caller, "ListFiles", { pageSize, pageToken, shape: [filter] }, (page) =>
        files.list(caller.tenantId, { ...page, name }),
      );
      return create(ListFilesResponseSchema, { files: items.map(fileToMessage), nextPageToken });
    },

    async deleteFile({ fileId, validateOnly }, context) {
      const caller = callerOf(context);
      const file = validateOnly ? await files.get(caller.tenantId, fileId) : await files.remove(caller.tenantId, fileId, caller);
      return create(DeleteFileResponseSchema, { file: fileToMessage(file) });
    },
  };
}

function preview({ name, mediaType, ttlMs }: { name: string; mediaType: string; ttlMs: number }, now: number): FileRecord {
  return { id: "", name, mediaType, state: "uploading", sizeBytes: 0, sha256: undefined, createdAt: now, completedAt: undefined, expiresAt: now + ttlMs };
}
