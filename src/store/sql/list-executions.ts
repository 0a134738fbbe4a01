/**
 * A page of executions, newest first, without payloads. Ids are UUIDv7, so their order is that of creation and a page
 * continues after an id: rows that arrive meanwhile are newer and shift nothing.
 */
import type { ClientBase } from "pg";
import type { ExecutionStatus } from "../../domain/states.ts";
import { type ExecutionRow, executionColumns } from "../execution-row.ts";

export interface ListExecutionsParameters {
  readonly states: readonly ExecutionStatus[] | undefined;
  readonly workflowUuid: string | undefined;
  readonly correlationId: string | undefined;
  readonly afterUuid: string | undefined;
  readonly limit: number;
}

/** Each combination of filters is a statement of its own: one text with `$n is null or …` would get a plan that fits none. */
export async function listExecutions(client: ClientBase, tenantId: string, parameters: ListExecutionsParameters): Promise<ExecutionRow[]> {
  const { states, workflowUuid, correlationId, afterUuid, limit } = parameters;
  const values: unknown[] = [tenantId, limit];
  const conditions = ["e.tenant_id = $1"];
  const shape: string[] = [];
  const add = (name: string, value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return;
    values.push(value);
    shape.push(name);
    conditions.push(condition(`$${values.length}`));
  };
  add("states", states, (place) => `e.state = any(${place}::text[])`);
  add("workflow", workflowUuid, (place) => `e.workflow_id = ${place}`);
  add("correlation", correlationId, (place) => `e.correlation_id = ${place}`);
  add("after", afterUuid, (place) => `e.id < ${place}`);
  const { rows } = await client.query<ExecutionRow>({
    name: ["list_executions", ...shape].join("_"),
    text: `select ${executionColumns}
from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id
where ${conditions.join(" and ")} order by e.id desc limit $2`,
    values,
  });
  return rows;
}
