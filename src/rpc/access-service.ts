/** AccessService: which keys there are, what they pass on, and who did what with them. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AuditEntry, AuditEntrySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import {
  type AccessService,
  CreateApiKeyResponseSchema,
  ListApiKeysResponseSchema,
  ListAuditEntriesResponseSchema,
  RevokeApiKeyResponseSchema,
  RotateApiKeyResponseSchema,
} from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { afterCommit } from "../base/change.ts";
import { AppError, violationsError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { AuditRecord } from "../store/audit-repository.ts";
import { keyToMessage, newKey, scopeFaults } from "./api-key-message.ts";
import { formatApiKey } from "./api-keys.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { tenantRpcs } from "./tenant-rpcs.ts";
import { auditFilterOf } from "./wire/list-filters.ts";
import { msOfDuration, msOfTimestamp, timestampOf } from "./wire/time.ts";

export function accessRpcs(
  parts: Pick<RpcParts, "audit" | "keys" | "keyChanged" | "keyPepper" | "grantableScopes" | "pageTokenKey" | "tenants" | "tenantChanged">,
): ServiceImpl<typeof AccessService> {
  return {
    ...tenantRpcs(parts),

    async createApiKey({ name, scopes, expireTime, validateOnly }, context) {
      const faults = scopeFaults(scopes, parts.grantableScopes, "scopes");
      if (faults.length > 0) throw violationsError(faults);
      const { key, secretHash } = newKey(parts.keyPepper);
      const wish = { keyId: key.keyId, name, scopes, secretHash, expiresAt: expiryOf(expireTime), validateOnly };
      const apiKey = keyToMessage(await parts.keys.issueKey(callerOf(context), wish));
      return create(CreateApiKeyResponseSchema, { apiKey, secret: validateOnly ? "" : formatApiKey(key) });
    },

    async rotateApiKey({ keyId, keepPrevious, expireTime, validateOnly }, context) {
      const caller = callerOf(context);
      const { key, secretHash } = newKey(parts.keyPepper);
      const keepMs = msOfDuration(keepPrevious) ?? limits.keyKeepMsDefault;
      const rotated = await parts.keys.rotateKey(caller, keyId, { secretHash, keepMs, expiresAt: expiryOf(expireTime), validateOnly });
      if (!rotated) throw keyNotFound(keyId, "there is no API key with that id, or it has ended");
      if (!validateOnly) await afterCommit(caller, () => parts.keyChanged(rotated.id));
      const secret = validateOnly ? "" : formatApiKey({ ...key, keyId: rotated.id });
      return create(RotateApiKeyResponseSchema, { apiKey: keyToMessage(rotated), secret });
    },

    async listApiKeys({ pageSize, pageToken }, context) {
      const caller = callerOf(context);
      const { items, nextPageToken } = await listPage(parts, caller, "ListApiKeys", { pageSize, pageToken }, (page) => parts.keys.listKeys(caller, page));
      return create(ListApiKeysResponseSchema, { apiKeys: items.map(keyToMessage), nextPageToken });
    },

    async revokeApiKey({ keyId, validateOnly }, context) {
      const caller = callerOf(context);
      const key = await parts.keys.revokeKey(caller, keyId, validateOnly);
      if (!key) throw keyNotFound(keyId, "there is no API key with that id");
      if (!validateOnly) await afterCommit(caller, () => parts.keyChanged(key.id));
      return create(RevokeApiKeyResponseSchema, { apiKey: keyToMessage(key) });
    },

    async listAuditEntries({ pageSize, pageToken, filter }, context) {
      const caller = callerOf(context);
      const wanted = auditFilterOf(filter);
      const { items, nextPageToken } = await listPage(parts, caller, "ListAuditEntries", { pageSize, pageToken, shape: [filter] }, (page) =>
        parts.audit.list(caller, { ...page, filter: wanted }),
      );
      return create(ListAuditEntriesResponseSchema, { entries: items.map(entryOf), nextPageToken });
    },
  };
}

/** The end of the year 9999 is the last moment that can be written. */
const lastMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

function expiryOf(expireTime: Timestamp | undefined): number | undefined {
  const at = msOfTimestamp(expireTime);
  if (at === undefined || (at >= 0 && at <= lastMs)) return at;
  throw violationsError([{ field: "expire_time", reason: "VALIDATION_FAILED", description: "must lie between 1970 and the end of 9999" }]);
}

function keyNotFound(keyId: string, message: string): AppError {
  return new AppError("KEY_NOT_FOUND", message, { metadata: { keyId } });
}

function entryOf({ at, executionId = "", ...same }: AuditRecord): AuditEntry {
  return create(AuditEntrySchema, { ...same, executionId, time: timestampOf(at) });
}
