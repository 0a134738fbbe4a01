/** The audit log as rpcs write and read it. */
import type { PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { formatId, nextUuid, parseId } from "../base/ids.ts";
import { isJsonObject, type JsonObject, storable } from "../base/json.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { type Page, readListing } from "./listing.ts";
import { type AuditConditions, type AuditRow, insertAuditLine, listAuditRows } from "./sql/audit-log.ts";
import { listAuditDelta, readSnapshot } from "./sql/audit-since.ts";
import { isStorable } from "./storable.ts";

export interface AuditedCall {
  /** Name of the rpc. */
  readonly method: string;
  /** Id or name of what was changed. */
  readonly target: string;
  readonly executionId?: string | undefined;
  readonly reason: string;
  /** The request without its secrets; undefined where it is not kept. */
  readonly detail: JsonObject | undefined;
}

export interface AuditRecord {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly actor: string;
  readonly method: string;
  readonly target: string;
  readonly executionId: string | undefined;
  readonly stepPath: string;
  readonly reason: string;
  readonly correlationId: string;
  readonly detail: JsonObject | undefined;
}

export interface AuditFilter {
  readonly actor?: string | undefined;
  readonly method?: string | undefined;
  readonly target?: string | undefined;
  readonly executionId?: string | undefined;
  readonly correlationId?: string | undefined;
  readonly times?: AuditConditions["times"];
}

export interface AuditMark {
  /** See domain/commit-mark.ts. */
  readonly mark: string;
  readonly at: number;
}

export interface AuditRepository {
  /** In the transaction of the change. */
  write(client: PoolClient, caller: Caller, call: AuditedCall): Promise<void>;
  /** Newest first. */
  list(caller: Caller, page: { readonly pageSize: number; readonly afterId?: string; readonly filter: AuditFilter }): Promise<Page<AuditRecord>>;
  /** What is committed at this moment, and the moment by the database's clock. */
  mark(): Promise<AuditMark>;
  /** What one mark shows and another one before it did not, oldest first; `nextAfterId` says where the rest begins. */
  between(
    { tenantId }: Pick<Caller, "tenantId">,
    wish: {
      readonly from: string;
      readonly to: string;
      /** No line that is missing is older. */
      readonly since: number;
      readonly afterId: string | undefined;
      readonly pageSize: number;
      readonly filter: AuditFilter;
    },
  ): Promise<Page<AuditRecord & { readonly afterId: string }>>;
}

const targetCharactersMax = 200;
const reasonCharactersMax = 2_000;

export function createAuditRepository({ pool }: Pick<Database, "pool">): AuditRepository {
  return {
    async write(client, { tenantId, actor, correlationId }, { method, target, executionId, reason, detail }) {
      await guarded(() =>
        insertAuditLine(client, {
          ...{ tenantId, actor, correlationId, method, detail },
          id: nextUuid(Date.now()),
          target: String(storable(target)).slice(0, targetCharactersMax),
          executionUuid: (executionId === undefined ? undefined : parseId("execution", executionId)) ?? null,
          reason: String(storable(reason)).slice(0, reasonCharactersMax),
        }),
      );
    },

    async list({ tenantId }, { pageSize, afterId, filter }) {
      const conditions = conditionsOf(filter);
      if (!conditions) return { items: [], nextAfterId: undefined };
      const after = afterId === undefined ? undefined : positionOf(afterId);
      const rows = await guarded(() => readListing(pool, (client) => listAuditRows(client, tenantId, conditions, after, pageSize + 1)));
      const page = rows.slice(0, pageSize);
      const last = page.at(-1);
      return { items: page.map(toRecord), nextAfterId: rows.length > pageSize && last ? positionText(last) : undefined };
    },

    mark: () =>
      guarded(async () => {
        const { mark, at } = await readSnapshot(pool);
        return { mark, at: at.getTime() };
      }),

    async between({ tenantId }, { from, to, since, afterId, pageSize, filter }) {
      const conditions = conditionsOf(filter);
      if (!conditions) return { items: [], nextAfterId: undefined };
      const delta = { from, to, since: new Date(since), after: afterId === undefined ? undefined : positionOf(afterId) };
      const rows = await guarded(() => readListing(pool, (client) => listAuditDelta(client, tenantId, conditions, delta, pageSize + 1)));
      const items = rows.slice(0, pageSize).map((row) => ({ ...toRecord(row), afterId: positionText(row) }));
      return { items, nextAfterId: rows.length > pageSize ? items.at(-1)?.afterId : undefined };
    },
  };
}

/** Undefined: nothing can match. */
function conditionsOf({ executionId, ...same }: AuditFilter): AuditConditions | undefined {
  const executionUuid = executionId === undefined ? undefined : parseId("execution", executionId);
  if ((executionId !== undefined && !executionUuid) || !isStorable([same.actor ?? "", same.method ?? "", same.target ?? "", same.correlationId ?? ""]))
    return undefined;
  return { ...same, executionUuid };
}

function positionText({ time, id }: AuditRow): string {
  return `${time.getTime()} ${id}`;
}

function positionOf(text: string): { readonly time: Date; readonly id: string } {
  const [at = "", id = ""] = text.split(" ");
  return { time: new Date(Number(at)), id };
}

function toRecord(row: AuditRow): AuditRecord {
  const { id, time, actor, method, target, execution_id: uuid, step_path: stepPath, reason, correlation_id: correlationId, detail } = row;
  return {
    ...{ id, actor, method, target, stepPath, reason, correlationId },
    at: time.getTime(),
    executionId: uuid === null ? undefined : formatId("execution", uuid),
    detail: isJsonObject(detail as never) ? (detail as JsonObject) : undefined,
  };
}
