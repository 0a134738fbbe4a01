/**
 * Where things are for one data folder:
 *   <data folder>/cluster        the PostgreSQL data        <data folder>/postgres.log  its log
 *   <data folder>/users, lock-N  who uses it, who starts it <tmp>/pawf-<hash>           its socket
 * The socket has a short folder of its own because its path may be about 103 bytes long and because some file systems
 * that hold data (shared folders of virtual machines) cannot hold sockets. Its mode 0700 is what guards the database.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { Log } from "../../base/log.ts";
import { EmbeddedPostgresError } from "./embedded-error.ts";
import { canEnter, giveTo, type RunAs } from "./run-as.ts";

/** Longest folder for temporary files that leaves room for `/pawf-<12 digits>/.s.PGSQL.5432` on macOS (103 bytes). */
const tmpFolderBytesMax = 70;
/** Where the cluster of root goes when the unprivileged user cannot reach the data folder. */
const reachableParent = "/var/lib/pawf";

/** Creates the folder when missing and returns its real path. */
export function ensureDataFolder(dataDir: string): string {
  mkdirSync(dataDir, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const real = realpathSync(dataDir);
  for (const folder of [real, join(real, "cluster")]) {
    if (existsSync(folder) && !isOpenToUs(folder)) {
      throw new EmbeddedPostgresError(
        `${folder} belongs to another user (${statSync(folder).uid}). Start the service as that user, or choose another data folder.`,
      );
    }
  }
  if (existsSync(join(real, "PG_VERSION"))) {
    throw new EmbeddedPostgresError(
      `${real} is itself the data folder of some PostgreSQL. Choose another folder for the embedded one, or start that PostgreSQL and set DATABASE_URL.`,
    );
  }
  return real;
}

/** The folder that holds cluster and copied programs: the data folder, or the one that `makeReachable` chose instead. */
export function homeOf(dataDir: string): string {
  try {
    return readlinkSync(join(dataDir, "home"));
  } catch {
    return dataDir;
  }
}

export function clusterOf(dataDir: string): string {
  return join(homeOf(dataDir), "cluster");
}

/**
 * Sees to it that `runAs` can enter the home. A data folder below a closed one (/root) cannot be opened to that user
 * without changing what is not ours, so the cluster then lives in /var/lib/pawf and the data folder holds a link to it.
 * Only on the same disk: a mounted volume would outlive the other place, and its data would seem lost.
 */
export function makeReachable(dataDir: string, runAs: RunAs, log: Log): void {
  if (runAs.uid === undefined || canEnter(runAs, homeOf(dataDir))) return;
  if (homeOf(dataDir) === dataDir) {
    chmodSync(dataDir, statSync(dataDir).mode | 0o011);
    if (canEnter(runAs, dataDir)) return;
    if (!existsSync(join(dataDir, "cluster"))) {
      mkdirSync(reachableParent, { recursive: true, mode: 0o711 });
      if (statSync(reachableParent).dev === statSync(dataDir).dev) {
        const home = join(reachableParent, randomBytes(6).toString("hex"));
        mkdirSync(home, { mode: 0o711 });
        if (canEnter(runAs, home)) {
          symlinkSync(home, join(dataDir, "home"));
          log.warn({ dataDir, home }, "the data folder is closed to the user postgres, so PostgreSQL keeps its data in another folder");
          return;
        }
      }
    }
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL runs as an unprivileged user (${runAs.uid}) and cannot enter ${homeOf(dataDir)}: a folder above it is closed to others. ` +
      "Choose a data folder outside of it, start the service as a normal user, or set DATABASE_URL.",
  );
}

function isOpenToUs(folder: string): boolean {
  try {
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export function socketFolderOf(dataDir: string): string {
  const tmp = process.getuid?.() === 0 || Buffer.byteLength(tmpdir()) > tmpFolderBytesMax ? "/tmp" : tmpdir();
  return join(realpathSync(tmp), `pawf-${createHash("sha256").update(dataDir).digest("hex").slice(0, 12)}`);
}

/** Makes the socket's folder, empty and closed to everyone but `runAs`, and notes in it which data folder it belongs to. */
export function makeSocketFolder(socketFolder: string, dataDir: string, runAs: RunAs): void {
  mkdirSync(socketFolder, { recursive: true, mode: 0o700 });
  const { uid } = lstatSync(socketFolder);
  const own = process.getuid?.();
  if (!lstatSync(socketFolder).isDirectory() || (uid !== own && uid !== runAs.uid)) {
    throw new EmbeddedPostgresError(`The folder ${socketFolder} belongs to another user (${uid}). Remove it, then start again.`);
  }
  chmodSync(socketFolder, 0o700);
  // Never through an existing file: whoever may write here as the database's user must not lead root's pen elsewhere.
  // A leftover socket of a killed PostgreSQL would stop the next one as long as the dead process number is still listed.
  for (const name of readdirSync(socketFolder)) rmSync(join(socketFolder, name), { force: true });
  writeFileSync(join(socketFolder, "data-folder"), dataDir, { mode: 0o600, flag: "wx" });
  giveTo(runAs, socketFolder);
}

export function removeSocketFolder(socketFolder: string): void {
  rmSync(join(socketFolder, "data-folder"), { force: true });
  try {
    rmdirSync(socketFolder);
  } catch {
    // Not empty or already gone: a leftover socket is replaced at the next start.
  }
}

/** The data folder that a socket folder belongs to, `undefined` when it is not one of ours. */
export function dataFolderBehind(socketFolder: string): string | undefined {
  try {
    const dataDir = readFileSync(join(socketFolder, "data-folder"), "utf8");
    return existsSync(dirname(clusterOf(dataDir))) ? dataDir : undefined;
  } catch {
    return undefined;
  }
}
