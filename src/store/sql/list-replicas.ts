/** The replicas whose lease is valid, oldest first. */
import type { Pool } from "pg";

const text = "select id, start_time, expire_time from replicas where expire_time > clock_timestamp() order by start_time, id limit $1";

export interface ReplicaRow {
  readonly id: string;
  readonly start_time: Date;
  readonly expire_time: Date;
}

export async function listReplicas(pool: Pool, rowsMax: number): Promise<ReplicaRow[]> {
  return (await pool.query<ReplicaRow>({ name: "list_replicas", text, values: [rowsMax] })).rows;
}
