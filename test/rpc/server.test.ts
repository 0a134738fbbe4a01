import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema, ResourceInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { EchoService, goodKey, plainMessage, startTestServer, type TestServer } from "./server-fixture.ts";

type Fields = Record<string, unknown>;
interface Client {
  echo(request: Fields, options?: object): Promise<{ text: string }>;
  fail(request: Fields, options?: object): Promise<unknown>;
  slow(request: Fields, options?: object): Promise<unknown>;
  count(request: Fields, options?: object): AsyncIterable<{ number: number; text: string }>;
  failStream(request: Fields, options?: object): AsyncIterable<{ number: number }>;
}

const headers = { authorization: `Bearer ${goodKey}` };

async function errorOf(promise: Promise<unknown>): Promise<ConnectError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ConnectError);
  return error as ConnectError;
}

async function drain(stream: AsyncIterable<{ number: number }>): Promise<number[]> {
  const numbers: number[] = [];
  for await (const one of stream) numbers.push(one.number);
  return numbers;
}

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

describe.each(["grpc", "grpc-web", "grpc-web over HTTP/1.1", "connect", "connect over HTTP/1.1"])("over %s", (protocol) => {
  let client: Client;
  beforeAll(() => {
    const baseUrl = server.url;
    const transport =
      protocol === "grpc"
        ? createGrpcTransport({ baseUrl })
        : protocol === "grpc-web"
          ? createGrpcWebTransport({ baseUrl, httpVersion: "2" })
          : protocol === "grpc-web over HTTP/1.1"
            ? createGrpcWebTransport({ baseUrl, httpVersion: "1.1" })
            : protocol === "connect"
              ? createConnectTransport({ baseUrl, httpVersion: "2" })
              : createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false });
    client = createClient(EchoService, transport) as unknown as Client;
  });

  test("a unary call is answered and echoes its ids", async () => {
    let seen: Headers | undefined;
    const reply = await client.echo(
      { text: "hello" },
      { headers: { ...headers, "x-correlation-id": "corr-1" }, onHeader: (header: Headers) => (seen = header) },
    );
    expect(reply.text).toBe("hello");
    expect(seen?.get("x-correlation-id")).toBe("corr-1");
    expect(seen?.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("a stream delivers all its messages", async () => {
    expect(await drain(client.count({ text: "a" }, { headers }))).toEqual([1, 2, 3]);
  });

  test("an error arrives with its sentence, reason, request id and resource", async () => {
    const error = await errorOf(client.fail({}, { headers: { ...headers, "x-request-id": "req-1" } }));
    expect(error.code).toBe(Code.NotFound);
    expect(error.rawMessage).toBe(plainMessage);
    expect(error.findDetails(ErrorInfoSchema)[0]).toMatchObject({
      reason: "WORKFLOW_NOT_FOUND",
      domain: "workflow.pyairtable.dev",
      metadata: { name: "order" },
    });
    expect(error.findDetails(RequestInfoSchema)[0]?.requestId).toBe("req-1");
    expect(error.findDetails(ResourceInfoSchema)[0]).toMatchObject({ resourceType: "workflow", resourceName: "order" });
    expect(error.metadata.get("x-request-id")).toBe("req-1");
  });

  test("an error in the middle of a stream arrives after the messages before it", async () => {
    const numbers: number[] = [];
    const error = await errorOf(
      (async () => {
        for await (const one of client.failStream({}, { headers })) numbers.push(one.number);
      })(),
    );
    expect(numbers).toEqual([1]);
    expect(error.code).toBe(Code.Unavailable);
    expect(error.rawMessage).toBe(plainMessage);
    expect(error.findDetails(RetryInfoSchema)[0]?.retryDelay).toMatchObject({ seconds: 1n, nanos: 500_000_000 });
  });

  test("a request that breaks a rule names the field", async () => {
    const error = await errorOf(client.echo({ items: [{ name: "ok" }, { name: "too long" }] }, { headers }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("VALIDATION_FAILED");
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]).toMatchObject({ field: "items[1].name", reason: "VALIDATION_FAILED" });
  });

  test("a message above the limit is refused as too large", async () => {
    const error = await errorOf(client.echo({ text: "x".repeat(4 * 1024 * 1024 + 1) }, { headers }));
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("PAYLOAD_TOO_LARGE");
  });

  test("the deadline of the caller ends the call", async () => {
    const error = await errorOf(client.slow({}, { headers, timeoutMs: 100 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
  });

  test("the default deadline of the method ends a call that names none", async () => {
    const error = await errorOf(client.slow({}, { headers }));
    expect(error.code).toBe(Code.DeadlineExceeded);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("DEADLINE_EXCEEDED");
  });

  test("a call without a key is refused", async () => {
    const error = await errorOf(client.echo({ text: "hello" }));
    expect(error.code).toBe(Code.Unauthenticated);
    expect(error.findDetails(ErrorInfoSchema)[0]?.reason).toBe("KEY_MISSING");
  });
});
