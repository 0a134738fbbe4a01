/** A small service of its own and a server around it, for the tests of the transport floor. */
import { createFileRegistry, createRegistry, type DescMethod, type DescService, fromJson, type JsonObject } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, file_google_protobuf_descriptor, file_google_protobuf_duration, file_google_protobuf_struct } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import { file_buf_validate_validate } from "#gen/buf/validate/validate_pb.js";
import { Health } from "#gen/grpc/health/v1/health_pb.js";
import { file_pyairtable_api_v1_options } from "#gen/pyairtable/api/v1/options_pb.js";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { AppError } from "../../src/base/errors.ts";
import type { Log } from "../../src/base/log.ts";
import { type ComponentState, healthRoutes, type Readiness } from "../../src/rpc/health.ts";
import { createAuth } from "../../src/rpc/interceptors/auth.ts";
import { buildPolicyTable, type ReflectionMode } from "../../src/rpc/interceptors/policy.ts";
import { reflectionRoutes, reflectionServices } from "../../src/rpc/reflection.ts";
import { healthHttpRoutes } from "../../src/rpc/server/health-routes.ts";
import { type Server, type ServerOptions, startServer } from "../../src/rpc/server/start-server.ts";

const message = "TYPE_MESSAGE";
const field = (name: string, number: number, type: string, more: JsonObject = {}): JsonObject => ({
  name,
  number,
  type,
  label: "LABEL_OPTIONAL",
  jsonName: name.replace(/_(.)/g, (_match, letter: string) => letter.toUpperCase()),
  ...more,
});
const rpc = (name: string, policy: JsonObject | undefined, more: JsonObject = {}): JsonObject => ({
  name,
  inputType: ".test.echo.v1.EchoRequest",
  outputType: ".test.echo.v1.EchoResponse",
  ...more,
  options: { ...((more["options"] as JsonObject | undefined) ?? {}), ...(policy ? { "[pyairtable.api.v1.policy]": policy } : {}) },
});
const read: JsonObject = { scopes: ["echo:read"], rateClass: "RATE_CLASS_READ", audit: "AUDIT_LEVEL_NONE" };

export function echoFile(methods: JsonObject[]): JsonObject {
  return {
    name: "test/echo/v1/echo.proto",
    package: "test.echo.v1",
    syntax: "proto3",
    dependency: ["google/protobuf/struct.proto", "google/protobuf/duration.proto", "buf/validate/validate.proto", "pyairtable/api/v1/options.proto"],
    enumType: [
      {
        name: "Kind",
        value: [
          { name: "KIND_UNSPECIFIED", number: 0 },
          { name: "KIND_ROUND", number: 1 },
        ],
      },
    ],
    messageType: [
      {
        name: "EchoRequest",
        field: [
          field("text", 1, "TYPE_STRING"),
          field("items", 2, message, { typeName: ".test.echo.v1.Item", label: "LABEL_REPEATED" }),
          field("free_data", 3, message, { typeName: ".google.protobuf.Struct" }),
          field("free_value", 4, message, { typeName: ".google.protobuf.Value" }),
          field("big_number", 5, "TYPE_INT64"),
          field("wait_time", 6, message, { typeName: ".google.protobuf.Duration" }),
          field("left", 7, "TYPE_STRING", { oneofIndex: 0 }),
          field("right", 8, "TYPE_INT32", { oneofIndex: 0 }),
        ],
        oneofDecl: [{ name: "side" }],
      },
      {
        name: "Item",
        field: [
          field("name", 1, "TYPE_STRING", { options: { "[buf.validate.field]": { string: { maxLen: "5" } } } }),
          field("kind", 2, "TYPE_ENUM", { typeName: ".test.echo.v1.Kind" }),
          field("inner", 3, message, { typeName: ".test.echo.v1.Item" }),
        ],
      },
      { name: "EchoResponse", field: [field("text", 1, "TYPE_STRING"), field("number", 2, "TYPE_INT32")] },
    ],
    service: [{ name: "EchoService", method: methods }],
  };
}

export function serviceOf(file: JsonObject): DescService {
  const known = [
    file_google_protobuf_struct,
    file_google_protobuf_duration,
    file_buf_validate_validate,
    file_pyairtable_api_v1_options,
    file_google_protobuf_descriptor,
  ];
  const registry = createRegistry(file_buf_validate_validate, file_pyairtable_api_v1_options);
  const proto = fromJson(FileDescriptorProtoSchema, file, { registry });
  const files = createFileRegistry(proto, (name) => known.find((one) => one.proto.name === name));
  const service = files.getService("test.echo.v1.EchoService");
  if (!service) throw new Error("the test service is gone");
  return service;
}

