/** Executions that wait for a participant: noted when they leave memory, taken by whoever hears that it answers again. */
import type { Pool } from "pg";

export interface DestinationWaitRow {
  readonly tenantId: string;
  readonly destination: string;
  readonly executionUuid: string;
  /** Milliseconds since the epoch, by the database's clock. */
  readonly until: number;
}

const note = `
insert into destination_waits as w (tenant_id, destination, execution_id, until_time)
select distinct on (1, 2, 3) tenant_id, destination, execution_id, to_timestamp(until_ms / 1000.0)
from unnest($1::text[], $2::text[], $3::uuid[], $4::float8[]) as n (tenant_id, destination, execution_id, until_ms) order by 1, 2, 3, 4 desc
on conflict (tenant_id, destination, execution_id) do update set until_time = excluded.until_time`;

/** Waits of different tenants in one statement. */
export async function noteDestinationWaits(pool: Pool, waits: readonly DestinationWaitRow[]): Promise<void> {
  await pool.query({
    name: "note_destination_waits",
    text: note,
    values: [
      waits.map(({ tenantId }) => tenantId),
      waits.map(({ destination }) => destination),
      waits.map(({ executionUuid }) => executionUuid),
      waits.map(({ until }) => until),
    ],
  });
}

const take = `
delete from destination_waits w using (
  select execution_id from destination_waits where tenant_id = $1 and destination = $2 order by execution_id limit $3 for update skip locked
) as taken
where w.tenant_id = $1 and w.destination = $2 and w.execution_id = taken.execution_id
returning w.execution_id as id`;

/** Uuids of those that wait for it, which are removed; each is given to one caller. */
export async function takeDestinationWaits(pool: Pool, tenantId: string, destination: string, rowsMax: number): Promise<string[]> {
  const { rows } = await pool.query<{ id: string }>({ name: "take_destination_waits", text: take, values: [tenantId, destination, rowsMax] });
  return rows.map(({ id }) => id);
}

const purge = `
delete from destination_waits w using (
  select tenant_id, destination, execution_id from destination_waits where until_time < clock_timestamp() order by until_time limit $1 for update skip locked
) as due
where w.tenant_id = due.tenant_id and w.destination = due.destination and w.execution_id = due.execution_id`;

/** Removes those whose time has come anyway; answers how many. */
export async function purgeDestinationWaits(pool: Pool, rowsMax: number): Promise<number> {
  const { rowCount } = await pool.query({ name: "purge_destination_waits", text: purge, values: [rowsMax] });
  return rowCount ?? 0;
}
