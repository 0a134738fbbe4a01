/**
 * Tenants and their API keys. The store sees only the HMAC of a secret, never the secret. `findKey` and `createKey` are asked
 * before there is a caller (sign-in, first key of a tenant); what callers grant is judged in the transaction that grants it.
 */
import type { Pool, PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { AppError, invariant } from "../base/errors.ts";
import { formatId, type IdSource, parseId, systemIds } from "../base/ids.ts";
import { checkGrant } from "../domain/key-grant.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { ApiKey } from "./entities/api-key.ts";
import { Tenant } from "./entities/tenant.ts";
import { countLiveKeyRows, insertKeyRow, type KeyRow, listKeyRows, lockKeyRows, purgeKeyRows, revokeKeyRow, rotateKeyRow } from "./sql/api-keys.ts";
import { type FoundKeyRow, findKey, findKeys } from "./sql/find-key.ts";
import { builtInTenant } from "./template-row.ts";
import { readQuota } from "./tenant-quota.ts";
import { inTransaction } from "./transaction.ts";
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
  /** `key_…` of the key that made it; empty: the server itself. */
  readonly creator: string;
  readonly createdAt: number;
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
  readonly rotatedAt: number | undefined;
  /** Until when the secret before the newest is valid. */
  readonly previousExpiresAt: number | undefined;
}

export interface FoundKey {
  readonly tenantId: string;
  readonly name: string;
  /** Compare in constant time. */
  readonly secretHash: Buffer;
  readonly scopes: readonly string[];
  readonly expiresAt: number | undefined;
  readonly revokedAt: number | undefined;
  /** Of the secret that a rotation replaced, valid until then. */
  readonly previousSecretHash: Buffer | undefined;
  readonly previousExpiresAt: number | undefined;
  readonly tenantSuspended: boolean;
}

export interface KeyWish {
  readonly secretHash: Uint8Array;
  /** Undefined: as long as the caller's own key; of a rotated key: as before. */
  readonly expiresAt: number | undefined;
  readonly validateOnly: boolean;
}

export interface KeyRepository {
  /** Makes the tenant if it is new; an existing one stays as it is. @throws AppError VALIDATION_FAILED for the reserved name `system` */
  ensureTenant(tenantId: string, displayName?: string): Promise<void>;
  /** For the server itself. The tenant must exist. */
  createKey(key: NewKey): Promise<KeyRecord>;
  /** Whatever its state: expiry, revocation and suspension are judged by the one who asks. */
  findKey(keyId: string): Promise<FoundKey | undefined>;
  /** The same for several, by id; what is not there is left out. */
  findKeys(keyIds: readonly string[]): Promise<ReadonlyMap<string, FoundKey>>;
  /** Of the server's first key only: it holds every scope there is. */
  setScopes(keyId: string, scopes: readonly string[]): Promise<void>;
  /** Of the caller's tenant, newest first. */
  listKeys(
    caller: Caller,
    page: { readonly pageSize: number; readonly afterId?: string },
  ): Promise<{ readonly items: readonly KeyRecord[]; readonly nextAfterId: string | undefined }>;
  /** A key of the caller's tenant that may no more than the caller's own. @throws AppError SCOPE_MISSING, VALIDATION_FAILED, QUOTA_EXCEEDED, KEY_… */
  issueKey(caller: Caller, wish: KeyWish & { readonly keyId: string; readonly name: string; readonly scopes: readonly string[] }): Promise<KeyRecord>;
  /**
   * Another secret for a key; the one before goes on for `keepMs`. Who asks gets what that key may, so it must hold as much itself.
   * Undefined: no such key, or one that has ended. @throws AppError SCOPE_MISSING, VALIDATION_FAILED, KEY_…
   */
  rotateKey(caller: Caller, keyId: string, wish: KeyWish & { readonly keepMs: number }): Promise<KeyRecord | undefined>;
  /** For good; repeated calls keep the first moment. `undo`: only what would be. */
  revokeKey(caller: Caller, keyId: string, undo?: boolean): Promise<KeyRecord | undefined>;
  /** Removes up to 500 keys that ended 90 days ago; returns how many. The server's own stay: it would make them again. */
  purge(): Promise<number>;
}

const secretHashBytes = 32;
const endedMsMax = 90 * 86_400_000;
const purgedMax = 500;

