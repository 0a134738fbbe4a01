/** A service of its own for one benchmark: a child process on embedded PostgreSQL in a temporary folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import pg from "pg";
import { WorkflowService } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { findRunning } from "../src/store/embedded/embedded-postgres.ts";

export interface Service {
  readonly workflows: Client<typeof WorkflowService>;
  readonly transport: Transport;
  readonly url: string;
  readonly apiKey: string;
  /** On the service's own database. */
  readonly database: pg.Client;
  readonly databaseUrl: string;
  /** CPU time of the server process so far, in milliseconds (Linux). */
  cpuMs(): Promise<number>;
  /** Resident memory of the server process now, in bytes (Linux). */
  rssBytes(): Promise<number>;
  /** A second server on the same data, which takes the first one's place when that is killed. */
  startPeer(): Promise<void>;
  /** SIGKILL of the server; PostgreSQL stays, and so does a peer. */
  kill(): Promise<void>;
  /** Starts the server again on the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

interface Ready {
  readonly url: string;
  readonly api_key: string;
}

export async function startService(environment: Record<string, string> = {}): Promise<Service> {
  const folder = await mkdtemp(path.join(tmpdir(), "pawf-bench-"));
  // Open to the user of PostgreSQL when root runs this: else the cluster would stand elsewhere and stay.
  await chmod(folder, 0o711);
  let server = await launch(folder, environment);
  let client = clientOf(server.ready);
  let peer: Launched | undefined;
  const running = await findRunning(path.join(folder, "pg"));
  if (!running) throw new Error("the embedded PostgreSQL is not found");
  const database = new pg.Client({ connectionString: running.databaseUrl });
  await database.connect();
  return {
    get workflows() {
      return client.workflows;
    },
    get transport() {
      return client.transport;
    },
    get url() {
      return server.ready.url;
    },
    get apiKey() {
      return server.ready.api_key;
    },
    database,
    databaseUrl: running.databaseUrl,
    cpuMs: () => cpuMs(server.child.pid as number),
    rssBytes: () => rssBytes(server.child.pid as number),
    async startPeer() {
      peer = await launch(folder, { ...environment, DATABASE_URL: running.databaseUrl });
    },
    async kill() {
      await end(server.child, "SIGKILL");
      if (!peer) return;
      server = peer;
      client = clientOf(server.ready);
      peer = undefined;
    },
    async restart() {
      server = await launch(folder, environment);
      client = clientOf(server.ready);
    },
    async stop() {
      await database.end();
      await end(server.child, "SIGTERM");
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Launched {
  readonly child: ChildProcess;
  readonly ready: Ready;
}

async function launch(folder: string, environment: Record<string, string>): Promise<Launched> {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, "../src/main.ts")], {
    env: {
      PATH: process.env["PATH"],
      PORT: "0",
      PAWF_DATA_DIR: folder,
      PAWF_READY_JSON: "1",
      PAWF_LOG_LEVEL: "error",
      PAWF_LOG_FORMAT: "json",
      ...environment,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
    return { child, ready: JSON.parse(line) as Ready };
  }
  throw new Error("the service ended before it was ready");
}

function clientOf(ready: Ready): { transport: Transport; workflows: Client<typeof WorkflowService> } {
  const transport = createGrpcTransport({
    baseUrl: ready.url,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${ready.api_key}`);
        return next(request);
      },
    ],
  });
  return { transport, workflows: createClient(WorkflowService, transport) };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await ended;
}

/** Fields 14 and 15 of /proc/PID/stat, in ticks of 10 ms. */
async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function rssBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}
