import { Client } from "pg";
import { afterAll, describe, expect, it } from "vitest";
import { createDatabase, prepareTemplate } from "../support/postgres.ts";

async function ask(connectionString: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString });
  await client.connect();
  try {
    return (await client.query<{ value: unknown }>(sql)).rows.map((row) => row.value);
  } finally {
    await client.end();
  }
}

describe("the test databases", () => {
  const drops: (() => Promise<void>)[] = [];
  afterAll(async () => {
    for (const drop of drops) await drop();
  });

  it("gives every caller an empty database of its own, reachable by URL and by connection", async () => {
    const [one, two] = [await createDatabase(), await createDatabase()];
    drops.push(one.drop, two.drop);
    await ask(one.databaseUrl, "CREATE TABLE mark (value int)");
    expect(await ask(two.databaseUrl, "SELECT to_regclass('mark') AS value")).toEqual([null]);
    const client = new Client(one.connection);
    await client.connect();
    expect((await client.query("SELECT current_database() AS name")).rows).toEqual([{ name: one.name }]);
    await client.end();
  });

  it("prepares a template once for several callers at a time and clones it", async () => {
    let migrations = 0;
    const migrate = async (databaseUrl: string): Promise<void> => {
      migrations += 1;
      await ask(databaseUrl, "CREATE TABLE mark AS SELECT 42 AS value");
    };
    const names = await Promise.all([1, 2, 3].map(() => prepareTemplate(migrate, "once")));
    expect(new Set(names).size).toBe(1);
    expect(migrations).toBe(1);
    const clones = await Promise.all([createDatabase(names[0]), createDatabase(names[0])]);
    for (const clone of clones) {
      drops.push(clone.drop);
      expect(await ask(clone.databaseUrl, "SELECT value FROM mark")).toEqual([42]);
    }
  });

  it("keeps no template when the migration fails, and the next caller tries again", async () => {
    await expect(prepareTemplate(() => Promise.reject(new Error("bad migration")), "retried")).rejects.toThrow("bad migration");
    const name = await prepareTemplate(async (databaseUrl) => void (await ask(databaseUrl, "CREATE TABLE mark (value int)")), "retried");
    const clone = await createDatabase(name);
    drops.push(clone.drop);
    expect(await ask(clone.databaseUrl, "SELECT to_regclass('mark')::text AS value")).toEqual(["mark"]);
  });

  it("drops a database although a forgotten connection is open, and twice if asked", async () => {
    const database = await createDatabase();
    const forgotten = new Client(database.connection);
    forgotten.on("error", () => undefined);
    await forgotten.connect();
    await database.drop();
    await database.drop();
    await expect(ask(database.databaseUrl, "SELECT 1 AS value")).rejects.toThrow(/does not exist/);
    await forgotten.end().catch(() => undefined);
  });
});
