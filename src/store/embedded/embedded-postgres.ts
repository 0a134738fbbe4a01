/**
 * The PostgreSQL that the service brings along, so that a laptop needs only Node.
 *
 * One data folder has at most one PostgreSQL. It runs detached from the servers that use it, so a server that is
 * killed with -9 takes nothing with it: the next start finds PostgreSQL alive and adopts it. Every user is recorded in
 * the folder (users.ts); starting and leaving happen one at a time under a lock (folder-lock.ts); the last one to leave
 * stops PostgreSQL. What each failure does:
 *   server killed           PostgreSQL goes on; the next start adopts it, whoever leaves last stops it
 *   PostgreSQL killed       its users start it again within a second (keep-running.ts), it recovers from its log
 *   both killed             its pid file is stale; the next start recovers
 *   killed while starting   no half cluster (it is renamed when complete); the lock of a dead process does not count
 *   another server lives    an owner of the folder is refused, with the command that joins as a replica
 * The lock and the list of users know processes of one machine (or container): do not share a data folder between two.
 */
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { prepareBinaries } from "./binaries.ts";
import { createCluster, hasCluster } from "./cluster.ts";
import { askServer, connectionTo, databaseUrlOf, type EmbeddedConnection, ensureDatabase, type ServerFacts, socketFolderIn } from "./connection.ts";
import { clusterOf, dataFolderBehind, ensureDataFolder, homeOf, makeReachable, makeSocketFolder, removeSocketFolder, socketFolderOf } from "./data-folder.ts";
import { DataFolderInUse, EmbeddedPostgresError } from "./embedded-error.ts";
import { withFolderLock } from "./folder-lock.ts";
import { keepRunning } from "./keep-running.ts";
import { findPostmaster, launchPostmaster, type Postmaster, startMsMax, stopPostmaster } from "./postmaster.ts";
import { chooseRunAs, giveTo } from "./run-as.ts";
import { settingArguments } from "./settings.ts";
import { forgetDeadUsers, livingUsers, register, unregister } from "./users.ts";

export interface EmbeddedPostgresOptions {
  /** Created when missing; kept between starts. */
  readonly dataDir: string;
  /** true for the service. false turns syncing off: only for tests, a power cut may destroy the data. */
  readonly durable: boolean;
  /** A server: refuse to start beside another living server that owns this folder. Tools leave it out and share. */
  readonly exclusive?: boolean;
  readonly log: Log;
  readonly clock?: Clock;
  /** PostgreSQL settings that replace ours, except those of durability and of the socket. */
  readonly settings?: Readonly<Record<string, string>>;
}

export interface EmbeddedPostgres {
  readonly connection: EmbeddedConnection;
  /** The same as a URL, valid as DATABASE_URL of a second replica on this machine. */
  readonly databaseUrl: string;
  /** It was running already. */
  readonly adopted: boolean;
  /** Version of PostgreSQL, such as "18.4". */
  readonly version: string;
  readonly startedMs: number;
  /** Leaves; the last user stops PostgreSQL. Close your connections before. May be called twice, and must be called: it also ends a timer. */
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL of a data folder, or adopts the one that runs there, and makes sure that the database exists.
 * Throws DataFolderInUse (only if `exclusive`) and EmbeddedPostgresError, whose messages say what to do.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const clock = options.clock ?? systemClock;
  const startedAt = clock.monotonic();
  const dataDir = ensureDataFolder(options.dataDir);
  return withFolderLock(dataDir, clock, async () => {
    forgetDeadUsers(dataDir);
    const owner = livingUsers(dataDir).find((user) => user.owner);
    if (options.exclusive && owner) throw new DataFolderInUse(dataDir, owner.databaseUrl, owner.pid);
    const adopted = await adopt(dataDir, options, clock);
    const { postmaster, facts } = adopted ?? (await launch(dataDir, options, clock));
    try {
      const connection = connectionTo(postmaster.socketFolder ?? socketFolderOf(dataDir), postmaster.port);
      await ensureDatabase(connection);
      const startedMs = Math.round(clock.monotonic() - startedAt);
      options.log.info({ dataDir, version: facts.version, adopted: adopted !== undefined, startedMs }, "embedded PostgreSQL is ready");
      const owner = options.exclusive ?? false;
      const handle = createHandle({ dataDir, postmaster, connection, owner, clock, log: options.log, relaunch: () => launch(dataDir, options, clock) });
      return { ...handle, adopted: adopted !== undefined, version: facts.version, startedMs };
    } catch (error) {
      if (livingUsers(dataDir).length === 0) await stopPostmaster(postmaster, clock, options.log);
      throw error;
    }
  });
}

