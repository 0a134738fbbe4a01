/**
 * Which processes use the PostgreSQL of a data folder: one small file each, in the folder itself. The last one to
 * leave stops it. A process that was killed leaves its file behind; it is recognised by its fingerprint and does not count.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fingerprintOf } from "./processes.ts";

export interface FolderUser {
  readonly pid: number;
  readonly fingerprint: string;
  /** It started with this data folder and owns it; a replica that joined by URL does not. */
  readonly owner: boolean;
  readonly databaseUrl: string;
}

/** Records this process; the returned path is handed to `unregister`. Call it under the folder's lock. */
export function register(dataDir: string, owner: boolean, databaseUrl: string): string {
  const folder = usersFolder(dataDir);
  mkdirSync(folder, { recursive: true });
  const user: FolderUser = { pid: process.pid, fingerprint: fingerprintOf(process.pid) ?? "", owner, databaseUrl };
  const path = join(folder, `${process.pid}-${randomBytes(4).toString("hex")}.json`);
  writeFileSync(path, JSON.stringify(user));
  return path;
}

export function unregister(path: string): void {
  rmSync(path, { force: true });
}

/** The living users. Reads only, so it needs no lock; a file that is just being written is passed over. */
export function livingUsers(dataDir: string): FolderUser[] {
  return userFiles(dataDir).flatMap((path) => readUser(path) ?? []);
}

/** Removes the files that dead processes left. Call it under the folder's lock, where no file is half written. */
export function forgetDeadUsers(dataDir: string): void {
  for (const path of userFiles(dataDir)) if (!readUser(path)) rmSync(path, { force: true });
}

function readUser(path: string): FolderUser | undefined {
  try {
    const user = JSON.parse(readFileSync(path, "utf8")) as FolderUser;
    return fingerprintOf(user.pid) === user.fingerprint ? user : undefined;
  } catch {
    return undefined;
  }
}

function userFiles(dataDir: string): string[] {
  const folder = usersFolder(dataDir);
  try {
    return readdirSync(folder).map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function usersFolder(dataDir: string): string {
  return join(dataDir, "users");
}
