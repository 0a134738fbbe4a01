/** Refusals before any message come in one frame (Trailers-Only), which is what lets the retry policies of gRPC libraries repeat a call. */
import { type ClientHttp2Session, connect } from "node:http2";
import { Code, type Client as ConnectClient, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ErrorInfoSchema, RequestInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { AppError } from "../../src/base/errors.ts";
import { rawGrpc } from "./raw-grpc.ts";
import { type EchoHandlers, EchoService, goodKey, startTestServer, type TestServer } from "./server-fixture.ts";

const path = (name: string): string => `/test.echo.v1.EchoService/${name}`;
const empty = Buffer.alloc(5);
const down = (): AppError => new AppError("STORAGE_UNAVAILABLE", "Nicht da: 100%", { retryAfterMs: 20 });

let fail: EchoHandlers["fail"];
let count: EchoHandlers["count"];
let server: TestServer;
let session: ClientHttp2Session;
beforeAll(async () => {
  server = await startTestServer({ fail: (request, context) => fail(request, context), count: (request, context) => count(request, context) });
  session = connect(server.url);
  session.on("error", () => undefined);
});
afterAll(async () => {
  session.destroy();
  await server.stop();
});
beforeEach(() => {
  fail = (_request, context) => {
    context.responseHeader.set("x-head", "one");
    context.responseTrailer.set("x-tail", "two");
    throw down();
  };
  // biome-ignore lint/correctness/useYield: it is refused before the first one
  count = async function* () {
    throw down();
  };
});

describe("one frame that ends the stream holds headers, status and trailers of", () => {
  const ids = { "x-request-id": "req-7", "x-correlation-id": "cor-7" };
  test.each<[what: string, method: string, headers: Record<string, string>, status: Code, contentType: string]>([
    ["a unary call that its handler refuses", "Fail", {}, Code.Unavailable, "application/grpc+proto"],
    ["a unary call with a wrong key", "Fail", { authorization: "Bearer pawf_wrong" }, Code.Unauthenticated, "application/grpc+proto"],
    ["a unary call in JSON", "Fail", { "content-type": "application/grpc+json" }, Code.InvalidArgument, "application/grpc+json"],
    ["a stream that its handler refuses", "Count", {}, Code.Unavailable, "application/grpc+proto"],
    ["a stream with a wrong key", "Count", { authorization: "Bearer pawf_wrong" }, Code.Unauthenticated, "application/grpc+proto"],
    ["a stream for a caller who takes compression", "Count", { "grpc-accept-encoding": "gzip" }, Code.Unavailable, "application/grpc+proto"],
    ["a method that nobody has", "Nothing", {}, Code.Unimplemented, "application/grpc"],
  ])("%s", async (_what, method, headers, status, contentType) => {
    const { headers: frame, ...answer } = await rawGrpc(session, path(method), empty, { ...ids, ...headers });
    expect(answer).toMatchObject({ status: 200, isTrailersOnly: true, body: Buffer.alloc(0) });
    expect(frame).toMatchObject({ ...ids, "content-type": contentType, "grpc-status": String(status) });
    expect(Object.keys(frame)).toEqual(expect.arrayContaining(["date", "grpc-message", "grpc-status-details-bin"]));
    expect(frame).not.toHaveProperty("grpc-encoding");
    if (status === Code.Unavailable) expect(frame).toMatchObject({ "grpc-message": "Nicht da: 100%25", "retry-after": "1", "grpc-retry-pushback-ms": "20" });
  });
});

test("what a handler set before it refused goes along", async () => {
  expect((await rawGrpc(session, path("Fail"), empty)).headers).toMatchObject({ "x-head": "one", "x-tail": "two" });
});

test("a stream that told something, or ended well, has its status in trailers of their own", async () => {
  count = async function* () {
    yield { text: "", number: 1 };
    throw down();
  };
  const broken = await rawGrpc(session, path("Count"), empty);
  expect([broken.isTrailersOnly, broken.body.length, broken.trailers["grpc-status"]]).toEqual([false, 7, "14"]);
  count = async function* () {};
  const nothing = await rawGrpc(session, path("Count"), empty);
  expect([nothing.isTrailersOnly, nothing.body.length, nothing.trailers["grpc-status"]]).toEqual([false, 0, "0"]);
  count = async function* () {
    for (let number = 1; number <= 3; number++) yield { text: "", number };
  };
  const whole = await rawGrpc(session, path("Count"), empty);
  expect([...whole.body.filter((_byte, index) => index % 7 === 6)]).toEqual([1, 2, 3]);
});

test("a call that is refused before its request ended is over for the server too", async () => {
  const answer = await rawGrpc(session, path("Echo"), empty.subarray(0, 3), { authorization: "Bearer pawf_wrong", "x-request-id": "early-1" }, false);
  expect(answer.isTrailersOnly).toBe(true);
  await expect
    .poll(() => server.log.lines.find(({ fields }) => fields["request_id"] === "early-1")?.fields["code"], { timeout: 30_000 })
    .toBe("UNAUTHENTICATED");
});

test("a client that reads headers and trailers apart finds everything in the error", async () => {
  const client = createClient(EchoService, createGrpcTransport({ baseUrl: server.url })) as ConnectClient<typeof EchoService> & {
    fail(request: object, options: object): Promise<unknown>;
  };
  const error = ConnectError.from(
    await client.fail({}, { headers: { authorization: `Bearer ${goodKey}`, "x-request-id": "req-8" } }).then(
      () => undefined,
      (reason: unknown) => reason,
    ),
  );
  expect([error.code, error.rawMessage]).toEqual([Code.Unavailable, "Nicht da: 100%"]);
  expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("STORAGE_UNAVAILABLE");
  expect(error.findDetails(RequestInfoSchema)[0]?.requestId).toBe("req-8");
  expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay?.nanos).toBe(20e6);
  expect(["x-request-id", "x-head", "x-tail", "retry-after"].map((name) => error.metadata.get(name))).toEqual(["req-8", "one", "two", "1"]);
});

