/**
 * The two kinds of keys that a master key wraps, opened and kept in memory: the root of the server's own keys, and one data
 * key per tenant. Wrapping them anew under the current master key goes row by row, each compared with what was read, so it
 * may be broken off, repeated, and done by several replicas at once.
 */
import type { Pool } from "pg";
import { AppError } from "../base/errors.ts";
import type { MasterKeys, Wrapped } from "../base/master-keys.ts";
import { newKey } from "../base/seal.ts";
import { guarded } from "./database-error.ts";
import {
  countKeysOfOthers,
  listServerKeysOf,
  listTenantKeysOf,
  offerServerKey,
  offerTenantKey,
  readServerKey,
  readTenantKey,
  rewrapServerKey,
  rewrapTenantKey,
  type TenantKeyPlace,
} from "./sql/wrapped-keys.ts";

export interface TenantKeys {
  /** Number of the key that seals for this tenant; made when there is none. */
  sealing(tenantId: string): Promise<{ readonly number: number; readonly key: Buffer }>;
  /** @throws AppError STORAGE_UNAVAILABLE while this server lacks the master key, INTERNAL_BUG when the row does not open */
  opening(place: TenantKeyPlace): Promise<Buffer>;
}

const rootName = "root";
/** A tenant has one data key; the number leaves room for a second. */
const firstNumber = 1;
/** Data keys kept in memory; the least recently used one goes first. */
const cachedMax = 1_000;

const boundServerKey = (name: string) => ["pawf server key", name];
const boundTenantKey = ({ tenantId, number }: TenantKeyPlace) => ["pawf tenant key", tenantId, number];

/**
 * What the server derives its own keys from: kept since the first start, whatever the master key is now. `first` is taken when
 * there is none yet. @throws Error with what to do when no configured master key opens it.
 */
export async function readRootKey(pool: Pool, masterKeys: MasterKeys, first: string): Promise<string> {
  return guarded(async () => {
    let row = await readServerKey(pool, rootName);
    if (!row) {
      await offerServerKey(pool, rootName, masterKeys.wrap(Buffer.from(first), boundServerKey(rootName)));
      row = await readServerKey(pool, rootName);
    }
    const root = row && masterKeys.unwrap(row, boundServerKey(rootName));
    if (root) return root.toString();
    throw new Error(
      "PAWF_MASTER_KEY does not open what this database keeps: another master key wrapped it. Give that one in PAWF_MASTER_KEY_RING until everything is wrapped anew.",
    );
  });
}

export function createTenantKeys(pool: Pool, masterKeys: MasterKeys): TenantKeys {
  const opened = new Map<string, Buffer>();

  function open(place: TenantKeyPlace, row: Wrapped): Buffer {
    const key = masterKeys.unwrap(row, boundTenantKey(place));
    if (key) return remember(place, key);
    if (masterKeys.knows(row.masterKeyId)) throw new AppError("INTERNAL_BUG", `data key ${place.number} of a tenant does not open: its row was changed`);
    throw new AppError("STORAGE_UNAVAILABLE", "secrets are wrapped with a master key that this server does not have; add it to PAWF_MASTER_KEY_RING");
  }

  function remember(place: TenantKeyPlace, key: Buffer): Buffer {
    const name = nameOf(place);
    opened.delete(name);
    opened.set(name, key);
    if (opened.size > cachedMax) opened.delete(opened.keys().next().value as string);
    return key;
  }

  return {
    async sealing(tenantId) {
      const place = { tenantId, number: firstNumber };
      const known = opened.get(nameOf(place));
      if (known) return { number: firstNumber, key: remember(place, known) };
      return guarded(async () => {
        if (!(await readTenantKey(pool, place))) await offerTenantKey(pool, place, masterKeys.wrap(newKey(), boundTenantKey(place)));
        return { number: firstNumber, key: open(place, (await readTenantKey(pool, place)) as Wrapped) };
      });
    },
    async opening(place) {
      const known = opened.get(nameOf(place));
      if (known) return remember(place, known);
      const row = await guarded(() => readTenantKey(pool, place));
      if (!row) throw new AppError("INTERNAL_BUG", `data key ${place.number} of a tenant is gone`);
      return open(place, row);
    },
  };
}

export interface Rewrapped {
  readonly rewrapped: number;
  /** Rows that were changed by hand and do not open: they stay as they are. */
  readonly unopened: number;
  /** Rows that another master key still wraps. */
  readonly left: number;
}

/** Wraps up to `limit` keys of each kind anew under the current master key. */
export async function rewrapKeys(pool: Pool, masterKeys: MasterKeys, limit = 100): Promise<Rewrapped> {
  let rewrapped = 0;
  let unopened = 0;
  const renew = async (row: Wrapped, boundTo: readonly (string | number)[], store: (box: Wrapped) => Promise<boolean>): Promise<void> => {
    const key = masterKeys.unwrap(row, boundTo);
    if (!key) unopened++;
    else if (await store(masterKeys.wrap(key, boundTo))) rewrapped++;
  };
  return guarded(async () => {
    for (const row of await listServerKeysOf(pool, masterKeys.formerIds, limit)) {
      await renew(row, boundServerKey(row.name), (box) => rewrapServerKey(pool, row.name, row.masterKeyId, box));
    }
    for (const row of await listTenantKeysOf(pool, masterKeys.formerIds, limit)) {
      await renew(row, boundTenantKey(row), (box) => rewrapTenantKey(pool, row, row.masterKeyId, box));
    }
    return { rewrapped, unopened, left: await countKeysOfOthers(pool, masterKeys.currentId) };
  });
}

function nameOf({ tenantId, number }: TenantKeyPlace): string {
  return JSON.stringify([tenantId, number]);
}
