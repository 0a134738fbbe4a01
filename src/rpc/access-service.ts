/** AccessService: which keys there are, what they pass on, and who did what with them. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
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
import { keyToMessage, newKey, scopeFaults } from "./api-key-message.ts";
import { formatApiKey } from "./api-keys.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { tenantRpcs } from "./tenant-rpcs.ts";
import { entryToMessage, watchAuditRpcs } from "./watch-audit-rpcs.ts";
import { auditFilterOf } from "./wire/list-filters.ts";
import { momentOf, msOfDuration } from "./wire/time.ts";

export function accessRpcs(
  parts: Pick<
    RpcParts,
    "audit" | "keys" | "keyChanged" | "keyPepper" | "grantableScopes" | "pageTokenKey" | "tenants" | "tenantChanged" | "auditStreams" | "progress" | "clock"
  >,
): ServiceImpl<typeof AccessService> {
  return {
    ...tenantRpcs(parts),
    ...watchAuditRpcs(parts),

    async createApiKey({ name, scopes, expireTime, validateOnly }, context) {
      const faults = scopeFaults(scopes, parts.grantableScopes, "scopes");
      if (faults.length > 0) throw violationsError(faults);
      const { key, secretHash } = newKey(parts.keyPepper);
      const wish = { keyId: key.keyId, name, scopes, secretHash, expiresAt: momentOf(expireTime, "expire_time"), validateOnly };
      const apiKey = keyToMessage(await parts.keys.issueKey(callerOf(context), wish));
      return create(CreateApiKeyResponseSchema, { apiKey, secret: validateOnly ? "" : formatApiKey(key) });
    },

    async rotateApiKey({ keyId, keepPrevious, expireTime, validateOnly }, context) {
      const caller = callerOf(context);
      const { key, secretHash } = newKey(parts.keyPepper);
      const keepMs = msOfDuration(keepPrevious) ?? limits.keyKeepMsDefault;
      const rotated = await parts.keys.rotateKey(caller, keyId, { secretHash, keepMs, expiresAt: momentOf(expireTime, "expire_time"), validateOnly });
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
      return create(ListAuditEntriesResponseSchema, { entries: items.map(entryToMessage), nextPageToken });
    },
  };
}

function keyNotFound(keyId: string, message: string): AppError {
  return new AppError("KEY_NOT_FOUND", message, { metadata: { keyId } });
}
