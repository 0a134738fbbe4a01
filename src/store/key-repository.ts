/**
 * Tenants and their API keys. The store sees only the HMAC of a secret, never the secret. `findKey` and `createKey` are asked
 * before there is a caller (sign-in, first key of a tenant); who may create keys for which tenant is decided above the store.
 */
import { LockMode } from "@mikro-orm/postgresql";
import type { Caller } from "../base/caller.ts";
import { AppError, invariant } from "../base/errors.ts";
import { formatId, type IdSource, parseId, systemIds } from "../base/ids.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { databaseNow } from "./database-now.ts";
import { ApiKey } from "./entities/api-key.ts";
import { Tenant } from "./entities/tenant.ts";
import { findKey, findKeys, type KeyRow } from "./sql/find-key.ts";
import { insertKey } from "./sql/insert-key.ts";
import { builtInTenant } from "./template-row.ts";
import { withEntities } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";

export interface NewKey {
  readonly tenantId: string;
  readonly name: string;
  readonly scopes: readonly string[];
  /** HMAC-SHA256 of the secret with the server's pepper: 32 bytes. */
  readonly secretHash: Uint8Array;
  /** Milliseconds since the epoch; undefined: never. */
  readonly expiresAt?: number | undefined;
  /** Chosen beforehand when the hash depends on it; default: a new one. */
  readonly keyId?: string | undefined;
}

export interface KeyRecord {
  /** `key_…` */
  readonly id: string;
  readonly tenantId: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
}

export interface FoundKey {
  readonly tenantId: string;
  readonly name: string;
  /** Compare in constant time. */
  readonly secretHash: Buffer;
  readonly scopes: readonly string[];
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
  readonly tenantSuspended: boolean;
}

export interface KeyRepository {
  /** Makes the tenant if it is new; an existing one stays as it is. @throws AppError VALIDATION_FAILED for the reserved name `system` */
  ensureTenant(tenantId: string, displayName?: string): Promise<void>;
  /** The tenant must exist. */
  createKey(key: NewKey): Promise<KeyRecord>;
  /** Whatever its state: expiry, revocation and suspension are judged by the one who asks. */
  findKey(keyId: string): Promise<FoundKey | undefined>;
  /** The same for several, by id; what is not there is left out. */
  findKeys(keyIds: readonly string[]): Promise<ReadonlyMap<string, FoundKey>>;
  /** Of the server's first key only: it holds every scope there is. */
  setScopes(keyId: string, scopes: readonly string[]): Promise<void>;
  /** Of the caller's tenant, newest first. */
  listKeys(caller: Caller): Promise<KeyRecord[]>;
  /** For good; repeated calls keep the first moment. `undo`: only what would be. */
  revokeKey(caller: Caller, keyId: string, undo?: boolean): Promise<KeyRecord | undefined>;
}

const secretHashBytes = 32;
const keysPerTenantMax = 1_000;

export function createKeyRepository(database: Pick<Database, "orm" | "pool">, ids: IdSource = systemIds): KeyRepository {
  const { orm, pool } = database;
  return {
    async ensureTenant(tenantId, displayName = "") {
      if (tenantId === builtInTenant) throw new AppError("VALIDATION_FAILED", `the tenant name ${builtInTenant} is reserved; choose another one`);
      await guarded(() => orm.em.fork().upsert(Tenant, { id: tenantId, displayName }, { onConflictAction: "ignore" }));
    },

    async createKey({ tenantId, name, scopes, secretHash, expiresAt, keyId = ids.next("key") }) {
      const uuid = parseId("key", keyId);
      invariant(uuid, "a key id has the form key_…");
      invariant(secretHash.length === secretHashBytes, "a secret hash has 32 bytes");
      const expireTime = expiresAt === undefined ? undefined : new Date(expiresAt);
      const createTime = await guarded(async () => {
        const tenant = await orm.em.fork().findOne(Tenant, { id: tenantId });
        invariant(tenant, "a key belongs to a tenant that exists");
        return insertKey(pool, { uuid, tenantId, name, secretHash, scopes, expireTime });
      });
      return { id: keyId, tenantId, name, scopes, createdAt: createTime.getTime(), expiresAt, revokedAt: undefined };
    },

    async findKey(keyId) {
      const uuid = parseId("key", keyId);
      const row = uuid && (await guarded(() => findKey(pool, uuid)));
      return row ? toFound(row) : undefined;
    },

    async findKeys(keyIds) {
      const uuids = keyIds.flatMap((keyId) => parseId("key", keyId) ?? []);
      const rows = await guarded(() => findKeys(pool, uuids));
      return new Map(rows.map((row) => [formatId("key", row.id), toFound(row)]));
    },

    async setScopes(keyId, scopes) {
      const id = parseId("key", keyId);
      if (id) await guarded(() => orm.em.fork().nativeUpdate(ApiKey, { id }, { scopes: [...scopes] }));
    },

    async listKeys(caller) {
      const found = await guarded(() => orm.em.fork().find(ApiKey, { tenantId: caller.tenantId }, { orderBy: { id: "desc" }, limit: keysPerTenantMax }));
      return found.map(toKey);
    },

    async revokeKey(caller, keyId, undo) {
      const id = parseId("key", keyId);
      if (!id) return undefined;
      return guarded(() =>
        withEntities(
          database,
          async (em) => {
            const key = await em.findOne(ApiKey, { tenantId: caller.tenantId, id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
            if (!key) return undefined;
            key.revokeTime ??= databaseNow();
            await em.flush();
            return toKey(key);
          },
          { unit: unitOf(caller), undo },
        ),
      );
    },
  };
}

function toFound({ id: _, expireTime, revokeTime, ...rest }: KeyRow): FoundKey {
  return { ...rest, expiresAt: expireTime?.getTime(), revokedAt: revokeTime?.getTime() };
}

function toKey(key: ApiKey): KeyRecord {
  return {
    id: formatId("key", key.id),
    tenantId: key.tenantId,
    name: key.name,
    scopes: key.scopes,
    createdAt: key.createTime.getTime(),
    expiresAt: key.expireTime?.getTime(),
    revokedAt: key.revokeTime?.getTime(),
  };
}
