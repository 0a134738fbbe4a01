/** One statement on a test's database. */
import { Client } from "pg";
import type { TestDatabase } from "../../support/postgres.ts";

export async function query(database: TestDatabase, text: string, values: readonly unknown[]): Promise<void> {
  const client = new Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    await client.query(text, [...values]);
  } finally {
    await client.end();
  }
}
