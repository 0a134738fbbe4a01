/**
 * The real service in a process that other servers live in as well (server-host.ts): it has everything a server has but a process.
 * Two of them on one database are two replicas.
 */
import { rmSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { inject } from "vitest";
import { environmentOf, filledOptions, type RunningServer, type ServerOptions } from "./server.ts";
import type { HostLine } from "./server-host.ts";

/** Resolves once the server answers; rejects with its last words when it ends before. */
export async function startHostedServer(options: ServerOptions & { readonly databaseUrl: string }): Promise<RunningServer> {
  const ofProcess = Object.keys(options.env ?? {}).find((name) => name.startsWith("NODE_"));
  if (ofProcess !== undefined) throw new Error(`${ofProcess} is a setting of a process: use startServer`);
  const filled = filledOptions(options);
  const socket = connect(hostPort(), "127.0.0.1");
  const gone = new Promise<void>((resolve) => socket.once("close", resolve)).then(() =>
    rmSync(filled.dataDir, { recursive: true, force: true, maxRetries: 3 }),
  );
  const logLines: string[] = [];
  const ready = Promise.withResolvers<{ readonly url: string; readonly apiKey: string | undefined }>();
  const lastWords = (what: string): Error => new Error(`the server ${what}\n${logLines.slice(-20).join("\n")}`);
  let fault: string | undefined;
  createInterface({ input: socket }).on("line", (text) => {
    const told = JSON.parse(text) as HostLine;
    if (told.kind === "log") logLines.push(told.line);
    else if (told.kind === "ready") ready.resolve(told);
    else fault = told.fault;
  });
  socket.on("error", (error) => (fault = error.message));
  void gone.then(() => ready.reject(lastWords(`did not start: ${fault}`)));
  socket.write(`${JSON.stringify(environmentOf(filled))}\n`);
  const { url, apiKey } = await ready.promise;
  return {
    url,
    port: Number(new URL(url).port),
    apiKey: apiKey ?? filled.apiKey ?? "",
    options: filled,
    logLines,
    async stop() {
      if (socket.writable) socket.write("stop\n");
      await gone;
      if (fault !== undefined) throw lastWords(`did not stop: ${fault}`);
    },
  };
}

/** Another one on the same data, with the same keys: a replica beside it, or its successor. */
export function startAnother(
  { options: { dataDir: _, databaseUrl = "", ...options } }: RunningServer,
  changes: Partial<ServerOptions> = {},
): Promise<RunningServer> {
  return startHostedServer({ databaseUrl, ...options, ...changes } as ServerOptions & { readonly databaseUrl: string });
}

/** Each worker of vitest has its host, as long as there are as many. */
function hostPort(): number {
  const ports = inject("serverHosts");
  const port = ports[Number(process.env["VITEST_POOL_ID"] ?? 0) % ports.length];
  if (port === undefined) throw new Error("no host of servers runs: test/support/server-hosts.ts belongs into globalSetup");
  return port;
}
