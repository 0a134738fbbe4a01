/**
 * A real redis-server of its own for one test file: a port from the system, nothing written to disk, ended by its process. Where
 * the program is missing it is installed if that is possible (Debian, as root); else the tests that need it are skipped.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { promisify } from "node:util";

const run = promisify(execFile);
const startAttemptsMax = 5;

export interface TestRedis {
  readonly url: string;
  /** SIGSTOP: connections stay, nothing is answered. */
  freeze(): void;
  thaw(): void;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Again, empty, on the same port. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** Its path; undefined (with a reason on standard error) when there is none and none can be installed. */
export async function findRedisServer(): Promise<string | undefined> {
  const found = await lookUp();
  if (found !== undefined) return found;
  if (process.getuid?.() === 0) {
    const options = { timeout: 120_000, env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
    await run("apt-get", ["update"], options).catch(() => undefined);
    await run("apt-get", ["install", "-y", "--no-install-recommends", "redis-server"], options).catch(() => undefined);
  }
  const installed = await lookUp();
  if (installed === undefined)
    process.stderr.write("SKIPPED: tests with Redis, because there is no redis-server and it could not be installed (apt-get install redis-server)\n");
  return installed;
}

async function lookUp(): Promise<string | undefined> {
  for (const path of ["redis-server", "/usr/bin/redis-server", "/usr/local/bin/redis-server"]) {
    if (
      await run(path, ["--version"]).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return undefined;
}

export async function startRedis(program: string): Promise<TestRedis> {
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const first = await launch(program, port);
    if (first) return controlOf(program, port, first);
    if (attempt === startAttemptsMax) throw new Error("redis-server did not start");
  }
}

function controlOf(program: string, port: number, first: ChildProcess): TestRedis {
  let child = first;
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    freeze: () => void child.kill("SIGSTOP"),
    thaw: () => void child.kill("SIGCONT"),
    kill,
    restart: async () => {
      await kill();
      const next = await launch(program, port);
      if (!next) throw new Error("redis-server did not start again");
      child = next;
    },
    stop: kill,
  };
}

/** Undefined: somebody else took the port. */
async function launch(program: string, port: number): Promise<ChildProcess | undefined> {
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"];
  const child = spawn(program, options, { stdio: ["ignore", "pipe", "ignore"] });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  return await new Promise((resolve, reject) => {
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (output.includes("Ready to accept connections")) resolve(child);
    });
    child.once("exit", () => resolve(undefined));
    child.once("error", reject);
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
