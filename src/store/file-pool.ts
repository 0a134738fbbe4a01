/** The connections of the thread that carries files: see `engine/file-courier.ts`. No ORM, so that the thread is small and soon there. */
import pg from "pg";
import { clientConfig, type DatabaseTarget, idleTimeoutMs } from "./connection-config.ts";

/** Each file that is read and each that is written needs one now and then. */
const connectionsMax = 4;

/**
 * Nobody hears of such a file before the step that made it is recorded. That record is flushed, and with it everything that was written
 * before, so no chunk needs a flush of its own, between the commits of others.
 */
const flushing = "-c synchronous_commit=off";

export function openFilePool(target: DatabaseTarget): pg.Pool {
  const pool = new pg.Pool({ ...clientConfig(target, "pawf-files"), options: flushing, max: connectionsMax, idleTimeoutMillis: idleTimeoutMs });
  // The server ended a connection. An idle one the pool has dropped already; of one in use, the statement under way or the next one fails.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  return pool;
}