/**
 * For a replica whose DATABASE_URL may name another server's embedded PostgreSQL: records this process as a user, so that
 * PostgreSQL stays up when the server that started it leaves. `undefined` when the URL names any other PostgreSQL.
 */
export async function joinEmbeddedPostgres(options: { databaseUrl: string; log: Log; clock?: Clock }): Promise<EmbeddedPostgres | undefined> {
  const clock = options.clock ?? systemClock;
  const startedAt = clock.monotonic();
  const socketFolder = socketFolderIn(options.databaseUrl);
  const dataDir = socketFolder && dataFolderBehind(socketFolder);
  if (!dataDir) return undefined;
  return withFolderLock(dataDir, clock, async () => {
    forgetDeadUsers(dataDir);
    const postmaster = findPostmaster(clusterOf(dataDir));
    const facts = postmaster?.socketFolder && (await waitForAnswer(postmaster, clusterOf(dataDir), clock));
    if (!postmaster?.socketFolder || !facts) {
      throw new EmbeddedPostgresError(`The PostgreSQL of ${dataDir} is not running. Start the server that owns this folder first, without DATABASE_URL.`);
    }
    const connection = connectionTo(postmaster.socketFolder, postmaster.port);
    const relaunch = (): Promise<Running> => launch(dataDir, { dataDir, durable: facts.durable, log: options.log }, clock);
    const handle = createHandle({ dataDir, postmaster, connection, owner: false, clock, log: options.log, relaunch });
    return { ...handle, adopted: true, version: facts.version, startedMs: Math.round(clock.monotonic() - startedAt) };
  });
}

/** The PostgreSQL that runs on a data folder and the living processes that use it; `undefined` when none runs. */
export async function findRunning(dataDir: string): Promise<{ databaseUrl: string; userPids: number[] } | undefined> {
  const postmaster = findPostmaster(clusterOf(dataDir));
  if (!postmaster?.socketFolder) return undefined;
  const databaseUrl = databaseUrlOf(connectionTo(postmaster.socketFolder, postmaster.port));
  return { databaseUrl, userPids: livingUsers(dataDir).map((user) => user.pid) };
}

interface Running {
  readonly postmaster: Postmaster;
  readonly facts: ServerFacts;
}

/** The running PostgreSQL once it answers; `undefined` when there is none, or it went away while we waited. */
async function adopt(dataDir: string, options: EmbeddedPostgresOptions, clock: Clock): Promise<Running | undefined> {
  const found = findPostmaster(clusterOf(dataDir));
  const facts = found && (await waitForAnswer(found, clusterOf(dataDir), clock));
  if (!facts) return undefined;
  const postmaster = findPostmaster(clusterOf(dataDir)) ?? found;
  if (facts.durable || !options.durable) return { postmaster, facts };
  if (livingUsers(dataDir).length > 0) {
    throw new EmbeddedPostgresError(`The PostgreSQL of ${dataDir} runs without durability (started by tests or tools). Stop those first.`);
  }
  options.log.warn({ dataDir }, "the running PostgreSQL is not durable and is started again");
  await stopPostmaster(postmaster, clock, options.log);
  return undefined;
}

