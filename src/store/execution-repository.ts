/**
 * Reads of executions. The journal alone writes them. An id of another tenant reads exactly like one that does not exist:
 * undefined, or an empty list.
 */
import type { Caller } from "../base/caller.ts";
import { formatId, type IdKind, parseId } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import type { ExecutionConditions } from "./execution-conditions.ts";
import { type ExecutionRecord, toExecution } from "./execution-row.ts";
import { type Page, pageOf, readListing } from "./listing.ts";
import { type CountBy, type CountField, type CountRow, countExecutions, countGroups } from "./sql/count-executions.ts";
import { deleteExpired } from "./sql/delete-expired.ts";
import { findLedgerHead, type LedgerHead } from "./sql/find-ledger-head.ts";
import { type ExecutionOwner, findOwner } from "./sql/find-owner.ts";
import { type ExecutionReference, getExecution } from "./sql/get-execution.ts";
import { type EventRow, listEvents } from "./sql/list-events.ts";
import { type ExecutionOrder, type ExecutionPosition, listExecutions } from "./sql/list-executions.ts";
import { isStorable } from "./storable.ts";
import { inTransaction } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";

/** Ids in text form; all that is given must hold. */
export interface ExecutionFilter extends Omit<ExecutionConditions, "workflowUuid" | "parentUuid" | "templateUuid" | "uuid"> {
  readonly id?: string;
  readonly workflowId?: string;
  readonly parentId?: string;
  readonly templateId?: string;
}

export interface ListExecutionsOptions {
  /** At least 1; the caller has bounded it. */
  readonly pageSize: number;
  /** `nextAfterId` of the page before, in the same order. */
  readonly afterId?: string;
  /** Newest first unless told. */
  readonly order?: ExecutionOrder;
  readonly filter?: ExecutionFilter;
}

/** A stretch of a ledger, in order. */
export interface LedgerPage {
  readonly events: readonly ExecutionEvent[];
  /** The ledger ended there when it was read: nobody has to ask for the next page to learn that it is empty. */
  readonly isLast: boolean;
}

export interface ExecutionRepository {
  /** By `exe_…`, or `key:<execution_key>` for the newest run with that key. */
  getExecution(caller: Caller, reference: string): Promise<ExecutionRecord | undefined>;
  /** Without payloads. @throws AppError DEADLINE_EXCEEDED after 5 s */
  listExecutions(caller: Caller, options: ListExecutionsOptions): Promise<Page<ExecutionRecord>>;
  /** All that match. @throws AppError DEADLINE_EXCEEDED after 5 s */
  countExecutions(caller: Caller, filter: ExecutionFilter): Promise<number>;
  /** All that match by one or two fields, the `groupsMax` largest groups first. @throws AppError DEADLINE_EXCEEDED after 5 s */
  countGroups(caller: Caller, filter: ExecutionFilter, by: readonly CountBy[], groupsMax: number): Promise<readonly CountRow[]>;
  /** Deletes an ended execution with its ledger. False when it has not ended, is being opened again, or is unknown. */
  deleteExecution(caller: Caller, executionId: string): Promise<boolean>;
  /** The replica that drives it at this moment. */
  findOwner(caller: Caller, executionId: string): Promise<ExecutionOwner | undefined>;
  /**
   * Events with a number above `afterSequence`, in order: up to `limit`, fewer when they reach 3 MiB as stored (at least one
   * all the same). Empty and last: there are none, or no such execution.
   */
  listEvents(caller: Caller, executionId: string, afterSequence: number, limit: number): Promise<LedgerPage>;
  ledgerHead(caller: Caller, executionId: string): Promise<LedgerHead | undefined>;
}

/** Fields whose groups are ids. */
const idKinds: Partial<Record<CountField, IdKind>> = { workflow_id: "workflow", template_id: "template" };

const newestFirst: ExecutionOrder = { field: "create_time", descending: true };

/** Where a page ends: the id, behind its time where the order is not that of ids. */
export function positionText({ field }: ExecutionOrder, { id, startedAt, endedAt, expiresAt }: ExecutionRecord): string {
  const at = { start_time: startedAt, end_time: endedAt, expire_time: expiresAt };
  return field === "create_time" ? id : `${at[field] ?? ""} ${id}`;
}

function positionOf(text: string): ExecutionPosition | undefined {
  const [id = "", at = ""] = text.split(" ").toReversed();
  const uuid = parseId("execution", id);
  return uuid === undefined ? undefined : { at: at === "" ? null : Number(at), uuid };
}

