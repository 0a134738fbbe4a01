/**
 * A page of executions, newest first, without payloads. Ids are UUIDv7, so their order is that of creation and a page
 * continues after an id: rows that arrive meanwhile are newer and shift nothing.
 */
import type { ClientBase } from "pg";
import { type ExecutionConditions, whereOf } from "../execution-conditions.ts";
import { type ExecutionRow, executionColumns } from "../execution-row.ts";

export interface ListExecutionsParameters {
  readonly conditions: ExecutionConditions;
  readonly afterUuid: string | undefined;
  readonly limit: number;
}

export async function listExecutions(client: ClientBase, tenantId: string, parameters: ListExecutionsParameters): Promise<ExecutionRow[]> {
  const { conditions, afterUuid, limit } = parameters;
  const where = whereOf(tenantId, conditions, afterUuid === undefined ? [limit] : [limit, afterUuid]);
  const { rows } = await client.query<ExecutionRow>({
    text: `select ${executionColumns}
from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id
where ${where.text}${afterUuid === undefined ? "" : " and e.id < $2"} order by e.id desc limit $1`,
    values: [...where.values],
  });
  return rows;
}