export const EchoService = serviceOf(
  echoFile([
    rpc("Echo", read, { options: { idempotencyLevel: "NO_SIDE_EFFECTS" } }),
    rpc("Fail", read),
    rpc("Slow", { ...read, defaultDeadline: "0.300s" }),
    rpc("Public", { public: true, rateClass: "RATE_CLASS_READ", audit: "AUDIT_LEVEL_NONE" }),
    rpc("Admin", { ...read, scopes: ["echo:read", "echo:admin"] }),
    rpc("Count", { ...read, rateClass: "RATE_CLASS_STREAM" }, { serverStreaming: true }),
    rpc("FailStream", read, { serverStreaming: true }),
  ]),
);
export const methodWithoutPolicy = rpc("Forgotten", undefined);

export interface EchoRequest {
  text: string;
  freeData?: JsonObject;
}

type Unary = (request: EchoRequest, context: HandlerContext) => Promise<{ text: string }> | { text: string };
type Stream = (request: EchoRequest, context: HandlerContext) => AsyncIterable<{ text: string; number: number }>;

export interface EchoHandlers {
  fail: Unary;
  slow: Unary;
  count: Stream;
}

export const plainMessage = "Nicht da: https://example.org/a,b/c – 100% naïve ☃ (a:b)";

const defaultHandlers: EchoHandlers = {
  fail: () => {
    throw new AppError("WORKFLOW_NOT_FOUND", plainMessage, { metadata: { name: "order" } });
  },
  slow: (_request, context) => new Promise((_resolve, reject) => context.signal.addEventListener("abort", () => reject(context.signal.reason))),
  async *count(request) {
    for (let number = 1; number <= 3; number++) yield { text: request.text, number };
  },
};

export function methodOf(name: string): DescMethod {
  const method = EchoService.methods.find((one) => one.name === name);
  if (!method) throw new Error(`no method ${name}`);
  return method;
}

export interface LogLine {
  readonly level: string;
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

export function recordingLog(): Log & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: string) => (fields: object, text: string) => void lines.push({ level, fields: fields as Record<string, unknown>, message: text });
  const log = { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error"), child: () => log };
  return log;
}

export interface TestReadiness extends Readiness {
  set(states: ComponentState[]): void;
}

export function testReadiness(): TestReadiness {
  let states: readonly ComponentState[] = [{ name: "postgres", ok: true, message: "2 ms" }];
  const listeners = new Set<() => void>();
  return {
    components: () => states,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    set(next) {
      states = next;
      for (const listener of listeners) listener();
    },
  };
}

export const goodKey = "pawf_good_key";
export const otherKey = "pawf_other_key";

export interface TestServer extends Server {
  readonly url: string;
  readonly log: ReturnType<typeof recordingLog>;
  readonly readiness: TestReadiness;
}

export async function startTestServer(
  handlers: Partial<EchoHandlers> = {},
  options: Partial<ServerOptions> & { reflection?: ReflectionMode; failuresPerMinuteMax?: number; clock?: Clock } = {},
): Promise<TestServer> {
  const clock = options.clock ?? systemClock;
  const log = recordingLog();
  const readiness = testReadiness();
  const shown = [EchoService, Health, ...reflectionServices];
  const policies = buildPolicyTable(shown, options.reflection ?? "public");
  const auth = createAuth({
    policies,
    clock,
    ...(options.failuresPerMinuteMax === undefined ? {} : { failuresPerMinuteMax: options.failuresPerMinuteMax }),
    async authenticate(credential) {
      if (credential === goodKey) return { tenantId: "tenant-1", actor: "key_1", scopes: ["echo:read", "monitoring:read"] };
      if (credential === otherKey) return { tenantId: "tenant-2", actor: "key_2", scopes: [] };
      throw new AppError("KEY_INVALID", "The key is not known.");
    },
  });
  const echo: Unary = (request) => ({ text: request.text });
  const used = { ...defaultHandlers, ...handlers };
  const routes = (router: ConnectRouter): void => {
    router.service(EchoService, {
      echo,
      public: echo,
      admin: echo,
      ...used,
      failStream: async function* () {
        yield { text: "first", number: 1 };
        throw new AppError("STORAGE_UNAVAILABLE", plainMessage, { retryAfterMs: 1500 });
      },
    } as never);
    healthRoutes(readiness, [EchoService])(router);
    reflectionRoutes({ services: shown })(router);
  };
  const server = await startServer({
    host: "127.0.0.1",
    port: 0,
    routes,
    policies,
    auth,
    interceptors: [],
    log,
    clock,
    http: healthHttpRoutes({ readiness, isStarted: () => true, version: { version: "1.0.0" } }),
    ...options,
  });
  return { ...server, url: `http://127.0.0.1:${server.port}`, log, readiness };
}
