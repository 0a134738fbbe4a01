/**
 * A page of executions without payloads, in one of four orders, each with the id as the last key. Ids are UUIDv7, so the order by
 * creation is theirs and needs no sort; rows that arrive meanwhile are newer and shift nothing. The others are sorted: an index
 * of each would be written with every execution. What has not started, ended or a time to end does so later than all that has.
 */
import type { ClientBase } from "pg";
import { type ExecutionConditions, whereOf } from "../execution-conditions.ts";
import { type ExecutionRow, executionColumns } from "../execution-row.ts";

export const executionOrders = ["create_time", "start_time", "end_time"] as const;

export interface ExecutionOrder {
  /** `expire_time`: when its time is over, a saga's order. */
  readonly field: (typeof executionOrders)[number] | "expire_time";
  readonly descending: boolean;
}

/** The last one of the page before. */
export interface ExecutionPosition {
  /** Its time in the order, in milliseconds since the epoch; null when it has none, or when the order is that of creation. */
  readonly at: number | null;
  readonly uuid: string;
}

export interface ListExecutionsParameters {
  readonly conditions: ExecutionConditions;
  readonly order: ExecutionOrder;
  readonly after: ExecutionPosition | undefined;
  readonly limit: number;
}

export async function listExecutions(client: ClientBase, tenantId: string, parameters: ListExecutionsParameters): Promise<ExecutionRow[]> {
  const { conditions, order, after, limit } = parameters;
  const [sign, direction] = order.descending ? ["<", "desc"] : [">", "asc"];
  const key = order.field === "create_time" ? undefined : `coalesce(${order.field === "expire_time" ? "i" : "e"}.${order.field}, 'infinity')`;
  const before: unknown[] = [limit];
  if (after) before.push(after.uuid);
  if (after && key) before.push(after.at === null ? "infinity" : new Date(after.at));
  const behind = !after ? "" : key ? ` and (${key}, e.id) ${sign} ($3::timestamptz, $2::uuid)` : ` and e.id ${sign} $2::uuid`;
  const where = whereOf(tenantId, conditions, before);
  const { rows } = await client.query<ExecutionRow>({
    text: `select ${executionColumns}
from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id
where ${where.text}${behind} order by ${key ? `${key} ${direction}, ` : ""}e.id ${direction} limit $1`,
    values: [...where.values],
  });
  return rows;
}
