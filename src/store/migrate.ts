/**
 * Brings a database to the schema of this code: the numbered `.sql` files of `migrations/`, forward only, applied by the
 * ORM's migrator in one transaction. Replicas that start together queue at an advisory lock on a connection of their own:
 * the first applies, the others then find nothing to do.
 *
 * Migrations that this code does not know were applied by a newer release. During a rolling update the release before
 * must keep running, so they are reported, not refused.
 */
import { readdir, readFile } from "node:fs/promises";
import { Migration, Migrator } from "@mikro-orm/migrations";
import { MikroORM } from "@mikro-orm/postgresql";
import pg from "pg";
import { type Log, silentLog } from "../base/log.ts";
import { clientConfig, type DatabaseTarget, ormOptions, reachError } from "./database.ts";
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
  const lock = new pg.Client(clientConfig(target, applicationName));
  lock.on("error", () => undefined);
  try {
    await lock.connect();
  } catch (error) {
    throw reachError(error, target);
  }
  try {
    await guarded(async () => {
      await lock.query(`set lock_timeout = ${lockTimeoutMs}`);
      await lock.query("select pg_advisory_lock($1::bigint)", [lockKey]);
    });
    return await applyMigrations(target, migrations, log);
  } finally {
    await lock.end().catch(() => undefined);
  }
}

async function applyMigrations(target: DatabaseTarget, migrations: readonly SqlMigration[], log: Log): Promise<string[]> {
  const base = ormOptions(target, { poolMax: 2, applicationName });
  const orm = new MikroORM({
    ...base,
    extensions: [Migrator],
    migrations: { ...base.migrations, migrationsList: migrations.map(toClass) },
  });
  try {
    const known = new Set(migrations.map(({ name }) => name));
    const executed = await orm.migrator.getExecuted();
    const unknown = executed.map(({ name }) => name).filter((name) => !known.has(name));
    if (unknown.length > 0) log.warn({ migrations: unknown }, "the database was migrated by a newer release; going on with the schema it has");
    const applied = (await orm.migrator.up()).map(({ name }) => name);
    if (applied.length > 0) log.info({ migrations: applied }, "database migrated");
    return applied;
  } finally {
    await orm.close(true);
  }
}

interface SqlMigration {
  readonly name: string;
  readonly sql: string;
}

async function readMigrations(folder: URL): Promise<SqlMigration[]> {
  const files = (await readdir(folder)).filter((file) => /^\d{4}_\w+\.sql$/.test(file)).sort();
  return Promise.all(files.map(async (file) => ({ name: file.slice(0, -4), sql: await readFile(new URL(file, folder), "utf8") })));
}

function toClass({ name, sql }: SqlMigration) {
  return {
    name,
    class: class extends Migration {
      override up(): void {
        this.addSql(sql);
      }
    },
  };
}