export function createKeyRepository(database: Pick<Database, "orm" | "pool">, ids: IdSource = systemIds): KeyRepository {
  const { orm, pool } = database;
  const writing = <T>(caller: Caller, undo: boolean | undefined, work: (client: PoolClient) => Promise<T>): Promise<T> =>
    guarded(() => inTransaction(pool, work, { unit: unitOf(caller), undo }));

  return {
    async ensureTenant(tenantId, displayName = "") {
      if (tenantId === builtInTenant) throw new AppError("VALIDATION_FAILED", `the tenant name ${builtInTenant} is reserved; choose another one`);
      await guarded(() => orm.em.fork().upsert(Tenant, { id: tenantId, displayName }, { onConflictAction: "ignore" }));
    },

    async createKey({ keyId = ids.next("key"), ...key }) {
      return await guarded(async () => {
        const tenant = await orm.em.fork().findOne(Tenant, { id: key.tenantId });
        invariant(tenant, "a key belongs to a tenant that exists");
        return insertKey(pool, { ...key, keyId, creator: "" });
      });
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

    async listKeys({ tenantId }, { pageSize, afterId }) {
      const rows = await guarded(() => listKeyRows(pool, tenantId, afterId === undefined ? undefined : parseId("key", afterId), pageSize + 1));
      const items = rows.slice(0, pageSize).map(toKey);
      return { items, nextAfterId: rows.length > pageSize ? items.at(-1)?.id : undefined };
    },

    async issueKey(caller, { validateOnly, ...wish }) {
      return await writing(caller, validateOnly, async (client) => {
        const { own, now } = await lockKeys(client, caller);
        const expiresAt = wish.expiresAt ?? own.expiresAt;
        checkGrant(own, { scopes: wish.scopes, expiresAt }, now);
        const quota = await readQuota(client, caller.tenantId, "apiKeys");
        if ((await countLiveKeyRows(client, caller.tenantId)) >= quota) throw tooMany(quota);
        return insertKey(client, { ...wish, tenantId: caller.tenantId, expiresAt, creator: own.id });
      });
    },

    async rotateKey(caller, keyId, { validateOnly, secretHash, keepMs, expiresAt }) {
      invariant(secretHash.length === secretHashBytes, "a secret hash has 32 bytes");
      const uuid = parseId("key", keyId);
      if (!uuid) return undefined;
      return await writing(caller, validateOnly, async (client) => {
        const { own, other, now } = await lockKeys(client, caller, uuid);
        if (!other || endOf(other, now)) return undefined;
        const wish = { scopes: other.scopes, expiresAt: expiresAt ?? other.expiresAt };
        checkGrant(own, wish, now);
        const row = await rotateKeyRow(client, caller.tenantId, uuid, { secretHash, keepMs, expireTime: dateOf(wish.expiresAt) });
        return row && toKey(row);
      });
    },

    async revokeKey(caller, keyId, undo) {
      const uuid = parseId("key", keyId);
      const row = uuid && (await writing(caller, undo, (client) => revokeKeyRow(client, caller.tenantId, uuid)));
      return row ? toKey(row) : undefined;
    },

    purge: () => guarded(() => purgeKeyRows(pool, endedMsMax, purgedMax)),
  };
}

/**
 * In the transaction that makes its tenant: the first key of a new one, which may no more than the key that asks and does not live
 * longer. @throws AppError SCOPE_MISSING, KEY_REVOKED, KEY_EXPIRED
 */
export async function issueFirstKey(client: PoolClient, caller: Caller, key: NewKey & { readonly keyId: string }): Promise<KeyRecord> {
  const { own, now } = await lockKeys(client, caller);
  checkGrant(own, { scopes: key.scopes, expiresAt: own.expiresAt }, now);
  return insertKey(client, { ...key, expiresAt: own.expiresAt, creator: own.id });
}

async function insertKey(
  client: Pool | PoolClient,
  { keyId, expiresAt, ...rest }: NewKey & { readonly keyId: string; readonly creator: string },
): Promise<KeyRecord> {
  const uuid = parseId("key", keyId);
  invariant(uuid, "a key id has the form key_…");
  invariant(rest.secretHash.length === secretHashBytes, "a secret hash has 32 bytes");
  return toKey(await insertKeyRow(client, { ...rest, uuid, expireTime: dateOf(expiresAt) }));
}

/**
 * The caller's own key as it is in this moment, and another one. A call may have been let in a moment before its key was revoked;
 * what that key leaves behind would outlive it, so it is looked at again here. @throws AppError KEY_REVOKED, KEY_EXPIRED
 */
async function lockKeys(client: PoolClient, { tenantId, actor }: Caller, otherUuid?: string) {
  const ownUuid = parseId("key", actor);
  const wanted = [ownUuid, otherUuid].filter((uuid) => uuid !== undefined);
  const rows = await lockKeyRows(client, tenantId, wanted);
  const [own, other] = [ownUuid, otherUuid].map((uuid) => rows.find(({ id }) => id === uuid));
  const now = own?.now.getTime() ?? 0;
  const end = own ? endOf(toKey(own), now) : "KEY_REVOKED";
  if (!own || end) throw new AppError(end ?? "KEY_REVOKED", "the API key of this call has ended meanwhile; use another one");
  return { own: toKey(own), other: other && toKey(other), now };
}

/** Why it opens nothing any more. */
function endOf({ revokedAt, expiresAt }: KeyRecord, now: number): "KEY_REVOKED" | "KEY_EXPIRED" | undefined {
  if (revokedAt !== undefined) return "KEY_REVOKED";
  return expiresAt !== undefined && expiresAt <= now ? "KEY_EXPIRED" : undefined;
}

function tooMany(quota: number): AppError {
  return new AppError("QUOTA_EXCEEDED", `this tenant has at most ${quota} keys that are valid; revoke those that are no longer used`);
}

function toFound({ id: _, expireTime, revokeTime, previousExpireTime, previousSecretHash, ...rest }: FoundKeyRow): FoundKey {
  return {
    ...rest,
    expiresAt: expireTime?.getTime(),
    revokedAt: revokeTime?.getTime(),
    previousSecretHash: previousSecretHash ?? undefined,
    previousExpiresAt: previousExpireTime?.getTime(),
  };
}

function toKey({ id, tenantId, name, scopes, creator, ...times }: KeyRow): KeyRecord {
  return {
    ...{ id: formatId("key", id), tenantId, name, scopes, creator },
    createdAt: times.createTime.getTime(),
    expiresAt: times.expireTime?.getTime(),
    revokedAt: times.revokeTime?.getTime(),
    rotatedAt: times.rotateTime?.getTime(),
    previousExpiresAt: times.previousExpireTime?.getTime(),
  };
}

function dateOf(at: number | undefined): Date | undefined {
  return at === undefined ? undefined : new Date(at);
}
