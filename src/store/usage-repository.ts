/**
 * Reading how a template was used: what the rollup has counted, and the tail behind its cursor, counted now. Both in one snapshot,
 * so that an execution is in exactly one of them and the answer is exact at every moment.
 */
import type { Pool } from "pg";
import type { Caller } from "../base/caller.ts";
import { parseId } from "../base/ids.ts";
import { cellsOf, type UsageCell } from "../domain/templates/usage-cells.ts";
import { type UsageReport, usageReport } from "../domain/templates/usage-report.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { readListing } from "./listing.ts";
import { readMadeWorkflows } from "./sql/count-made-workflows.ts";
import { firstCursor, isoOf, readCellsBetween, readUsageCursor } from "./sql/usage-cells.ts";
import { readTail } from "./sql/usage-sources.ts";

/** Milliseconds since the epoch, whole hours; `to` is not part of it. */
export interface UsageWindow {
  readonly from: number;
  readonly to: number;
  readonly bucketMs: number;
}

export interface UsageRepository {
  /** By the caller's tenant, of a template by its id. @throws AppError DEADLINE_EXCEEDED after 5 s */
  readUsage(caller: Caller, templateId: string, window: UsageWindow): Promise<UsageReport>;
}

export function createUsageRepository({ pool }: { readonly pool: Pool } & Partial<Database>): UsageRepository {
  return {
    async readUsage({ tenantId }, templateId, { from, to, bucketMs }) {
      const uuid = parseId("template", templateId);
      if (!uuid) return usageReport([], [], bucketMs);
      return guarded(() =>
        readListing(pool, async (client) => {
          await client.query("set transaction isolation level repeatable read");
          const cursor = (await readUsageCursor(client, tenantId, false)) ?? firstCursor;
          const counted = await readCellsBetween(client, tenantId, isoOf(from), isoOf(to), uuid);
          const tail = await readTail(client, tenantId, uuid, cursor);
          const made = await readMadeWorkflows(client, tenantId, uuid, isoOf(from), isoOf(to));
          const within = ({ hourAt }: UsageCell): boolean => hourAt >= from && hourAt < to;
          return usageReport([...counted, ...cellsOf(tail.started, tail.ended).filter(within)], made, bucketMs);
        }),
      );
    },
  };
}
