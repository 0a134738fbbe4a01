/** Tools that know nothing of us but the address: reflection and health. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, SourceCodeInfo_LocationSchema, SourceCodeInfoSchema } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "#gen/grpc/health/v1/health_pb.js";
import { ServerReflection, type ServerReflectionRequest } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as ServerReflectionAlpha } from "#gen/grpc/reflection/v1alpha/reflection_pb.js";
import { reflectionRoutes } from "../../src/rpc/reflection.ts";
import { EchoService, goodKey, startTestServer, type TestServer } from "./server-fixture.ts";

const run = promisify(execFile);
const buf = (...args: string[]): Promise<{ stdout: string; stderr: string }> =>
  run("node_modules/.bin/buf", ["curl", "--protocol", "grpc", "--http2-prior-knowledge", ...args]);
const headers = { authorization: `Bearer ${goodKey}` };

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

describe("buf curl", () => {
  test("lists all methods", async () => {
    const { stdout } = await buf("--list-methods", server.url);
    expect(stdout.trim().split("\n")).toEqual(
      expect.arrayContaining([
        "test.echo.v1.EchoService/Echo",
        "test.echo.v1.EchoService/Count",
        "grpc.health.v1.Health/Check",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
      ]),
    );
  });

  test("calls by name and shows error details", async () => {
    const { stdout } = await buf(
      "-H",
      `authorization: Bearer ${goodKey}`,
      "-d",
      '{"text":"by name","free_data":{"a":1}}',
      `${server.url}/test.echo.v1.EchoService/Echo`,
    );
    expect(JSON.parse(stdout)).toEqual({ text: "by name" });
    const refused = await buf("-H", `authorization: Bearer ${goodKey}`, "-d", "{}", `${server.url}/test.echo.v1.EchoService/Fail`).catch(
      (error: unknown) => error as { stderr: string },
    );
    const { details } = JSON.parse((refused as { stderr: string }).stderr) as { details: { type: string; value: string }[] };
    expect(details[0]?.type).toBe("google.rpc.ErrorInfo");
    expect(Buffer.from(details[0]?.value ?? "", "base64").toString()).toContain("WORKFLOW_NOT_FOUND");
  });

  test("checks health", async () => {
    const { stdout } = await buf("-d", '{"service":"readiness"}', `${server.url}/grpc.health.v1.Health/Check`);
    expect(JSON.parse(stdout)).toEqual({ status: "SERVING" });
  });
});

describe.each([
  ["v1", ServerReflection],
  ["v1alpha", ServerReflectionAlpha],
])("reflection %s", (_version, service) => {
  async function ask(messageRequest: ServerReflectionRequest["messageRequest"]) {
    const client = createClient(service as typeof ServerReflection, createGrpcTransport({ baseUrl: server.url }));
    for await (const reply of client.serverReflectionInfo(
      (async function* () {
        yield { host: "h", messageRequest };
      })(),
    )) {
      expect(reply.validHost).toBe("h");
      return reply.messageResponse;
    }
    throw new Error("no answer");
  }
  async function filesOf(messageRequest: ServerReflectionRequest["messageRequest"]): Promise<string[]> {
    const reply = await ask(messageRequest);
    if (reply.case !== "fileDescriptorResponse") throw new Error(`got ${reply.case}`);
    return reply.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes).name);
  }

  test("lists the services", async () => {
    const reply = await ask({ case: "listServices", value: "" });
    expect(reply.case === "listServicesResponse" && reply.value.service.map((one) => one.name)).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "test.echo.v1.EchoService",
    ]);
  });

  test("finds a file by name with all it imports", async () => {
    expect(await filesOf({ case: "fileByFilename", value: "test/echo/v1/echo.proto" })).toEqual(
      expect.arrayContaining(["test/echo/v1/echo.proto", "google/protobuf/struct.proto", "buf/validate/validate.proto", "google/protobuf/descriptor.proto"]),
    );
  });

  test.each([
    "test.echo.v1.EchoService",
    ".test.echo.v1.EchoService",
    "test.echo.v1.EchoService.Echo",
    "test.echo.v1.EchoRequest",
    "test.echo.v1.EchoRequest.text",
    "test.echo.v1.EchoRequest.side",
    "test.echo.v1.Kind",
    "test.echo.v1.KIND_ROUND",
  ])("finds the symbol %s", async (value) => {
    expect((await filesOf({ case: "fileContainingSymbol", value }))[0]).toBe("test/echo/v1/echo.proto");
  });

  test("finds extensions and the details of errors", async () => {
    expect((await filesOf({ case: "fileContainingSymbol", value: "pyairtable.api.v1.policy" }))[0]).toBe("pyairtable/api/v1/options.proto");
    expect((await filesOf({ case: "fileContainingSymbol", value: "google.rpc.ErrorInfo" }))[0]).toBe("google/rpc/error_details.proto");
    const extension = { $typeName: "grpc.reflection.v1.ExtensionRequest", containingType: "google.protobuf.MethodOptions", extensionNumber: 51080 } as const;
    expect((await filesOf({ case: "fileContainingExtension", value: extension }))[0]).toBe("pyairtable/api/v1/options.proto");
    const numbers = await ask({ case: "allExtensionNumbersOfType", value: "google.protobuf.MethodOptions" });
    expect(numbers.case === "allExtensionNumbersResponse" && numbers.value.extensionNumber).toContain(51080);
  });

  test.each<ServerReflectionRequest["messageRequest"]>([
    { case: "fileByFilename", value: "no.proto" },
    { case: "fileContainingSymbol", value: "no.Such" },
    { case: "allExtensionNumbersOfType", value: "no.Such" },
  ])("answers %j with NOT_FOUND inside the stream", async (request) => {
    const reply = await ask(request);
    expect(reply.case === "errorResponse" && reply.value.errorCode).toBe(Code.NotFound);
  });
});

test("comments are served when a descriptor set brings them", async () => {
  const location = create(SourceCodeInfo_LocationSchema, { path: [6, 0], span: [1, 0, 1], leadingComments: "Says it again." });
  const commented = { ...EchoService.file.proto, sourceCodeInfo: create(SourceCodeInfoSchema, { location: [location] }) };
  const descriptorSet = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: [commented] }));
  const client = createClient(ServerReflection, createRouterTransport(reflectionRoutes({ services: [EchoService], descriptorSet })));
  for await (const reply of client.serverReflectionInfo(
    (async function* () {
      yield { messageRequest: { case: "fileContainingSymbol" as const, value: "test.echo.v1.EchoService" } };
    })(),
  )) {
    if (reply.messageResponse.case !== "fileDescriptorResponse") throw new Error("no file");
    const file = fromBinary(FileDescriptorProtoSchema, reply.messageResponse.value.fileDescriptorProto[0] as Uint8Array);
    expect(file.sourceCodeInfo?.location[0]?.leadingComments).toBe("Says it again.");
  }
});

test("reflection asks for a key when it is told so", async () => {
  const closed = await startTestServer({}, { reflection: "auth" });
  try {
    const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: closed.url }));
    const list = async (options: object): Promise<number> => {
      let count = 0;
      for await (const _reply of client.serverReflectionInfo(
        (async function* () {
          yield { messageRequest: { case: "listServices" as const, value: "" } };
        })(),
        options,
      ))
        count++;
      return count;
    };
    await expect(list({})).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect(await list({ headers })).toBe(1);
  } finally {
    await closed.stop();
  }
});

describe("grpc.health.v1", () => {
  let health: Client<typeof Health>;
  beforeAll(() => {
    health = createClient(Health, createGrpcTransport({ baseUrl: server.url }));
  });

  test.each(["", "liveness", "readiness"])("Check of %j is open", async (service) => {
    expect((await health.check({ service })).status).toBe(Status.SERVING);
  });

  test("Check of a service, List and Watch need a key", async () => {
    const service = "test.echo.v1.EchoService";
    await expect(health.check({ service })).rejects.toMatchObject({ code: Code.Unauthenticated });
    await expect(health.check({ service: "no.Such" })).rejects.toMatchObject({ code: Code.Unauthenticated });
    await expect(health.list({})).rejects.toMatchObject({ code: Code.Unauthenticated });
    expect((await health.check({ service }, { headers })).status).toBe(Status.SERVING);
    await expect(health.check({ service: "no.Such" }, { headers })).rejects.toMatchObject({ code: Code.NotFound });
    expect(Object.keys((await health.list({}, { headers })).statuses)).toEqual(expect.arrayContaining(["", "liveness", "readiness", service]));
  });

  test("Watch follows the changes", async () => {
    const abort = new AbortController();
    const seen: Status[] = [];
    const watching = (async () => {
      for await (const { status } of health.watch({ service: "" }, { headers, signal: abort.signal })) {
        seen.push(status);
        if (seen.length === 1) server.readiness.set([{ name: "postgres", ok: false }]);
        if (seen.length === 2) server.readiness.set([{ name: "postgres", ok: true }]);
        if (seen.length === 3) abort.abort();
      }
    })();
    await expect(watching).rejects.toBeInstanceOf(ConnectError);
    expect(seen).toEqual([Status.SERVING, Status.NOT_SERVING, Status.SERVING]);
  });

  test("Watch of an unknown service says so and stays", async () => {
    const abort = new AbortController();
    const watching = (async () => {
      for await (const { status } of health.watch({ service: "no.Such" }, { headers, signal: abort.signal })) {
        expect(status).toBe(Status.SERVICE_UNKNOWN);
        abort.abort();
      }
    })();
    await expect(watching).rejects.toMatchObject({ code: Code.Canceled });
  });
});
