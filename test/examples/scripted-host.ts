/** An HTTP server that answers what a test tells it to, and keeps what it was sent. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ScriptedHost {
  /** What it answers, by `METHOD /path`: JSON, or bytes as CSV; a function is asked at each call. Anything else gets 500. */
  readonly routes: Map<string, unknown>;
  readonly received: readonly { readonly route: string; readonly body: string }[];
  url(path: string): string;
  close(): void;
}

export async function startScriptedHost(): Promise<ScriptedHost> {
  const routes = new Map<string, unknown>();
  const received: { readonly route: string; readonly body: string }[] = [];
  const server = createServer((request, response) => {
    const route = `${request.method} ${request.url}`;
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => (body += chunk));
    request.on("end", () => {
      received.push({ route, body });
      const answer = routes.get(route);
      const value: unknown = typeof answer === "function" ? (answer as (body: string) => unknown)(body) : answer;
      response.writeHead(value === undefined ? 500 : 200, { "content-type": Buffer.isBuffer(value) ? "text/csv" : "application/json" });
      response.end(Buffer.isBuffer(value) ? value : JSON.stringify(value ?? { error: "DOWN" }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    routes,
    received,
    url: (path) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
