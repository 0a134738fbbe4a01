/** Deletes signals of a tenant whose time is over, a bounded number at once. */
import type { ClientBase } from "pg";

const text = `
delete from signals where (tenant_id, id) in (
  select tenant_id, id from signals where tenant_id = $1 and purge_time < clock_timestamp() order by purge_time limit $2 for update skip locked
)`;

/** How many were deleted. */
export async function purgeSignals(client: ClientBase, tenantId: string, rowsMax: number): Promise<number> {
  return (await client.query({ name: "purge_signals", text, values: [tenantId, rowsMax] })).rowCount ?? 0;
}
