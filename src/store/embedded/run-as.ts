/** PostgreSQL refuses to run as root; started by root, it runs as an unprivileged user instead. */
import { type SpawnSyncOptions, spawnSync } from "node:child_process";
import { existsSync, lchownSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { EmbeddedPostgresError } from "./embedded-error.ts";

/** The user a child process is switched to; empty when this process is not root and children run as it is. */
export interface RunAs {
  readonly uid?: number;
  readonly gid?: number;
}

const userName = "postgres";

/**
 * As root: the owner of an existing cluster, so that a folder made by a normal user stays that user's; else the
 * user `postgres`, created when missing. As anyone else: no switch.
 */
export function chooseRunAs(clusterFolder: string): RunAs {
  if (process.getuid?.() !== 0) return {};
  if (existsSync(clusterFolder)) {
    const { uid, gid } = statSync(clusterFolder);
    if (uid !== 0) return { uid, gid };
  }
  return findUser() ?? createUser();
}

/** Whether `runAs` can enter the folder, asked of the system itself: modes, ACLs and mounts all have a say. */
export function canEnter(runAs: RunAs, folder: string): boolean {
  return spawnSync("/bin/sh", ["-c", 'cd "$0"', folder], switched(runAs)).status === 0;
}

/** Hands a folder and all in it to `runAs`; nothing happens without a switch of users. */
export function giveTo(runAs: RunAs, path: string): void {
  if (runAs.uid === undefined || runAs.gid === undefined) return;
  lchownSync(path, runAs.uid, runAs.gid);
  if (!statSync(path).isDirectory()) return;
  for (const name of readdirSync(path, { recursive: true, encoding: "utf8" })) lchownSync(join(path, name), runAs.uid, runAs.gid);
}

/** Options for spawn: the user, a folder every user may stand in, and an environment without the caller's PG* variables. */
export function switched(runAs: RunAs): SpawnSyncOptions & { env: NodeJS.ProcessEnv } {
  return { ...runAs, cwd: "/", env: { PATH: "/usr/local/bin:/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" } };
}

function findUser(): RunAs | undefined {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((entry) => entry.startsWith(`${userName}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  return uid && gid ? { uid: Number(uid), gid: Number(gid) } : undefined;
}

function createUser(): RunAs {
  // The first form is shadow-utils (Debian, Fedora), the second BusyBox (Alpine).
  const commands = [
    ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", userName],
    ["adduser", "-S", "-D", "-H", userName],
  ];
  for (const [command = "", ...args] of commands) {
    spawnSync(command, args, { env: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" } });
    const user = findUser();
    if (user) return user;
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root and the user "${userName}" could not be created. ` +
      "Start the service as a normal user, create that user, or set DATABASE_URL to a PostgreSQL of your own.",
  );
}
