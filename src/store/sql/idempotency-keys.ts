/** Request ids of mutations: taken by one call, answered once, given back when the call was refused. */
import type { ClientBase, Pool } from "pg";
import type { Json } from "../../base/json.ts";

export interface RequestKey {
  readonly tenantId: string;
  readonly method: string;
  readonly requestId: string;
}

export interface KeyRow {
  readonly fingerprint: Buffer;
  readonly response: Buffer | null;
  readonly plan: Json | null;
}

const take = `
insert into idempotency_keys as k (tenant_id, method, request_id, fingerprint, holder) values ($1, $2, $3, $4, $5)
on conflict (tenant_id, method, request_id) do update set holder = excluded.holder, claim_time = clock_timestamp()
  where k.response is null and k.fingerprint = excluded.fingerprint and k.claim_time < clock_timestamp() - $6 * interval '1 millisecond'
returning holder`;
const find = "select fingerprint, response, plan from idempotency_keys where tenant_id = $1 and method = $2 and request_id = $3";
const renew = "update idempotency_keys set claim_time = clock_timestamp() where tenant_id = $1 and method = $2 and request_id = $3 and holder = $4";
const answer = "update idempotency_keys set response = $5 where tenant_id = $1 and method = $2 and request_id = $3 and holder = $4 and response is null";
const plan = "update idempotency_keys set plan = $5::json where tenant_id = $1 and method = $2 and request_id = $3 and holder = $4 and response is null";
const letGo =
  "update idempotency_keys set claim_time = '-infinity' where tenant_id = $1 and method = $2 and request_id = $3 and holder = $4 and response is null";
const giveBack = "delete from idempotency_keys where tenant_id = $1 and method = $2 and request_id = $3 and holder = $4 and response is null";
const purge = `
delete from idempotency_keys where (tenant_id, method, request_id) in (
  select tenant_id, method, request_id from idempotency_keys where create_time < clock_timestamp() - $1 * interval '1 millisecond' limit $2
)`;

/** True when the id is new, or its holder has not been heard of for `staleMs`. */
export async function takeKey(pool: Pool, key: RequestKey, fingerprint: Buffer, holder: string, staleMs: number): Promise<boolean> {
  const values = [...placeOf(key), fingerprint, holder, staleMs];
  return (await pool.query({ name: "idempotency_take", text: take, values })).rowCount === 1;
}

/** Undefined when nobody has the id any more. */
export async function findKey(pool: Pool, key: RequestKey): Promise<KeyRow | undefined> {
  return (await pool.query<KeyRow>({ name: "idempotency_find", text: find, values: placeOf(key) })).rows[0];
}

export async function renewKey(pool: Pool, key: RequestKey, holder: string): Promise<void> {
  await pool.query({ name: "idempotency_renew", text: renew, values: [...placeOf(key), holder] });
}

/** False when the id belongs to somebody else by now. */
export async function answerKey(client: ClientBase | Pool, key: RequestKey, holder: string, response: Uint8Array): Promise<boolean> {
  const values = [...placeOf(key), holder, Buffer.from(response)];
  return (await client.query({ name: "idempotency_answer", text: answer, values })).rowCount === 1;
}

/** False when the id belongs to somebody else by now. */
export async function planKey(pool: Pool, key: RequestKey, holder: string, json: string): Promise<boolean> {
  return (await pool.query({ name: "idempotency_plan", text: plan, values: [...placeOf(key), holder, json] })).rowCount === 1;
}

/** Whoever repeats the call may go on with it at once. */
export async function letKeyGo(pool: Pool, key: RequestKey, holder: string): Promise<void> {
  await pool.query({ name: "idempotency_let_go", text: letGo, values: [...placeOf(key), holder] });
}

export async function giveKeyBack(pool: Pool, key: RequestKey, holder: string): Promise<void> {
  await pool.query({ name: "idempotency_give_back", text: giveBack, values: [...placeOf(key), holder] });
}

/** At most `rowsMax` of those that are older than `ageMs`. */
export async function purgeKeys(pool: Pool, ageMs: number, rowsMax: number): Promise<void> {
  await pool.query({ name: "idempotency_purge", text: purge, values: [ageMs, rowsMax] });
}

function placeOf({ tenantId, method, requestId }: RequestKey): string[] {
  return [tenantId, method, requestId];
}
