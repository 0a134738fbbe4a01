/** The service under demonstration, as a process: started, killed, and started again on the same data folder. */
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Child, startChild } from "./child.ts";

export interface Server {
  readonly pid: number;
  /** `http://localhost:PORT`, the same over restarts. */
  readonly url: string;
  readonly apiKey: string;
  readonly dataDir: string;
  /** For example `18.4 embedded, adopted:false`. */
  readonly postgres: string;
  /** From the start of the process to its first answer, in milliseconds. */
  readonly startMs: number;
  lastWords(): string;
  kill(): Promise<void>;
  /** On the same port and data folder. */
  restart(): Promise<void>;
  /** Stops everything and removes the data folder. */
  remove(): Promise<void>;
}

const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

export async function startServer(egressAllow: readonly string[], onExit: (name: string) => void): Promise<Server> {
  const dataDir = mkdtempSync(join(tmpdir(), "pawf-demo-"));
  // PostgreSQL refuses to run as root; started by root it runs as another user, who has to reach its folder.
  chmodSync(dataDir, 0o711);
  let child: Child;
  let startMs = 0;
  let starting: Promise<void> = Promise.resolve();
  let isRemoved = false;
  const start = async (port: string): Promise<void> => {
    const began = performance.now();
    child = await startChild({ name: "the service", command: [main], env: environment(dataDir, port, egressAllow), readyMsMax: 60_000, onExit });
    startMs = performance.now() - began;
  };
  try {
    await start("0");
  } catch (error) {
    await removeFolder(dataDir);
    throw error;
  }
  const text = (name: string): string => String(child.ready[name]);
  const url = text("url");
  return {
    get pid() {
      return child.pid;
    },
    url,
    apiKey: text("api_key"),
    dataDir,
    get postgres() {
      return text("postgres");
    },
    get startMs() {
      return startMs;
    },
    lastWords: () => child.lastWords(),
    kill: () => child.kill(),
    async restart() {
      if (isRemoved) throw new Error("the demo is being stopped");
      await (starting = start(new URL(url).port));
    },
    async remove() {
      isRemoved = true;
      await starting.catch(() => undefined);
      await child.stop();
      await removeFolder(dataDir);
    },
  };
}

/** What the caller's shell says about another installation must not reach this one. */
function environment(dataDir: string, port: string, egressAllow: readonly string[]): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("PAWF_") && name !== "DATABASE_URL" && name !== "HOST");
  return {
    ...Object.fromEntries(inherited),
    PORT: port,
    PAWF_DATA_DIR: dataDir,
    PAWF_EGRESS_ALLOW: egressAllow.join(","),
    PAWF_READY_JSON: "1",
    PAWF_LOG_FORMAT: "json",
    PAWF_LOG_LEVEL: "warn",
  };
}

/** The database outlives a service that was killed; before its folder goes, it has to end, by the number in its own file. */
async function removeFolder(dataDir: string): Promise<void> {
  const pid = postmasterOf(dataDir);
  for (let waited = 0; pid !== undefined && isAlive(pid) && waited < 5_000; waited += 50) {
    if (waited === 0) process.kill(pid, "SIGINT");
    await sleep(50);
  }
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
}

function postmasterOf(dataDir: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(dataDir, "pg", "cluster", "postmaster.pid"), "utf8").split("\n")[0]);
    return Number.isInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
