/** How the children of an execution stand, by their ids. */
import type { Pool } from "pg";
import type { Json } from "../../base/json.ts";
import type { Failure } from "../../domain/failure.ts";
import type { ExecutionStatus, SagaStatus } from "../../domain/states.ts";

export interface ChildRow {
  readonly id: string;
  readonly state: ExecutionStatus;
  readonly sagaState: SagaStatus;
  readonly failure: Failure | null;
  readonly output: Json | null;
}

const text = `
select e.id, e.state, i.state as "sagaState", e.failure, case when e.end_time is not null then coalesce(e.output,
  (select v.payload -> 'output' from execution_events v where v.tenant_id = e.tenant_id and v.execution_id = e.id
   and v.type = 'execution_ended' order by v.sequence desc limit 1)) end as output
from workflow_executions e join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id
where e.tenant_id = $1 and e.id = any($2::uuid[])`;

export async function findChildren(pool: Pool, tenantId: string, uuids: readonly string[]): Promise<ChildRow[]> {
  return (await pool.query<ChildRow>({ name: "find_children", text, values: [tenantId, uuids] })).rows;
}
