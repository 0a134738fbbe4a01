/** One transaction on a connection of the pool. */
import type { Pool, PoolClient } from "pg";

/** Commits what `work` did, or rolls back and throws what it threw. A connection that cannot even roll back is thrown away. */
export async function inTransaction<Result>(pool: Pool, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((failure: Error) => (broken = failure));
    throw error;
  } finally {
    client.release(broken);
  }
}
