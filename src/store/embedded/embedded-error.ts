/** What the operator of an embedded PostgreSQL is told. These never travel to a caller: the service does not start. */

/** The embedded PostgreSQL cannot serve; the message says why and what to do. Nothing of the data was deleted. */
export class EmbeddedPostgresError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
  }
}

/** Another living server owns the data folder. The message holds the command that starts a replica beside it. */
export class DataFolderInUse extends EmbeddedPostgresError {
  readonly databaseUrl: string;
  readonly pid: number;

  constructor(dataDir: string, databaseUrl: string, pid: number) {
    super(
      `The data folder ${dataDir} is in use by the server with process id ${pid}. ` +
        `To run a second replica beside it, join its PostgreSQL on a free port: ` +
        `DATABASE_URL='${databaseUrl}' PORT=8007 npm start. ` +
        `To run an independent server, choose another data folder.`,
    );
    this.databaseUrl = databaseUrl;
    this.pid = pid;
  }
}
