/** The open port as a hostile or careless peer meets it: raw sockets, raw HTTP/2, plain fetch. */
import type { ServerResponse } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2, constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import type { HttpRoute } from "../../src/rpc/server/http-routes.ts";
import { rawGrpc } from "./raw-grpc.ts";
import { goodKey, startTestServer, type TestServer } from "./server-fixture.ts";

/** Impatient, for peers that stop half-way. */
let strict: TestServer;
let server: TestServer;
const sockets: Socket[] = [];
const sessions: ClientHttp2Session[] = [];

beforeAll(async () => {
  strict = await startTestServer({}, { limits: { handshakeMsMax: 250, sweepMs: 50, idleMsMax: 400, bodyMsMax: 300 } });
  server = await startTestServer();
});
afterAll(async () => {
  for (const socket of sockets) socket.destroy();
  for (const session of sessions) session.destroy();
  await strict.stop();
  await server.stop();
});

function open(port = strict.port): Socket {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  sockets.push(socket);
  return socket;
}

function openHttp2(url = strict.url): ClientHttp2Session {
  const session = connectHttp2(url);
  session.on("error", () => undefined);
  sessions.push(session);
  return session;
}

const closed = (socket: { once(event: "close", listener: () => void): unknown }): Promise<number> => {
  const startedAt = performance.now();
  return new Promise((resolve) => socket.once("close", () => resolve(performance.now() - startedAt)));
};

function envelope(message: Buffer, flags = 0): Buffer {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

/** EchoRequest{text} in binary. */
function echoBytes(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length: number[] = [];
  for (let rest = bytes.length; ; rest >>>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from([0x0a, ...length]), bytes]);
}

const echoPath = "/test.echo.v1.EchoService/Echo";
const json = { authorization: `Bearer ${goodKey}`, "content-type": "application/json" };

describe("the preface", () => {
  test("a silent connection is closed when its time is over", async () => {
    expect(await closed(open())).toBeGreaterThan(200);
  });

  test("a connection that stops inside `PRI` is closed", async () => {
    const socket = open();
    socket.write("PR");
    expect(await closed(socket)).toBeGreaterThan(200);
  });

  test("an HTTP/2 preface that stops half-way is closed", async () => {
    const socket = open();
    socket.resume();
    socket.write("PRI * HTTP/2.0\r\n\r\nSM");
    expect(await closed(socket)).toBeGreaterThan(200);
  });

  test("half an HTTP/1.1 header is closed", async () => {
    const socket = open();
    socket.resume();
    socket.write("GET /health HTT");
    await closed(socket);
  });

  test("a request that arrives byte by byte is answered", async () => {
    const socket = open();
    socket.setNoDelay(true);
    const reply = new Promise<string>((resolve) => socket.once("data", (chunk) => resolve(chunk.toString())));
    for (const byte of "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n") {
      socket.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await reply).toMatch(/^HTTP\/1.1 200 OK/);
  });

  test("a method that begins with P but is not the preface is HTTP/1.1", async () => {
    const reply = await fetch(`${server.url}${echoPath}`, { method: "PUT", headers: json, body: "{}" });
    expect(reply.status).toBe(405);
  });

  test("bytes that are no protocol at all are answered and closed", async () => {
    const socket = open();
    let reply = "";
    socket.on("data", (chunk) => (reply += chunk.toString()));
    socket.write("\u0000\u0001\u0002\u0003\r\n\r\n");
    await closed(socket);
    expect(reply).toMatch(/^HTTP\/1.1 400 /);
  });
});