async function launch(dataDir: string, options: EmbeddedPostgresOptions, clock: Clock): Promise<Running> {
  const { durable, log, settings = {} } = options;
  const runAs = chooseRunAs(clusterOf(dataDir));
  makeReachable(dataDir, runAs, log);
  const cluster = clusterOf(dataDir);
  const binaries = prepareBinaries(homeOf(dataDir), runAs);
  if (!hasCluster(cluster, binaries.major)) await createCluster(cluster, binaries, runAs, durable);
  else if (statSync(cluster).uid === 0) giveTo(runAs, cluster); // a copy that root made
  const socketFolder = socketFolderOf(dataDir);
  makeSocketFolder(socketFolder, dataDir, runAs);
  const args = settingArguments({ durable, socketFolder, overrides: settings });
  const postmaster = await launchPostmaster({ postgres: binaries.postgres, cluster, logPath: join(dataDir, "postgres.log"), args, runAs, clock, log });
  const facts = await waitForAnswer(postmaster, cluster, clock);
  if (!facts) throw new EmbeddedPostgresError(`PostgreSQL ended right after its start on ${cluster}. See ${join(dataDir, "postgres.log")}.`);
  return { postmaster, facts };
}

async function waitForAnswer({ pid, fingerprint }: Postmaster, cluster: string, clock: Clock): Promise<ServerFacts | undefined> {
  const deadline = clock.monotonic() + startMsMax;
  for (;;) {
    const postmaster = findPostmaster(cluster);
    if (postmaster?.pid !== pid || postmaster.fingerprint !== fingerprint) return undefined;
    const facts = postmaster.socketFolder ? await askServer(connectionTo(postmaster.socketFolder, postmaster.port)) : undefined;
    if (facts) return facts;
    if (clock.monotonic() > deadline) {
      throw new EmbeddedPostgresError(`The PostgreSQL of ${cluster} (process ${pid}) runs but does not answer. End that process, then start again.`);
    }
    await clock.sleep(20);
  }
}

interface HandleParts {
  readonly dataDir: string;
  readonly postmaster: Postmaster;
  readonly connection: EmbeddedConnection;
  readonly owner: boolean;
  readonly clock: Clock;
  readonly log: Log;
  readonly relaunch: () => Promise<Running>;
}

/** Records this process as a user and watches over PostgreSQL; `stop` takes it back and looks whether anybody is left. */
function createHandle(parts: HandleParts): Pick<EmbeddedPostgres, "connection" | "databaseUrl" | "stop"> {
  const { dataDir, connection, clock, log } = parts;
  const databaseUrl = databaseUrlOf(connection);
  const registration = register(dataDir, parts.owner, databaseUrl);
  const leaving = new AbortController();
  const watch = keepRunning({ dataDir, launch: parts.relaunch, signal: leaving.signal, clock, log });
  let stopping: Promise<void> | undefined;
  const leave = async (): Promise<void> => {
    unregister(registration);
    const others = livingUsers(dataDir);
    if (others.length > 0) {
      log.info({ dataDir, userPids: others.map((user) => user.pid) }, "embedded PostgreSQL goes on for other processes");
      return;
    }
    await stopPostmaster(findPostmaster(clusterOf(dataDir)) ?? parts.postmaster, clock, log);
    removeSocketFolder(connection.host);
    log.info({ dataDir }, "embedded PostgreSQL has stopped");
  };
  const endWatchAndLeave = async (): Promise<void> => {
    leaving.abort(new Error("this process leaves the embedded PostgreSQL"));
    await watch;
    // A folder that was deleted meanwhile has no lock and no users left, but its PostgreSQL still runs.
    await (existsSync(dataDir) ? withFolderLock(dataDir, clock, leave) : leave());
  };
  const stop = (): Promise<void> => (stopping ??= endWatchAndLeave());
  return { connection, databaseUrl, stop };
}
