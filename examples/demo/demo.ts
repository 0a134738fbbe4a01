/**
 * `npm run demo`: the service does its main work before your eyes. It starts the service with an embedded PostgreSQL and three
 * sibling services, fulfils an order, undoes two that fail, and kills the service while many executions run. Every
 * figure is measured in this run, every claim is checked, and the exit code is 0 only when all of it held.
 *
 * `--json` writes JSON lines; `--executions N` sizes part 3; `--keep` leaves everything running until Ctrl-C.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { DemoFailure } from "./checks.ts";
import { killAllChildren } from "./child.ts";
import { connect } from "./client.ts";
import { createDisplay, type Display } from "./display.ts";
import { nextCommands } from "./next-commands.ts";
import { compensateOrders } from "./part-compensation.ts";
import { surviveCrash } from "./part-crash.ts";
import { fulfilOrder } from "./part-order.ts";
import { type Server, startServer } from "./server.ts";
import { type Siblings, startSiblings } from "./siblings.ts";
import { describeMs } from "./step-lines.ts";

const executionsDefault = 1_000;
const executionsMin = 10;
const executionsMax = 20_000;
/** How long the orders API takes for a call: long enough that the kill meets calls under way. */
const ordersLatencyMs = 5;
const exitFailed = 1;
const exitUsage = 2;
const exitInterrupted = 130;

const options = readOptions();
const executions = Math.min(Math.max(Math.trunc(Number(options.executions)) || executionsDefault, executionsMin), executionsMax);
const display = createDisplay(options.json);
const began = performance.now();

/** Kept as promises: an interruption may come while one of them is starting, and then it still has to be stopped. */
let siblings: Promise<Siblings> | undefined;
let server: Promise<Server> | undefined;
let isStopping = false;

const interrupted = Promise.withResolvers<"interrupted">();
const broken = Promise.withResolvers<Error>();
process.once("SIGINT", () => interrupted.resolve("interrupted")).once("SIGTERM", () => interrupted.resolve("interrupted"));
process.once("exit", killAllChildren);

const ran = run().then(
  () => "done" as const,
  (error: unknown) => error,
);
const outcome = await Promise.race([ran, broken.promise, interrupted.promise]);
if (outcome === "done" && options.keep) {
  display.say(`Everything runs until Ctrl-C (or kill ${process.pid}).`);
  await interrupted.promise;
}
if (outcome !== "done" && outcome !== "interrupted") await explain(outcome);
isStopping = true;
// A second Ctrl-C does not wait.
process.once("SIGINT", () => process.exit(exitInterrupted));
await server?.then((started) => started.remove()).catch(() => undefined);
await siblings?.then((started) => started.stop()).catch(() => undefined);
process.exit(outcome === "done" ? 0 : outcome === "interrupted" ? exitInterrupted : exitFailed);

function readOptions(): { readonly json: boolean; readonly keep: boolean; readonly executions: string } {
  try {
    const { values } = parseArgs({
      options: { json: { type: "boolean" }, keep: { type: "boolean" }, executions: { type: "string" } },
    });
    return { json: values.json ?? false, keep: values.keep ?? false, executions: values.executions ?? String(executionsDefault) };
  } catch (error) {
    process.stderr.write(
      `${error instanceof Error ? error.message : String(error)}\nusage: npm run demo -- [--json] [--keep] [--executions ${executionsMin}..${executionsMax}]\n`,
    );
    process.exit(exitUsage);
  }
}

async function run(): Promise<void> {
  const onExit = (name: string): void => broken.resolve(new DemoFailure(`${name} ended unexpectedly`));
  const { siblings, server } = await startParts(onExit);
  const context = { clients: connect(server.url, server.apiKey), display, server, siblings, began };
  sayHello(display, server, siblings);
  const { workflow, executionId } = await fulfilOrder(context);
  await compensateOrders(context, workflow);
  await surviveCrash(context, executions);
  display.say(`\nAll of it held, in ${describeMs(performance.now() - began)}.`);
  for (const line of nextCommands(server, executionId, options.keep)) display.say(line);
  display.fact("done", { ok: true, ms: Math.round(performance.now() - began), url: server.url, api_key: server.apiKey, execution_id: executionId });
}

async function startParts(onExit: (name: string) => void): Promise<{ siblings: Siblings; server: Server }> {
  siblings = startSiblings(ordersLatencyMs, onExit);
  const started = await siblings;
  if (isStopping) throw new Error("the demo is being stopped");
  server = startServer(started.hosts, onExit);
  return { siblings: started, server: await server };
}

function sayHello(display: Display, server: Server, siblings: Siblings): void {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };
  display.say(`PyAirtable Workflow Service ${version}   Node ${process.versions.node}   nothing leaves this machine`);
  display.say(`  ✓ PostgreSQL ${server.postgres}   ✓ ready in ${describeMs(server.startMs)}   process ${server.pid}`);
  display.say(`  ✓ siblings: ${siblings.names.map((name) => `${name} ${siblings.url(name).replace("http://127.0.0.1", "")}`).join("   ")}`);
  display.say(`  ${server.url}   key ${server.apiKey}\n`);
  display.fact("ready", {
    version,
    node: process.versions.node,
    url: server.url,
    postgres: server.postgres,
    start_ms: Math.round(server.startMs),
    pid: server.pid,
  });
}

async function explain(error: unknown): Promise<void> {
  const message = error instanceof Error ? error.message : String(error);
  display.fact("failed", { ok: false, message });
  process.stderr.write(`\n✗ ${message}\n`);
  if (!(error instanceof DemoFailure) && error instanceof Error && error.stack) process.stderr.write(`${error.stack}\n`);
  const words = await server?.then((started) => started.lastWords()).catch(() => "");
  if (words) process.stderr.write(`the service's last words:\n${words}\n`);
}
