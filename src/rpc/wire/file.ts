/** Files as their owners see them. */
import { create } from "@bufbuild/protobuf";
import { type File, FileSchema, FileState } from "#gen/pyairtable/workflow/v1/file_pb.js";
import type { FileRecord } from "../../store/file-repository.ts";
import { timestampOf } from "./time.ts";

export function fileToMessage(record: FileRecord): File {
  return create(FileSchema, {
    id: record.id,
    name: record.name,
    mediaType: record.mediaType,
    // A deleted file is shown once, in the answer to its deletion, as it last was.
    state: record.sha256 === undefined ? FileState.UPLOADING : FileState.READY,
    sizeBytes: BigInt(record.sizeBytes),
    sha256: record.sha256 ?? "",
    expireTime: timestampOf(record.expiresAt),
    createTime: timestampOf(record.createdAt),
    completeTime: timestampOf(record.completedAt),
  });
}
