/** A migrated database of its own for one test file, opened as the service opens it. */
import { randomBytes } from "node:crypto";
import type { Caller } from "../../src/base/caller.ts";
import { formatId, type IdKind, type IdSource, uuidV7 } from "../../src/base/ids.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Database, openDatabase } from "../../src/store/database.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";

export interface TestStore extends AsyncDisposable {
  readonly database: Database;
  readonly place: TestDatabase;
}

export async function openStore(poolMax = 8): Promise<TestStore> {
  const place = await createMigratedDatabase();
  const database = await openDatabase({ connection: place.connection, poolMax, log: silentLog, applicationName: "test" });
  return {
    database,
    place,
    [Symbol.asyncDispose]: async () => {
      await database.close();
      await place.drop();
    },
  };
}

export function callerOf(tenantId: string): Caller {
  return { tenantId, actor: "key_test", scopes: new Set(), correlationId: "corr", requestId: "req" };
}

/** Ids in strictly rising order, so that "newest first" has one right answer even within a millisecond. */
export function risingIds(startAtMs = Date.UTC(2026, 0, 1)): IdSource {
  let atMs = startAtMs;
  return { next: (kind: IdKind) => formatId(kind, uuidV7(++atMs, randomBytes(10))) };
}

/** Every text that has ever broken a hand-made literal, as a JSON value. */
export const nastyJson = {
  zebra: 1,
  "a?b": "it's ? ?? $1 :name \\ \\' E'x' \"q\" -- /* */ ;",
  alpha: ["?", "'; drop table workflows; --", "\u2028 é 😀", "", null, true, 1.5e300],
  $ne: null,
  toString: { __raw: "select 1" },
};
