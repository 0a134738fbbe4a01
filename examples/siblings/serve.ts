/**
 * The common part of the example siblings: a small HTTP server on a port of the operating system's choice. It prints one
 * line `{"port":N}` when it listens and ends on SIGTERM, SIGINT or with the process that holds its standard input, so that it
 * never outlives the one that started it.
 *
 * `--latency-ms N` makes every call that acts take at least so long. `GET /ledger` shows what was done (`?summary` without lists).
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { stopWithStarter } from "../stop-with-starter.ts";
import { type Answer, createLedger, type Ledger } from "./ledger.ts";

export interface Request {
  readonly method: string;
  /** Path segments without the empty first one. */
  readonly path: readonly string[];
  readonly body: Record<string, unknown>;
  readonly key: string;
}

export interface Sibling {
  /** Reads; undefined when there is nothing at this path. */
  readonly get?: (path: readonly string[]) => (Answer & { readonly mediaType?: string }) | undefined;
  /** Acts, at most once per idempotency key; undefined when there is nothing at this path. */
  readonly act: (request: Request) => (() => Answer) | undefined;
}

const bodyBytesMax = 1024 * 1024;

export async function serve(sibling: Sibling): Promise<void> {
  const { values } = parseArgs({ options: { "latency-ms": { type: "string", default: "0" } } });
  const latencyMs = Number(values["latency-ms"]);
  const ledger = createLedger();
  const server = createServer((request, response) => {
    answer(sibling, ledger, latencyMs, request).then(
      (reply) => send(response, reply),
      (error: unknown) => send(response, { status: 400, body: { error: String(error) } }),
    );
  });
  server.keepAliveTimeout = 30_000;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = (): void => {
    server.close(() => process.exit(0));
    server.closeAllConnections();
  };
  stopWithStarter(stop);
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
}

interface Reply extends Answer {
  readonly mediaType?: string;
  readonly replayed?: boolean;
}

async function answer(sibling: Sibling, ledger: Ledger, latencyMs: number, request: IncomingMessage): Promise<Reply> {
  const method = request.method ?? "GET";
  const url = new URL(request.url ?? "/", "http://sibling");
  const path = url.pathname.split("/").slice(1).map(decodeURIComponent);
  const body = await readJson(request);
  if (method === "GET") {
    if (url.pathname === "/ledger") return { status: 200, body: ledger.view(!url.searchParams.has("summary")) };
    return sibling.get?.(path) ?? notFound(method, url.pathname);
  }
  const key = header(request, "idempotency-key").replace(/^"(.*)"$/, "$1") || header(request, "webhook-id");
  if (!key) return { status: 400, body: { error: "KEY_MISSING", message: "send an Idempotency-Key" } };
  const act = sibling.act({ method, path, body, key });
  if (!act) return notFound(method, url.pathname);
  const call = {
    key,
    action: `${method} /${path[0] ?? ""}`,
    sagaId: header(request, "saga-id"),
    step: header(request, "saga-step"),
    operation: header(request, "saga-op"),
  };
  return ledger.run(call, async () => {
    if (latencyMs > 0) await sleep(latencyMs);
    return act();
  });
}

async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    if ((bytes += chunk.length) > bodyBytesMax) throw new Error("BODY_TOO_LARGE");
    chunks.push(chunk);
  }
  return bytes === 0 ? {} : (JSON.parse(Buffer.concat(chunks).toString("utf8")) as Record<string, unknown>);
}

function header(request: IncomingMessage, name: string): string {
  return String(request.headers[name] ?? "");
}

function notFound(method: string, path: string): Reply {
  return { status: 404, body: { error: "NOT_FOUND", message: `${method} ${path}` } };
}

function send(response: ServerResponse, reply: Reply): void {
  const text = typeof reply.body === "string" ? reply.body : JSON.stringify(reply.body);
  response.writeHead(reply.status, { "content-type": reply.mediaType ?? "application/json", ...(reply.replayed ? { "idempotent-replayed": "true" } : {}) });
  response.end(text);
}
