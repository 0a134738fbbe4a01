/**
 * A gRPC sibling: holds stock for orders and lets it go again, once for each idempotency key. Written with grpc-js, so that
 * what calls it is seen by another implementation of the protocol. It answers by the `sku` of the request:
 *
 * | sku | answer |
 * |---|---|
 * | `gone…` | FAILED_PRECONDITION, final |
 * | `busy…` | UNAVAILABLE with a RetryInfo of 20 ms to the first attempt, then the reservation |
 * | `slow…` | none |
 * | `huge…` | a reservation of 8 MiB |
 * | any other | the reservation |
 *
 * WatchStock streams levels without an end.
 */
import { create, type DescMessage, fromBinary, fromJson, type JsonObject, toBinary, toJson } from "@bufbuild/protobuf";
import { anyPack, FileDescriptorProtoSchema, timestampNow } from "@bufbuild/protobuf/wkt";
import {
  Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from "@grpc/grpc-js";
import { RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { type ServerReflectionRequest, ServerReflectionRequestSchema, ServerReflectionResponseSchema } from "#gen/grpc/reflection/v1/reflection_pb.js";
import { createLedger } from "./ledger.ts";
import { warehouseFile, warehouseService } from "./warehouse-types.ts";

export interface WarehouseOptions {
  /** Which version of server reflection it speaks. */
  readonly reflection: "v1" | "v1alpha" | "off";
  /** Certificate and key in PEM [plaintext]. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** 0 takes a free one. */
  readonly port?: number;
  /** A field that ReserveRequest has besides. */
  readonly extraField?: string;
}

export interface Warehouse {
  readonly port: number;
  /** Metadata of every call of Reserve and Release. */
  readonly seen: Record<string, string>[];
  /** Calls of reflection. */
  reflected(): number;
  /** Calls that are open now. */
  open(): number;
  stop(): void;
}

type Unary = ServerUnaryCall<JsonObject, JsonObject>;

export async function startWarehouse(options: WarehouseOptions): Promise<Warehouse> {
  const types = warehouseService(options.extraField);
  const ledger = createLedger();
  const reservations = new Map<string, JsonObject>();
  const busyOnce = new Set<string>();
  const seen: Record<string, string>[] = [];
  let reflected = 0;
  const open = new Set<object>();

  function act(call: Unary, action: string, run: () => JsonObject | Error): Promise<JsonObject> {
    const metadata = Object.fromEntries(Object.keys(call.metadata.getMap()).map((key) => [key, String(call.metadata.get(key)[0])]));
    seen.push(metadata);
    const key = (metadata["idempotency-key"] ?? "").replace(/^"(.*)"$/, "$1");
    const named = { sagaId: metadata["saga-id"] ?? "", step: metadata["saga-step"] ?? "", operation: metadata["saga-op"] ?? "" };
    return ledger
      .run({ key, action, ...named }, () => {
        const answer = run();
        if (answer instanceof Error) throw answer;
        return { status: 200, body: answer };
      })
      .then((answer) => answer.body as JsonObject);
  }

  async function reserve(call: Unary): Promise<JsonObject> {
    const { sku = "", reservation_id: id = "" } = call.request as { sku?: string; reservation_id?: string };
    const key = String(call.metadata.get("idempotency-key")[0]);
    if (sku.startsWith("slow")) return new Promise(() => undefined);
    return act(call, "Reserve", () => {
      if (sku.startsWith("gone")) return refusal(status.FAILED_PRECONDITION, `${sku} is out of stock`);
      if (sku.startsWith("busy") && busyOnce.size < busyOnce.add(key).size) return refusal(status.UNAVAILABLE, "try again", 20);
      const note = sku.startsWith("huge") ? { note: "x".repeat(8 * 1024 * 1024) } : {};
      const held = { ...call.request, state: "RESERVATION_STATE_HELD", create_time: new Date(Number(timestampNow().seconds) * 1000).toISOString(), ...note };
      delete (held as JsonObject)[options.extraField ?? ""];
      reservations.set(id, held);
      return held;
    });
  }

  const unary = (answer: (call: Unary) => Promise<JsonObject>) => (call: Unary, callback: (error: Error | null, value?: JsonObject) => void) => {
    open.add(call);
    call.once("cancelled", () => open.delete(call));
    answer(call)
      .finally(() => open.delete(call))
      .then(
        (value) => callback(null, value),
        (error: Error) => callback(error),
      );
  };
  const server = new Server({ "grpc.max_send_message_length": -1 });
  server.addService(Object.fromEntries(types.methods.map((method) => [method.name, definitionOf(method)])), {
    Reserve: unary(reserve),
    Release: unary((call) =>
      act(call, "Release", () => {
        const { reservation_id: id = "" } = call.request as { reservation_id?: string };
        const held = reservations.get(id);
        if (!held) return refusal(status.NOT_FOUND, `no reservation ${id}`);
        return { ...held, state: "RESERVATION_STATE_RELEASED" };
      }),
    ),
    WatchStock(call: ServerWritableStream<JsonObject, JsonObject>) {
      open.add(call);
      let quantity = 0;
      const push = (): void => {
        while (!call.cancelled && call.write({ sku: call.request["sku"] ?? "", quantity: quantity++ }));
      };
      call.on("drain", push).once("cancelled", () => open.delete(call));
      push();
    },
    Import: (call: { end?: () => void }) => call.end?.(),
    GetLedger: unary(async () => ledger.view(true) as unknown as JsonObject),
  });
  if (options.reflection !== "off") addReflection(server, options, () => reflected++);
  const credentials = options.tls
    ? ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(options.tls.cert), private_key: Buffer.from(options.tls.key) }])
    : ServerCredentials.createInsecure();
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${options.port ?? 0}`, credentials, (error, bound) => (error ? reject(error) : resolve(bound))),
  );
  return { port, seen, reflected: () => reflected, open: () => open.size, stop: () => server.forceShutdown() };
}

function definitionOf(method: { readonly name: string; readonly methodKind: string; readonly input: DescMessage; readonly output: DescMessage }) {
  const encode = (type: DescMessage) => (value: JsonObject) => Buffer.from(toBinary(type, fromJson(type, value, { ignoreUnknownFields: true })));
  const decode = (type: DescMessage) => (bytes: Buffer) => toJson(type, fromBinary(type, bytes), { useProtoFieldName: true }) as JsonObject;
  return {
    path: `/shop.v1.Warehouse/${method.name}`,
    requestStream: method.methodKind === "client_streaming",
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: encode(method.input),
    requestDeserialize: decode(method.input),
    responseSerialize: encode(method.output),
    responseDeserialize: decode(method.output),
  } satisfies MethodDefinition<JsonObject, JsonObject>;
}

function refusal(code: status, message: string, retryMs?: number): Error {
  const metadata = new Metadata();
  if (retryMs !== undefined) {
    const details = [anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: { nanos: retryMs * 1e6 } }))];
    metadata.set("grpc-status-details-bin", Buffer.from(toBinary(StatusSchema, create(StatusSchema, { code, message, details }))));
  }
  return Object.assign(new Error(message), { code, details: message, metadata });
}

/** Answers with the warehouse's own file only: imports have to be asked for, and Google's are not known here. */
function addReflection(server: Server, options: WarehouseOptions, count: () => void): void {
  const file = toBinary(FileDescriptorProtoSchema, warehouseFile(options.extraField));
  const answer = ({ messageRequest: asked }: ServerReflectionRequest) =>
    create(ServerReflectionResponseSchema, {
      messageResponse:
        asked.case === "fileContainingSymbol" && asked.value.startsWith("shop.v1.Warehouse")
          ? { case: "fileDescriptorResponse", value: { fileDescriptorProto: [file] } }
          : { case: "errorResponse", value: { errorCode: status.NOT_FOUND, errorMessage: "not known here" } },
    });
  const method = {
    path: `/grpc.reflection.${options.reflection}.ServerReflection/ServerReflectionInfo`,
    requestStream: true,
    responseStream: true,
    requestSerialize: (value: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, value)),
    requestDeserialize: (bytes: Buffer) => fromBinary(ServerReflectionRequestSchema, bytes),
    responseSerialize: (value: ReturnType<typeof answer>) => Buffer.from(toBinary(ServerReflectionResponseSchema, value)),
    responseDeserialize: (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes),
  };
  server.addService(
    { ServerReflectionInfo: method },
    {
      ServerReflectionInfo(call: ServerDuplexStream<ServerReflectionRequest, ReturnType<typeof answer>>) {
        count();
        call.on("data", (request: ServerReflectionRequest) => call.write(answer(request)));
        call.on("end", () => call.end());
      },
    },
  );
}
