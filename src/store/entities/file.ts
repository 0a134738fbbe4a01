/** A file's head. Its bytes stand in `file_chunks`, or, finished and with S3-compatible storage, outside. */
import { defineEntity, p } from "@mikro-orm/core";

export const fileStates = ["uploading", "ready", "deleted"] as const;
export type FileStatus = (typeof fileStates)[number];
export const fileStorages = ["database", "s3"] as const;
export type FileStorage = (typeof fileStorages)[number];

export const fileSchema = defineEntity({
  name: "File",
  tableName: "files",
  indexes: [{ name: "files_expire_idx", properties: ["expireTime"] }],
  properties: {
    tenantId: p.text().primary(),
    id: p.uuid().primary(),
    name: p.text(),
    mediaType: p.text(),
    state: p.enum(fileStates),
    storage: p.enum(fileStorages).default("database"),
    sizeBytes: p.bigint("number"),
    sha256: p.text().nullable(),
    createTime: p.datetime(3).defaultRaw("now()"),
    completeTime: p.datetime(3).nullable(),
    expireTime: p.datetime(3),
  },
});

export class File extends fileSchema.class {}
fileSchema.setClass(File);
