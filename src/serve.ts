/** The front door: environment in, one screen out, and an orderly end on SIGTERM or Ctrl-C. */
import { readFile } from "node:fs/promises";
import { type App, startApp } from "./app.ts";
import { systemClock } from "./base/clock.ts";
import { messageOf } from "./base/errors.ts";
import { Metrics } from "./base/metrics.ts";
import { type Config, readConfig } from "./config.ts";
import { createLog } from "./log-output.ts";

const exitFailed = 1;
/** A second signal does not wait. */
const exitForced = 130;

/** Runs the command that the process was started with. `onReady` hears that it serves. Ends the process when it cannot. */
export async function serve(onReady: () => void): Promise<void> {
  await run(onReady).catch((error: unknown) => {
    // What keeps a server from starting is for a person: a sentence, no stack.
    process.stderr.write(`${messageOf(error)}\n`);
    process.exit(exitFailed);
  });
}

async function run(onReady: () => void): Promise<void> {
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  const config = readConfig(process.env, process.stdout.isTTY === true);
  const log = createLog(config, version);
  const command = process.argv[2];
  if (command === "recompute-usage") {
    process.stdout.write(await (await import("./recompute-usage.ts")).runRecomputeUsage(config, log));
    process.exit(0);
  }
  if (command !== undefined) throw new Error(`"${command}" is no command; use none to serve, or recompute-usage`);
  const metrics = new Metrics();
  const { telemetry } = config;
  const instrumentation =
    telemetry && (await import("./instrument.ts")).startInstrumentation({ config: telemetry, metrics, version, now: () => systemClock.now() });
  const app = await startApp({ config, log, version, metrics, tracer: instrumentation?.tracer });
  onReady();
  process.stdout.write(config.readyJson ? readyLine(app, config) : banner(app, config, version));
  let stopping = false;
  const onSignal = (signal: string): void => {
    if (stopping) process.exit(exitForced);
    stopping = true;
    log.info({ signal }, "stopping");
    const stopped = app.stop().finally(() => instrumentation?.stop());
    stopped.then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ error }, "the stop was not orderly");
        process.exit(exitFailed);
      },
    );
  };
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
}

function readyLine(app: App, config: Config): string {
  const { version, embedded, adopted } = app.database;
  const postgres = `${version}${embedded ? " embedded" : ""}, adopted:${adopted}`;
  return `${JSON.stringify({ ready: true, url: urlOf(app), api_key: app.apiKey ?? null, data_dir: config.dataDir, postgres })}\n`;
}

function urlOf(app: App): string {
  return `http://localhost:${app.port}`;
}

function banner(app: App, config: Config, version: string): string {
  const { embedded, adopted } = app.database;
  const postgres = embedded ? `embedded${adopted ? ", was running" : ""}, data in ${config.dataDir}` : "DATABASE_URL";
  const key = app.apiKey ?? "$PAWF_API_KEY";
  const address = `localhost:${app.port}`;
  const service = "pyairtable.workflow.v1.WorkflowService";
  return `PyAirtable Workflow Service ${version}   Node ${process.version}
  ✓ PostgreSQL ${app.database.version}  ${postgres}
  ✓ migrations  ${app.migrated.length === 0 ? "up to date" : `applied ${app.migrated.join(", ")}`}   ✓ ${app.templates} prebuilt templates
  ${urlOf(app)}   gRPC, gRPC-Web, Connect and HTTP on one port${app.apiKey ? `\n  key   ${app.apiKey}` : ""}
next:
  PAWF_URL=${urlOf(app)} PAWF_API_KEY=${key} npx pawf template list
  npx buf curl --protocol grpc --http2-prior-knowledge --list-methods ${urlOf(app)}
  grpcurl -plaintext -H "authorization: Bearer ${key}" ${address} ${service}/ListWorkflows
  npm run demo        Ctrl-C stops; data is kept
`;
}
