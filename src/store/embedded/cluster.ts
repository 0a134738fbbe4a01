/** The PostgreSQL data itself: made once, checked before each start, never deleted. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Binaries } from "./binaries.ts";
import { EmbeddedPostgresError } from "./embedded-error.ts";
import { giveTo, type RunAs, switched } from "./run-as.ts";

const unfinishedPrefix = "cluster-unfinished-";

/**
 * Whether the folder holds a cluster that these programs can serve; false when there is none yet. Throws
 * EmbeddedPostgresError for another major version and for a folder that is not (or no longer) a cluster.
 */
export function hasCluster(cluster: string, major: number): boolean {
  if (!existsSync(cluster) || (statSync(cluster).isDirectory() && readdirSync(cluster).length === 0)) return false;
  const versionPath = join(cluster, "PG_VERSION");
  if (!existsSync(versionPath) || !existsSync(join(cluster, "global", "pg_control"))) {
    throw new EmbeddedPostgresError(
      `${cluster} is damaged: files of the PostgreSQL data are missing. Nothing was changed. Restore it from a backup, or choose another data folder.`,
    );
  }
  const version = readFileSync(versionPath, "utf8").trim();
  if (version !== String(major)) {
    throw new EmbeddedPostgresError(
      `${cluster} was written by PostgreSQL ${version}, this service brings PostgreSQL ${major}. Nothing was changed. ` +
        `Serve it with a PostgreSQL ${version} and set DATABASE_URL, move it with pg_dump, or choose another data folder.`,
    );
  }
  return true;
}

/** Makes the cluster under another name and renames it when complete: a start that dies halfway leaves none. */
export async function createCluster(cluster: string, binaries: Binaries, runAs: RunAs, durable: boolean): Promise<void> {
  const home = dirname(cluster);
  for (const name of readdirSync(home)) if (name.startsWith(unfinishedPrefix)) rmSync(join(home, name), { recursive: true, force: true });
  const unfinished = join(home, unfinishedPrefix + randomBytes(6).toString("hex"));
  mkdirSync(unfinished, { mode: 0o700 });
  giveTo(runAs, unfinished);
  await runInitdb(binaries.initdb, runAs, [
    "--pgdata",
    unfinished,
    "--username=postgres",
    "--encoding=UTF8",
    "--auth-local=trust",
    "--auth-host=reject",
    // The builtin provider sorts and folds the same on every system; the system's own locale need not have C.UTF-8 at all.
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    // PostgreSQL later syncs only what it changes itself. Unsynced files of the first hour would undo its promises
    // after a power cut; syncing them costs 0.1 s once.
    ...(durable ? [] : ["--no-sync"]),
    "--no-instructions",
  ]);
  renameSync(unfinished, cluster);
}

async function runInitdb(initdb: string, runAs: RunAs, args: readonly string[]): Promise<void> {
  const child = spawn(initdb, args, { ...switched(runAs), stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const failure = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(code === 0 ? undefined : `${signal ?? `exit code ${code}`}: ${output.trim().slice(-800)}`));
  });
  if (failure !== undefined) {
    throw new EmbeddedPostgresError(`PostgreSQL could not create its data (initdb, ${failure}). Repair the cause, or set DATABASE_URL.`);
  }
}
