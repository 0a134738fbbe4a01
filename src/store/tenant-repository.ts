/**
 * Tenants as the operator sees them. The only store whose functions reach beyond the caller's own tenant, and they reach the
 * settings of others, never what those store. Whether the caller may ask is judged at the door (scope `tenants:admin`).
 */
import type { PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { Json } from "../base/json.ts";
import { readQuotas, type TenantSettings } from "../domain/tenant.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { checkEtag, etagOf } from "./fingerprint.ts";
import { issueFirstKey, type KeyRecord, type NewKey } from "./key-repository.ts";
import { type Page, pageOf } from "./listing.ts";
import { findTenantRow, insertTenantRow, listTenantRows, lockTenantRow, type TenantRow, type TenantSettingsRow, updateTenantRow } from "./sql/tenants.ts";
import { isStorable } from "./storable.ts";
import { inTransaction } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";

export interface TenantRecord extends TenantSettings {
  readonly id: string;
  /** Equal for equal settings. */
  readonly etag: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface NewTenant {
  readonly id: string;
  readonly settings: TenantSettings;
  readonly firstKey: Pick<NewKey, "name" | "scopes" | "secretHash"> & { readonly keyId: string };
  readonly validateOnly: boolean;
}

export interface TenantUpdate {
  readonly change: (before: TenantSettings) => TenantSettings;
  readonly etag: string;
  readonly validateOnly: boolean;
}

export interface TenantRepository {
  /** With its first key, which may no more than the caller's own. @throws AppError NAME_TAKEN, SCOPE_MISSING, KEY_… */
  create(caller: Caller, wish: NewTenant): Promise<{ readonly tenant: TenantRecord; readonly key: KeyRecord }>;
  find(id: string): Promise<TenantRecord | undefined>;
  /** By id. */
  list(page: { readonly pageSize: number; readonly afterId?: string }): Promise<Page<TenantRecord>>;
  /** Undefined: no such tenant. @throws AppError ETAG_MISMATCH */
  update(caller: Caller, id: string, update: TenantUpdate): Promise<TenantRecord | undefined>;
}

export function createTenantRepository({ pool }: Pick<Database, "pool">): TenantRepository {
  const writing = <T>(caller: Caller, undo: boolean, work: (client: PoolClient) => Promise<T>): Promise<T> =>
    guarded(() => inTransaction(pool, work, { unit: unitOf(caller), undo }));
  return {
    async create(caller, { id, settings, firstKey, validateOnly }) {
      return await writing(caller, validateOnly, async (client) => {
        const row = await insertTenantRow(client, rowOf(id, settings));
        if (!row) throw new AppError("NAME_TAKEN", `there is a tenant ${id} already; choose another id`, { metadata: { tenant: id } });
        return { tenant: toTenant(row), key: await issueFirstKey(client, caller, { ...firstKey, tenantId: id }) };
      });
    },

    async find(id) {
      const row = isStorable([id]) ? await guarded(() => findTenantRow(pool, id)) : undefined;
      return row && toTenant(row);
    },

    list: ({ pageSize, afterId }) => guarded(async () => pageOf(await listTenantRows(pool, afterId, pageSize + 1), pageSize, toTenant)),

    async update(caller, id, { change, etag, validateOnly }) {
      if (!isStorable([id])) return undefined;
      return await writing(caller, validateOnly, async (client) => {
        const before = await lockTenantRow(client, id);
        if (!before) return undefined;
        const known = toTenant(before);
        checkEtag(etag, known.etag);
        const after = await updateTenantRow(client, rowOf(id, change(known)));
        return after && toTenant(after);
      });
    },
  };
}

function rowOf(id: string, { retentionMsMax, ...rest }: TenantSettings): TenantSettingsRow {
  return { ...rest, id, retentionMsMax: retentionMsMax ?? null };
}

function toTenant({ id, displayName, suspended, weight, egressAllow, quotas, retentionMsMax, createTime, updateTime }: TenantRow): TenantRecord {
  const settings = { displayName, suspended, weight, egressAllow, quotas: readQuotas(quotas), retentionMsMax: retentionMsMax ?? undefined };
  const etag = etagOf([id, { ...settings, retentionMsMax } as unknown as Json]);
  return { id, ...settings, etag, createdAt: createTime.getTime(), updatedAt: updateTime.getTime() };
}
