import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { failure } from "../../../src/domain/failure.ts";
import type { GrpcEgress, GrpcOutcome, GrpcRequest } from "../../../src/steps/grpc-egress.ts";
import { localGrpc } from "../step-call.ts";
import { type MisbehavingGrpc, startMisbehavingGrpc } from "./misbehaving-grpc.ts";

let server: MisbehavingGrpc;
let grpc: GrpcEgress & Disposable;
beforeAll(async () => {
  server = await startMisbehavingGrpc();
  grpc = localGrpc({ connectTimeoutMs: 1_000 });
});
afterAll(async () => {
  grpc[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

function send(method: string, request: Partial<GrpcRequest> = {}, client: GrpcEgress = grpc): Promise<GrpcOutcome> {
  return client.exchange({
    tenantId: "tenant-a",
    target: `dns:///127.0.0.1:${server.port}`,
    plaintext: true,
    metadata: {},
    timeoutMs: 30_000,
    signal: new AbortController().signal,
    path: `/test.Bad/${method}`,
    messages: [Buffer.from("hello")],
    responseBytesMax: 1_000_000,
    ...request,
  });
}
async function told(method: string, request: Partial<GrpcRequest> = {}): Promise<string> {
  const outcome = await send(method, request);
  if (outcome.kind === "failed") return `${outcome.failure.name} ${outcome.outcome}`;
  return `${outcome.status.codeName} ${outcome.messages.map((message) => message.toString()).join("+")}`.trim();
}

describe("what the other side may say", () => {
  test.each([
    ["a message and OK", "Ok", "OK hi"],
    ["OK without a message", "Empty", "INTERNAL"],
    ["two messages to one question", "Twice", "INTERNAL a+b"],
    ["a message shorter than it says", "Short", "INTERNAL"],
    ["a compressed message nobody asked for", "Compressed", "GRPC.INTERNAL unknown"],
    ["a message that claims four gigabytes", "HugeClaim", "LIMIT.BODY unknown"],
    ["no status", "NoStatus", "INTERNAL hi"],
    ["a status that is no number", "OddStatus", "UNKNOWN"],
    ["a status alone", "TrailersOnly", "FAILED_PRECONDITION"],
    ["an HTTP error of a proxy", "Proxy", "UNAVAILABLE"],
    ["a web page", "Html", "UNKNOWN"],
    ["a redirect", "Redirect", "UNKNOWN"],
    ["a reset", "Reset", "NETWORK unknown"],
    ["a refused stream, which was not looked at", "Refuse", "NETWORK failed"],
    ["half a message and a closed connection", "HalfThenGone", "NETWORK unknown"],
  ])("%s", async (_, method, expected) => {
    expect(await told(method)).toBe(expected);
  });

  test("it learns how long it may take", async () => {
    await send("Ok", { timeoutMs: 1_500.7 });
    await send("Ok", { timeoutMs: -5 });
    expect(server.timeouts.slice(-2)).toEqual(["1500m", "1m"]);
  });

  test("messages that arrive byte by byte, taken up to a number", async () => {
    expect(await told("Drops", { messagesMax: 10 })).toBe("OK hello+you");
    expect(await told("Drops", { messagesMax: 1 })).toBe("OK hello");
  });

  test("more bytes than are taken", async () => {
    expect(await told("Ok", { responseBytesMax: 1 })).toBe("LIMIT.BODY unknown");
  });

  test("a status's message is decoded, a pushback is a delay, and only the server itself speaks as gRPC", async () => {
    expect(await send("TrailersOnly")).toMatchObject({ status: { message: "sold out✓", isGrpc: true, retryAfterMs: undefined } });
    expect(await send("Pushback")).toMatchObject({ status: { codeName: "UNAVAILABLE", retryAfterMs: 1_234 } });
    expect(await send("Proxy")).toMatchObject({ status: { isGrpc: false } });
  });
});

describe("the end of an attempt", () => {
  test("before the answer: its reason, unknown, and the connection is not used again", async () => {
    const client = localGrpc();
    const controller = new AbortController();
    const before = server.calls.length;
    const outcome = send("Silent", { signal: controller.signal }, client);
    while (server.calls.length === before) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(failure("TIMEOUT.START_TO_CLOSE", "late"));
    expect(await outcome).toMatchObject({ kind: "failed", outcome: "unknown", failure: { name: "TIMEOUT.START_TO_CLOSE" } });
    const sessions = new Set(server.sessions);
    expect(await send("Ok", {}, client)).toMatchObject({ status: { codeName: "OK" } });
    expect([...server.sessions].some((session) => !sessions.has(session))).toBe(true);
    client.close();
  });

  test("before it was sent: surely no effect", async () => {
    const signal = AbortSignal.abort(failure("CANCELED", "over"));
    expect(await send("Ok", { signal })).toMatchObject({ kind: "failed", outcome: "failed", failure: { name: "CANCELED" } });
  });
});

describe("connections", () => {
  test("are shared by the calls of a tenant, and by no other tenant", async () => {
    using client = localGrpc();
    await send("Ok", {}, client);
    const first = server.sessions.size;
    await Promise.all([send("Ok", {}, client), send("Ok", {}, client)]);
    expect(server.sessions.size).toBe(first);
    await send("Ok", { tenantId: "tenant-b" }, client);
    expect(server.sessions.size).toBe(first + 1);
  });

  test("count as open only when HTTP/2 is spoken: until then nothing was sent", async () => {
    const silent = createTcpServer((socket) => socket.on("error", () => undefined).on("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const target = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    expect(await told("Ok", { target })).toBe("NETWORK failed");
    silent.close();
    expect(await told("Ok", { target })).toBe("NETWORK failed");
  });

  test("a server that accepts and says nothing is given up in time", async () => {
    const mute = createTcpServer((socket) => socket.on("error", () => undefined));
    await new Promise<void>((resolve) => mute.listen(0, "127.0.0.1", resolve));
    using client = localGrpc({ connectTimeoutMs: 50 });
    const target = `127.0.0.1:${(mute.address() as AddressInfo).port}`;
    expect(await send("Ok", { target }, client)).toMatchObject({ failure: { name: "NETWORK" }, outcome: "failed" });
    mute.close();
  });
});

describe("the guard", () => {
  const refusal = { kind: "failed", outcome: "failed", failure: { name: "LIMIT.EGRESS" } };
  const noConnection = { kind: "failed", outcome: "failed", failure: { name: "NETWORK" } };

  test.each([
    "dns:///169.254.169.254:80",
    "dns:///localhost:443",
    "dns:///10.0.0.1:443",
    "unix:///run/x.sock",
    "dns://8.8.8.8/x.example:443",
    "0x7f000001:443",
    "example.com:22",
  ])("refuses %s with one sentence", async (target) => {
    using client = localGrpc({ allow: [] });
    const outcome = await send("Ok", { target, plaintext: false }, client);
    expect(outcome).toMatchObject(refusal);
    expect((outcome as { failure: { message: string } }).failure.message).toContain("this target is not open to calls");
  });

  test("takes plaintext only to what the operator named, even at a public address", async () => {
    using client = localGrpc({ allow: [], lookUp: async () => ["93.184.216.34"] });
    expect(await send("Ok", { target: "shop.example:8080", plaintext: true }, client)).toMatchObject(noConnection);
    expect(await send("Ok", { target: "93.184.216.34:8080", plaintext: true }, client)).toMatchObject(refusal);
  });

  test("looks at every address a name leads to", async () => {
    using client = localGrpc({ allow: [], lookUp: async () => ["93.184.216.34", "127.0.0.1"] });
    const target = { target: "shop.example:443", plaintext: false };
    const refused = await send("Ok", target, client);
    expect(refused).toMatchObject(noConnection);
    // The same answer as for a name that nobody knows.
    using unknown = localGrpc({ allow: [], lookUp: async () => Promise.reject(new Error("ENOTFOUND")) });
    expect(await send("Ok", target, unknown)).toEqual(refused);
  });
});
