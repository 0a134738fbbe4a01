/**
 * From an HTTP request to a method and back. The order inside one call:
 *
 *   deadline header → Connect → gate (timeout readable? who is it? body read and decoded) → errors → deadline →
 *   decoded message → validation → the interceptors of `options` → service
 *
 * Unary gRPC calls take the same way through `unary-grpc.ts`, without Connect.
 */
import type { Message } from "@bufbuild/protobuf";
import {
  type ConnectRouter,
  type ContextValues,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { grpcStatusOk } from "@connectrpc/connect/protocol-grpc";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { Clock } from "../../base/clock.ts";
import { AppError, messageOf } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import type { Auth } from "../interceptors/auth.ts";
import { type Call, callKey, drainKey, echoHeaders, ensureCall, replyKey } from "../interceptors/call.ts";
import { applyDeadline, checkTimeout, createDeadline, unlessAborted } from "../interceptors/deadline.ts";
import { decodeMessage } from "../interceptors/decode.ts";
import { createErrors, detailTypes, toConnectError } from "../interceptors/errors.ts";
import { methodName, type PolicyTable } from "../interceptors/policy.ts";
import { createValidation } from "../interceptors/validation.ts";
import type { HoldKey } from "../open-keys.ts";
import { respellGrpcMessage } from "./grpc-message.ts";
import type { NodeRequest, NodeResponse } from "./http-routes.ts";
import {
  blankQuery,
  compressBytesMin,
  compressions,
  createDecoded,
  emptyBody,
  formOf,
  type IncomingCall,
  messageKey,
  readMessage,
  readQueryMessage,
} from "./read-request.ts";
import { isHttp2, writeTrailersOnly } from "./trailers-only.ts";
import type { TransportLimits } from "./transport-limits.ts";
import { isUnaryGrpc, serveUnaryGrpc, type UnaryCall, type UnaryMethod, unaryMethodsOf } from "./unary-grpc.ts";

export interface RpcHandlerOptions {
  readonly routes: (router: ConnectRouter) => void;
  readonly policies: PolicyTable;
  readonly auth: Auth;
  /** What ends open calls with their keys; absent: nothing does. */
  readonly holdKey?: HoldKey | undefined;
  /** Run after validation, around the service; the first is the outermost. */
  readonly interceptors: readonly Interceptor[];
  readonly log: Log;
  readonly clock: Clock;
  readonly drain: AbortSignal;
  readonly limits: TransportLimits;
}

export interface RpcHandler {
  /**
   * Starts to answer and returns true, or returns false when the path names no method. `header` holds the headers of the
   * request; `touch` hears of every chunk sent.
   */
  handle(request: NodeRequest, response: NodeResponse, header: Headers, call: Call, touch: () => void): boolean;
  /**
   * Calls a method (`package.Service/Method`) from another front, such as the JSON routes: same gate, same checks.
   * Answers in the Connect protocol: JSON for unary methods, enveloped JSON for streams.
   */
  dispatch(name: string, request: DispatchRequest): Promise<UniversalServerResponse>;
  /**
   * Compiles the rules of all methods, one after the other with pauses for the calls that come meanwhile: together they take
   * a fifth of a second, for which neither the start nor a first call has to wait. Ends when the server drains.
   */
  prepare(): Promise<void>;
}

export interface DispatchRequest {
  /** The caller's headers; the credential and the deadline are taken from them. */
  readonly headers: Headers;
  /** The request message as JSON text; a function is asked once the caller is known to be allowed. */
  readonly json: Uint8Array | (() => Promise<Uint8Array>);
  readonly call: Call;
  /** Aborts when the caller is gone. */
  readonly signal: AbortSignal;
}

type Incoming = IncomingCall | { readonly url: string } | Pick<DispatchRequest, "json">;
const incomingKey = createContextKey<Incoming | undefined>(undefined, { description: "incoming request" });

export function createRpcHandler(options: RpcHandlerOptions): RpcHandler {
  const validation = createValidation();
  const checked = [validation.interceptor, ...options.interceptors];
  const router = createConnectRouter({
    acceptCompression: [...compressions],
    compressMinBytes: compressBytesMin,
    readMaxBytes: limits.messageBytesMax,
    jsonOptions: { registry: detailTypes },
    requestGate: (context) => gate(context, options),
    interceptors: [createErrors(options.log), createDeadline(options.holdKey), createDecoded(), ...checked],
  });
  const unaries = new Map<string, UnaryMethod>();
  const both: ConnectRouter = {
    ...router,
    service(service, implementations, ownOptions) {
      router.service(service, implementations, ownOptions);
      if (ownOptions) return both;
      const found = unaryMethodsOf(service, implementations, checked, (method) => options.policies.get(methodName(method)));
      for (const [path, unary] of found) unaries.set(path, unary);
      return both;
    },
  };
  options.routes(both);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const lacking = router.handlers.map((handler) => methodName(handler.method)).filter((name) => !options.policies.has(name));
  if (lacking.length > 0) throw new Error(`These rpcs are served without a policy:\n  ${lacking.join("\n  ")}`);

  return {
    handle(request, response, header, call, touch) {
      const path = (request.url ?? "").split("?", 1)[0] as string;
      const handler = handlers.get(path);
      if (!handler) return false;
      call.method = methodName(handler.method);
      const unary = isUnaryGrpc(request) ? unaries.get(path) : undefined;
      const served = unary
        ? serveUnaryGrpc(unary, { request, response, header, call, touch } as UnaryCall, options)
        : serve(handler, request, response, call, touch, options);
      served.catch((error: unknown) => {
        // Connect has written what could be written; what is left is a caller who hung up.
        options.log.debug({ request_id: call.requestId, rpc_method: call.method, error: messageOf(error) }, "an answer could not be delivered");
        response.destroy();
      });
      return true;
    },
    async dispatch(name, request) {
      const handler = handlers.get(`/${name}`);
      if (!handler) throw new AppError("FEATURE_DISABLED", `${name} is not served here.`);
      request.call.method = name;
      return handler(fromDispatch(handler, request, options));
    },
    async prepare() {
      let pauseMs = prepareAfterMs;
      for (const { method, name } of options.policies.values()) {
        await options.clock.sleep(pauseMs, options.drain).catch(() => undefined);
        pauseMs = prepareEveryMs;
        if (options.drain.aborted) return;
        try {
          validation.prepare(method);
        } catch (error) {
          options.log.error({ rpc_method: name, error: messageOf(error) }, "the rules of an rpc cannot be evaluated; its calls fail");
        }
      }
    },
  };
}

/** What a dead process left behind is taken up first. */
const prepareAfterMs = 2_000;
const prepareEveryMs = 10;

function fromDispatch(handler: UniversalHandler, request: DispatchRequest, options: RpcHandlerOptions): UniversalServerRequest {
  const isUnary = handler.method.methodKind === "unary";
  const header = new Headers(request.headers);
  for (const name of ["content-encoding", "content-length", "accept-encoding"]) header.delete(name);
  header.set("content-type", isUnary ? "application/json" : "application/connect+json");
  const rule = options.policies.get(methodName(handler.method));
  if (rule) applyDeadline(header, rule);
  const values = createContextValues().set(callKey, request.call).set(drainKey, options.drain).set(incomingKey, { json: request.json });
  const body = once(emptyBody({ isJson: true, isEnveloped: !isUnary, encodingHeader: "" }));
  return { httpVersion: "1.1", method: "POST", url: `http://localhost${handler.requestPath}`, header, body, signal: request.signal, contextValues: values };
}

async function gate(context: HandlerContext, options: RpcHandlerOptions): Promise<void> {
  const call = ensureCall(context.values, context.requestHeader);
  context.values.set(replyKey, { header: context.responseHeader, trailer: context.responseTrailer });
  for (const [name, value] of Object.entries(echoHeaders(call))) context.responseHeader.set(name, value);
  try {
    checkTimeout(context.requestHeader);
    await unlessAborted(context.signal, options.auth.gate(context));
    const incoming = context.values.get(incomingKey);
    if (incoming) context.values.set(messageKey, await read(context, incoming));
  } catch (error) {
    throw toConnectError(error, call, options.log, context.signal);
  }
}

async function read(context: HandlerContext, incoming: Incoming): Promise<Message> {
  if ("json" in incoming) {
    const { json } = incoming;
    return decodeMessage(context.method.input, typeof json === "function" ? await json() : json, true);
  }
  if ("url" in incoming) return readQueryMessage(context.method, incoming.url);
  return readMessage(context.method, incoming, context.signal);
}

async function serve(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  call: Call,
  touch: () => void,
  options: RpcHandlerOptions,
): Promise<void> {
  const values = createContextValues().set(callKey, call).set(drainKey, options.drain);
  const answer = await handler(toUniversal(handler, request, response, values, options));
  for (const [name, value] of Object.entries(echoHeaders(call))) response.setHeader(name, value);
  const { header, trailer } = answer;
  if (!answer.body) return universalResponseToNodeResponse(answer, response);
  const body = watched(answer.body, trailer, touch);
  if (!trailer || !isHttp2(response)) return universalResponseToNodeResponse({ ...answer, body }, response);
  // gRPC: Connect would send the headers by themselves although nothing but a refusal follows.
  const first = await body.next();
  if (first.done && trailer.get("grpc-status") !== grpcStatusOk) return writeTrailersOnly(response, new Headers(header), trailer);
  return universalResponseToNodeResponse({ ...answer, body: resumed(first, body) }, response);
}

function toUniversal(
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
  values: ContextValues,
  options: RpcHandlerOptions,
): UniversalServerRequest {
  const universal = universalRequestFromNodeRequest(request, response, undefined, values);
  const rule = options.policies.get(methodName(handler.method));
  if (rule) applyDeadline(universal.header, rule);
  const kind = handler.method.methodKind;
  if (kind !== "unary" && kind !== "server_streaming") return universal;
  if (universal.method === "GET") {
    if (universal.url.length > options.limits.queryCharactersMax) throw new AppError("VALIDATION_FAILED", "The URL is too long. Use POST.");
    values.set(incomingKey, { url: universal.url });
    return { ...universal, url: blankQuery(universal.url) };
  }
  const form = formOf(universal.header.get("content-type") ?? "");
  if (!form) return universal; // Connect answers 415
  values.set(incomingKey, { request, form, encoding: universal.header.get(form.encodingHeader), bodyMsMax: options.limits.bodyMsMax });
  universal.header.delete(form.encodingHeader);
  universal.header.delete("content-length");
  return { ...universal, body: once(emptyBody(form)) };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** What the iterator gives, whose first result was taken already. */
function resumed(first: IteratorResult<Uint8Array>, rest: AsyncGenerator<Uint8Array>): AsyncIterable<Uint8Array> {
  let early: IteratorResult<Uint8Array> | undefined = first;
  const iterator = {
    next(): Promise<IteratorResult<Uint8Array>> {
      const taken = early;
      early = undefined;
      return taken ? Promise.resolve(taken) : rest.next();
    },
    return: (value: undefined) => rest.return(value),
    throw: (error: unknown) => rest.throw(error),
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** The same chunks, announced; at their end the error text is spelled as gRPC asks. */
async function* watched(body: AsyncIterable<Uint8Array>, trailer: Headers | undefined, touch: () => void): AsyncGenerator<Uint8Array, undefined> {
  for await (const chunk of body) {
    touch();
    yield chunk;
  }
  if (trailer) respellGrpcMessage(trailer);
}
