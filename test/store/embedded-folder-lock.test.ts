import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { withFolderLock } from "../../src/store/embedded/folder-lock.ts";

const source = (path: string): string => JSON.stringify(fileURLToPath(new URL(`../../src/${path}`, import.meta.url)));

describe("the lock of a data folder", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "pawf-lock-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("is held by one process at a time, even when holders are killed in the middle", async () => {
    const counter = join(folder, "counter");
    writeFileSync(counter, "0");
    // Each round reads, pauses and writes: two at once would lose a count. Every process kills itself in its last
    // round, holding the lock.
    const code = `
      import { readFileSync, writeFileSync } from "node:fs";
      import { systemClock } from ${source("base/clock.ts")};
      import { withFolderLock } from ${source("store/embedded/folder-lock.ts")};
      const [folder, counter] = process.argv.slice(1);
      for (let round = 1; round <= 20; round += 1) {
        await withFolderLock(folder, systemClock, async () => {
          const count = Number(readFileSync(counter, "utf8"));
          await systemClock.sleep(1);
          writeFileSync(counter, String(count + 1));
          if (round === 20) process.kill(process.pid, "SIGKILL");
        });
      }`;
    const children = [1, 2, 3, 4].map(() => spawn(process.execPath, ["--input-type=module", "-e", code, folder, counter], { stdio: "inherit" }));
    const exits = await Promise.all(children.map((child) => once(child, "exit")));
    expect(exits.map(([, signal]) => signal)).toEqual(["SIGKILL", "SIGKILL", "SIGKILL", "SIGKILL"]);
    expect(readFileSync(counter, "utf8")).toBe("80");
    await withFolderLock(folder, systemClock, () => Promise.resolve());
  });

  it("passes over an owner whose process number was given to another process", async () => {
    symlinkSync(`${process.pid} some-other-start-time`, join(folder, "lock-6"));
    expect(await withFolderLock(folder, systemClock, async () => readdirSync(folder))).toEqual(["lock-7"]);
  });

  it("is released when the action fails, and leaves one small file", async () => {
    await expect(withFolderLock(folder, systemClock, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await withFolderLock(folder, systemClock, () => Promise.resolve("again"))).toBe("again");
    expect(readdirSync(folder)).toEqual(["lock-2"]);
  });

  it("withdraws a number that is older than the current one", async () => {
    // A slow process saw lock-5 free, then others passed on to lock-7: its lock-6 must not count.
    symlinkSync(`${process.pid} x`, join(folder, "lock-7"));
    symlinkSync("free", join(folder, "lock-6"));
    expect(await withFolderLock(folder, systemClock, async () => readdirSync(folder))).toEqual(["lock-8"]);
  });
});
