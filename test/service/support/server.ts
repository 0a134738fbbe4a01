/**
 * The real service as a process of its own, as an operator starts it: `node src/main.ts`, a port from the system, settings by
 * environment. It can be ended in every way an operator, a kernel or a power cut ends it, and started again on the same data.
 * Each start costs a second of processor time: what needs no process is tested on a hosted server (hosted-server.ts).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
/** Only a red test waits that long, however busy the machine is. */
const readyMsMax = 100_000;
/** For whoever looks into a failure: a folder that keeps every server's log. */
const logFolder = process.env["TEST_SERVER_LOGS"];

/** A key of the form that PAWF_ADMIN_KEY takes. */
export function makeApiKey(): string {
  const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  const id = Array.from(randomBytes(26), (byte) => crockford[byte % 32]).join("");
  return `pawf_0${id.slice(1)}_${randomBytes(32).toString("base64url")}`;
}

export interface ServerOptions {
  /** Absent: embedded PostgreSQL in `dataDir`. */
  readonly databaseUrl?: string;
  readonly dataDir?: string;
  /** Given to tenant `default`; ignored by an embedded server, which makes its own. */
  readonly apiKey?: string;
  readonly masterKey?: string;
  /** `host:port` entries that steps may call although they are private. */
  readonly egressAllow?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What all servers have, also those that share a process. */
export interface RunningServer {
  readonly url: string;
  readonly port: number;
  readonly apiKey: string;
  readonly options: ServerOptions;
  /** What it wrote to its log, one line each. */
  readonly logLines: readonly string[];
  /** An orderly end. May be called twice. */
  stop(): Promise<unknown>;
}

export interface Server extends RunningServer {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
  /** SIGKILL: no goodbye. Resolves when the process is gone. */
  kill(): Promise<void>;
  /** SIGTERM, and SIGKILL after 25 s. */
  stop(): Promise<Exit>;
}

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Resolves once the server answers; rejects with its last words when it ends before. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const filled = filledOptions(options);
  const { dataDir } = filled;
  const child = spawn(process.execPath, [join(root, "src/main.ts")], { cwd: dataDir, env: environmentOf(filled), stdio: ["ignore", "pipe", "pipe"] });
  running.add(child);
  const exited = new Promise<Exit>((resolve) =>
    child.once("exit", (code, signal) => {
      running.delete(child);
      // With a database elsewhere the folder holds nothing worth keeping; an embedded server's is its test's to remove.
      if (options.databaseUrl !== undefined) rmSync(dataDir, { recursive: true, force: true, maxRetries: 3 });
      resolve({ code, signal });
    }),
  );
  const logLines: string[] = [];
  createInterface({ input: child.stderr }).on("line", (line) => {
    logLines.push(line);
    if (logFolder !== undefined) appendFileSync(join(logFolder, `server-${child.pid}.log`), `${line}\n`);
  });
  const ready = new Promise<{ url: string; api_key: string | null }>((resolve) =>
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line.startsWith('{"ready":')) resolve(JSON.parse(line));
    }),
  );
  const lastWords = (what: string): Error => new Error(`the server ${what}:\n${logLines.slice(-20).join("\n")}`);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(lastWords("did not become ready")), readyMsMax);
  try {
    const first = await Promise.race([ready, late.promise, exited.then((exit) => Promise.reject(lastWords(`ended with ${JSON.stringify(exit)}`)))]);
    return controlOf({ child, exited, logLines, options: filled, port: Number(new URL(first.url).port), apiKey: first.api_key ?? filled.apiKey ?? "" });
  } catch (error) {
    child.kill("SIGKILL");
    if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** Another process on the same data, with the same keys. */
export function restart(server: Server, changes: Partial<ServerOptions> = {}): Promise<Server> {
  return startServer({ ...server.options, ...changes });
}

/** With a data folder that exists and keys of its own, where it has none. */
export function filledOptions(options: ServerOptions): ServerOptions & { readonly dataDir: string } {
  const dataDir = options.dataDir ?? mkdtempSync(join(tmpdir(), "pawf-service-"));
  mkdirSync(dataDir, { recursive: true });
  // Open to the user of PostgreSQL when root runs this: else an embedded cluster would stand elsewhere and stay.
  if (options.dataDir === undefined) chmodSync(dataDir, 0o711);
  return { masterKey: randomBytes(24).toString("hex"), apiKey: makeApiKey(), ...options, dataDir };
}

export function environmentOf(options: ServerOptions): Record<string, string> {
  const { PATH = "", HOME = "", TZ = "UTC", NODE_COMPILE_CACHE = "" } = process.env;
  return {
    PATH,
    HOME,
    TZ,
    NODE_COMPILE_CACHE,
    HOST: "127.0.0.1",
    PORT: "0",
    PAWF_READY_JSON: "1",
    PAWF_LOG_FORMAT: "json",
    // On a busy machine a lease of five seconds is lost now and then; tests that wait for its end ask for a shorter one.
    PAWF_LEASE_SECONDS: "60",
    PAWF_DATA_DIR: options.dataDir ?? "",
    ...(options.egressAllow ? { PAWF_EGRESS_ALLOW: options.egressAllow.join(",") } : {}),
    ...(options.databaseUrl === undefined
      ? {}
      : {
          DATABASE_URL: options.databaseUrl,
          PAWF_MASTER_KEY: options.masterKey ?? "",
          PAWF_ADMIN_KEY: options.apiKey ?? "",
          PAWF_ALLOW_UNSAFE_DATABASE: "1", // the PostgreSQL of the tests runs without fsync
        }),
    ...options.env,
  };
}

function controlOf(parts: {
  child: ChildProcess;
  exited: Promise<Exit>;
  logLines: readonly string[];
  options: ServerOptions;
  port: number;
  apiKey: string;
}): Server {
  const { child, exited, logLines, options, port, apiKey } = parts;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    apiKey,
    pid: child.pid ?? 0,
    options,
    logLines,
    exited,
    signal: (signal) => void child.kill(signal),
    async kill() {
      child.kill("SIGKILL");
      await exited;
    },
    async stop() {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 25_000);
      return exited.finally(() => clearTimeout(force));
    },
  };
}
