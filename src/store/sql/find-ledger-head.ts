/** How far an execution's ledger goes, for who compares a position with it, and the correlation id that all its events belong to. */
import type { Pool } from "pg";

export interface LedgerHead {
  readonly lastSequence: number;
  readonly correlationId: string;
}

const text = `select last_sequence as "lastSequence", correlation_id as "correlationId" from workflow_executions where tenant_id = $1 and id = $2`;

export async function findLedgerHead(pool: Pool, tenantId: string, executionUuid: string): Promise<LedgerHead | undefined> {
  return (await pool.query<LedgerHead>({ name: "find_ledger_head", text, values: [tenantId, executionUuid] })).rows[0];
}
