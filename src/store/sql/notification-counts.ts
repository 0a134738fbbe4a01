/** Counts of notifications, kept for all replicas: taken in one statement, given back in another when one of them was too high. */
import type { ClientBase, Pool } from "pg";

// Rows are met in one order, so that two messages cannot wait for each other. A recipient that is gone has a row under another key.
const take = `
insert into notification_counts as c (tenant_id, key, count, end_time)
select $1, key, need, statement_timestamp() + $4 * interval '1 millisecond' from unnest($2::bytea[], $3::int[]) as w (key, need)
where not exists (select from notification_counts g where g.tenant_id = $1 and g.key = any($5::bytea[]) and g.end_time > statement_timestamp())
order by key
on conflict (tenant_id, key) do update set
  count = case when c.end_time > statement_timestamp() then c.count else 0 end + excluded.count,
  end_time = case when c.end_time > statement_timestamp() then c.end_time else excluded.end_time end
returning key, count, end_time as "endTime"`;

export interface TakenCount {
  readonly key: Buffer;
  /** With what was just taken. */
  readonly count: number;
  readonly endTime: Date;
}

/** Nothing when one of the `gone` keys is there. */
export async function takeNotifications(
  pool: Pool,
  tenantId: string,
  wanted: readonly (readonly [key: Buffer, need: number])[],
  gone: readonly Buffer[],
  windowMs: number,
): Promise<TakenCount[]> {
  const values = [tenantId, wanted.map(([key]) => key), wanted.map(([, need]) => need), windowMs, gone];
  return (await pool.query<TakenCount>({ name: "take_notifications", text: take, values })).rows;
}

const mark = `
insert into notification_counts as c (tenant_id, key, count, end_time) values ($1, $2, 1, statement_timestamp() + $3 * interval '1 millisecond')
on conflict (tenant_id, key) do update set end_time = excluded.end_time`;

export async function markGone(pool: Pool, tenantId: string, key: Buffer, forMs: number): Promise<void> {
  await pool.query({ name: "mark_gone", text: mark, values: [tenantId, key, forMs] });
}

const giveBack = `
update notification_counts c set count = c.count - w.need
from (
  select k.key, k.need from unnest($2::bytea[], $3::int[], $4::timestamptz[]) as k (key, need, end_time)
  join notification_counts o on o.tenant_id = $1 and o.key = k.key and o.end_time = k.end_time order by k.key for update of o
) w
where c.tenant_id = $1 and c.key = w.key`;

/** What belongs to an hour that is over meanwhile stays as it is. */
export async function giveBackNotifications(
  pool: Pool,
  tenantId: string,
  taken: readonly (readonly [key: Buffer, need: number, endTime: Date])[],
): Promise<void> {
  const values = [tenantId, taken.map(([key]) => key), taken.map(([, need]) => need), taken.map(([, , endTime]) => endTime)];
  await pool.query({ name: "give_back_notifications", text: giveBack, values });
}

const purge = `
delete from notification_counts where (tenant_id, key) in (
  select tenant_id, key from notification_counts where tenant_id = $1 and end_time < statement_timestamp() limit $2 for update skip locked
)`;

/** Deletes at most `rowsMax` counts of the tenant whose hour is over; answers how many. */
export async function purgeNotifications(client: ClientBase, tenantId: string, rowsMax: number): Promise<number> {
  return (await client.query({ name: "purge_notifications", text: purge, values: [tenantId, rowsMax] })).rowCount ?? 0;
}
