/**
 * Brings a database to the schema of this code: the numbered `.sql` files of `migrations/`, forward only, applied by the
 * ORM's migrator in one transaction. Replicas that start together and miss some queue at an advisory lock on a connection
 * of their own: the first applies, the others then find nothing to do.
 *
 * Migrations that this code does not know were applied by a newer release. During a rolling update the release before
 * must keep running, so they are reported, not refused.
 */
import { readdir, readFile } from "node:fs/promises";
import pg from "pg";
import { type Log, silentLog } from "../base/log.ts";
import type { SqlMigration } from "./apply-migrations.ts";
import { clientConfig, type DatabaseTarget } from "./connection-config.ts";
import { reachError } from "./database.ts";
import { guarded } from "./database-error.ts";

export interface MigrateOptions {
  readonly log?: Log;
  /** Folder of the `.sql` files; default: `migrations/` of this repository. */
  readonly folder?: URL;
}

/** Any constant that no other program takes in this database ("PAWF" as bytes, then 1). */
const lockKey = "344737564673";
/** Longest wait for another process that migrates. */
const lockTimeoutMs = 300_000;
const applicationName = "workflow-service migrate";

/**
 * Applies what is missing and returns the names applied, oldest first (empty: nothing was missing).
 * @throws AppError STORAGE_UNAVAILABLE when the server cannot be reached or another migration does not end in five minutes.
 */
export async function migrateDatabase(target: DatabaseTarget, options: MigrateOptions = {}): Promise<string[]> {
  const log = options.log ?? silentLog;
  const migrations = await readMigrations(options.folder ?? new URL("../../migrations/", import.meta.url));
  const client = new pg.Client(clientConfig(target, applicationName));
  client.on("error", () => undefined);
  try {
    await client.connect();
  } catch (error) {
    throw reachError(error, target);
  }
  try {
    const before = await guarded(() => readApplied(client));
    const known = new Set(migrations.map(({ name }) => name));
    const unknown = before.filter((name) => !known.has(name));
    if (unknown.length > 0) log.warn({ migrations: unknown }, "the database was migrated by a newer release; going on with the schema it has");
    // What was applied stays applied, so nothing has to be waited for.
    if (migrations.every(({ name }) => before.includes(name))) return [];
    await guarded(async () => {
      await client.query(`set lock_timeout = ${lockTimeoutMs}`);
      await client.query("select pg_advisory_lock($1::bigint)", [lockKey]);
    });
    const { applyMigrations } = await import("./apply-migrations.ts");
    const applied = await applyMigrations(target, migrations, applicationName);
    if (applied.length > 0) log.info({ migrations: applied }, "database migrated");
    return applied;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Names in the order of their application; none when the database is new. */
async function readApplied(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ found: boolean }>("select to_regclass('schema_migrations') is not null as found");
  if (!rows[0]?.found) return [];
  return (await client.query<{ name: string }>("select name from schema_migrations order by id")).rows.map(({ name }) => name);
}

async function readMigrations(folder: URL): Promise<SqlMigration[]> {
  const files = (await readdir(folder)).filter((file) => /^\d{4}_\w+\.sql$/.test(file)).sort();
  return Promise.all(files.map(async (file) => ({ name: file.slice(0, -4), sql: await readFile(new URL(file, folder), "utf8") })));
}
