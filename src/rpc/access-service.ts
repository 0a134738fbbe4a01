/** AccessService: which keys there are, what they pass on, and who did what with them. */
import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type ApiKey, ApiKeySchema, type AuditEntry, AuditEntrySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import {
  type AccessService,
  CreateApiKeyResponseSchema,
  ListApiKeysResponseSchema,
  ListAuditEntriesResponseSchema,
  RevokeApiKeyResponseSchema,
  RotateApiKeyResponseSchema,
} from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { afterCommit } from "../base/change.ts";
import { AppError, type FieldViolation, violationsError } from "../base/errors.ts";
import { parseId, systemIds } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import type { AuditRecord } from "../store/audit-repository.ts";
import type { KeyRecord } from "../store/key-repository.ts";
import { type ApiKeyText, formatApiKey, hashSecret, newApiKey } from "./api-keys.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { auditFilterOf } from "./wire/list-filters.ts";
import { msOfDuration, msOfTimestamp, timestampOf } from "./wire/time.ts";

export function accessRpcs(
  parts: Pick<RpcParts, "audit" | "keys" | "keyChanged" | "keyPepper" | "grantableScopes" | "pageTokenKey">,
): ServiceImpl<typeof AccessService> {
  return {
    async createApiKey({ name, scopes, expireTime, validateOnly }, context) {
      checkScopes(scopes, parts.grantableScopes);
      const { key, secretHash } = newKey(parts.keyPepper);
      const wish = { keyId: key.keyId, name, scopes, secretHash, expiresAt: expiryOf(expireTime), validateOnly };
      const apiKey = keyOf(await parts.keys.issueKey(callerOf(context), wish));
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
      return create(RotateApiKeyResponseSchema, { apiKey: keyOf(rotated), secret });
    },

    async listApiKeys({ pageSize, pageToken }, context) {
      const caller = callerOf(context);
      const { items, nextPageToken } = await listPage(parts, caller, "ListApiKeys", { pageSize, pageToken }, (page) => parts.keys.listKeys(caller, page));
      return create(ListApiKeysResponseSchema, { apiKeys: items.map(keyOf), nextPageToken });
    },

    async revokeApiKey({ keyId, validateOnly }, context) {
      const caller = callerOf(context);
      const key = await parts.keys.revokeKey(caller, keyId, validateOnly);
      if (!key) throw keyNotFound(keyId, "there is no API key with that id");
      if (!validateOnly) await afterCommit(caller, () => parts.keyChanged(key.id));
      return create(RevokeApiKeyResponseSchema, { apiKey: keyOf(key) });
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

/** A new key, whose hash is stored. */
function newKey(pepper: Uint8Array): { readonly key: ApiKeyText; readonly secretHash: Uint8Array } {
  const key = newApiKey(parseId("key", systemIds.next("key")) as string);
  return { key, secretHash: hashSecret(key.secret, pepper) };
}

function checkScopes(scopes: readonly string[], known: readonly string[]): void {
  const faults = scopes.flatMap((scope, index): FieldViolation[] => {
    const description = `is no scope that a key of a tenant can hold; those are ${known.join(", ")}`;
    return known.includes(scope) ? [] : [{ field: `scopes[${index}]`, reason: "VALIDATION_FAILED", description }];
  });
  if (faults.length > 0) throw violationsError(faults);
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

function keyOf({ id, name, scopes, creator, ...at }: KeyRecord): ApiKey {
  return create(ApiKeySchema, {
    ...{ id, name, scopes: [...scopes], creator },
    createTime: timestampOf(at.createdAt),
    expireTime: timestampOf(at.expiresAt),
    revokeTime: timestampOf(at.revokedAt),
    rotateTime: timestampOf(at.rotatedAt),
    previousExpireTime: timestampOf(at.previousExpiresAt),
  });
}

function entryOf({ at, executionId = "", ...same }: AuditRecord): AuditEntry {
  return create(AuditEntrySchema, { ...same, executionId, time: timestampOf(at) });
}
