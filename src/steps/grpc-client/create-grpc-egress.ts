/**
 * The gRPC client of all steps: judges the target, leases a connection, makes the call. It answers with an outcome and never
 * throws. What a tenant may learn of a refusal is one sentence, the same for every reason.
 */
import { type DescMethod, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import type { Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { parseAddress } from "../egress/address.ts";
import { type EgressRules, hostnameOf, type LookUp, noConnection, refusesUrl } from "../egress/egress-rules.ts";
import type { RulesOf } from "../egress/tenant-rules.ts";
import { createVettedConnector, EgressRefusedError, systemLookUp } from "../egress/vetted-connector.ts";
import type { GrpcCall, GrpcDestination, GrpcEgress, GrpcFailed, GrpcJsonOutcome, GrpcOutcome, GrpcRequest } from "../grpc-egress.ts";
import { parseJsonText } from "../json-text.ts";
import { signalFailure } from "../signal-failure.ts";
import { GrpcConnections } from "./grpc-connections.ts";
import { exchange } from "./grpc-exchange.ts";
import { parseGrpcTarget } from "./grpc-target.ts";
import { readReflection } from "./read-reflection.ts";
import { type ServiceTypes, typesOfFiles, typesOfSet } from "./service-types.ts";
import { TypeCache } from "./type-cache.ts";

export interface GrpcEgressOptions {
  /** The rules of the HTTP client: one guard for everything that leaves. */
  readonly rulesOf: RulesOf;
  readonly log: Log;
  readonly clock: Clock;
  readonly lookUp?: LookUp;
  /** Look-up and TCP, then TLS and HTTP/2: each [5,000]. */
  readonly connectTimeoutMs?: number;
  /** Certificate authorities in PEM [Node's, with NODE_EXTRA_CA_CERTS]. */
  readonly ca?: string;
}

export interface ClosableGrpcEgress extends GrpcEgress {
  close(): void;
}

/** Request message, encoded. */
const requestBytesMax = limits.messageBytesMax;
/** All messages of an answer; as JSON they have to fit into a step's result. */
const responseBytesMax = limits.messageBytesMax;

export function createGrpcEgress(options: GrpcEgressOptions): ClosableGrpcEgress {
  const { rulesOf, log, clock, lookUp = systemLookUp, connectTimeoutMs = 5_000, ca } = options;
  const connections = new GrpcConnections({ connectTimeoutMs, ca }, clock);
  const types = new TypeCache(clock);

  async function send(request: GrpcRequest): Promise<GrpcOutcome> {
    const description = `${request.target}${request.path}`.slice(0, 300);
    const { rules, key } = await rulesOf(request.tenantId);
    const origin = parseGrpcTarget(request.target, request.plaintext);
    const refusal = origin.ok ? rules.refusalOf(origin.value) : origin.fault;
    if (!origin.ok || refusal !== undefined) {
      log.info({ ...request.about, tenantId: request.tenantId, target: request.target.slice(0, 300), refusal }, "egress refused before look-up");
      return failedBefore(egressFailure(description));
    }
    const judged = request.plaintext ? named(rules) : rules;
    const connector = createVettedConnector({ rules: judged, lookUp, clock, connectTimeoutMs });
    const leasing = connections.lease(request.tenantId, origin.value, key, connector);
    try {
      const lease = await untilAborted(leasing, request.signal);
      const outcome = await exchange(lease.session, request, description);
      const isSuspect = outcome.kind === "failed" && /^(?:TIMEOUT\.|NETWORK$)/.test(outcome.failure.name);
      lease.release(isSuspect);
      return outcome;
    } catch (error) {
      if (request.signal.aborted) {
        void leasing.then(
          (lease) => lease.release(),
          () => undefined,
        );
        return failedBefore(signalFailure(request.signal));
      }
      const isRefused = error instanceof EgressRefusedError;
      log[isRefused ? "info" : "debug"](
        { ...request.about, tenantId: request.tenantId, target: request.target, error: messageOf(error) },
        "no gRPC connection",
      );
      // What a name resolves to is not told, see the HTTP client.
      const isTold = isRefused && parseAddress(hostnameOf(origin.value)) !== undefined;
      return failedBefore(isTold ? egressFailure(description) : failure("NETWORK", `${description}: ${noConnection}`));
    }
  }

  async function observed(request: GrpcRequest): Promise<GrpcOutcome> {
    const startedAt = clock.monotonic();
    const outcome = await send(request);
    const durationMs = Math.round(clock.monotonic() - startedAt);
    const said = outcome.kind === "answered" ? { status: outcome.status.codeName } : { failure: outcome.failure.name, outcome: outcome.outcome };
    log.debug({ ...request.about, tenantId: request.tenantId, target: request.target, path: request.path, durationMs, ...said }, "call sent out");
    return outcome;
  }

  async function typesOf(call: GrpcCall, stale = false): Promise<Result<ServiceTypes, GrpcFailed> | undefined> {
    const { descriptors } = call;
    if (descriptors) {
      if (stale) return undefined; // what was uploaded does not change
      return types.get(JSON.stringify([call.tenantId, "file", descriptors.key, call.service]), async () => {
        const bytes = await descriptors.read();
        const given = bytes.ok ? typesOfSet(bytes.value, call.service) : bytes;
        return given.ok ? ok({ types: given.value, bytes: bytes.ok ? bytes.value.length : 0 }) : fail(failedBefore(given.fault));
      });
    }
    const key = JSON.stringify([call.tenantId, call.target, call.plaintext, call.service]);
    const read = async (): Promise<Result<{ types: ServiceTypes; bytes: number }, GrpcFailed>> => {
      const reflected = await readReflection(observed, destinationOf(call), call.service);
      if (!reflected.ok) return reflected;
      const built = typesOfFiles(reflected.value.files, call.service);
      return built.ok ? ok({ types: built.value, bytes: reflected.value.bytes }) : fail(failedBefore(built.fault));
    };
    return types.get(key, read, stale);
  }

  return {
    exchange: observed,
    async call(call): Promise<GrpcJsonOutcome> {
      const known = await typesOf(call);
      if (!known?.ok) return known?.fault ?? failedBefore(failure("INTERNAL", "no types"));
      let encoded = encodeRequest(known.value, call);
      if (!encoded.ok) {
        const renewed = await typesOf(call, true);
        if (renewed && !renewed.ok) return renewed.fault;
        if (renewed) encoded = encodeRequest(renewed.value, call);
      }
      if (!encoded.ok) return failedBefore(encoded.fault);
      const { method, bytes, registry } = encoded.value;
      const isStreaming = method.methodKind === "server_streaming";
      const outcome = await observed({
        ...destinationOf(call),
        path: `/${call.service}/${call.method}`,
        messages: [bytes],
        messagesMax: isStreaming ? call.messagesMax : undefined,
        responseBytesMax,
      });
      if (outcome.kind === "failed") return outcome;
      if (outcome.status.code !== 0) return { kind: "refused", status: outcome.status };
      const decoded = decodeMessages(outcome.messages, method, registry);
      if (!decoded.ok) return { kind: "failed", outcome: "unknown", failure: decoded.fault };
      return { kind: "succeeded", result: isStreaming ? decoded.value : (decoded.value[0] ?? null) };
    },
    close() {
      connections.close();
    },
  };
}

/** Without TLS anybody on the way could answer: only what the operator has named. */
function named(rules: EgressRules): EgressRules {
  return { ...rules, admits: (hostname, port, address) => rules.isNamed(hostname, port, address) };
}

/** Whether `rules` refuse a call to this origin whatever its name resolves to. */
export function refusesOrigin(rules: EgressRules, origin: URL): boolean {
  return refusesUrl(origin.protocol === "http:" ? named(rules) : rules, origin);
}

function destinationOf({ tenantId, target, plaintext, metadata, timeoutMs, signal }: GrpcDestination): GrpcDestination {
  return { tenantId, target, plaintext, metadata, timeoutMs, signal };
}

interface Encoded {
  readonly method: DescMethod;
  readonly bytes: Uint8Array;
  readonly registry: ServiceTypes["registry"];
}

function encodeRequest(types: ServiceTypes, call: GrpcCall): Result<Encoded, Failure> {
  const method = types.methods.get(call.method);
  if (!method) return fail(failure("GRPC.UNIMPLEMENTED", `service ${call.service} has no method ${call.method}`));
  if (method.methodKind !== "unary" && method.methodKind !== "server_streaming") {
    return fail(failure("GRPC.UNIMPLEMENTED", `${call.service}/${call.method} takes a stream of requests, which this step cannot send`));
  }
  const { registry } = types;
  try {
    const bytes = toBinary(method.input, fromJson(method.input, call.request as JsonValue, { registry }));
    if (bytes.length > requestBytesMax) return fail(failure("LIMIT.BODY", `the request has ${bytes.length} bytes, the limit is ${requestBytesMax}`));
    return ok({ method, bytes, registry });
  } catch (error) {
    return fail(failure("SCHEMA", `the request does not fit ${method.input.typeName}: ${messageOf(error).slice(0, 500)}`));
  }
}

/** As proto JSON with the names of the .proto file; fields without presence are always there, so that expressions can read them. */
function decodeMessages(messages: readonly Buffer[], method: DescMethod, registry: ServiceTypes["registry"]): Result<Json[], Failure> {
  const values: Json[] = [];
  let characters = 0;
  try {
    for (const message of messages) {
      const value = toJson(method.output, fromBinary(method.output, message), { registry, useProtoFieldName: true, alwaysEmitImplicit: true });
      // As text once: foreign field names cannot leave anything but own data behind, and the usual limits are checked in one place.
      const text = JSON.stringify(value);
      if ((characters += text.length) > limits.resultBytesMax)
        return fail(failure("LIMIT.BODY", `the answer is larger than ${limits.resultBytesMax} bytes as JSON`));
      const json = parseJsonText(text, "response", limits.jsonDepthMax - 1);
      if (!json.ok) return json;
      values.push(json.value);
    }
    return ok(values);
  } catch (error) {
    return fail(failure("SCHEMA", `the answer is no ${method.output.typeName}: ${messageOf(error).slice(0, 500)}`));
  }
}

async function untilAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function failedBefore(reason: Failure): GrpcFailed {
  return { kind: "failed", outcome: "failed", failure: reason };
}

/** One sentence for every reason: the difference would map the network behind us. */
function egressFailure(description: string): Failure {
  return failure("LIMIT.EGRESS", `${description}: this target is not open to calls; use TLS to a public host, or ask the operator to allow it`);
}
