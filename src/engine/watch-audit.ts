/**
 * Follows the audit log of a tenant: every line once, in the order of the commits, from a position on that any replica can go on
 * from. Each look takes what was committed since the one before (domain/commit-mark.ts), so nothing depends on messages, on whose
 * clock wrote a line, or on how long a change took.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { beforeAll, firstMark, isAhead, LowWater, nextMark } from "../domain/commit-mark.ts";
import type { AuditFilter, AuditRecord, AuditRepository } from "../store/audit-repository.ts";

/** How far a reader came. */
export interface AuditPlace {
  /** Everything that this mark shows was sent. */
  readonly from: string;
  /** No line that was not sent is older; milliseconds since the epoch. */
  readonly since: number;
  /** Half-way to the next mark: which one, and the line sent last. */
  readonly to?: string | undefined;
  readonly after?: string | undefined;
}

export type AuditItem =
  | { readonly kind: "entry"; readonly entry: AuditRecord; readonly place: AuditPlace }
  | { readonly kind: "heartbeat"; readonly place: AuditPlace };

export interface WatchAuditRequest {
  readonly filter: AuditFilter;
  /** Where to go on; `{ startTime }`: with all lines from that moment on; undefined: with what comes from now on. */
  readonly begin: AuditPlace | { readonly startTime: number } | undefined;
  readonly signal: AbortSignal;
}

export interface WatchAuditParts {
  readonly audit: Pick<AuditRepository, "mark" | "between">;
  readonly clock: Clock;
  /** Silence before a heartbeat. */
  readonly heartbeatMs: number;
  /** Age of this stream, in milliseconds. */
  readonly ageMsMax: number;
}

/** Between two looks; one that takes long comes seldom. */
const lookEveryMs = 1_000;
const lookShare = 20;
const lookEveryMsMax = 10_000;
const pageRows = 200;

/** Ends only by its age (SERVER_DRAINING) or the signal. @throws AppError RESUME_EXPIRED */
export async function* watchAudit(
  { audit, clock, heartbeatMs, ageMsMax }: WatchAuditParts,
  caller: Caller,
  request: WatchAuditRequest,
): AsyncGenerator<AuditItem> {
  const { filter, begin, signal } = request;
  const endsAt = clock.monotonic() + ageMsMax;
  let now = await audit.mark();
  let place: AuditPlace =
    begin === undefined ? { from: firstMark(now.mark), since: now.at } : "startTime" in begin ? { from: beforeAll, since: begin.startTime } : begin;
  if (isAhead(place.to ?? place.from, now.mark))
    throw new AppError("RESUME_EXPIRED", "this database was restored since resume_token was made; begin again with start_time");
  // The first message tells that the stream is open, and where.
  let saidAt = Number.NEGATIVE_INFINITY;
  const lowWater = new LowWater(place.since);
  while (!signal.aborted) {
    let workMs = 0;
    lowWater.saw(now.mark, now.at);
    const to = place.to ?? nextMark(place.from, now.mark);
    if (to !== undefined && to !== place.from) {
      let more = true;
      while (more) {
        const askedAt = clock.monotonic();
        const page = await unlessAway(audit.between(caller, { ...place, to, afterId: place.after, pageSize: pageRows, filter }));
        if (!page) break;
        workMs += clock.monotonic() - askedAt;
        for (const { afterId, ...entry } of page.items) {
          place = { ...place, to, after: afterId };
          yield { kind: "entry", entry, place };
          saidAt = clock.monotonic();
          if (signal.aborted) return;
        }
        more = page.nextAfterId !== undefined;
      }
      if (!more) {
        lowWater.reached(to);
        place = { from: to, since: lowWater.since };
      }
    }
    const at = clock.monotonic();
    if (at >= endsAt) throw new AppError("SERVER_DRAINING", "this stream has reached its age; call again with resume_token", { retryAfterMs: 100 });
    if (at - saidAt >= heartbeatMs) {
      yield { kind: "heartbeat", place };
      saidAt = at;
    }
    await clock.sleep(Math.max(lookEveryMs, Math.min(workMs * lookShare, lookEveryMsMax)), signal).catch(() => undefined);
    if (!signal.aborted) now = (await unlessAway(audit.mark())) ?? now;
  }
}

/** Undefined while the database is away: the stream stays open and looks again. */
async function unlessAway<T>(look: Promise<T>): Promise<T | undefined> {
  try {
    return await look;
  } catch (error) {
    if (error instanceof AppError && error.code === "UNAVAILABLE") return undefined;
    throw error;
  }
}
