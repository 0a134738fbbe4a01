/** The whole ledgers of some executions of one tenant, for recovery: one read for a claimed batch. */
import type { Pool } from "pg";
import { formatId, parseId } from "../../base/ids.ts";
import type { ExecutionEvent } from "../../domain/events.ts";

const text = `
select execution_id, sequence, type, step_path, attempt, extract(epoch from at) * 1000 as at, payload
from execution_events where tenant_id = $1 and execution_id = any($2::uuid[]) order by execution_id, sequence`;

interface Row {
  readonly execution_id: string;
  readonly sequence: number;
  readonly type: string;
  readonly step_path: string;
  readonly attempt: number;
  readonly at: string;
  readonly payload: object;
}

/** By execution id; an execution without events is absent. */
export async function loadLedgers(pool: Pool, tenantId: string, executionIds: readonly string[]): Promise<ReadonlyMap<string, ExecutionEvent[]>> {
  const { rows } = await pool.query<Row>({
    name: "load_ledgers",
    text,
    values: [tenantId, executionIds.map((id) => parseId("execution", id))],
  });
  const ledgers = new Map<string, ExecutionEvent[]>();
  for (const row of rows) {
    const executionId = formatId("execution", row.execution_id);
    let ledger = ledgers.get(executionId);
    if (!ledger) ledgers.set(executionId, (ledger = []));
    ledger.push({
      sequence: row.sequence,
      type: row.type,
      stepPath: row.step_path,
      attempt: row.attempt,
      at: Math.round(Number(row.at)),
      payload: row.payload,
    } as ExecutionEvent);
  }
  return ledgers;
}
