/**
 * After a commit with unknown outcome: which of these events stand in the ledger. Another
 * owner may have written an event of that number and type meanwhile, so the moment it was made is compared, too.
 */
import type { ClientBase } from "pg";
import { parseId } from "../../base/ids.ts";
import type { AppendRequest } from "../journal.ts";

export interface ExpectedEvent {
  readonly tenantId: string;
  readonly executionId: string;
  readonly sequence: number;
  readonly type: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const text = `
select w.index::int as index
from unnest($1::int[], $2::text[], $3::uuid[], $4::int[], $5::text[], $6::timestamptz[]) as w (index, tenant_id, execution_id, sequence, type, at)
join execution_events e on e.tenant_id = w.tenant_id and e.execution_id = w.execution_id and e.sequence = w.sequence and e.type = w.type and e.at = w.at`;

/** Indexes into `expected` of those that were committed. */
export async function findCommitted(client: ClientBase, expected: readonly ExpectedEvent[]): Promise<ReadonlySet<number>> {
  const { rows } = await client.query<{ index: number }>({
    name: "find_committed",
    text,
    values: [
      expected.map((_, index) => index),
      expected.map((event) => event.tenantId),
      expected.map((event) => parseId("execution", event.executionId)),
      expected.map((event) => event.sequence),
      expected.map((event) => event.type),
      expected.map((event) => new Date(event.at)),
    ],
  });
  return new Set(rows.map((row) => row.index));
}

/** The event by which an append is recognised; one without events is simply written again. */
export function lastEventOf({ tenantId, executionId, events }: AppendRequest): ExpectedEvent {
  const last = events.at(-1);
  return { tenantId, executionId, sequence: last?.sequence ?? 0, type: last?.type ?? "", at: last?.at ?? 0 };
}
