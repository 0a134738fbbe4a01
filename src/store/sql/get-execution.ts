/** One execution with its payloads and its saga state, by id or by the key its caller chose. */
import type { Pool } from "pg";
import { type ExecutionRow, executionColumns } from "../execution-row.ts";

// Input and output are written once, in the ledger: in its first event and in the one that ended the execution. The row's own
// input is what a retry gave instead; rows of the release before have both.
const from = `select ${executionColumns}, coalesce(e.variables, '{}') as variables,
  coalesce(e.input, (select v.payload -> 'input' from execution_events v where v.tenant_id = e.tenant_id and v.execution_id = e.id and v.sequence = 1)) as input,
  coalesce(e.output, (select v.payload -> 'output' from execution_events v where v.tenant_id = e.tenant_id and v.execution_id = e.id
    and e.end_time is not null and v.type = 'execution_ended' order by v.sequence desc limit 1)) as output
from workflow_executions e left join workflow_instances i on i.tenant_id = e.tenant_id and i.id = e.id`;
const byId = `${from} where e.tenant_id = $1 and e.id = $2`;
// The open run is the newest one, because a key is free for the next run only when the last one has ended. Asking for it
// first reads one entry of the partial unique index; only keys without an open run go to the history.
const openByKey = `${from} where e.tenant_id = $1 and e.execution_key = $2 and e.end_time is null`;
const newestByKey = `${from} where e.tenant_id = $1 and e.execution_key = $2 order by e.id desc limit 1`;

export type ExecutionReference = { readonly uuid: string } | { readonly key: string };

export async function getExecution(pool: Pool, tenantId: string, reference: ExecutionReference): Promise<ExecutionRow | undefined> {
  if ("uuid" in reference) {
    return (await pool.query<ExecutionRow>({ name: "get_execution", text: byId, values: [tenantId, reference.uuid] })).rows[0];
  }
  const values = [tenantId, reference.key];
  const open = await pool.query<ExecutionRow>({ name: "get_execution_open_key", text: openByKey, values });
  return open.rows[0] ?? (await pool.query<ExecutionRow>({ name: "get_execution_key", text: newestByKey, values })).rows[0];
}
