/** The private targets that a tenant's steps may call, as they were written. */
import type { Pool } from "pg";

const text = `select egress_allow as "egressAllow" from tenants where id = $1`;

/** Empty for an unknown tenant. */
export async function findEgressAllow(pool: Pool, tenantId: string): Promise<readonly string[]> {
  return (await pool.query<{ egressAllow: string[] }>({ name: "find_egress_allow", text, values: [tenantId] })).rows[0]?.egressAllow ?? [];
}
