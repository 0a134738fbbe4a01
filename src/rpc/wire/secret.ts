/** Secrets as their owners see them: never a value. */
import { create } from "@bufbuild/protobuf";
import { type Secret, SecretSchema } from "#gen/pyairtable/workflow/v1/secret_pb.js";
import type { SecretRecord } from "../../store/secret-repository.ts";
import { timestampOf } from "./time.ts";

export function secretToMessage(record: SecretRecord): Secret {
  return create(SecretSchema, {
    name: record.name,
    description: record.description,
    version: record.version,
    versions: record.versions.map(({ version, createdAt, expiresAt }) => ({
      version,
      createTime: timestampOf(createdAt),
      expireTime: timestampOf(expiresAt),
    })),
    lastUsedTime: timestampOf(record.lastUsedAt),
    etag: record.etag,
    createTime: timestampOf(record.createdAt),
    updateTime: timestampOf(record.updatedAt),
  });
}
