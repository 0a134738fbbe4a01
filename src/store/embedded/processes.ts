/** Tells living processes from dead ones, and a process from a later one that was given the same number. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, readlinkSync } from "node:fs";

/**
 * A text that names this very process: its start time, not only its number, since numbers are used again.
 * `undefined` when no such process lives; a zombie counts as dead (some containers never collect theirs).
 */
export function fingerprintOf(pid: number): string | undefined {
  return hasProcFolder ? fingerprintFromProc(pid) : fingerprintFromPs(pid);
}

/** The command line of a process as one text, empty when it cannot be read. */
export function commandLineOf(pid: number): string {
  if (!hasProcFolder) return ps(pid, "command=");
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
  } catch {
    return "";
  }
}

/** The folder a process stands in, `undefined` where the system does not tell. */
export function workingFolderOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

const hasProcFolder = existsSync("/proc/self/stat");
const bootId = hasProcFolder ? readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8) : "";

function fingerprintFromProc(pid: number): string | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The second field is the program's name in parentheses and may itself hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state, startTicks] = [fields[0], fields[19]];
  return state === "Z" || state === "X" ? undefined : `${startTicks}@${bootId}`;
}

function fingerprintFromPs(pid: number): string | undefined {
  const [state, ...startTime] = ps(pid, "stat=,lstart=").split(/\s+/);
  return !state || state.startsWith("Z") ? undefined : startTime.join("-");
}

function ps(pid: number, columns: string): string {
  const result = spawnSync("ps", ["-o", columns, "-p", String(pid)], { encoding: "utf8", env: { PATH: "/usr/bin:/bin", LC_ALL: "C" } });
  return (result.stdout ?? "").trim();
}
