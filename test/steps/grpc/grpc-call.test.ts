import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema, SourceCodeInfo_LocationSchema, SourceCodeInfoSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { startWarehouse, type Warehouse } from "../../../examples/siblings/warehouse-server.ts";
import { warehouseFile } from "../../../examples/siblings/warehouse-types.ts";
import type { JsonObject } from "../../../src/base/json.ts";
import { failure } from "../../../src/domain/failure.ts";
import { grpcCall } from "../../../src/steps/grpc-call.ts";
import { readDescriptorFile, typesOfSet, wellKnownFiles } from "../../../src/steps/grpc-client/service-types.ts";
import type { GrpcEgress } from "../../../src/steps/grpc-egress.ts";
import type { StepCall, StepOutcome } from "../../../src/steps/step-handler.ts";
import { goodKey, startTestServer } from "../../rpc/server-fixture.ts";
import { memoryFiles } from "../memory-files.ts";
import { attemptOf, failureIn, localGrpc, problemsOf, resultIn, secretsOf, servicesOf, testNow } from "../step-call.ts";
import { certificate, privateKey } from "./certificate.ts";

let warehouse: Warehouse;
let grpc: GrpcEgress & Disposable;
const stops: (() => void)[] = [];
beforeAll(async () => {
  warehouse = await startWarehouse({ reflection: "v1" });
  grpc = localGrpc();
});
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});
afterAll(() => {
  grpc[Symbol.dispose]();
  warehouse.stop();
});

async function start(options: Parameters<typeof startWarehouse>[0]): Promise<Warehouse> {
  const started = await startWarehouse(options);
  stops.push(() => started.stop());
  return started;
}
let keys = 0;
const targetOf = ({ port }: Warehouse): string => `dns:///127.0.0.1:${port}`;
function run(config: JsonObject, facts: Partial<StepCall> = {}, client: GrpcEgress = grpc, scope: JsonObject = {}): Promise<StepOutcome> {
  const base = { target: targetOf(warehouse), plaintext: true, service: "shop.v1.Warehouse", method: "Reserve" };
  const call = attemptOf(grpcCall, { ...base, ...config }, scope, { idempotencyKey: `key-${++keys}`, deadlineAt: testNow + 30_000, ...facts });
  return Promise.resolve(grpcCall.run(call, servicesOf(undefined, client)));
}
async function failedAs(outcome: Promise<StepOutcome>): Promise<string> {
  const { failure: met, outcome: effect } = failureIn(await outcome);
  return `${met.name} ${effect}`;
}

