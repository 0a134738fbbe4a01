/** Reads whose cost depends on what a caller asks for: they run under a time limit of the server, in one read-only transaction. */
import type { Pool, PoolClient } from "pg";

/** A listing that needs longer lacks an index or a narrower filter; it must not hold a connection meanwhile. */
const listingTimeoutMs = 5_000;

/** Runs `read` on one connection; a statement that takes longer than 5 s (or `timeoutMs`) fails with DEADLINE_EXCEEDED at the door of the store. */
export async function readListing<T>(pool: Pool, read: (client: PoolClient) => Promise<T>, timeoutMs: number = listingTimeoutMs): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query(`begin read only; set local statement_timeout = ${Math.max(1, Math.trunc(timeoutMs))}`);
    const result = await read(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((failure: Error) => (broken = failure));
    throw error;
  } finally {
    client.release(broken);
  }
}

/** One page: the items, and the id after which the next one starts (undefined at the end). */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextAfterId: string | undefined;
}

/** Makes a page of up to `size` items from rows that were read with `limit size + 1`. */
export function pageOf<Row, T extends { readonly id: string }>(rows: readonly Row[], size: number, map: (row: Row) => T): Page<T> {
  const items = rows.slice(0, size).map(map);
  return { items, nextAfterId: rows.length > size ? items.at(-1)?.id : undefined };
}

/** A name, whole or by its beginning. */
export interface NameMatch {
  readonly text: string;
  readonly isPrefix: boolean;
}

/** The match as a LIKE pattern in which at most the end is free. */
export function likeName({ text, isPrefix }: NameMatch): string {
  return `${text.replace(/[\\%_]/g, (character) => `\\${character}`)}${isPrefix ? "%" : ""}`;
}
