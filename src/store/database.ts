/**
 * The one door to PostgreSQL: MikroORM for what changes seldom, and the ORM's own `pg` pool for the hot statements in
 * `sql/`. Both share the connections, so `poolMax` bounds them together.
 *
 * What a query returns: json and jsonb are parsed, text[] is an array, bytea a Buffer, timestamptz a Date, and int8 (also
 * `count(*)`) a number: our bigint columns hold values below 2^53, and a larger one is refused instead of rounded.
 */
import { MikroORM, type Options } from "@mikro-orm/postgresql";
import type pg from "pg";
import { AppError } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { type ConnectionAddress, connectTimeoutMs, type DatabaseTarget, databaseName, idleTimeoutMs, parsers } from "./connection-config.ts";
import { databaseCode, isStorageUnavailable } from "./database-error.ts";
import { allEntities } from "./entities/all-entities.ts";

export interface DatabaseOptions {
  /** Exactly one of `url` and `connection`. */
  readonly url?: string;
  readonly connection?: ConnectionAddress;
  /** Connections of this process, journal included. */
  readonly poolMax: number;
  readonly log: Log;
  /** Shown in pg_stat_activity. */
  readonly applicationName: string;
}

export interface Database {
  readonly orm: MikroORM;
  /** The ORM's own pool; ends with `close()`. */
  readonly pool: pg.Pool;
  /** As the server counts, e.g. 180004. */
  readonly serverVersion: number;
  /** Waits for statements that run. May be called twice. */
  close(): Promise<void>;
}

/** Oldest server that the statements were tried on. */
const serverVersionMin = 150_000;

/**
 * Connects and checks the server.
 * @throws AppError STORAGE_UNAVAILABLE when it cannot be reached, refuses the login or is older than 15.
 */
export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const target = options.url ?? options.connection;
  if (target === undefined || (options.url !== undefined && options.connection !== undefined)) {
    throw new Error("openDatabase needs either a url or a connection");
  }
  const orm = new MikroORM(ormOptions(target, options));
  try {
    const pool = await orm.em.getDriver().getConnection().getNativeClient();
    let closing: Promise<void> | undefined;
    // A connection that the server ended while it was idle; the pool has dropped it already. One that is being closed may meet the end of an embedded server.
    pool.on("error", (error) => closing ?? options.log.warn({ code: databaseCode(error) }, "a database connection was lost"));
    const serverVersion = await readServerVersion(pool);
    return { orm, pool, serverVersion, close: () => (closing ??= end(orm, pool)) };
  } catch (error) {
    await orm.close(true).catch(() => undefined);
    throw reachError(error, target);
  }
}

/** The query builder below the ORM leaves the pool alone when nothing was asked through it. */
async function end(orm: MikroORM, pool: pg.Pool): Promise<void> {
  await orm.close(true);
  if (!pool.ending) await pool.end();
}

/** The ORM's options for `target`; also used by the migrator and the ORM's command line. */
export function ormOptions(target: DatabaseTarget, options: Pick<DatabaseOptions, "poolMax" | "applicationName">): Options {
  return {
    ...(typeof target === "string" ? { dbName: databaseName(target) } : ormAddress(target)),
    entities: [...allEntities],
    ensureDatabase: false,
    // The ORM writes values into its statements as literals, so its own log stays off.
    debug: false,
    // A view of the ledger, made by a migration for people who ask in SQL; no entity reads it.
    schemaGenerator: { skipViews: ["workflow_execution_steps"] },
    migrations: { tableName: "schema_migrations", snapshot: false, silent: true },
    pool: { min: 0, max: options.poolMax, idleTimeoutMillis: idleTimeoutMs },
    driverOptions: {
      ...(typeof target === "string" ? { connectionString: target } : {}),
      application_name: options.applicationName,
      connectionTimeoutMillis: connectTimeoutMs,
      keepAlive: true,
      types: parsers(),
    },
  };
}

/** Where the server listens, as `host:port` (IPv6 in brackets); none for a unix socket. Steps may never call it. */
export function addressesOf(target: string): string[] {
  const url = new URL(target);
  const host = url.searchParams.get("host") ?? decodeURIComponent(url.hostname);
  const port = url.searchParams.get("port") ?? (url.port || "5432");
  return host.startsWith("/") || host === "" ? [] : [`${host}:${port}`];
}

/** STORAGE_UNAVAILABLE with the place that was tried (never the password), for a connection that could not be made. */
export function reachError(error: unknown, target: DatabaseTarget): Error {
  if (error instanceof AppError) return error;
  const code = databaseCode(error) || (error instanceof AggregateError ? databaseCode(error.errors[0]) : "");
  const login = /^(28|3D)/.test(code);
  if (!login && !isStorageUnavailable(error) && !isStorageUnavailable({ code })) return error as Error;
  const why = login ? "refuses this user, password or database name" : "cannot be reached";
  return new AppError(
    "STORAGE_UNAVAILABLE",
    `PostgreSQL at ${describeTarget(target)} ${why}${code && ` (${code})`}; check the address and that the server is up`,
    {
      retryAfterMs: 1_000,
    },
  );
}

async function readServerVersion(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query<{ version: number }>("select current_setting('server_version_num')::int as version");
  const version = rows[0]?.version ?? 0;
  if (version < serverVersionMin) {
    throw new AppError("STORAGE_UNAVAILABLE", `PostgreSQL ${Math.floor(version / 10_000)} is too old; version 15 or newer is needed`);
  }
  return version;
}

function ormAddress(address: ConnectionAddress) {
  const { host, port, user, database, password } = address;
  return { host, port, user, dbName: database, ...(password === undefined ? {} : { password }) };
}

function describeTarget(target: DatabaseTarget): string {
  if (typeof target !== "string") return `${target.host}:${target.port}/${target.database}`;
  const url = new URL(target);
  return decodeURIComponent(`${url.searchParams.get("host") ?? url.host}${url.pathname}`);
}
