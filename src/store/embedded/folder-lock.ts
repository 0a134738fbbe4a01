/**
 * One process at a time starts or stops the PostgreSQL of a data folder.
 *
 * Node has no flock, and "delete the dead owner's lock file, then create mine" lets two waiters win: the slower one
 * deletes the lock that the faster one has just made. So a lock is never taken over, it is succeeded: locks are
 * numbered (`lock-7`) and the highest number counts. Whoever finds that one free, or its owner dead, creates the next
 * number; creation is exclusive, so one wins. Only the owner of a higher number deletes lower ones. A process that
 * slept between looking and creating may create a number that was already deleted; it then sees a higher one and withdraws.
 *
 * Each lock is a symbolic link whose target text is the owner: made with its content in one atomic call, replaced
 * ("free") by one atomic rename. A process that dies holding the lock blocks nobody.
 */
import { randomBytes } from "node:crypto";
import { readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../base/clock.ts";
import { EmbeddedPostgresError } from "./embedded-error.ts";
import { fingerprintOf } from "./processes.ts";

/** Above the longest start (a recovery), which happens under the lock. */
const waitMsMax = 360_000;
const pollMs = 10;
const free = "free";

/**
 * Runs `action` while no other process (nor another caller in this one) holds the lock of `folder`, which must exist.
 * Rejects with EmbeddedPostgresError after six minutes of waiting.
 */
export async function withFolderLock<T>(folder: string, clock: Clock, action: () => Promise<T>): Promise<T> {
  const number = await acquire(folder, clock);
  try {
    return await action();
  } finally {
    release(folder, number);
  }
}

async function acquire(folder: string, clock: Clock): Promise<number> {
  const deadline = clock.monotonic() + waitMsMax;
  for (;;) {
    const number = tryAcquire(folder);
    if (number !== undefined) return number;
    if (clock.monotonic() > deadline) {
      throw new EmbeddedPostgresError(`Another process has been starting or stopping the PostgreSQL in ${folder} for minutes. End it, then start again.`);
    }
    await clock.sleep(pollMs);
  }
}

function tryAcquire(folder: string): number | undefined {
  const highest = Math.max(0, ...lockNumbers(folder));
  if (highest > 0 && isHeld(folder, highest)) return undefined;
  const number = highest + 1;
  try {
    symlinkSync(`${process.pid} ${fingerprintOf(process.pid)}`, lockPath(folder, number));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return undefined;
    throw error;
  }
  const numbers = lockNumbers(folder);
  if (Math.max(...numbers) > number) {
    rmSync(lockPath(folder, number), { force: true });
    return undefined;
  }
  for (const lower of numbers) if (lower < number) rmSync(lockPath(folder, lower), { force: true });
  return number;
}

/** Also true when the link vanished meanwhile: then a higher one exists and the caller has to look again. */
function isHeld(folder: string, number: number): boolean {
  let owner: string;
  try {
    owner = readlinkSync(lockPath(folder, number));
  } catch {
    return true;
  }
  const [pid, fingerprint] = owner.split(" ");
  return owner !== free && fingerprintOf(Number(pid)) === fingerprint;
}

function release(folder: string, number: number): void {
  const replacement = join(folder, `unlock-${randomBytes(6).toString("hex")}`);
  try {
    symlinkSync(free, replacement);
    renameSync(replacement, lockPath(folder, number));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // the whole folder was removed
  }
}

function lockNumbers(folder: string): number[] {
  return readdirSync(folder).flatMap((name) => (/^lock-\d+$/.test(name) ? [Number(name.slice("lock-".length))] : []));
}

function lockPath(folder: string, number: number): string {
  return join(folder, `lock-${number}`);
}
