/** An HTTP server over real sockets that behaves as badly as its path says, and remembers what reached it. */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from "node:zlib";

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface MisbehavingServer extends AsyncDisposable {
  readonly port: number;
  readonly origin: string;
  readonly seen: SeenRequest[];
  /** Sockets that were opened, requests or not. */
  connections(): number;
}

type Behaviour = (response: ServerResponse, seen: SeenRequest, socket: Socket) => void;

const zeros = Buffer.alloc(8 * 1024 * 1024);

/** By the first segment of the path; further segments are arguments. */
const behaviours: Readonly<Record<string, Behaviour>> = {
  ok: (response) => sendJson(response, 200, { ok: true }),
  echo: (response, seen) => sendJson(response, 200, { method: seen.method, path: seen.path, headers: { ...seen.headers }, body: seen.body }),
  status: (response, seen) => sendJson(response, Number(argument(seen)), { code: "NO" }),
  "status-failed": (response, seen) => sendJson(response, Number(argument(seen)), {}, { "saga-outcome": "failed" }),
  /** That status, with the second argument and then the caller's credentials as text. */
  say: (response, seen) =>
    response.writeHead(Number(argument(seen)), { "content-type": "text/plain" }).end(`${seen.path.split("/")[3]}${seen.headers.authorization}`),
  text: (response) => response.writeHead(200, { "content-type": "text/plain; charset=iso-8859-1" }).end(Buffer.from("caf\u00e9", "latin1")),
  binary: (response) => response.writeHead(200, { "content-type": "application/octet-stream" }).end(Buffer.from([0xff, 0xfe, 0x00, 0x9f])),
  nul: (response) => response.writeHead(200, { "content-type": "application/json" }).end('{"a":"x\\u0000y"}'),
  deep: (response) => response.writeHead(200, { "content-type": "application/json" }).end("[".repeat(10_000) + "]".repeat(10_000)),
  garbage: (response) => response.writeHead(200, { "content-type": "application/json" }).end("<html>"),
  empty: (response) => response.writeHead(200, { "content-type": "application/json" }).end(),
  proto: (response) => response.writeHead(200, { "content-type": "application/json" }).end('{"__proto__":{"admin":true},"id":12345678901234567890}'),
  silent: () => undefined,
  "slow-body": (response) => void response.writeHead(200, { "content-type": "text/plain" }).write("x"),
  drip: (response, _, socket) => {
    response.writeHead(200, { "content-type": "text/plain" });
    const timer = setInterval(() => response.write("x"), 20);
    socket.once("close", () => clearInterval(timer));
  },
  endless: (response, _, socket) => {
    response.writeHead(200, { "content-type": "text/plain" });
    const push = (): void => {
      while (!socket.destroyed && response.write(zeros.subarray(0, 65_536)));
    };
    response.on("drain", push);
    push();
  },
  "lying-length": (response, _, socket) => {
    response.writeHead(200, { "content-type": "text/plain", "content-length": "1000" }).write("short");
    setTimeout(() => socket.destroy(), 20);
  },
  "huge-length": (response) => void response.writeHead(200, { "content-length": "99999999999" }).write("x"),
  "reset-early": (_, __, socket) => socket.resetAndDestroy(),
  "reset-late": (response, _, socket) => {
    response.writeHead(200, { "content-type": "text/plain" }).write("half of it");
    setTimeout(() => socket.resetAndDestroy(), 20);
  },
  gzip: (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" }).end(gzipSync("plain words")),
  br: (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "br" }).end(brotliCompressSync("plain words")),
  deflate: (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "deflate" }).end(deflateSync("plain words")),
  "deflate-raw": (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "deflate" }).end(deflateRawSync("plain words")),
  "double-gzip": (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip, gzip" }).end(gzipSync(gzipSync(zeros))),
  "hidden-double-gzip": (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" }).end(gzipSync(gzipSync(zeros))),
  bomb: (response) => response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" }).end(gzipSync(zeros)),
  "broken-gzip": (response) =>
    response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip" }).end(gzipSync("plain words").subarray(0, 15)),
  "huge-headers": (response) => response.writeHead(200, { "x-big": "x".repeat(40_000) }).end("ok"),
  "proto-header": (response) =>
    response
      .writeHead(
        200,
        [
          ["__proto__", "x"],
          ["set-cookie", "a=1"],
          ["set-cookie", "b=2"],
          ["content-type", "text/plain"],
        ].flat(),
      )
      .end("ok"),
  /** A file of that content disposition and, as the second argument, media type. */
  file: (response, seen) =>
    response
      .writeHead(200, {
        "content-type": decodeURIComponent(seen.path.split("/")[3] ?? ""),
        ...(argument(seen) === "-" ? {} : { "content-disposition": decodeURIComponent(argument(seen)) }),
      })
      .end("a,b\n1,2\n"),
  redirect: (response, seen) => response.writeHead(Number(argument(seen)), { location: "/echo" }).end(),
  "redirect-to": (response, seen) => response.writeHead(307, { location: decodeURIComponent(argument(seen)) }).end(),
  "redirect-loop": (response) => response.writeHead(302, { location: "/redirect-loop" }).end(),
  "retry-after": (response, seen) => sendJson(response, 503, {}, { "retry-after": decodeURIComponent(argument(seen)) }),
};

export async function startMisbehavingServer(): Promise<MisbehavingServer> {
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let opened = 0;
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (request, response) => void answer(request, response, seen));
  server.on("connection", (socket) => {
    opened++;
    sockets.add(socket);
    socket.on("error", () => undefined).once("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    origin: `http://127.0.0.1:${port}`,
    seen,
    connections: () => opened,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, seen: SeenRequest[]): Promise<void> {
  const chunks: Buffer[] = [];
  try {
    for await (const chunk of request) chunks.push(chunk as Buffer);
  } catch {
    return; // the caller broke off
  }
  const path = request.url ?? "/";
  const one = { method: request.method ?? "", path, headers: request.headers, body: Buffer.concat(chunks).toString() };
  seen.push(one);
  const behaviour = behaviours[path.split(/[/?]/)[1] ?? ""];
  if (behaviour) behaviour(response, one, request.socket);
  else response.writeHead(404).end();
}

function argument(seen: SeenRequest): string {
  return seen.path.split(/[/?]/)[2] ?? "";
}

function sendJson(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
}
