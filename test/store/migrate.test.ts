import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import pg from "pg";
import { afterAll, describe, expect, it } from "vitest";
import { type Log, silentLog } from "../../src/base/log.ts";
import { openDatabase } from "../../src/store/database.ts";
import { checkDurability } from "../../src/store/durability.ts";
import { migrateDatabase } from "../../src/store/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";

const places: TestDatabase[] = [];
async function emptyDatabase(): Promise<TestDatabase> {
  const place = await createDatabase();
  places.push(place);
  return place;
}
afterAll(async () => {
  for (const place of places) await place.drop();
});

const shipped = new URL("../../migrations/", import.meta.url);

describe("migrateDatabase", () => {
  it("applies each migration once when three replicas start together", async () => {
    const place = await emptyDatabase();
    const applied = await Promise.all([1, 2, 3].map(() => migrateDatabase(place.connection)));
    const first = applied.filter((names) => names.length > 0);
    expect(first).toHaveLength(1);
    expect(first[0]?.[0]).toBe("0001_workflow");
    expect(await migrateDatabase(place.databaseUrl)).toEqual([]);
  });

  it("waits for the one that migrates", async () => {
    const place = await emptyDatabase();
    const other = new pg.Client({ connectionString: place.databaseUrl });
    await other.connect();
    await other.query("select pg_advisory_lock(344737564673)");
    let done = false;
    const migrating = migrateDatabase(place.databaseUrl).then((names) => {
      done = true;
      return names;
    });
    const waiting =
      "select count(*)::int as count from pg_locks where locktype = 'advisory' and not granted and database = (select oid from pg_database where datname = current_database())";
    while ((await other.query<{ count: number }>(waiting)).rows[0]?.count !== 1) await new Promise((resolve) => setImmediate(resolve));
    expect(done).toBe(false);
    await other.end();
    expect(await migrating).not.toEqual([]);
  });

  it("goes on beside a newer release's schema and says so", async () => {
    const place = await emptyDatabase();
    const folder = await copyOfMigrations({ "9999_newer.sql": "create table newer (id int); -- what's new?" });
    const warnings: object[] = [];
    const log: Log = { ...silentLog, warn: (fields) => warnings.push(fields) };
    try {
      expect((await migrateDatabase(place.databaseUrl, { folder: folder.url })).at(-1)).toBe("9999_newer");
      expect(await migrateDatabase(place.databaseUrl, { log })).toEqual([]);
      expect(warnings).toEqual([{ migrations: ["9999_newer"] }]);
    } finally {
      await folder.remove();
    }
  });

  it("leaves nothing behind when a migration fails, and can be repeated", async () => {
    const place = await emptyDatabase();
    const folder = await copyOfMigrations({ "0900_good.sql": "create table good (id int);", "0901_bad.sql": "create table good (id int);" });
    try {
      await expect(migrateDatabase(place.databaseUrl, { folder: folder.url })).rejects.toThrow(/good/);
    } finally {
      await folder.remove();
    }
    expect((await migrateDatabase(place.databaseUrl))[0]).toBe("0001_workflow");
  });

  it("says where it looked when no server is there, without the password", async () => {
    const failure = await migrateDatabase("postgres://someone:hunter2@127.0.0.1:1/nowhere").catch((error: unknown) => error);
    expect(failure).toMatchObject({ reason: "STORAGE_UNAVAILABLE", message: expect.stringMatching(/127\.0\.0\.1:1\/nowhere/) });
    expect(String(failure)).not.toContain("hunter2");
    const malformed = await migrateDatabase("hunter2@nowhere").catch((error: unknown) => error);
    expect(malformed).toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    expect(String(malformed)).not.toContain("hunter2");
  });
});

describe("openDatabase", () => {
  it("refuses with STORAGE_UNAVAILABLE when the server or the database is not there", async () => {
    const place = await emptyDatabase();
    const options = { poolMax: 1, log: silentLog, applicationName: "test" };
    await expect(openDatabase({ ...options, url: "postgres://u:p@127.0.0.1:1/x" })).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
    await expect(openDatabase({ ...options, connection: { ...place.connection, database: "missing" } })).rejects.toMatchObject({
      reason: "STORAGE_UNAVAILABLE",
      message: expect.stringContaining("missing"),
    });
    await expect(openDatabase({ ...options, url: "nonsense" })).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  });

  it("reads each type as the header of database.ts promises", async () => {
    const place = await emptyDatabase();
    const database = await openDatabase({ url: place.databaseUrl, poolMax: 1, log: silentLog, applicationName: "types" });
    const { rows } = await database.pool.query(
      `select 9007199254740991::bigint as big, count(*) as count, '{"b":1,"a":2}'::json as json, '{"a":[1]}'::jsonb as jsonb, '{x,"y z"}'::text[] as list,
       'ab'::bytea as bytes, '2026-01-02T03:04:05.678Z'::timestamptz(3) as at, current_setting('application_name') as name`,
    );
    expect(rows[0]).toEqual({
      big: 9007199254740991,
      count: 1,
      json: { b: 1, a: 2 },
      jsonb: { a: [1] },
      list: ["x", "y z"],
      bytes: Buffer.from("ab"),
      at: new Date("2026-01-02T03:04:05.678Z"),
      name: "types",
    });
    expect(Object.keys(rows[0].json)).toEqual(["b", "a"]);
    await expect(database.pool.query("select 9007199254740993::bigint")).rejects.toThrow(/2\^53/);
    await database.close();
    await database.close();
  });
});

describe("checkDurability", () => {
  it("names every setting that may lose acknowledged work", async () => {
    const place = await emptyDatabase();
    const database = await openDatabase({ connection: place.connection, poolMax: 1, log: silentLog, applicationName: "test" });
    await database.pool.query("set synchronous_commit = off");
    const problems = await checkDurability(database.pool);
    expect(problems.filter((problem) => problem.startsWith("synchronous_commit is off"))).toHaveLength(1);
    await database.pool.query("set synchronous_commit = on");
    expect((await checkDurability(database.pool)).filter((problem) => problem.startsWith("synchronous_commit"))).toEqual([]);
    const { rows } = await database.pool.query("select current_setting('fsync') as fsync");
    expect((await checkDurability(database.pool)).some((problem) => problem.startsWith("fsync"))).toBe(rows[0].fsync === "off");
    await database.close();
  });
});

async function copyOfMigrations(more: Record<string, string>) {
  const folder = await mkdtemp(join(tmpdir(), "pawf-migrations-"));
  await cp(shipped, folder, { recursive: true });
  for (const [name, sql] of Object.entries(more)) await writeFile(join(folder, name), sql);
  return { url: pathToFileURL(`${folder}/`), remove: () => rm(folder, { recursive: true }) };
}
