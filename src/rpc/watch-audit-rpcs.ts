/** AccessService.WatchAuditEntries, and lines of the audit log on the wire. */
import { create } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AuditEntry, AuditEntrySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import { type AccessService, type WatchAuditEntriesResponse, WatchAuditEntriesResponseSchema } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { WatchHeartbeatSchema } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { violationsError } from "../base/errors.ts";
import { type AuditItem, type AuditPlace, watchAudit } from "../engine/watch-audit.ts";
import type { AuditRecord } from "../store/audit-repository.ts";
import { callerOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { readResumeToken } from "./watch-rpcs.ts";
import { auditFilterOf } from "./wire/list-filters.ts";
import { encodePageToken, listingHash } from "./wire/page-token.ts";
import { momentOf, timestampOf } from "./wire/time.ts";

type WatchAuditParts = Pick<RpcParts, "audit" | "auditStreams" | "progress" | "pageTokenKey" | "clock">;

export function watchAuditRpcs(parts: WatchAuditParts): Pick<ServiceImpl<typeof AccessService>, "watchAuditEntries"> {
  const { audit, auditStreams, progress, pageTokenKey, clock } = parts;
  return {
    async *watchAuditEntries({ filter: text, resumeToken, startTime }, context) {
      const caller = callerOf(context);
      const filter = auditFilterOf(text);
      const scope = { tenantId: caller.tenantId, method: "AccessService/WatchAuditEntries", filterHash: listingHash(text) };
      const place = readResumeToken(pageTokenKey, resumeToken, scope);
      const from = momentOf(startTime, "start_time");
      if (place !== undefined && from !== undefined) {
        const description = "is not taken together with resume_token, which says already where to go on";
        throw violationsError([{ field: "start_time", reason: "VALIDATION_FAILED", description }]);
      }
      const begin = place === undefined ? (from === undefined ? undefined : { startTime: from }) : readPlace(place);
      const leave = auditStreams.enter(caller.tenantId);
      try {
        const stream = { audit, clock, heartbeatMs: progress.heartbeatMs, ageMsMax: progress.nextAgeMsMax() };
        for await (const item of watchAudit(stream, caller, { filter, begin, signal: context.signal })) {
          const token = encodePageToken(pageTokenKey, { ...scope, after: placeText(item.place) });
          yield create(WatchAuditEntriesResponseSchema, { item: itemOf(item, clock.now()), resumeToken: token });
        }
      } finally {
        leave();
      }
      // A signal that ended the stream has a reason the caller must see (drain, the end of its key).
      context.signal.throwIfAborted();
    },
  };
}

export function entryToMessage({ at, executionId = "", ...same }: AuditRecord): AuditEntry {
  return create(AuditEntrySchema, { ...same, executionId, time: timestampOf(at) });
}

function itemOf(item: AuditItem, now: number): WatchAuditEntriesResponse["item"] {
  if (item.kind === "entry") return { case: "entry", value: entryToMessage(item.entry) };
  return { case: "heartbeat", value: create(WatchHeartbeatSchema, { time: timestampOf(now) }) };
}

/** Sealed in a token, so what is read here was written here. */
function placeText({ from, since, to, after }: AuditPlace): string {
  return JSON.stringify([from, since, to, after]);
}

function readPlace(text: string): AuditPlace {
  const [from, since, to, after] = JSON.parse(text) as [string, number, string | null, string | null];
  return { from, since, to: to ?? undefined, after: after ?? undefined };
}
