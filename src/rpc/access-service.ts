/** AccessService: who did what. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AuditEntry, AuditEntrySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import { type AccessService, ListAuditEntriesResponseSchema } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import type { AuditRecord } from "../store/audit-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import { listPage } from "./page.ts";
import type { RpcParts } from "./parts.ts";
import { auditFilterOf } from "./wire/list-filters.ts";
import { timestampOf } from "./wire/time.ts";

export function accessRpcs(parts: Pick<RpcParts, "audit" | "pageTokenKey">): ServiceImpl<typeof AccessService> {
  return {
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

function entryOf({ at, executionId = "", ...same }: AuditRecord): AuditEntry {
  return create(AuditEntrySchema, { ...same, executionId, time: timestampOf(at) });
}
