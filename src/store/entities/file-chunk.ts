/** Bytes of a file as they were appended. Written and read in plain SQL only. */
import { defineEntity, p } from "@mikro-orm/core";

export const fileChunkSchema = defineEntity({
  name: "FileChunk",
  tableName: "file_chunks",
  properties: {
    tenantId: p.text().primary(),
    fileId: p.uuid().primary(),
    offsetBytes: p.bigint("number").primary(),
    data: p.blob(),
  },
});

export class FileChunk extends fileChunkSchema.class {}
fileChunkSchema.setClass(FileChunk);
