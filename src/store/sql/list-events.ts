/** A stretch of one execution's ledger, in order, bounded in rows and bytes. */
import type { Pool } from "pg";

// The size is that of the stored (compressed) value, so that rows behind the bound are not unpacked. The first row always
// comes, however large it is: a reader must get on.
const text = `
select sequence, type, "stepPath", attempt, at, payload, stretch_rows::int as "stretchRows" from (
  select sequence, type, step_path as "stepPath", attempt, at, payload,
    sum(pg_column_size(payload)) over (order by sequence rows between unbounded preceding and 1 preceding) as bytes_before,
    count(*) over () as stretch_rows
  from (
    select sequence, type, step_path, attempt, at, payload from execution_events
    where tenant_id = $1 and execution_id = $2 and sequence > $3 order by sequence limit $4
  ) stretch
) measured where coalesce(bytes_before, 0) < $5 order by sequence`;

export interface EventRow {
  readonly sequence: number;
  readonly type: string;
  readonly stepPath: string;
  readonly attempt: number;
  readonly at: Date;
  readonly payload: object;
}

interface StretchRow extends EventRow {
  /** Rows that the limit left, those behind the bound of bytes counted in. */
  readonly stretchRows: number;
}

/** `isLast`: there was nothing behind them when they were read. */
export async function listEvents(
  pool: Pool,
  tenantId: string,
  executionUuid: string,
  afterSequence: number,
  limit: number,
  bytesMax: number,
): Promise<{ rows: readonly EventRow[]; isLast: boolean }> {
  const { rows } = await pool.query<StretchRow>({ name: "list_events", text, values: [tenantId, executionUuid, afterSequence, limit, bytesMax] });
  const stretchRows = rows[0]?.stretchRows ?? 0;
  return { rows: rows.map(({ stretchRows: _, ...row }) => row), isLast: rows.length === stretchRows && stretchRows < limit };
}