describe("a call", () => {
  test("takes JSON and gives JSON, with the names of the .proto file, numbers of 64 bits as text and every field", async () => {
    const result = resultIn(await run({ request: { order_id: "o-{{n}}", sku: "book", quantity: "9007199254740993" } }, {}, grpc, { n: 7 }));
    expect(result).toMatchObject({ order_id: "o-7", sku: "book", quantity: "9007199254740993", state: "RESERVATION_STATE_HELD", note: "" });
    expect(result).toHaveProperty("create_time", expect.stringMatching(/^\d{4}-.*Z$/));
  });

  test("carries who calls, and metadata of the definition beside it", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const facts = { idempotencyKey: "k-who", attempt: 3, operation: "compensate", traceparent, stepPath: "orders[3]/reserve" } as const;
    await run({ request: { sku: "a" }, metadata: { "x-team": "{{team}}", none: "{{null}}" } }, facts, grpc, { team: "blue" });
    const seen = warehouse.seen.at(-1);
    expect(seen).toMatchObject({
      "idempotency-key": '"k-who"',
      "saga-id": "exe_01JQ0000000000000000000000",
      "saga-step": "orders[3]/reserve",
      "saga-op": "compensate",
      "saga-attempt": "3",
      "x-correlation-id": "corr-1",
      "x-team": "blue",
      traceparent,
    });
    for (const key of ["none", "saga-token", "x-tenant-id", "baggage"]) expect(seen).not.toHaveProperty(key);
  });

  test("sends a bearer token from a secret, which no answer may bring back", async () => {
    const secrets = secretsOf({ token: "s3cret-token", odd: "line\nbreak" });
    await run({ request: { sku: "a" }, bearer: { slot: "token" } }, { secrets });
    expect(warehouse.seen.at(-1)).toMatchObject({ authorization: "Bearer s3cret-token" });
    const echoed = failureIn(await run({ request: { sku: "gone s3cret-token" }, bearer: { slot: "token" } }, { secrets }));
    expect(JSON.stringify(echoed)).not.toContain("s3cret-token");
    expect(await failedAs(run({ request: {}, bearer: { slot: "odd" } }, { secrets }))).toBe("SECRET.INVALID failed");
    expect(await failedAs(run({ request: {}, bearer: { slot: "none" } }, { secrets }))).toBe("SECRET.MISSING failed");
  });

  test("collects a stream that has no end up to max_messages, and cancels the rest", async () => {
    const levels = resultIn(await run({ method: "WatchStock", request: { sku: "book" }, max_messages: 3 }));
    expect(levels).toEqual([0, 1, 2].map((quantity) => ({ sku: "book", quantity })));
    expect(resultIn(await run({ method: "WatchStock", request: {} }))).toHaveLength(1);
    while (warehouse.open() > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  test("ends with its attempt", async () => {
    const controller = new AbortController();
    const outcome = run({ request: { sku: "slow" } }, { signal: controller.signal });
    while (warehouse.open() === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(failure("TIMEOUT.START_TO_CLOSE", "late"));
    expect(await failedAs(outcome)).toBe("TIMEOUT.START_TO_CLOSE unknown");
    while (warehouse.open() > 0) await new Promise((resolve) => setImmediate(resolve));
  });
});

describe("a status", () => {
  test("is a failure by its name; only declared codes surely had no effect", async () => {
    expect(await failedAs(run({ request: { sku: "gone" } }))).toBe("GRPC.FAILED_PRECONDITION unknown");
    const plain = failureIn(await run({ request: { sku: "gone" }, plain_codes: true }));
    expect(plain).toMatchObject({ outcome: "failed", failure: { details: { code: 9, message: "gone is out of stock" } } });
    expect(await failedAs(run({ method: "Release", request: { reservation_id: "none" }, plain_codes: true }))).toBe("GRPC.NOT_FOUND unknown");
  });

  test("brings the delay its RetryInfo asks for, and the details", async () => {
    const busy = failureIn(await run({ request: { sku: "busy" } }));
    expect(busy).toMatchObject({
      outcome: "unknown",
      retryAfterMs: 20,
      failure: { name: "GRPC.UNAVAILABLE", details: { details: [{ type: "google.rpc.RetryInfo", retryDelay: "0.020s" }] } },
    });
  });

  test("an answer above the limit is refused", async () => {
    expect(await failedAs(run({ request: { sku: "huge" } }))).toBe("LIMIT.BODY unknown");
  });
});

describe("types", () => {
  test("are read once by reflection and serve further calls", async () => {
    const other = await start({ reflection: "v1" });
    for (let n = 0; n < 3; n++) resultIn(await run({ target: targetOf(other), request: {} }));
    expect(other.reflected()).toBe(1);
  });

  test("come from v1alpha when v1 is not spoken", async () => {
    const old = await start({ reflection: "v1alpha" });
    expect(resultIn(await run({ target: targetOf(old), request: { sku: "a" } }))).toMatchObject({ sku: "a" });
  });

  test("without reflection the failure says what to do, and nothing was called", async () => {
    const closed = await start({ reflection: "off" });
    const refused = failureIn(await run({ target: targetOf(closed), request: {} }));
    expect(refused).toMatchObject({ outcome: "failed", failure: { name: "GRPC.UNIMPLEMENTED", message: expect.stringContaining("descriptor_blob_id") } });
    expect(closed.seen).toEqual([]);
  });

  test("come from an uploaded descriptor set, which asks the server nothing and is read once", async () => {
    const closed = await start({ reflection: "off" });
    const files = memoryFiles();
    let reads = 0;
    const counted = {
      ...files,
      read: (tenantId: string, id: string) => {
        reads++;
        return files.read(tenantId, id);
      },
    };
    const file = [...wellKnownFiles.values(), warehouseFile()];
    const set = files.put("tenant-a", "shop.binpb", toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file })));
    const call = (config: JsonObject) => {
      const base = { target: targetOf(closed), plaintext: true, service: "shop.v1.Warehouse", method: "Reserve", request: { sku: "s" } };
      const attempt = attemptOf(grpcCall, { ...base, descriptor_blob_id: "{{id}}", ...config }, { id: set.id }, { idempotencyKey: `key-${++keys}` });
      return Promise.resolve(grpcCall.run(attempt, servicesOf(undefined, grpc, { files: counted })));
    };
    expect(resultIn(await call({}))).toMatchObject({ sku: "s" });
    expect(resultIn(await call({}))).toMatchObject({ sku: "s" });
    expect(reads).toBe(1);
    expect(await failedAs(call({ service: "shop.v1.Other" }))).toBe("GRPC.UNIMPLEMENTED failed");
    expect(await failedAs(call({ request: { nothing: 1 } }))).toBe("SCHEMA failed");
    expect(await failedAs(call({ descriptor_blob_id: files.put("tenant-a", "bad", Buffer.from("garbage")).id }))).toBe("SCHEMA failed");
    expect(await failedAs(call({ descriptor_blob_id: files.put("tenant-a", "large", Buffer.alloc(4 * 1024 * 1024 + 1)).id }))).toBe("LIMIT.DESCRIPTORS failed");
    expect(await failedAs(call({ descriptor_blob_id: files.put("tenant-b", "theirs", Buffer.from("")).id }))).toBe("FILE.NOT_FOUND failed");
    expect(closed.seen).toHaveLength(2);
  });

  test("are read anew when a call does not fit, because the sibling may have been upgraded", async () => {
    let now = 0;
    const client = localGrpc({ clock: { now: () => 0, monotonic: () => now, sleep: () => Promise.resolve() } });
    stops.push(() => client.close());
    const old = await startWarehouse({ reflection: "v1" });
    const config = { target: targetOf(old), request: { sku: "a", gift: "yes" } };
    expect(await failedAs(run(config, {}, client))).toBe("SCHEMA failed");
    expect(await failedAs(run(config, {}, client))).toBe("SCHEMA failed");
    expect(old.reflected()).toBe(1);
    old.stop();
    await start({ reflection: "v1", port: old.port, extraField: "gift" });
    now = 6_000;
    // The old connection is noticed as broken by one call at most.
    const outcomes = [await run(config, {}, client), await run(config, {}, client)];
    expect(outcomes.map((outcome) => outcome.kind)).toContain("succeeded");
  });

  test.each([
    ["an unknown service", { service: "shop.v1.Nothing" }, "GRPC.UNIMPLEMENTED failed"],
    ["an unknown method", { method: "Nothing" }, "GRPC.UNIMPLEMENTED failed"],
    ["a method with a stream of requests", { method: "Import" }, "GRPC.UNIMPLEMENTED failed"],
    ["an unknown field", { request: { nothing: 1 } }, "SCHEMA failed"],
    ["a value of another type", { request: { quantity: "many" } }, "SCHEMA failed"],
    ["a field named like a prototype", { request: JSON.parse('{"__proto__":{"sku":"a"}}') as JsonObject }, "SCHEMA failed"],
  ])("refuse %s before anything is sent", async (_, config, expected) => {
    const before = warehouse.seen.length;
    expect(await failedAs(run(config))).toBe(expected);
    expect(warehouse.seen.length).toBe(before);
  });
});