export function createExecutionRepository(database: Pick<Database, "pool">): ExecutionRepository {
  const { pool } = database;
  return {
    async getExecution(caller, reference) {
      const target = parseReference(reference);
      if (!target) return undefined;
      const row = await guarded(() => getExecution(pool, caller.tenantId, target));
      return row && toExecution(row);
    },

    async listExecutions(caller, { pageSize, afterId, order = newestFirst, filter = {} }) {
      const conditions = conditionsOf(filter);
      const after = afterId === undefined ? undefined : positionOf(afterId);
      if (!conditions || (afterId !== undefined && !after)) return { items: [], nextAfterId: undefined };
      const parameters = { conditions, order, after, limit: pageSize + 1 };
      const rows = await guarded(() => readListing(pool, (client) => listExecutions(client, caller.tenantId, parameters)));
      const page = pageOf(rows, pageSize, toExecution);
      const last = page.items.at(-1);
      return page.nextAfterId === undefined || !last ? page : { ...page, nextAfterId: positionText(order, last) };
    },

    async countExecutions(caller, filter) {
      const conditions = conditionsOf(filter);
      return conditions ? await guarded(() => readListing(pool, (client) => countExecutions(client, caller.tenantId, conditions))) : 0;
    },

    async countGroups(caller, filter, by, groupsMax) {
      const conditions = conditionsOf(filter);
      if (!conditions || !isStorable(by)) return [];
      const rows = await guarded(() => readListing(pool, (client) => countGroups(client, caller.tenantId, conditions, by, groupsMax)));
      const kinds = by.map((key) => ("field" in key ? idKinds[key.field] : undefined));
      const shown = (value: string | null, kind: IdKind | undefined): string | null => (value !== null && kind ? formatId(kind, value) : value);
      return rows.map((row) => ({ ...row, values: row.values.map((value, index) => shown(value, kinds[index])) }));
    },

    async deleteExecution(caller, executionId) {
      const uuid = parseId("execution", executionId);
      if (uuid === undefined) return false;
      return await guarded(() =>
        inTransaction(pool, async (client) => (await deleteExpired(client, caller.tenantId, [uuid])).executions === 1, { unit: unitOf(caller) }),
      );
    },

    async findOwner(caller, executionId) {
      const uuid = parseId("execution", executionId);
      return uuid === undefined ? undefined : guarded(() => findOwner(pool, caller.tenantId, uuid));
    },

    async listEvents(caller, executionId, afterSequence, limit) {
      const uuid = parseId("execution", executionId);
      if (!uuid) return { events: [], isLast: true };
      const { rows, isLast } = await guarded(() => listEvents(pool, caller.tenantId, uuid, afterSequence, limit, limits.pageBytesMax));
      return { events: rows.map(toEvent), isLast };
    },

    async ledgerHead(caller, executionId) {
      const uuid = parseId("execution", executionId);
      return uuid === undefined ? undefined : guarded(() => findLedgerHead(pool, caller.tenantId, uuid));
    },
  };
}

/** The filter with plain uuids; undefined when no execution can match it. */
export function conditionsOf({ id, workflowId, parentId, templateId, ...rest }: ExecutionFilter): ExecutionConditions | undefined {
  const uuid = id === undefined ? undefined : parseId("execution", id);
  const workflowUuid = workflowId === undefined ? undefined : parseId("workflow", workflowId);
  const parentUuid = parentId === undefined ? undefined : parseId("execution", parentId);
  const templateUuid = templateId === undefined ? undefined : parseId("template", templateId);
  const named = [id, workflowId, parentId, templateId].filter((one) => one !== undefined);
  const known = [uuid, workflowUuid, parentUuid, templateUuid].filter((one) => one !== undefined);
  if (known.length < named.length || !isStorable(rest)) return undefined;
  return {
    ...rest,
    ...(uuid === undefined ? {} : { uuid }),
    ...(workflowUuid === undefined ? {} : { workflowUuid }),
    ...(parentUuid === undefined ? {} : { parentUuid }),
    ...(templateUuid === undefined ? {} : { templateUuid }),
  };
}

function parseReference(reference: string): ExecutionReference | undefined {
  if (reference.startsWith("key:")) return isStorable(reference) ? { key: reference.slice(4) } : undefined;
  const uuid = parseId("execution", reference);
  return uuid === undefined ? undefined : { uuid };
}

/** The ledger holds only what the journal wrote from the same types, so the shape is not checked again. */
function toEvent(row: EventRow): ExecutionEvent {
  return { ...row, at: row.at.getTime() } as unknown as ExecutionEvent;
}
