/**
 * One PostgreSQL for a whole test run, and a database of its own for each test file.
 *
 * As vitest's `globalSetup` this file starts an embedded PostgreSQL (or takes the one that TEST_DATABASE_URL names) and
 * tells the workers where it is. In a test: `const database = await createMigratedDatabase()` … `await database.drop()`.
 * The migrated template is built once per run, by the first worker that asks; each clone of it takes 15–60 ms.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { access, constants, mkdtemp, rm, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client, Pool, type PoolConfig } from "pg";
import { inject } from "vitest";
import type { TestProject } from "vitest/node";
import { silentLog } from "../../src/base/log.ts";
import { startEmbeddedPostgres } from "../../src/store/embedded/embedded-postgres.ts";

declare module "vitest" {
  interface ProvidedContext {
    testPostgres: {
      /** A database to give orders from; tests do not work in it. */
      readonly adminUrl: string;
      /** Beginning of the name of every database of this run. */
      readonly prefix: string;
    };
  }
}

export interface TestDatabase {
  readonly databaseUrl: string;
  readonly connection: { readonly host: string; readonly port: number; readonly user: string; readonly password?: string; readonly database: string };
  readonly name: string;
  /** Waits for connections that are closing, and ends what is still connected then. May be called twice. */
  drop(): Promise<void>;
}

/** A new database, empty or cloned from a template that `prepareTemplate` made. */
export async function createDatabase(template = "template1"): Promise<TestDatabase> {
  const name = `${prefix()}_${randomBytes(5).toString("hex")}`;
  await giveOrder((client) => client.query(`CREATE DATABASE ${name} TEMPLATE ${template} STRATEGY file_copy`));
  const databaseUrl = urlOf(name);
  return {
    databaseUrl,
    connection: connectionIn(databaseUrl),
    name,
    drop: () => giveOrder((client) => drop(client, name)),
  };
}

/**
 * Connections of a test's own. A pool says that it has ended before its connections have, so `drop` may still meet one of them;
 * what PostgreSQL tells it then is nobody's failure, yet without a listener it would end the whole run.
 */
export function openPool({ connection }: Pick<TestDatabase, "connection">, options: PoolConfig): Pool {
  const pool = new Pool({ ...connection, ...options });
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  return pool;
}

/** Longest time for connections to close, milliseconds: no test waits for a forgotten pool. */
const closingMsMax = 1_000;

/**
 * A pool, a server or a killed process is over before PostgreSQL has noticed. Who is cut off while saying goodbye has an error
 * that nobody listens for any more, so those are waited for.
 */
async function drop(client: Client, name: string): Promise<void> {
  const connected = "SELECT FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'";
  for (const since = performance.now(); performance.now() - since < closingMsMax; await sleep(10)) {
    if ((await client.query(connected, [name])).rowCount === 0) break;
  }
  await client.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

/** A new database with the schema of migrations/. */
export async function createMigratedDatabase(): Promise<TestDatabase> {
  return createDatabase(await prepareTemplate(migrateWithTheService));
}

/**
 * Makes the template `label` by calling `migrate` on an empty database, once per run however many workers ask, and
 * returns its name for `createDatabase`. `migrate` must close its connections: a template in use cannot be cloned.
 */
export async function prepareTemplate(migrate: (databaseUrl: string) => Promise<void>, label = "migrated"): Promise<string> {
  const name = `${prefix()}_template_${label}`;
  await giveOrder(async (client) => {
    await client.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [name]);
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [name]);
    if (rowCount !== 0) return;
    const unfinished = `${name}_unfinished`; // renamed when complete: a failed migration leaves no template
    await client.query(`DROP DATABASE IF EXISTS ${unfinished} WITH (FORCE)`);
    await client.query(`CREATE DATABASE ${unfinished} STRATEGY file_copy`);
    await migrate(urlOf(unfinished));
    await client.query(`ALTER DATABASE ${unfinished} RENAME TO ${name}`);
  });
  return name;
}

async function migrateWithTheService(databaseUrl: string): Promise<void> {
  // The path is a variable so that this file also serves a work tree in which migrations do not exist yet.
  const path = "../../src/store/migrate.ts";
  const module: Record<string, unknown> = await import(path).catch((cause: unknown) => {
    throw new Error("a migrated template needs src/store/migrate.ts, which could not be loaded", { cause });
  });
  const migrateDatabase = module["migrateDatabase"];
  if (typeof migrateDatabase !== "function") throw new Error("src/store/migrate.ts does not export migrateDatabase(databaseUrl)");
  await migrateDatabase(databaseUrl);
}