describe("another implementation", () => {
  test("answers as well: our own server, with its errors, their details and the delay they ask for", async () => {
    const server = await startTestServer();
    const config = { target: `127.0.0.1:${server.port}`, service: "test.echo.v1.EchoService" };
    const metadata = { authorization: `Bearer ${goodKey}` };
    const echoed = await run({ ...config, method: "Echo", metadata, request: { text: "hi", free_data: { a: [1, null] }, big_number: "-9007199254740993" } });
    expect(resultIn(echoed)).toMatchObject({ text: "hi" });
    const counted = await run({ ...config, method: "Count", metadata, request: { text: "n" }, max_messages: 10 });
    expect((resultIn(counted) as { number: number }[]).map(({ number }) => number)).toEqual([1, 2, 3]);
    const broken = failureIn(await run({ ...config, method: "FailStream", metadata, request: {}, max_messages: 5 }));
    expect(broken).toMatchObject({
      retryAfterMs: 1_500,
      failure: { name: "GRPC.UNAVAILABLE", details: { details: [{ type: "google.rpc.ErrorInfo" }, {}, {}] } },
    });
    expect(await failedAs(run({ ...config, method: "Echo", request: {} }))).toBe("GRPC.UNAUTHENTICATED unknown");
    await server.stop();
  });
});

