/**
 * A tenant's secrets: heads in the open, values sealed with the tenant's data key and bound to tenant, id and version, so that
 * a row which is moved or an older one which is put back does not open. Values go in here and come out only for a step that
 * sends them (`read`).
 */
import { randomUUID } from "node:crypto";
import type { Pool, PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { seal, unseal } from "../base/seal.ts";
import { guarded } from "./database-error.ts";
import { checkEtag, etagOf } from "./fingerprint.ts";
import { type NameMatch, readListing } from "./listing.ts";
import {
  countSecretRows,
  deleteSecretRow,
  findSecretRow,
  insertSecretRow,
  insertVersionRow,
  knownSecretNames,
  listSecretRows,
  lockSecretRow,
  purgeVersionRows,
  readSealedRows,
  retireVersionRows,
  type SecretRow,
  touchSecretRow,
  updateSecretRow,
} from "./sql/secrets.ts";
import { assertStorable } from "./storable.ts";
import { readQuota } from "./tenant-quota.ts";
import { inTransaction } from "./transaction.ts";
import { unitOf } from "./unit-of-work.ts";
import type { TenantKeys } from "./wrapped-keys.ts";

export interface SecretRecord {
  readonly name: string;
  readonly description: string;
  /** The current one. */
  readonly version: number;
  /** Valid now, newest first. Moments in milliseconds since the epoch. */
  readonly versions: readonly { readonly version: number; readonly createdAt: number; readonly expiresAt: number | undefined }[];
  readonly lastUsedAt: number | undefined;
  readonly etag: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export interface SecretChange {
  readonly value: string;
  /** Undefined: as it was. */
  readonly description?: string | undefined;
  readonly etag?: string | undefined;
  /** Do everything, then take it back. */
  readonly validateOnly?: boolean;
}

export interface SecretRepository {
  /** Makes it, or gives it a new value; older ones are gone. @throws AppError QUOTA_EXCEEDED, ETAG_MISMATCH */
  set(caller: Caller, name: string, change: SecretChange): Promise<SecretRecord>;
  /** A new value; the one before stays valid for `keepMs`. Undefined: no such secret. @throws AppError ETAG_MISMATCH */
  rotate(caller: Caller, name: string, change: SecretChange & { readonly keepMs: number }): Promise<SecretRecord | undefined>;
  /** By name, after `after`. */
  list(
    caller: Caller,
    page: { readonly pageSize: number; readonly afterId?: string; readonly name: NameMatch | undefined },
  ): Promise<{ readonly items: readonly SecretRecord[]; readonly nextAfterId: string | undefined }>;
  /** For good. Undefined: no such secret. @throws AppError ETAG_MISMATCH */
  remove(caller: Caller, name: string, options?: { readonly etag?: string; readonly validateOnly?: boolean }): Promise<SecretRecord | undefined>;
  /** Which of these names the tenant has. */
  known(tenantId: string, names: readonly string[]): Promise<ReadonlySet<string>>;
  /** The values that are valid now, the current one first; undefined: no such secret. @throws AppError STORAGE_UNAVAILABLE, INTERNAL_BUG (a changed row) */
  read(tenantId: string, name: string): Promise<readonly string[] | undefined>;
  /** Deletes up to 1,000 values whose time is over; returns how many. */
  purge(): Promise<number>;
}

const purgedMax = 1_000;
/** Uses within a minute of the last one are not written down. */
const touchMs = 60_000;
/** Secrets whose last use is remembered; the least recently used goes first. */
const touchedMax = 10_000;

export interface SecretRepositoryParts {
  readonly pool: Pool;
  readonly keys: TenantKeys;
  readonly monotonic: () => number;
  readonly log: Log;
}

export function createSecretRepository({ pool, keys, monotonic, log }: SecretRepositoryParts): SecretRepository {
  const touchedAt = new Map<string, number>();
  const writing = <T>(caller: Caller, undo: boolean | undefined, work: (client: PoolClient) => Promise<T>): Promise<T> =>
    guarded(() => inTransaction(pool, work, { unit: unitOf(caller), undo }));

  /** Writes the next version of a head that this transaction has locked. */
  async function writeVersion(client: PoolClient, tenantId: string, name: string, change: SecretChange, keepMs: number, key: { number: number; key: Buffer }) {
    const head = await lockSecretRow(client, tenantId, name);
    if (!head) return undefined;
    checkEtag(change.etag, head.etag);
    const version = head.version + 1;
    const description = change.description ?? head.description;
    await retireVersionRows(client, tenantId, head.id, head.version, keepMs);
    const sealed = seal(key.key, Buffer.from(change.value), boundTo(tenantId, head.id, version));
    await insertVersionRow(client, { tenantId, secretId: head.id, version, keyNumber: key.number, sealed });
    await updateSecretRow(client, tenantId, { id: head.id, description, version, etag: etagOf([head.id, description, version]) });
    return findSecretRow(client, tenantId, name);
  }

  function touch(tenantId: string, id: string): void {
    const now = monotonic();
    if (now - (touchedAt.get(id) ?? Number.NEGATIVE_INFINITY) < touchMs) return;
    touchedAt.delete(id);
    touchedAt.set(id, now);
    if (touchedAt.size > touchedMax) touchedAt.delete(touchedAt.keys().next().value as string);
    // The attempt does not wait for it: a use that is not written down has still happened.
    guarded(() => touchSecretRow(pool, tenantId, id)).catch((error: unknown) => log.warn({ error }, "the last use of a secret could not be written"));
  }

  return {
    async set(caller, name, change) {
      const { tenantId } = caller;
      assertStorable({ description: change.description });
      const key = await keys.sealing(tenantId);
      const row = await writing(caller, change.validateOnly, async (client) => {
        if (!(await lockSecretRow(client, tenantId, name))) {
          checkEtag(change.etag, "");
          const quota = await readQuota(client, tenantId, "secrets");
          if ((await countSecretRows(client, tenantId)) >= quota) throw tooMany(quota);
          await insertSecretRow(client, tenantId, randomUUID(), name, change.description ?? "");
        }
        return writeVersion(client, tenantId, name, change, 0, key);
      });
      // Deleted by another call between two statements of this one.
      if (!row) throw new AppError("STORAGE_UNAVAILABLE", "the secret was deleted at the same moment; try again", { retryAfterMs: 100 });
      return toRecord(row);
    },

    async rotate(caller, name, change) {
      const { tenantId } = caller;
      const key = await keys.sealing(tenantId);
      const row = await writing(caller, change.validateOnly, (client) => writeVersion(client, tenantId, name, change, change.keepMs, key));
      return row && toRecord(row);
    },

    async list({ tenantId }, { pageSize, afterId, name }) {
      const rows = await guarded(() => readListing(pool, (client) => listSecretRows(client, tenantId, { name, after: afterId, limit: pageSize + 1 })));
      const items = rows.slice(0, pageSize).map(toRecord);
      return { items, nextAfterId: rows.length > pageSize ? items.at(-1)?.name : undefined };
    },

    async remove(caller, name, { etag, validateOnly } = {}) {
      const { tenantId } = caller;
      return writing(caller, validateOnly, async (client) => {
        const head = await lockSecretRow(client, tenantId, name);
        if (!head) return undefined;
        checkEtag(etag, head.etag);
        const row = await findSecretRow(client, tenantId, name);
        await deleteSecretRow(client, tenantId, head.id);
        return row && toRecord(row);
      });
    },

    async known(tenantId, names) {
      return new Set(names.length === 0 ? [] : await guarded(() => knownSecretNames(pool, tenantId, names)));
    },

    async read(tenantId, name) {
      const rows = await guarded(() => readSealedRows(pool, tenantId, name));
      const first = rows[0];
      if (!first) return undefined;
      touch(tenantId, first.secretId);
      return Promise.all(
        rows.map(async ({ secretId, version, keyNumber, sealed }) => {
          const value = unseal(await keys.opening({ tenantId, number: keyNumber }), sealed, boundTo(tenantId, secretId, version));
          if (value) return value.toString();
          log.error({ tenantId, secret: name, version }, "a secret does not open: its row was changed by hand");
          throw new AppError("INTERNAL_BUG", `version ${version} of secret ${name} does not open: its row was changed`);
        }),
      );
    },

    purge: () => guarded(() => purgeVersionRows(pool, purgedMax)),
  };
}

function boundTo(tenantId: string, secretId: string, version: number): (string | number)[] {
  return ["pawf secret", tenantId, secretId, version];
}

function tooMany(quota: number): AppError {
  return new AppError("QUOTA_EXCEEDED", `this tenant has at most ${quota} secrets; delete those that are no longer used`);
}

function toRecord(row: SecretRow): SecretRecord {
  return {
    name: row.name,
    description: row.description,
    version: row.version,
    versions: row.versions.map(({ version, createTime, expireTime }) => ({
      version,
      createdAt: Date.parse(createTime),
      expiresAt: expireTime === null ? undefined : Date.parse(expireTime),
    })),
    lastUsedAt: row.lastUseTime?.getTime(),
    etag: row.etag,
    createdAt: row.createTime.getTime(),
    updatedAt: row.updateTime.getTime(),
  };
}