function prefix(): string {
  return inject("testPostgres").prefix;
}

function urlOf(database: string): string {
  const url = new URL(inject("testPostgres").adminUrl);
  url.pathname = `/${database}`;
  return url.href;
}

function connectionIn(databaseUrl: string): TestDatabase["connection"] {
  const { hostname, port, username, password, pathname } = new URL(databaseUrl);
  return {
    host: decodeURIComponent(hostname),
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    ...(password ? { password: decodeURIComponent(password) } : {}),
    database: pathname.slice(1),
  };
}

async function giveOrder<T>(order: (client: Client) => Promise<T>, adminUrl = inject("testPostgres").adminUrl): Promise<T> {
  const client = new Client({ connectionString: adminUrl });
  try {
    await client.connect();
    return await order(client);
  } finally {
    await client.end();
  }
}

/** Free memory disk above which the run's data go there. */
const memoryBytesMin = 2 * 1024 ** 3;

/**
 * Several vitest projects name this file in `globalSetup`, and each loads its own copy of it: what they share hangs on
 * the one global object of vitest's main process.
 */
interface SharedRun {
  projects: number;
  started: Promise<{ adminUrl: string; prefix: string; end(): Promise<void> }>;
}
const shared = globalThis as { pawfTestPostgres?: SharedRun | undefined };

export async function setup(project: TestProject): Promise<void> {
  shared.pawfTestPostgres ??= { projects: 0, started: startRun() };
  shared.pawfTestPostgres.projects += 1;
  const { adminUrl, prefix } = await shared.pawfTestPostgres.started;
  project.provide("testPostgres", { adminUrl, prefix });
}

export async function teardown(): Promise<void> {
  const run = shared.pawfTestPostgres;
  if (!run) return;
  run.projects -= 1;
  if (run.projects > 0) return;
  shared.pawfTestPostgres = undefined;
  await (await run.started).end();
}

async function startRun(): ReturnType<() => SharedRun["started"]> {
  const prefix = `t${randomBytes(4).toString("hex")}`;
  const given = process.env["TEST_DATABASE_URL"];
  if (given) return { adminUrl: given, prefix, end: () => giveOrder((client) => dropAll(client, prefix), given) };
  const dataDir = await mkdtemp(join(await fastFolder(), "pawf-test-"));
  const guard = startGuard(dataDir);
  const settings = { max_wal_size: "256MB", min_wal_size: "80MB" };
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false, log: silentLog, settings });
  const end = async (): Promise<void> => {
    await postgres.stop();
    await rm(dataDir, { recursive: true, force: true });
    guard.stdin?.end();
  };
  return { adminUrl: postgres.databaseUrl, prefix, end };
}

/** A database is about 300 files: 15 ms in memory, 110–400 ms on a busy disk. Containers often have only 64 MB of it. */
export async function fastFolder(): Promise<string> {
  const memory = "/dev/shm";
  try {
    await access(memory, constants.R_OK | constants.W_OK | constants.X_OK);
    const { bavail, bsize } = await statfs(memory);
    return bavail * bsize >= memoryBytesMin ? memory : tmpdir();
  } catch {
    return tmpdir();
  }
}

/** PostgreSQL outlives a killed vitest by design. This shell waits for the end of its input, which is the end of vitest. */
function startGuard(dataDir: string): ChildProcess {
  const script = `read -r _
    read -r pid < cluster/postmaster.pid || exit 0
    socket=$(sed -n 5p cluster/postmaster.pid)
    kill -INT "$pid"; sleep 2; cd / && rm -rf "$0"
    case "$socket" in */pawf-*) rm -rf "$socket";; esac`;
  const guard = spawn("/bin/sh", ["-c", script, dataDir], { cwd: dataDir, detached: true, stdio: ["pipe", "ignore", "ignore"] });
  guard.unref();
  guard.stdin?.on("error", () => undefined);
  return guard;
}

async function dropAll(client: Client, prefix: string): Promise<void> {
  const { rows } = await client.query<{ datname: string }>("SELECT datname FROM pg_database WHERE starts_with(datname, $1)", [`${prefix}_`]);
  for (const { datname } of rows) await client.query(`DROP DATABASE IF EXISTS ${datname} WITH (FORCE)`);
}