describe("descriptors", () => {
  test("are read without their comments, and refused when they are too large without", () => {
    const file = warehouseFile();
    const comment = create(SourceCodeInfo_LocationSchema, { path: [6, 0], leadingComments: "x".repeat(600_000) });
    const commented = { ...file, sourceCodeInfo: create(SourceCodeInfoSchema, { location: [comment] }) };
    const read = readDescriptorFile(toBinary(FileDescriptorProtoSchema, commented));
    expect(read.file.sourceCodeInfo).toBeUndefined();
    expect(read.bytes).toBe(toBinary(FileDescriptorProtoSchema, file).length);
    const set = (files: (typeof file)[]) => toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file: files }));
    expect(typesOfSet(set([commented, ...wellKnownFiles.values()]), "shop.v1.Warehouse")).toMatchObject({ ok: true });
    const circle = { ...file, dependency: [...file.dependency, "shop/v1/warehouse.proto"] };
    expect(typesOfSet(set([circle]), "shop.v1.Warehouse")).toMatchObject({ fault: { name: "SCHEMA" } });
    const many = Array.from({ length: 301 }, (_, index) => ({ ...file, name: `f${index}.proto` }));
    expect(typesOfSet(set(many), "shop.v1.Warehouse")).toMatchObject({ fault: { name: "LIMIT.DESCRIPTORS" } });
    const large = { ...file, dependency: Array.from({ length: 60_000 }, (_, index) => `import${index}.proto`) };
    expect(typesOfSet(set([large]), "shop.v1.Warehouse")).toMatchObject({ ok: false });
    expect(typesOfSet(set([file]), "shop.v1.Warehouse")).toMatchObject({ ok: true });
  });
});

describe("TLS", () => {
  test("is verified: a certificate nobody vouches for, or for another name, ends before anything is sent", async () => {
    const secure = await start({ reflection: "v1", tls: { cert: certificate, key: privateKey } });
    const config = { target: `dns:///warehouse.test:${secure.port}`, plaintext: false, request: { sku: "a" } };
    const allow = ["warehouse.test:*", "other.test:*"];
    const lookUp = async () => ["127.0.0.1"];
    using trusting = localGrpc({ allow, lookUp, ca: certificate });
    using strict = localGrpc({ allow, lookUp });
    expect(resultIn(await run(config, {}, trusting))).toMatchObject({ sku: "a" });
    expect(await failedAs(run(config, {}, strict))).toBe("NETWORK failed");
    expect(await failedAs(run({ ...config, target: `dns:///other.test:${secure.port}` }, {}, trusting))).toBe("NETWORK failed");
    expect(secure.seen.length).toBe(1);
  });
});

describe("what is refused at save", () => {
  const base = { target: "dns:///shop:443", service: "shop.v1.Warehouse", method: "Reserve" };
  test.each<[string, JsonObject, string[]]>([
    ["nothing wrong", {}, []],
    ["a target of a template", { target: "{{params.shop}}" }, []],
    ["another scheme", { target: "unix:///run/x" }, ["target: VALIDATION_FAILED"]],
    ["a target without a host", { target: "dns:///" }, ["target: VALIDATION_FAILED"]],
    ["a port out of range", { target: "shop:99999" }, ["target: VALIDATION_FAILED"]],
    [
      "reserved metadata",
      { metadata: { "grpc-timeout": "1S", "saga-id": "x", "idempotency-key": "k", traceparent: "t" } },
      ["grpc-timeout", "saga-id", "idempotency-key", "traceparent"].map((key) => `metadata.${key}: VALIDATION_FAILED`),
    ],
    ["metadata with a line break", { metadata: { a: "x\r\ny: z" } }, ["metadata.a: VALIDATION_FAILED"]],
    ["binary metadata that is not base64", { metadata: { "a-bin": "%%" } }, ["metadata.a-bin: VALIDATION_FAILED"]],
    ["two credentials", { bearer: { slot: "a" }, metadata: { authorization: "Bearer x" } }, ["metadata.authorization: VALIDATION_FAILED"]],
    ["too many messages", { max_messages: 1_001 }, ["max_messages: LIMIT_EXCEEDED"]],
    ["no method", { method: "" }, ["service: VALIDATION_FAILED"]],
    ["a method beside participant", { participant: true }, ["service: VALIDATION_FAILED", "method: VALIDATION_FAILED"]],
    [
      "a descriptor set for a participant",
      { participant: true, service: "", method: "", descriptor_blob_id: "blb_1" },
      ["descriptor_blob_id: VALIDATION_FAILED"],
    ],
  ])("%s", (_, config, expected) => {
    expect(problemsOf(grpcCall, { ...base, ...config })).toEqual(expected);
  });
});
