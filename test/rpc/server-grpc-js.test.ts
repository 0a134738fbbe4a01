/** What a sibling with the plain gRPC library sees. */

import { fromBinary } from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErrorInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { AppError } from "../../src/base/errors.ts";
import { goodKey, plainMessage, startTestServer, type TestServer } from "./server-fixture.ts";

const messages = [
  plainMessage,
  "a/b,c:d;e?f&g=h+i@j#k$l",
  "100% %3A %2F %25 %",
  " outer spaces ",
  "line\nbreak\ttab\u007f",
  "日本語 🚀 naïve — „quotes“",
  '"quoted" \\back <tag> {json}',
];

let server: TestServer;
let client: Client;
let next = "";
const begun = Promise.withResolvers<void>();
beforeAll(async () => {
  server = await startTestServer({
    fail: () => {
      throw new AppError("WORKFLOW_NOT_FOUND", next);
    },
    slow: (_request, context) => {
      begun.resolve();
      return new Promise((_resolve, reject) => context.signal.addEventListener("abort", () => reject(context.signal.reason)));
    },
    async *count() {
      yield { text: "", number: 1 };
      throw new AppError("RESUME_EXPIRED", next);
    },
  });
  client = new Client(`127.0.0.1:${server.port}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  await server.stop();
});

const metadata = new Metadata();
metadata.set("authorization", `Bearer ${goodKey}`);
const same = (bytes: Buffer): Buffer => bytes;

test.each(messages)("the message %j arrives as it was written, unary and streaming", async (message) => {
  next = message;
  const error = await new Promise<ServiceError | null>((resolve) =>
    client.makeUnaryRequest("/test.echo.v1.EchoService/Fail", same, same, Buffer.alloc(0), metadata, resolve),
  );
  expect(error?.details).toBe(message);
  const details = fromBinary(StatusSchema, error?.metadata.get("grpc-status-details-bin")[0] as Buffer);
  expect(details.message).toBe(message);
  const info = details.details.find((detail) => detail.typeUrl.endsWith("google.rpc.ErrorInfo"));
  expect(fromBinary(ErrorInfoSchema, info?.value ?? new Uint8Array()).reason).toBe("WORKFLOW_NOT_FOUND");

  const stream = client.makeServerStreamRequest("/test.echo.v1.EchoService/Count", same, same, Buffer.alloc(0), metadata);
  const end = new Promise<{ code: number; details: string }>((resolve) => stream.on("error", () => undefined).on("status", resolve));
  stream.resume();
  expect(await end).toMatchObject({ code: 11, details: message });
});

test("an unknown method is UNIMPLEMENTED with a reason", async () => {
  const error = await new Promise<ServiceError | null>((resolve) =>
    client.makeUnaryRequest("/test.echo.v1.EchoService/Nothing", same, same, Buffer.alloc(0), metadata, resolve),
  );
  expect(error?.code).toBe(12);
  expect(error?.metadata.get("grpc-status-details-bin")[0]?.toString()).toContain("FEATURE_DISABLED");
});

test("a call that is canceled by its caller stops the handler", async () => {
  const patient = { deadline: Date.now() + 60_000 };
  const call = client.makeUnaryRequest("/test.echo.v1.EchoService/Slow", same, same, Buffer.alloc(0), metadata, patient, () => undefined);
  await begun.promise;
  call.cancel();
  await expect.poll(() => server.log.lines.find((line) => line.fields["rpc_method"] === "test.echo.v1.EchoService/Slow")?.fields["code"]).toBe("CANCELED");
});
