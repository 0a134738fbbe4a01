/** The PostgreSQL main process of a cluster: found, launched, stopped. All but `findPostmaster` belong under the folder's lock. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, fchownSync, lchownSync, openSync, readFileSync, readSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import { EmbeddedPostgresError } from "./embedded-error.ts";
import { commandLineOf, fingerprintOf, workingFolderOf } from "./processes.ts";
import { type RunAs, switched } from "./run-as.ts";

export interface Postmaster {
  readonly pid: number;
  readonly fingerprint: string;
  /** Absent while it is still starting. */
  readonly socketFolder: string | undefined;
  readonly port: number;
  readonly ready: boolean;
}

/** Recovery after a crash replays up to max_wal_size of log. */
export const startMsMax = 300_000;
const stopMsMax = 60_000;
/** For children of a killed PostgreSQL to notice that it is gone. */
const orphansMsMax = 30_000;
const abortMsMax = 5_000;
const pollMs = 5;
const logBytesMax = 16 * 1024 * 1024;
/** Above every system's largest process id: nobody can ever have it. */
const nobodysPid = 2_000_000_000;

/** The living PostgreSQL of this cluster, whoever started it; `undefined` when its pid file is missing or stale. */
export function findPostmaster(cluster: string): Postmaster | undefined {
  const lines = readPidFile(cluster);
  const pid = Number(lines?.[0]);
  if (!lines || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
  const fingerprint = fingerprintOf(pid);
  // The number may belong to another program by now. Ours names the cluster on its command line and works inside it.
  if (fingerprint === undefined || !(commandLineOf(pid).includes(cluster) || workingFolderOf(pid) === cluster)) return undefined;
  return { pid, fingerprint, socketFolder: lines[4] || undefined, port: Number(lines[3]), ready: lines[7]?.trim() === "ready" };
}

export interface LaunchOptions {
  readonly postgres: string;
  readonly cluster: string;
  readonly logPath: string;
  readonly args: readonly string[];
  readonly runAs: RunAs;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Starts PostgreSQL, detached: it outlives a parent that is killed and is then adopted. Resolves when it is ready;
 * rejects with EmbeddedPostgresError and the end of its log when it gives up.
 */
export async function launchPostmaster(options: LaunchOptions): Promise<Postmaster> {
  const { cluster, clock, log, logPath } = options;
  const deadline = clock.monotonic() + startMsMax;
  const orphansDeadline = clock.monotonic() + orphansMsMax;
  defuseStalePidFile(cluster);
  rotateLog(logPath);
  for (;;) {
    const logStart = existsSync(logPath) ? statSync(logPath).size : 0;
    const outcome = await launchOnce(options, deadline);
    if (typeof outcome !== "string") return outcome;
    const output = readFrom(logPath, logStart);
    // Children of a killed PostgreSQL hold its memory until they notice, usually for milliseconds. Only time helps.
    if (output.includes("is still in use") && clock.monotonic() < orphansDeadline) {
      log.info({ cluster }, "waiting for the rest of a killed PostgreSQL to end");
      await clock.sleep(100);
      continue;
    }
    throw new EmbeddedPostgresError(
      `PostgreSQL did not start on ${cluster} (${outcome}). Nothing was deleted. The end of ${logPath}:\n${output.trim().slice(-1_500)}`,
    );
  }
}

/**
 * Stops it fast (connections are cut, everything is written) and resolves when it is gone. After a minute it is
 * aborted; the next start then recovers.
 */
export async function stopPostmaster(postmaster: Pick<Postmaster, "pid" | "fingerprint">, clock: Clock, log: Log): Promise<void> {
  signal(postmaster, "SIGINT");
  if (await isGone(postmaster, clock, stopMsMax)) return;
  log.warn({ pid: postmaster.pid }, "PostgreSQL did not stop within a minute and is aborted; the next start recovers it");
  signal(postmaster, "SIGQUIT");
  if (await isGone(postmaster, clock, abortMsMax)) return;
  log.error({ pid: postmaster.pid }, "PostgreSQL does not stop; end the process by hand");
}

async function launchOnce({ postgres, cluster, logPath, args, runAs, clock, log }: LaunchOptions, deadline: number): Promise<Postmaster | string> {
  const logFile = openSync(logPath, "a", 0o600);
  if (runAs.uid !== undefined && runAs.gid !== undefined) fchownSync(logFile, runAs.uid, runAs.gid);
  let child: ChildProcess;
  try {
    child = spawn(postgres, ["-D", cluster, ...args], { ...switched(runAs), detached: true, stdio: ["ignore", logFile, logFile] });
  } finally {
    closeSync(logFile);
  }
  let failure: string | undefined;
  child.once("error", (error) => (failure = error.message));
  child.once("exit", (code, signalName) => (failure ??= signalName ?? `exit code ${code}`));
  child.unref();
  let nextNewsAt = clock.monotonic() + 5_000;
  while (failure === undefined) {
    const postmaster = findPostmaster(cluster);
    if (postmaster?.ready && postmaster.pid === child.pid) return postmaster;
    if (clock.monotonic() > deadline) {
      child.kill("SIGQUIT");
      return `not ready after ${startMsMax / 1000} s`;
    }
    if (clock.monotonic() > nextNewsAt) {
      log.info({ cluster, logPath }, "PostgreSQL is still starting, probably recovering from a crash");
      nextNewsAt += 5_000;
    }
    await clock.sleep(pollMs);
  }
  return failure;
}

/**
 * PostgreSQL refuses to start when the process in its pid file is a zombie or, by now, another program. Deleting the
 * file would also delete the key by which it notices surviving children, so only the process id is replaced.
 */
function defuseStalePidFile(cluster: string): void {
  const lines = readPidFile(cluster);
  if (!lines?.[0] || findPostmaster(cluster)) return;
  const path = join(cluster, "postmaster.pid");
  const { uid, gid } = statSync(path);
  const replacement = join(cluster, `postmaster.pid-${randomBytes(6).toString("hex")}`);
  writeFileSync(replacement, [String(nobodysPid), ...lines.slice(1)].join("\n"), { flag: "wx", mode: 0o600 });
  lchownSync(replacement, uid, gid);
  renameSync(replacement, path);
}

function rotateLog(logPath: string): void {
  if (existsSync(logPath) && statSync(logPath).size > logBytesMax) renameSync(logPath, `${logPath}.1`);
}

function readFrom(path: string, start: number): string {
  const file = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(Math.min(64 * 1024, Math.max(0, statSync(path).size - start)));
    return buffer.subarray(0, readSync(file, buffer, 0, buffer.length, start)).toString();
  } finally {
    closeSync(file);
  }
}

function readPidFile(cluster: string): string[] | undefined {
  try {
    return readFileSync(join(cluster, "postmaster.pid"), "utf8").split("\n");
  } catch {
    return undefined;
  }
}

function signal({ pid, fingerprint }: Pick<Postmaster, "pid" | "fingerprint">, name: "SIGINT" | "SIGQUIT"): void {
  if (fingerprintOf(pid) === fingerprint) process.kill(pid, name);
}

async function isGone({ pid, fingerprint }: Pick<Postmaster, "pid" | "fingerprint">, clock: Clock, durationMs: number): Promise<boolean> {
  const deadline = clock.monotonic() + durationMs;
  while (fingerprintOf(pid) === fingerprint) {
    if (clock.monotonic() > deadline) return false;
    await clock.sleep(pollMs);
  }
  return true;
}
