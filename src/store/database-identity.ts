/** Which database this is, and which of its histories: a restore to an earlier moment begins a new timeline. */
import type { Pool } from "pg";

const text = `select (select system_identifier from pg_control_system())::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '/'
  || (select oid from pg_database where datname = current_database())::text as identity`;

/** Undefined where the server does not let this role ask. */
export async function databaseIdentity(pool: Pool): Promise<string | undefined> {
  try {
    return (await pool.query<{ identity: string }>(text)).rows[0]?.identity;
  } catch {
    return undefined;
  }
}
