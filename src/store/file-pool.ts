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
  // A connection that the server ended while it was idle; the pool has dropped it already.
  pool.on("error", () => undefined);
  return pool;
}
