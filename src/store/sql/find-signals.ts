/** Stored signals that open waits of an execution may take, oldest first, behind a cursor. */

import type { Pool } from "pg";
import { nilUuid } from "../../base/ids.ts";
import type { Json } from "../../base/json.ts";

export interface SignalRow {
  readonly id: string;
  readonly eventType: string;
  readonly correlationKey: string | null;
  readonly data: Json;
  readonly dedupId: string | null;
  readonly createTime: Date;
  readonly expireTime: Date;
}

export interface FindSignals {
  readonly tenantId: string;
  readonly executionUuid: string;
  /** Types of signals to this execution. */
  readonly eventTypes: readonly string[];
  /** Published events: types and keys side by side. */
  readonly keyedTypes: readonly string[];
  readonly keys: readonly string[];
  /** Received already. */
  readonly without: readonly string[];
  readonly after: { readonly createTime: Date; readonly id: string } | undefined;
  readonly rowsMax: number;
  /** When the oldest wait began: signals whose time was over by then do not count, unless they came later. */
  readonly since: Date;
}

const columns = `s.id, s.event_type as "eventType", s.correlation_key as "correlationKey", s.data, s.dedup_id as "dedupId", s.create_time as "createTime",
  s.expire_time as "expireTime"`;
const behind =
  "(s.create_time, s.id) > ($7::timestamptz, $8::uuid) and s.id <> all($6::uuid[]) and (s.expire_time > $10::timestamptz or s.create_time >= $10::timestamptz)";

// The statement's own moment is at or before that of what it sees: what was committed by then is seen. It is told also without a signal.
// `lateral … limit`: key by key, each by its index. As a join, a planner without statistics reads all events of the tenant.
const text = `
select now() as "readAt", found.* from (values (true)) as one (row) left join (
  (select ${columns} from signals s
   where s.tenant_id = $1 and s.execution_id = $2 and not s.taken and s.event_type = any($3::text[]) and ${behind}
   order by s.create_time, s.id limit $9)
  union all
  (select by_key.* from unnest($4::text[], $5::text[]) as k (event_type, key) cross join lateral (
     select ${columns} from signals s
     where s.tenant_id = $1 and s.execution_id is null and s.event_type = k.event_type and s.correlation_key = k.key and ${behind}
     order by s.create_time, s.id limit $9) by_key)
) found on true order by "createTime", id limit $9`;

export async function findSignals(pool: Pool, wish: FindSignals): Promise<{ readonly rows: readonly SignalRow[]; readonly readAt: Date }> {
  const { tenantId, executionUuid, eventTypes, keyedTypes, keys, without, after, rowsMax, since } = wish;
  const values = [
    ...[tenantId, executionUuid, eventTypes, keyedTypes, keys, without],
    ...[after?.createTime ?? "-infinity", after?.id ?? nilUuid, rowsMax, since],
  ];
  const { rows } = await pool.query<SignalRow & { readonly readAt: Date }>({ name: "find_signals", text, values });
  const [first] = rows;
  if (!first) throw new Error("find_signals answers with its moment at least");
  return { rows: first.id === null ? [] : rows, readAt: first.readAt };
}
