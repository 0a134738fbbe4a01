/** Real PostgreSQL processes, really killed. Only processes that a test started are ever signalled. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "pg";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { DataFolderInUse } from "../../src/store/embedded/embedded-error.ts";
import { type EmbeddedPostgres, findRunning, joinEmbeddedPostgres, startEmbeddedPostgres } from "../../src/store/embedded/embedded-postgres.ts";

const temporaryFolders: string[] = [];
const handles: EmbeddedPostgres[] = [];
const children: ChildProcess[] = [];

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "pawf-embedded-"));
  temporaryFolders.push(folder);
  return folder;
}

async function start(dataDir: string, options: { durable?: boolean; exclusive?: boolean } = {}): Promise<EmbeddedPostgres> {
  const handle = await startEmbeddedPostgres({ dataDir, durable: false, log: silentLog, ...options });
  handles.push(handle);
  return handle;
}

/** A process that starts PostgreSQL on the folder, says so, and then lives until it is killed or told to leave. */
async function startInChild(dataDir: string): Promise<{ child: ChildProcess; adopted: boolean; leave(): Promise<void> }> {
  const module = fileURLToPath(new URL("../../src/store/embedded/embedded-postgres.ts", import.meta.url));
  const log = fileURLToPath(new URL("../../src/base/log.ts", import.meta.url));
  const code = `
    import { silentLog } from ${JSON.stringify(log)};
    import { startEmbeddedPostgres } from ${JSON.stringify(module)};
    const handle = await startEmbeddedPostgres({ dataDir: process.argv[1], durable: false, log: silentLog });
    process.on("message", async () => { await handle.stop(); process.disconnect(); });
    process.send({ adopted: handle.adopted });`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code, dataDir], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  children.push(child);
  const first = await Promise.race([once(child, "message"), once(child, "exit")]);
  const message: unknown = first[0];
  if (typeof message !== "object" || message === null || !("adopted" in message)) throw new Error("the child ended before it was ready");
  const leave = async (): Promise<void> => {
    child.send("leave");
    await once(child, "exit");
  };
  return { child, adopted: message.adopted === true, leave };
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

function postmasterPid(dataDir: string): number {
  return Number(readFileSync(join(dataDir, "cluster", "postmaster.pid"), "utf8").split("\n")[0]);
}

async function ask(databaseUrl: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: databaseUrl });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query<{ value: unknown }>(sql)).rows.map((row) => row.value);
  } finally {
    await client.end();
  }
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 40_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error("waited forty seconds in vain");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

afterEach(async () => {
  for (const child of children.splice(0)) if (child.exitCode === null && child.signalCode === null) await kill(child);
  for (const handle of handles.splice(0)) await handle.stop();
});