describe("limits of a connection", () => {
  test("an idle HTTP/2 connection is closed", async () => {
    expect(await closed(openHttp2())).toBeGreaterThan(300);
  });

  test("a half-sent body is answered and its call ended", async () => {
    const session = openHttp2();
    const reply = await rawGrpc(session, echoPath, envelope(echoBytes("abc")).subarray(0, 6), {}, false);
    expect(reply.trailers["grpc-status"]).toBe("4");
    session.destroy();
  });

  test("headers above 16 KiB are refused on both protocols", async () => {
    const big = { "x-big": "a".repeat(20_000) };
    expect((await rawGrpc(openHttp2(), echoPath, envelope(echoBytes("a")), big)).status).toBe(431);
    expect((await fetch(`${server.url}/health`, { headers: big })).status).toBe(431);
  });

  test("a peer that sends only pings is shown the door", async () => {
    // Not the impatient one, which may find the connection idle before the pings are counted.
    const session = openHttp2(server.url);
    const gone = closed(session);
    const goaway = new Promise<number>((resolve) => session.once("goaway", resolve));
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    for (let round = 0; round < 30 && !session.destroyed; round++) {
      for (let count = 0; count < 5; count++) session.destroyed || session.ping(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await gone;
    expect(await goaway).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  });

  test("the 100th open stream of a connection waits instead of costing us", async () => {
    const session = openHttp2();
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    expect(session.remoteSettings.maxConcurrentStreams).toBe(100);
    expect(session.remoteSettings.maxHeaderListSize).toBe(16 * 1024);
  });

  test("one peer gets only so many connections", async () => {
    const small = await startTestServer({}, { limits: { connectionsPerPeerMax: 2 } });
    try {
      const first = open(small.port);
      const second = open(small.port);
      await Promise.all([first, second].map((socket) => new Promise((resolve) => socket.once("connect", resolve))));
      await closed(open(small.port));
      expect(small.log.lines.some((line) => line.level === "warn")).toBe(true);
      first.destroy();
      const status = async (): Promise<number> => (await fetch(`${small.url}/livez`).catch(() => undefined))?.status ?? 0;
      await expect.poll(status).toBe(200);
    } finally {
      await small.stop();
    }
  });
});

describe("messages", () => {
  test("a gzip bomb is refused at the limit, in flat memory", async () => {
    const bomb = gzipSync(Buffer.alloc(200 * 1024 * 1024));
    const before = process.memoryUsage.rss();
    const session = openHttp2(server.url);
    const startedAt = performance.now();
    const reply = await rawGrpc(session, echoPath, envelope(bomb, 1), { "grpc-encoding": "gzip" });
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    expect(reply.trailers["grpc-status"]).toBe("8");
    const plain = await fetch(`${server.url}${echoPath}`, { method: "POST", headers: { ...json, "content-encoding": "gzip" }, body: bomb });
    expect(plain.status).toBe(429);
    expect(await plain.text()).toContain("PAYLOAD_TOO_LARGE");
    expect(process.memoryUsage.rss() - before).toBeLessThan(100 * 1024 * 1024);
  });

  test("a compressed message is read", async () => {
    const reply = await rawGrpc(openHttp2(server.url), echoPath, envelope(gzipSync(echoBytes("squeezed")), 1), { "grpc-encoding": "gzip" });
    expect(reply.trailers["grpc-status"]).toBe("0");
    expect(reply.body.toString()).toContain("squeezed");
  });

  test.each([
    ["an unknown compression", envelope(echoBytes("a")), { "grpc-encoding": "zstd" }, "12"],
    ["bytes that are not gzip", envelope(Buffer.from("not gzip"), 1), { "grpc-encoding": "gzip" }, "3"],
    ["a compressed message without a name for it", envelope(echoBytes("a"), 1), {}, "3"],
    ["no message", Buffer.alloc(0), {}, "3"],
    ["two messages", Buffer.concat([envelope(echoBytes("a")), envelope(echoBytes("b"))]), {}, "3"],
    ["bytes that are no message", envelope(Buffer.from([0xff, 0xff, 0xff])), {}, "3"],
    ["text that is not UTF-8", envelope(Buffer.from([0x0a, 0x01, 0xff])), {}, "3"],
    ["a timeout without a unit", envelope(echoBytes("a")), { "grpc-timeout": "5" }, "3"],
    ["a timeout that is already over", envelope(echoBytes("a")), { "grpc-timeout": "0m" }, "4"],
    ["a timeout of years", envelope(echoBytes("a")), { "grpc-timeout": "99999999H" }, "0"],
  ])("%s gets an answer with a reason", async (_name, body, headers, status) => {
    const reply = await rawGrpc(openHttp2(server.url), echoPath, body, headers as unknown as Record<string, string>);
    expect(reply.trailers["grpc-status"]).toBe(status);
    if (status !== "0") expect(Buffer.from(String(reply.trailers["grpc-status-details-bin"]), "base64").toString()).toContain("workflow.pyairtable.dev");
  });

  test("an envelope that announces too much is refused before it is sent", async () => {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(0xffffffff, 1);
    const reply = await rawGrpc(openHttp2(server.url), echoPath, head, {}, false);
    expect(reply.trailers["grpc-status"]).toBe("8");
  });
});

describe("paths", () => {
  test.each([
    "/",
    "/test.echo.v1.EchoService",
    "/test.echo.v1.EchoService/",
    "/test.echo.v1.EchoService/Echo/",
    "//test.echo.v1.EchoService/Echo",
    "/test.echo.v1.EchoService/%45cho",
    "/test.echo.v1.EchoService/echo",
    "/Test.Echo.V1.EchoService/Echo",
    "/health/",
    "/%68ealth",
    "/toString",
    "/__proto__",
  ])("%s is nobody's", async (path) => {
    const plain = await fetch(`${server.url}${path}`, { method: "POST", headers: json, body: "{}" });
    expect(plain.status).toBe(404);
    expect(await plain.json()).toMatchObject({ code: "unimplemented" });
    const grpc = await rawGrpc(openHttp2(server.url), path, envelope(echoBytes("a")));
    expect(grpc.status).toBe(200);
    expect(grpc.trailers["grpc-status"]).toBe("12");
    expect(grpc.headers["x-request-id"]).toBeTruthy();
  });

  test("a read is answered to GET, with its key in the header and not in the URL", async () => {
    const query = `encoding=json&message=${encodeURIComponent('{"text":"got"}')}`;
    const reply = await fetch(`${server.url}${echoPath}?${query}`, { headers: { authorization: json.authorization } });
    expect(await reply.json()).toEqual({ text: "got" });
    const leaked = await fetch(`${server.url}${echoPath}?${query}&api_key=${goodKey}`, { headers: { authorization: json.authorization } });
    expect(leaked.status).toBe(401);
    const wrong = await fetch(`${server.url}${echoPath}?encoding=json&message=${encodeURIComponent('{"txt":"got"}')}`, {
      headers: { authorization: json.authorization },
    });
    expect(wrong.status).toBe(400);
    expect(await wrong.text()).toContain("txt");
  });

  test("another content type is refused", async () => {
    const reply = await fetch(`${server.url}${echoPath}`, { method: "POST", headers: { ...json, "content-type": "text/plain" }, body: "{}" });
    expect(reply.status).toBe(415);
  });
});

describe("other fronts", () => {
  test("a fallback can answer itself or call a method through the same checks", async () => {
    const fronted = await startTestServer(
      {},
      {
        connectFallback(request, response, { dispatch, call }) {
          if (request.url !== "/api/echo") return false;
          const headers = new Headers({ authorization: String(request.headers.authorization) });
          const body = Buffer.from(String(request.headers["x-body"]));
          void dispatch("test.echo.v1.EchoService/Echo", { headers, json: body, call, signal: new AbortController().signal }).then(async (answer) => {
            const chunks: Uint8Array[] = [];
            for await (const chunk of answer.body ?? []) chunks.push(chunk);
            (response as ServerResponse).writeHead(answer.status, Object.fromEntries(answer.header ?? [])).end(Buffer.concat(chunks));
          });
          return true;
        },
      },
    );
    try {
      const ask = (body: string, key = goodKey): Promise<Response> =>
        fetch(`${fronted.url}/api/echo`, { headers: { authorization: `Bearer ${key}`, "x-body": body } });
      expect(await (await ask('{"text":"rest"}')).json()).toEqual({ text: "rest" });
      expect((await ask('{"txt":"rest"}')).status).toBe(400);
      expect((await ask("{}", "nope")).status).toBe(401);
      expect((await fetch(`${fronted.url}/api/other`)).status).toBe(404);
    } finally {
      await fronted.stop();
    }
  });

  test("a caller who hangs up during a plain route harms nobody", async () => {
    let hungUp = false;
    let begun = Promise.withResolvers<void>();
    const route: HttpRoute = {
      method: "GET",
      path: "/slow",
      access: "open",
      async handle(request) {
        const aborted = new Promise<void>((resolve) => request.signal.addEventListener("abort", () => resolve()));
        begun.resolve();
        await aborted;
        hungUp = true;
        throw new AppError("OVERLOADED", "too late");
      },
    };
    const slow = await startTestServer({}, { http: [route] });
    try {
      const caller = new AbortController();
      const called = expect(fetch(`${slow.url}/slow`, { signal: caller.signal })).rejects.toThrow();
      await begun.promise;
      caller.abort();
      await called;
      await expect.poll(() => hungUp).toBe(true);
      const session = connectHttp2(slow.url);
      sessions.push(session);
      hungUp = false;
      begun = Promise.withResolvers();
      const stream = session.request({ ":path": "/slow" });
      stream.on("error", () => undefined);
      await begun.promise;
      stream.close(constants.NGHTTP2_CANCEL);
      await expect.poll(() => hungUp).toBe(true);
      expect((await fetch(`${slow.url}/slow2`)).status).toBe(404);
    } finally {
      await slow.stop();
    }
  });
});

describe("health over HTTP", () => {
  test("states are open, messages and the version need a key", async () => {
    for (const path of ["/health", "/livez", "/readyz", "/startupz"]) expect((await fetch(server.url + path)).status).toBe(200);
    expect(await (await fetch(`${server.url}/health`)).json()).toEqual({ status: "ok", components: { postgres: { status: "ok" } } });
    expect((await fetch(`${server.url}/version`)).status).toBe(401);
    expect((await fetch(`${server.url}/readyz?verbose`)).status).toBe(401);
    expect(await (await fetch(`${server.url}/version`, { headers: json })).json()).toEqual({ version: "1.0.0" });
    expect(await (await fetch(`${server.url}/readyz?verbose`, { headers: json })).text()).toContain("2 ms");
    expect((await fetch(`${server.url}/health`, { method: "HEAD" })).status).toBe(200);
  });

  test("a component that is down makes it 503", async () => {
    server.readiness.set([{ name: "postgres", ok: false }]);
    expect((await fetch(`${server.url}/health`)).status).toBe(503);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(503);
    expect((await fetch(`${server.url}/livez`)).status).toBe(200);
    server.readiness.set([{ name: "postgres", ok: true, message: "2 ms" }]);
  });
});
