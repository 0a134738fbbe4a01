/**
 * A process in which tests let many servers live at once, each with its own database, port, configuration and log, as `startApp`
 * builds it. A Node that has loaded and compiled the service already starts one more in a sixth of the time. What a process is
 * needed for (signals, kills, a stop of everything, exporters of OpenTelemetry) is tested with `startServer`.
 *
 * Its one line on standard output is the address to connect to. A connection is one server's life: the first line is its
 * environment; lines come back for its readiness, for each line of its log and for its end. It is stopped by the line "stop", and
 * by the end of the connection. The host ends when its standard input does.
 */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import nodeModule from "node:module";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { type App, startApp } from "../../../src/app.ts";
import { readConfig } from "../../../src/config.ts";
import { createLog } from "../../../src/log-output.ts";

/** What the host tells about a server. */
export type HostLine =
  | { readonly kind: "ready"; readonly url: string; readonly apiKey: string | undefined }
  | { readonly kind: "log"; readonly line: string }
  | { readonly kind: "ended"; readonly fault?: string };

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string };

async function serve(socket: Socket): Promise<void> {
  const tell = (line: HostLine): void => void (socket.writable && socket.write(`${JSON.stringify(line)}\n`));
  const orders = createInterface({ input: socket });
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const stopped = new Promise<void>((resolve) => orders.on("line", (line) => line === "stop" && resolve()));
  socket.on("error", () => undefined); // a test's process ended; the close follows
  let app: App | undefined;
  try {
    const [environment] = (await once(orders, "line")) as [string];
    const config = readConfig(JSON.parse(environment), false);
    if (config.telemetry) throw new Error("exporters of OpenTelemetry belong to a process: use startServer");
    const lines = new Writable({
      decodeStrings: false,
      write: (text: string, _, done) => {
        for (const line of text.split("\n")) if (line !== "") tell({ kind: "log", line });
        done();
      },
    });
    app = await startApp({ config, log: createLog(config, version, lines), version });
    tell({ kind: "ready", url: `http://127.0.0.1:${app.port}`, apiKey: app.apiKey });
    await Promise.race([stopped, closed]);
    await app.stop();
    tell({ kind: "ended" });
  } catch (error) {
    await app?.stop().catch(() => undefined);
    tell({ kind: "ended", fault: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  socket.end();
}

const server = createServer((socket) => void serve(socket));
server.listen(0, "127.0.0.1", () => {
  // Servers that are killed never leave their compiled modules behind for the next; this process is the first to load them.
  nodeModule.flushCompileCache();
  process.stdout.write(`${(server.address() as AddressInfo).port}\n`);
});
process.stdin.on("end", () => process.exit(0)).resume();
