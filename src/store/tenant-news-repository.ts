/** Reads for watches of a whole tenant; ids in text form, moments in milliseconds. */
import { formatId, nilUuid, parseId } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { conditionsOf, type ExecutionFilter } from "./execution-repository.ts";
import { type ExecutionRecord, toExecution } from "./execution-row.ts";
import { createNewsRepository, type NewsRepository } from "./news-repository.ts";
import { changedSince, endedExecutions, executionsByIds, firstSince, openExecutions } from "./sql/tenant-news.ts";

export interface ChangedExecution {
  readonly executionId: string;
  /** Numbers of the first event since then and of the last one. */
  readonly first: number;
  readonly last: number;
}

export interface TenantNewsRepository extends NewsRepository {
  /** Executions with an event since then, at most `rowsMax`. */
  changedSince(tenantId: string, since: number, rowsMax: number): Promise<readonly ChangedExecution[]>;
  /** Number of the first event since then, for each of the executions that has one. */
  firstSince(tenantId: string, executionIds: readonly string[], since: number): Promise<ReadonlyMap<string, number>>;
  /** As their rows stand now, by id. */
  executions(tenantId: string, executionIds: readonly string[]): Promise<ReadonlyMap<string, ExecutionRecord>>;
  /** Open executions in pages by id: those after `after` (undefined: from the first). */
  open(tenantId: string, filter: ExecutionFilter, after: ExecutionRecord | undefined, rowsMax: number): Promise<readonly ExecutionRecord[]>;
  /** Executions that ended since then, in pages by end. */
  ended(tenantId: string, filter: ExecutionFilter, since: number, after: ExecutionRecord | undefined, rowsMax: number): Promise<readonly ExecutionRecord[]>;
}

export function createTenantNewsRepository(database: Pick<Database, "pool">): TenantNewsRepository {
  const { pool } = database;
  return {
    ...createNewsRepository(database),

    async changedSince(tenantId, since, rowsMax) {
      const rows = await guarded(() => changedSince(pool, tenantId, new Date(since), rowsMax));
      return rows.map(({ id, ...numbers }) => ({ executionId: formatId("execution", id), ...numbers }));
    },

    async firstSince(tenantId, executionIds, since) {
      const uuids = executionIds.flatMap((id) => parseId("execution", id) ?? []);
      const found = await guarded(() => firstSince(pool, tenantId, uuids, new Date(since)));
      return new Map([...found].map(([uuid, first]) => [formatId("execution", uuid), first]));
    },

    async executions(tenantId, executionIds) {
      const uuids = executionIds.flatMap((id) => parseId("execution", id) ?? []);
      const records = (await guarded(() => executionsByIds(pool, tenantId, uuids))).map(toExecution);
      return new Map(records.map((record) => [record.id, record]));
    },

    async open(tenantId, filter, after, rowsMax) {
      const conditions = conditionsOf(filter);
      if (!conditions) return [];
      const afterUuid = (after && parseId("execution", after.id)) ?? nilUuid;
      return (await guarded(() => openExecutions(pool, tenantId, conditions, afterUuid, rowsMax))).map(toExecution);
    },

    async ended(tenantId, filter, since, after, rowsMax) {
      const conditions = conditionsOf(filter);
      if (!conditions) return [];
      const position = { endTime: new Date(after?.endedAt ?? since), uuid: (after && parseId("execution", after.id)) ?? nilUuid };
      return (await guarded(() => endedExecutions(pool, tenantId, conditions, position, rowsMax))).map(toExecution);
    },
  };
}