describe("a retry policy of the plain gRPC library", () => {
  const retryPolicy = { maxAttempts: 4, initialBackoff: "0.01s", maxBackoff: "0.05s", backoffMultiplier: 2, retryableStatusCodes: ["UNAVAILABLE"] };
  const config = { loadBalancingConfig: [{ round_robin: {} }], methodConfig: [{ name: [{}], waitForReady: true, retryPolicy }] };
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${goodKey}`);
  const same = (bytes: Buffer): Buffer => bytes;
  const patient = (): { deadline: number } => ({ deadline: Date.now() + 60_000 });
  let client: Client;
  beforeEach(() => {
    client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure(), { "grpc.service_config": JSON.stringify(config) });
  });
  afterEach(() => client.close());
  const unary = (): Promise<ServiceError | Buffer | undefined> =>
    new Promise((resolve) => {
      client.makeUnaryRequest(path("Fail"), same, same, Buffer.alloc(0), metadata, patient(), (error, answer) => resolve(error ?? answer));
    });

  test("repeats a unary call that we answer with UNAVAILABLE, until it is answered", async () => {
    let tries = 0;
    fail = () => {
      if (++tries < 3) throw down();
      return { text: "third" };
    };
    expect(String(await unary())).toContain("third");
    expect(tries).toBe(3);
  });

  test("gives up after its attempts, with our last error whole", async () => {
    let tries = 0;
    fail = () => {
      tries++;
      throw down();
    };
    const error = (await unary()) as ServiceError;
    expect([tries, error.code, error.details]).toEqual([4, 14, "Nicht da: 100%"]);
    expect(error.metadata.get("grpc-status-details-bin")[0]?.toString()).toContain("STORAGE_UNAVAILABLE");
    expect(error.metadata.get("x-request-id")).toHaveLength(1);
  });

  test("does not repeat what is refused for good", async () => {
    let tries = 0;
    fail = () => {
      tries++;
      throw new AppError("WORKFLOW_NOT_FOUND", "not here");
    };
    expect([((await unary()) as ServiceError).code, tries]).toEqual([5, 1]);
  });

  test("repeats a stream that told nothing yet", async () => {
    let tries = 0;
    count = async function* () {
      if (++tries < 3) throw down();
      yield { text: "", number: 7 };
    };
    const stream = client.makeServerStreamRequest(path("Count"), same, same, Buffer.alloc(0), metadata, patient());
    const got: Buffer[] = [];
    const status = new Promise<{ code: number }>((resolve) => stream.on("error", () => undefined).on("status", resolve));
    stream.on("data", (chunk: Buffer) => got.push(chunk));
    expect([(await status).code, got.length, tries]).toEqual([0, 1, 3]);
  });
});
