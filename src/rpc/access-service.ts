/** AccessService: which keys there are, and who did what with them. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type ApiKey, ApiKeySchema, type AuditEntry, AuditEntrySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import {
  type AccessService,
  ListApiKeysResponseSchema,
  ListAuditEntriesResponseSchema,
  RevokeApiKeyResponseSchema,
} from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { afterCommit } from "../base/change.ts";
import { AppError } from "../base/errors.ts";
import type { AuditRecord } from "../store/audit-repository.ts";
import type { KeyRecord } from "../store/key-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { auditFilterOf } from "./wire/list-filters.ts";
import { timestampOf } from "./wire/time.ts";

export function accessRpcs(parts: Pick<RpcParts, "audit" | "keys" | "keyRevoked" | "pageTokenKey">): ServiceImpl<typeof AccessService> {
  return {
    async listApiKeys({ pageSize, pageToken }, context) {
      const caller = callerOf(context);
      const { items, nextPageToken } = await listPage(parts, caller, "ListApiKeys", { pageSize, pageToken }, async ({ pageSize, afterId }) => {
        // A tenant has at most 1,000, and ids sort by their time.
        const rest = (await parts.keys.listKeys(caller)).filter(({ id }) => afterId === undefined || id < afterId);
        const page = rest.slice(0, pageSize);
        return { items: page, nextAfterId: rest.length > pageSize ? page.at(-1)?.id : undefined };
      });
      return create(ListApiKeysResponseSchema, { apiKeys: items.map(keyOf), nextPageToken });
    },

    async revokeApiKey({ keyId, validateOnly }, context) {
      const caller = callerOf(context);
      const key = await parts.keys.revokeKey(caller, keyId, validateOnly);
      if (!key) throw new AppError("KEY_NOT_FOUND", `there is no API key ${keyId}`, { metadata: { keyId } });
      if (!validateOnly) await afterCommit(caller, () => parts.keyRevoked(key.id));
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

function keyOf({ id, name, scopes, createdAt, expiresAt, revokedAt }: KeyRecord): ApiKey {
  const times = { createTime: timestampOf(createdAt), expireTime: timestampOf(expiresAt), revokeTime: timestampOf(revokedAt) };
  return create(ApiKeySchema, { id, name, scopes: [...scopes], ...times });
}

function entryOf({ at, executionId = "", ...same }: AuditRecord): AuditEntry {
  return create(AuditEntrySchema, { ...same, executionId, time: timestampOf(at) });
}
