/** How much a tenant may keep, as its row says in this moment: what the operator changes holds for the next call on every replica. */
import type { ClientBase, Pool } from "pg";
import { type QuotaName, quotaOf, readQuotas } from "../domain/tenant.ts";
import { findQuotas } from "./sql/tenants.ts";

export async function readQuota(client: ClientBase | Pool, tenantId: string, name: QuotaName): Promise<number> {
  return quotaOf(readQuotas(await findQuotas(client, tenantId)), name);
}
