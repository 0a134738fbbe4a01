/** How to reach the embedded PostgreSQL, and a first conversation with it. */
import { Client, DatabaseError } from "pg";
import { messageOf } from "../../base/errors.ts";
import { EmbeddedPostgresError } from "./embedded-error.ts";

export interface EmbeddedConnection {
  /** Folder of the Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

const databaseName = "workflow";
const connectMsMax = 2_000;
const cannotConnectNow = "57P03";
const adminShutdown = "57P01";

export interface ServerFacts {
  readonly version: string;
  /** No acknowledged commit can be lost: fsync, synchronous_commit and full_page_writes are on. */
  readonly durable: boolean;
}

export function connectionTo(socketFolder: string, port: number): EmbeddedConnection {
  return { host: socketFolder, port, user: "postgres", database: databaseName };
}

/** The socket's folder stands percent-encoded in the place of the host: libpq, pg and MikroORM all read that form. */
export function databaseUrlOf({ host, port, user, database }: EmbeddedConnection): string {
  return `postgresql://${user}@${encodeURIComponent(host)}:${port}/${database}`;
}

/** The socket's folder that a database URL names, `undefined` for a URL over the network. */
export function socketFolderIn(databaseUrl: string): string | undefined {
  if (!URL.canParse(databaseUrl)) return undefined;
  const host = decodeURIComponent(new URL(databaseUrl).hostname);
  return host.startsWith("/") ? host : undefined;
}

/**
 * Asks the server what it is; `undefined` while it cannot answer (starting, stopping, frozen, gone). Throws
 * EmbeddedPostgresError when it answers with a refusal that no waiting changes.
 */
export async function askServer(connection: EmbeddedConnection): Promise<ServerFacts | undefined> {
  try {
    return await withClient({ ...connection, database: "postgres" }, async (client) => {
      const { rows } = await client.query<ServerFacts>(
        `SELECT split_part(current_setting('server_version'), ' ', 1) AS version,
           current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on'
             AND current_setting('full_page_writes') = 'on' AS durable`,
      );
      return rows[0];
    });
  } catch (error) {
    const refused = error instanceof DatabaseError && error.code !== cannotConnectNow && error.code !== adminShutdown;
    if (!refused && (error as NodeJS.ErrnoException).code !== "EACCES") return undefined;
    throw new EmbeddedPostgresError(`The PostgreSQL at ${connection.host} refuses the user ${connection.user}: ${messageOf(error)}`, error);
  }
}

/** Creates the service's database when it is missing: at the first start, or after one that was cut short. */
export async function ensureDatabase(connection: EmbeddedConnection): Promise<void> {
  await withClient({ ...connection, database: "postgres" }, async (client) => {
    const { rowCount } = await client.query("SELECT FROM pg_database WHERE datname = $1", [connection.database]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${client.escapeIdentifier(connection.database)}`);
  });
}

async function withClient<T>(connection: EmbeddedConnection, action: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ ...connection, connectionTimeoutMillis: connectMsMax, application_name: "pawf-embedded" });
  client.on("error", () => undefined); // the pending query rejects as well
  try {
    await client.connect();
    return await action(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
