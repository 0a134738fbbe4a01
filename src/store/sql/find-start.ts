/** Who holds a request id or an execution key: asked when a start was not new. */
import type { Pool } from "pg";
import { formatId } from "../../base/ids.ts";

export interface ExistingStart {
  readonly executionId: string;
  /** True when it was found by request id, not by key. */
  readonly byRequestId: boolean;
  readonly requestHash: Buffer | undefined;
}

const text = `
select id, request_id is not null and request_id = $2 as by_request_id, request_hash
from workflow_executions where tenant_id = $1 and (request_id = $2 or (execution_key = $3 and end_time is null))
order by 2 desc limit 1`;

export async function findStart(
  pool: Pool,
  tenantId: string,
  requestId: string | undefined,
  executionKey: string | undefined,
): Promise<ExistingStart | undefined> {
  const { rows } = await pool.query<{ id: string; by_request_id: boolean | null; request_hash: Buffer | null }>({
    name: "find_start",
    text,
    values: [tenantId, requestId ?? null, executionKey ?? null],
  });
  const row = rows[0];
  return row && { executionId: formatId("execution", row.id), byRequestId: row.by_request_id === true, requestHash: row.request_hash ?? undefined };
}
