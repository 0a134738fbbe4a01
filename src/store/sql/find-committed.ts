/**
 * After a commit with unknown outcome: which of these events stand in the ledger. Only the owner of an execution writes
 * it, so number and type identify the event.
 */
import type { ClientBase } from "pg";
import { parseId } from "../../base/ids.ts";
import type { AppendRequest } from "../journal.ts";

export interface ExpectedEvent {
  readonly tenantId: string;
  readonly executionId: string;
  readonly sequence: number;
  readonly type: string;
}

const text = `
select w.index::int as index
from unnest($1::int[], $2::text[], $3::uuid[], $4::int[], $5::text[]) as w (index, tenant_id, execution_id, sequence, type)
join execution_events e on e.tenant_id = w.tenant_id and e.execution_id = w.execution_id and e.sequence = w.sequence and e.type = w.type`;

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
    ],
  });
  return new Set(rows.map((row) => row.index));
}

/** The event by which an append is recognised; one without events is simply written again. */
export function lastEventOf({ tenantId, executionId, events }: AppendRequest): ExpectedEvent {
  const last = events.at(-1);
  return { tenantId, executionId, sequence: last?.sequence ?? 0, type: last?.type ?? "" };
}
