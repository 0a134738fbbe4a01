/**
 * What came after known positions in the ledgers of many executions, of several tenants, in one statement. It has no name:
 * a plan that was made while the ledger was small would scan it once for each of them.
 */
import type { Pool } from "pg";

export interface NewsWanted {
  readonly tenantId: string;
  readonly executionUuid: string;
  readonly afterSequence: number;
}

export interface NewsRow {
  /** Index of the one that wanted it. */
  readonly index: number;
  readonly sequence: number;
  readonly type: string;
  readonly stepPath: string;
  readonly attempt: number;
  readonly at: Date;
  readonly payload: object;
}

// One probe of the primary key for each; what is bounded is bounded for each, so that one large ledger hides no other.
const text = `
select w.n::int - 1 as index, e.sequence, e.type, e."stepPath", e.attempt, e.at, e.payload
from unnest($1::text[], $2::uuid[], $3::int[]) with ordinality as w (tenant_id, execution_id, after, n)
cross join lateral (
  select sequence, type, step_path as "stepPath", attempt, at, payload,
    sum(pg_column_size(payload)) over (order by sequence rows between unbounded preceding and 1 preceding) as bytes_before
  from (
    select sequence, type, step_path, attempt, at, payload from execution_events v
    where v.tenant_id = w.tenant_id and v.execution_id = w.execution_id and v.sequence > w.after order by v.sequence limit $4
  ) stretch
) e
where coalesce(e.bytes_before, 0) < $5
order by w.n, e.sequence`;

export async function readNews(pool: Pool, wanted: readonly NewsWanted[], rowsMax: number, bytesMax: number): Promise<NewsRow[]> {
  const { rows } = await pool.query<NewsRow>({
    text,
    values: [
      wanted.map(({ tenantId }) => tenantId),
      wanted.map(({ executionUuid }) => executionUuid),
      wanted.map(({ afterSequence }) => afterSequence),
      rowsMax,
      bytesMax,
    ],
  });
  return rows;
}
