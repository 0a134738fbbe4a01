/**
 * Unary gRPC calls over HTTP/2, as which most work comes in, answered without the streams, signals and copies of headers
 * that Connect makes for a call of any kind. What decides something is the same code in the same order: deadline, gate,
 * decoding, validation, interceptors, errors. All other calls go through Connect.
 */
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { create, type DescMethod, type DescMethodUnary, type DescService, type Message, toBinary } from "@bufbuild/protobuf";
import { createContextKey, createContextValues, type HandlerContext, type Interceptor, type UnaryRequest, type UnaryResponse } from "@connectrpc/connect";
import { compressionNegotiate, encodeEnvelope, envelopeCompress } from "@connectrpc/connect/protocol";
import { contentTypeProto, grpcStatusOk, setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { Clock } from "../../base/clock.ts";
import type { Log } from "../../base/log.ts";
import type { Auth } from "../interceptors/auth.ts";
import { type Call, callKey, drainKey, replyKey } from "../interceptors/call.ts";
import { checkTimeout, deadlineMsOf } from "../interceptors/deadline.ts";
import { toConnectError } from "../interceptors/errors.ts";
import type { MethodRule } from "../interceptors/policy.ts";
import { CallEnd } from "./call-end.ts";
import { respellGrpcMessage } from "./grpc-message.ts";
import { isGone, type NodeRequest } from "./http-routes.ts";
import { compressBytesMin, compressions, formOf, type RequestForm, readMessage } from "./read-request.ts";
import { writeTrailersOnly } from "./trailers-only.ts";

/** What it takes to answer one method. */
export interface UnaryMethod {
  readonly method: DescMethodUnary;
  readonly rule: MethodRule;
  /** Interceptors and service. */
  readonly run: Run;
}
type Run = ReturnType<Interceptor>;
type Implementation = (message: Message, context: HandlerContext) => unknown;

export interface UnaryCall {
  readonly request: Http2ServerRequest;
  readonly response: Http2ServerResponse;
  readonly header: Headers;
  readonly call: Call;
  /** Hears of every chunk sent. */
  readonly touch: () => void;
}

export interface UnaryOptions {
  readonly auth: Auth;
  readonly log: Log;
  readonly clock: Clock;
  readonly drain: AbortSignal;
  readonly limits: { readonly bodyMsMax: number };
}

interface Reply {
  readonly header: Headers;
  readonly trailer: Headers;
}

const endKey = createContextKey<CallEnd | undefined>(undefined, { description: "end of the call" });
const form = formOf(contentTypeProto) as RequestForm;

export function isUnaryGrpc(request: NodeRequest): request is Http2ServerRequest {
  return "stream" in request && request.method === "POST" && /^application\/grpc(?:\+proto)?$/i.test(request.headers["content-type"] ?? "");
}

/** The unary methods of a service that are implemented, by path; `interceptors`: the first is the outermost. */
export function unaryMethodsOf(
  service: DescService,
  implementations: object,
  interceptors: readonly Interceptor[],
  ruleOf: (method: DescMethodUnary) => MethodRule | undefined,
): [path: string, method: UnaryMethod][] {
  return service.methods.filter(isUnary).flatMap((method): [string, UnaryMethod][] => {
    const implementation: unknown = Reflect.get(implementations, method.localName);
    const rule = ruleOf(method);
    if (!rule || typeof implementation !== "function") return [];
    const innermost = innermostOf(method, implementation.bind(implementations) as Implementation);
    const run = interceptors.reduceRight<Run>((next, interceptor) => interceptor(next), innermost);
    return [[`/${service.typeName}/${method.name}`, { method, rule, run }]];
  });
}

function isUnary(method: DescMethod): method is DescMethodUnary {
  return method.methodKind === "unary";
}

function innermostOf(method: DescMethodUnary, implementation: Implementation): Run {
  return async (request) => {
    const { service, requestMethod, url, header: requestHeader, contextValues: values } = request;
    const { header, trailer } = values.get(replyKey) as Reply;
    const end = values.get(endKey) as CallEnd;
    const context: HandlerContext = {
      ...{ method, service, protocolName: "grpc", requestMethod, url, requestHeader, values },
      ...{ responseHeader: header, responseTrailer: trailer, timeoutMs: () => end.leftMs() },
      get signal() {
        return request.signal;
      },
    };
    const message = create(method.output, (await implementation(request.message as Message, context)) as Message);
    return { stream: false, service, method, header, trailer, message };
  };
}

/** Answers the call. Rejects only when the answer could not be written. */
export async function serveUnaryGrpc(unary: UnaryMethod, incoming: UnaryCall, options: UnaryOptions): Promise<void> {
  const { response, call } = incoming;
  const end = new CallEnd(options.clock, deadlineMsOf(incoming.header, unary.rule));
  const onClose = (): void => end.end(callerGone);
  response.once("close", onClose);
  const reply: Reply = { header: new Headers(), trailer: new Headers() };
  let bytes: Uint8Array | undefined;
  try {
    bytes = await end.unlessEarly(answer(unary, incoming, reply, end, options));
    reply.trailer.set("grpc-status", grpcStatusOk);
  } catch (error) {
    setTrailerStatus(reply.trailer, toConnectError(error, call, options.log, end.early && end.signal));
    respellGrpcMessage(reply.trailer);
  } finally {
    response.off("close", onClose);
    end.over();
  }
  if (isGone(response)) return;
  incoming.touch();
  if (!bytes) {
    reply.header.set("content-type", contentTypeProto);
    return writeTrailersOnly(response, reply.header, reply.trailer);
  }
  response.writeHead(200, { "content-type": contentTypeProto, ...Object.fromEntries(reply.header) });
  response.addTrailers(Object.fromEntries(reply.trailer));
  response.end(bytes);
}

const callerGone = new DOMException("The caller went away.", "AbortError");

/** The enveloped answer. */
async function answer(unary: UnaryMethod, incoming: UnaryCall, reply: Reply, end: CallEnd, options: UnaryOptions): Promise<Uint8Array> {
  const { request, header, call } = incoming;
  const { method } = unary;
  const url = `http://${request.authority}${request.url}`;
  const values = createContextValues().set(callKey, call).set(drainKey, options.drain).set(replyKey, reply).set(endKey, end);
  checkTimeout(header);
  await options.auth.gate({ method, values, requestHeader: header, url });
  const message = await readMessage(method, { request, form, encoding: header.get("grpc-encoding"), bodyMsMax: options.limits.bodyMsMax });
  const wish: UnaryRequest = {
    ...{ stream: false, service: method.parent, method, requestMethod: "POST", url, header, contextValues: values, message },
    get signal() {
      return end.signal;
    },
  };
  const made = (await unary.run(wish)) as UnaryResponse;
  const data = toBinary(method.output, made.message);
  const { response: compression } = compressionNegotiate([...compressions], null, header.get("grpc-accept-encoding"), "grpc-accept-encoding");
  if (compression) reply.header.set("grpc-encoding", compression.name);
  const envelope = await envelopeCompress({ flags: 0, data }, compression, compressBytesMin);
  return encodeEnvelope(envelope.flags, envelope.data);
}
