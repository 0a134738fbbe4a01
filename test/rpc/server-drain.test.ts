/** Stopping without losing anybody's call. */
import { Client, credentials, Metadata, status as Status } from "@grpc/grpc-js";
import { afterEach, expect, test } from "vitest";
import { drainSignalOf } from "../../src/rpc/interceptors/call.ts";
import { goodKey, startTestServer, type TestServer } from "./server-fixture.ts";

let server: TestServer;
let client: Client;
afterEach(async () => {
  client.close();
  await server.stop();
});

const metadata = new Metadata();
metadata.set("authorization", `Bearer ${goodKey}`);
const same = (bytes: Buffer): Buffer => bytes;

interface Outcome {
  readonly code: number;
  readonly pushback: unknown;
}

function unary(method: string): Promise<Outcome> {
  return new Promise((resolve) => {
    client.makeUnaryRequest(`/test.echo.v1.EchoService/${method}`, same, same, Buffer.alloc(0), metadata, { deadline: Date.now() + 60_000 }, (error) =>
      resolve({ code: error?.code ?? 0, pushback: error?.metadata.get("grpc-retry-pushback-ms")[0] }),
    );
  });
}

test("a drain lets unary calls finish, ends streams with a reason to resume, and wakes long polls", async () => {
  let release = (): void => undefined;
  const gate = new Promise<void>((resolve) => (release = resolve));
  const begun = ["poll", "slow", "stream"].map(() => Promise.withResolvers<void>());
  const [polls, slows, streams] = begun as [(typeof begun)[0], (typeof begun)[0], (typeof begun)[0]];
  let reasonSeen: unknown;
  server = await startTestServer({
    fail: async (_request, context) => {
      const woken = new Promise((resolve) => drainSignalOf(context).addEventListener("abort", resolve));
      polls.resolve();
      await woken;
      return { text: "woken" };
    },
    slow: async () => {
      slows.resolve();
      await gate;
      return { text: "done" };
    },
    async *count(_request, context) {
      yield { text: "", number: 1 };
      const over = new Promise<void>((resolve) => context.signal.addEventListener("abort", () => resolve()));
      streams.resolve();
      await over;
      reasonSeen = context.signal.reason;
    },
  });
  client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  const unaryCall = unary("Slow");
  const longPoll = unary("Fail");
  const stream = client.makeServerStreamRequest("/test.echo.v1.EchoService/Count", same, same, Buffer.alloc(0), metadata);
  const streamEnd = new Promise<{ code: number; metadata: Metadata }>((resolve) => stream.on("error", () => undefined).on("status", resolve));
  stream.resume();
  await Promise.all(begun.map(({ promise }) => promise));

  let isDrained = false;
  const drained = server.drain().then(() => (isDrained = true));
  const end = await streamEnd;
  expect(end.code).toBe(Status.UNAVAILABLE);
  expect(end.metadata.get("grpc-status-details-bin")[0]?.toString()).toContain("SERVER_DRAINING");
  expect((await longPoll).code).toBe(0);
  expect(reasonSeen).toMatchObject({ reason: "SERVER_DRAINING" });
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(isDrained).toBe(false);
  release();
  expect((await unaryCall).code).toBe(0);
  await drained;
  await expect(fetch(`${server.url}/livez`)).rejects.toThrow();
});

test("calls that are begun while the server drains are answered or refused as retriable, never lost", async () => {
  server = await startTestServer({ slow: () => new Promise((resolve) => setTimeout(() => resolve({ text: "late" }), 20)) });
  client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  const outcomes: Promise<Outcome>[] = [];
  const timer = setInterval(() => outcomes.push(unary("Slow"), unary("Echo")), 3);
  await new Promise((resolve) => setTimeout(resolve, 50));
  await server.drain();
  await server.stop();
  await new Promise((resolve) => setTimeout(resolve, 30));
  clearInterval(timer);
  const codes = new Set((await Promise.all(outcomes)).map((outcome) => outcome.code));
  codes.delete(0);
  codes.delete(Status.UNAVAILABLE);
  expect([...codes]).toEqual([]);
});

test("stop is quick, can be called twice, and frees the port", async () => {
  server = await startTestServer();
  client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
  await unary("Echo");
  const slow = unary("Slow");
  await new Promise((resolve) => setTimeout(resolve, 20));
  await server.stop();
  await server.stop();
  expect((await slow).code).not.toBe(0);
  const again = await startTestServer({}, { port: server.port });
  await again.stop();
});