afterAll(() => {
  for (const folder of temporaryFolders) {
    expect(existsSync(join(folder, "cluster", "postmaster.pid"))).toBe(false);
    // Where the folder is closed to the user of PostgreSQL, its cluster stands elsewhere.
    const home = join(folder, "home");
    if (existsSync(home)) rmSync(realpathSync(home), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  }
});

describe("the embedded PostgreSQL", () => {
  const dataDir = newFolder();

  it("starts on an empty folder with durable settings, on a socket that only its user may open", async () => {
    const postgres = await start(dataDir, { durable: true });
    expect(postgres).toMatchObject({ adopted: false, version: expect.stringMatching(/^18\.\d+$/) });
    const settings = "'fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses'";
    expect(await ask(postgres.databaseUrl, `SELECT name || '=' || setting AS value FROM pg_settings WHERE name IN (${settings}) ORDER BY 1`)).toEqual([
      "fsync=on",
      "full_page_writes=on",
      "listen_addresses=",
      "synchronous_commit=on",
    ]);
    expect(lstatSync(postgres.connection.host).mode & 0o777).toBe(0o700);
    expect(postgres.connection.host.length + "/.s.PGSQL.5432".length).toBeLessThan(103);
    expect(await ask(postgres.databaseUrl, "SELECT lower('ÄÉ') || current_database() AS value")).toEqual(["äéworkflow"]);
    await ask(postgres.databaseUrl, "CREATE TABLE kept AS SELECT 1 AS value");
    await Promise.all([postgres.stop(), postgres.stop()]);
    expect(await findRunning(dataDir)).toBeUndefined();
    expect(existsSync(postgres.connection.host)).toBe(false);
  });

  it("keeps the data between starts", async () => {
    const postgres = await start(dataDir);
    expect(await ask(postgres.databaseUrl, "SELECT value FROM kept")).toEqual([1]);
  });

  it("never lets a setting weaken durability", async () => {
    const handle = await startEmbeddedPostgres({ dataDir, durable: true, log: silentLog, settings: { fsync: "off", work_mem: "5MB" } });
    handles.push(handle);
    expect(await ask(handle.databaseUrl, "SELECT current_setting('fsync') || current_setting('work_mem') AS value")).toEqual(["on5MB"]);
  });

  it("survives its killed parent and is adopted by the next start, which stops it in the end", async () => {
    const { child } = await startInChild(dataDir);
    const pid = postmasterPid(dataDir);
    await kill(child);
    const next = await start(dataDir);
    expect(next.adopted).toBe(true);
    expect(postmasterPid(dataDir)).toBe(pid);
    expect(await ask(next.databaseUrl, "SELECT value FROM kept")).toEqual([1]);
    await next.stop();
    expect(await findRunning(dataDir)).toBeUndefined();
  });

  it("starts a survivor again when it is not durable but has to be", async () => {
    const { child } = await startInChild(dataDir);
    await kill(child);
    const next = await start(dataDir, { durable: true });
    expect(next.adopted).toBe(false);
    expect(await ask(next.databaseUrl, "SELECT current_setting('fsync') AS value")).toEqual(["on"]);
  });

  it("is started again with every committed row when it is killed under a living server", async () => {
    const postgres = await start(dataDir, { durable: true });
    await ask(postgres.databaseUrl, "CREATE TABLE committed AS SELECT generate_series(1, 1000) AS value");
    process.kill(postmasterPid(dataDir), "SIGKILL");
    const count = (): Promise<unknown[]> => ask(postgres.databaseUrl, "SELECT count(*)::int AS value FROM committed");
    await until(() =>
      count().then(
        () => true,
        () => false,
      ),
    );
    expect(await count()).toEqual([1000]);
    expect(await ask(postgres.databaseUrl, "SELECT current_setting('fsync') AS value")).toEqual(["on"]);
    await postgres.stop();
    expect(await findRunning(dataDir)).toBeUndefined();
  });

  it("recovers when server and PostgreSQL are killed together", async () => {
    const { child } = await startInChild(dataDir);
    const pid = postmasterPid(dataDir);
    await Promise.all([kill(child), process.kill(pid, "SIGKILL")]);
    const after = await start(dataDir, { durable: true });
    expect(await ask(after.databaseUrl, "SELECT count(*)::int AS value FROM committed")).toEqual([1000]);
  });

  it("starts although the number in its old pid file belongs to another program now", async () => {
    const { child } = await startInChild(dataDir);
    const pidFile = join(dataDir, "cluster", "postmaster.pid");
    const lines = readFileSync(pidFile, "utf8").split("\n");
    await kill(child);
    process.kill(postmasterPid(dataDir), "SIGKILL");
    await until(async () => (await findRunning(dataDir)) === undefined);
    writeFileSync(pidFile, [String(process.pid), ...lines.slice(1)].join("\n"));
    expect(await findRunning(dataDir)).toBeUndefined();
    const after = await start(dataDir);
    expect(after.adopted).toBe(false);
    expect(await ask(after.databaseUrl, "SELECT value FROM kept")).toEqual([1]);
  });

  it("refuses a second server on the folder with the command that joins as a replica", async () => {
    const first = await start(dataDir, { exclusive: true });
    const refusal = await start(dataDir, { exclusive: true }).catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(DataFolderInUse);
    expect(refusal).toMatchObject({ databaseUrl: first.databaseUrl, pid: process.pid });
    expect(String(refusal)).toContain(`DATABASE_URL='${first.databaseUrl}' PORT=8007 npm start`);
    expect(await findRunning(dataDir)).toEqual({ databaseUrl: first.databaseUrl, userPids: [process.pid] });
  });

  it("stays up for a replica that joined by URL until that one leaves as well", async () => {
    const first = await start(dataDir, { exclusive: true });
    const replica = await joinEmbeddedPostgres({ databaseUrl: first.databaseUrl, log: silentLog });
    if (!replica) throw new Error("the URL was not recognised");
    handles.push(replica);
    await first.stop();
    expect(await ask(replica.databaseUrl, "SELECT value FROM kept")).toEqual([1]);
    const again = await start(dataDir, { exclusive: true });
    expect(again.adopted).toBe(true);
    await again.stop();
    await replica.stop();
    expect(await findRunning(dataDir)).toBeUndefined();
    expect(await joinEmbeddedPostgres({ databaseUrl: "postgresql://user@example.org/workflow", log: silentLog })).toBeUndefined();
  });

  it("refuses data of another version or with missing files, and changes nothing", async () => {
    const versionPath = join(dataDir, "cluster", "PG_VERSION");
    writeFileSync(versionPath, "16\n");
    await expect(start(dataDir)).rejects.toThrow(/written by PostgreSQL 16, this service brings PostgreSQL 18/);
    rmSync(versionPath);
    await expect(start(dataDir)).rejects.toThrow(/is damaged/);
    writeFileSync(versionPath, "18\n");
    chmodSync(versionPath, 0o644);
    const control = join(dataDir, "cluster", "global", "pg_control");
    const bytes = readFileSync(control);
    writeFileSync(control, Buffer.alloc(bytes.length));
    await expect(start(dataDir)).rejects.toThrow(/did not start on .*The end of .*postgres\.log/s);
    writeFileSync(control, bytes);
    const postgres = await start(dataDir);
    expect(await ask(postgres.databaseUrl, "SELECT value FROM kept")).toEqual([1]);
  });
});

describe("several processes on one fresh folder", () => {
  it("start it once, share it, and the last one stops it, whether its fellows left or were killed", async () => {
    const dataDir = newFolder();
    const unfinished = join(dataDir, "cluster-unfinished-0");
    mkdirSync(unfinished); // what a start that was killed leaves behind
    const [one, two, three] = await Promise.all([startInChild(dataDir), startInChild(dataDir), startInChild(dataDir)]);
    expect([one, two, three].map(({ adopted }) => adopted).sort()).toEqual([false, true, true]);
    expect(existsSync(unfinished)).toBe(false);
    const running = await findRunning(dataDir);
    expect(running?.userPids.sort()).toEqual([one, two, three].map(({ child }) => child.pid).sort());
    await one.leave();
    expect(await findRunning(dataDir)).toBeDefined();
    await kill(two.child);
    await three.leave();
    expect(await findRunning(dataDir)).toBeUndefined();
    expect(readdirSync(dataDir).filter((name) => name.startsWith("lock-"))).toHaveLength(1);
  });
});
