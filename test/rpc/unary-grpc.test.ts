/** What a handler and its caller meet in a unary call is the same whether we answer it ourselves (gRPC) or Connect does (gRPC-Web). */
import { connect as connectHttp2 } from "node:http2";
import { gunzipSync } from "node:zlib";
import { Code, ConnectError, createClient, type HandlerContext } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type RawAnswer, rawGrpc } from "./raw-grpc.ts";
import { type EchoRequest, EchoService, goodKey, startTestServer, type TestServer } from "./server-fixture.ts";

interface Client {
  slow(request: object, options?: object): Promise<{ text: string }>;
}

let server: TestServer;
let handle: (request: EchoRequest, context: HandlerContext) => Promise<{ text: string }> | { text: string };
beforeAll(async () => {
  server = await startTestServer({ slow: (request, context) => handle(request, context) });
});
afterAll(() => server.stop());

const headers = { authorization: `Bearer ${goodKey}` };
/** Long enough for any machine: the method's own deadline is 0.3 s. */
const unhurried = { headers, timeoutMs: 20_000 };
const patient = { timeout: 30_000 };
const never = new Promise<{ text: string }>(() => undefined);

async function errorOf(promise: Promise<unknown>): Promise<ConnectError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConnectError);
  return error as ConnectError;
}

describe.each(["grpc", "grpc-web"])("over %s", (protocol) => {
  const clientOf = (): Client => {
    const transport = protocol === "grpc" ? createGrpcTransport({ baseUrl: server.url }) : createGrpcWebTransport({ baseUrl: server.url, httpVersion: "2" });
    return createClient(EchoService, transport) as unknown as Client;
  };

  test("a handler sees the call whole and answers with headers and trailers of its own", async () => {
    let seen: HandlerContext | undefined;
    handle = ({ text }, context) => {
      seen = context;
      context.responseHeader.set("x-head", "one");
      context.responseTrailer.set("x-tail", "two");
      return { text };
    };
    const got: Headers[] = [];
    const keep = (header: Headers): void => void got.push(header);
    const call = { headers: { ...headers, "x-mine": "here" }, timeoutMs: 20_000, onHeader: keep, onTrailer: keep };
    expect((await clientOf().slow({ text: "hello" }, call)).text).toBe("hello");
    expect([got[0]?.get("x-head"), got[1]?.get("x-tail")]).toEqual(["one", "two"]);
    expect(seen?.requestHeader.get("x-mine")).toBe("here");
    expect(seen).toMatchObject({ protocolName: protocol, requestMethod: "POST", url: `${server.url}/test.echo.v1.EchoService/Slow` });
    expect([seen?.service.typeName, seen?.method.name]).toEqual(["test.echo.v1.EchoService", "Slow"]);
    expect(seen?.timeoutMs()).toBeLessThanOrEqual(20_000);
  });

  test("its signal tells what ended the call: the answer, the deadline or the caller", async () => {
    const signals: AbortSignal[] = [];
    const keep = (answer: Promise<{ text: string }> | { text: string }) => (_request: EchoRequest, context: HandlerContext) => {
      signals.push(context.signal);
      return answer;
    };
    handle = keep({ text: "" });
    await clientOf().slow({}, unhurried);
    await expect.poll(() => signals[0]?.aborted, patient).toBe(true);
    // It does not listen, and the call ends in time all the same.
    handle = keep(never);
    const late = await errorOf(clientOf().slow({}, { headers }));
    expect(late.code).toBe(Code.DeadlineExceeded);
    expect((signals[1]?.reason as ConnectError | undefined)?.code).toBe(Code.DeadlineExceeded);
    const gone = new AbortController();
    const canceled = errorOf(clientOf().slow({}, { ...unhurried, headers: { ...headers, "x-request-id": `gone-${protocol}` }, signal: gone.signal }));
    await expect.poll(() => signals.length, patient).toBe(3);
    gone.abort();
    expect((await canceled).code).toBe(Code.Canceled);
    await expect.poll(() => signals[2]?.aborted, patient).toBe(true);
    await expect
      .poll(() => server.log.lines.find(({ fields }) => fields["request_id"] === `gone-${protocol}`)?.fields, patient)
      .toMatchObject({ code: "CANCELED", rpc_method: "test.echo.v1.EchoService/Slow" });
  });

  test("what nobody expected leaves as INTERNAL_BUG, without its text", async () => {
    handle = () => {
      throw new Error("the secret of the house");
    };
    const error = await errorOf(clientOf().slow({}, unhurried));
    expect([error.code, error.findDetails(ErrorInfoSchema)[0]?.reason]).toEqual([Code.Internal, "INTERNAL_BUG"]);
    expect(error.message).not.toContain("secret");
  });

  test("an answer that cannot be encoded is a bug of ours and no answer", async () => {
    handle = () => ({ text: "", number: 1.5 });
    expect((await errorOf(clientOf().slow({}, unhurried))).code).toBe(Code.Internal);
  });
});

/** The answer to EchoService/Slow as it stands on the wire. */
function raw(requestHeaders: Record<string, string>): Promise<RawAnswer> {
  const session = connectHttp2(server.url);
  const answer = rawGrpc(session, "/test.echo.v1.EchoService/Slow", Buffer.alloc(5), { "grpc-timeout": "20S", ...requestHeaders });
  return answer.finally(() => session.close());
}

describe("on the wire", () => {
  test("large answers are compressed for callers who take that, and small ones are not", async () => {
    const long = "x".repeat(20_000);
    handle = () => ({ text: long });
    const large = await raw({ "grpc-accept-encoding": "deflate, gzip" });
    expect([large.headers["grpc-encoding"], large.body[0], large.trailers["grpc-status"]]).toEqual(["gzip", 1, "0"]);
    expect(gunzipSync(large.body.subarray(5)).toString()).toContain(long);
    handle = () => ({ text: "x".repeat(10_000) });
    const small = await raw({ "grpc-accept-encoding": "gzip" });
    expect([small.body[0], small.body.length]).toEqual([0, 10_008]);
  });

  test("a caller who takes no compression gets none", async () => {
    handle = () => ({ text: "x".repeat(20_000) });
    const plain = await raw({});
    expect([plain.headers["grpc-encoding"], plain.body[0], plain.headers["content-type"]]).toEqual([undefined, 0, "application/grpc+proto"]);
  });
});
