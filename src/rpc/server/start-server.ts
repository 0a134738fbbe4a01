/** The open port of the service: gRPC, gRPC-Web, Connect and plain HTTP on one address, from start to drain. */
import { setMaxListeners } from "node:events";
import { constants, type Http2ServerRequest } from "node:http2";
import type { ConnectError, ConnectRouter, Interceptor } from "@connectrpc/connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import type { Clock } from "../../base/clock.ts";
import { AppError } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { logCall } from "../interceptors/access-log.ts";
import type { Auth } from "../interceptors/auth.ts";
import { type Call, createCall, echoHeaders } from "../interceptors/call.ts";
import { drainingError } from "../interceptors/deadline.ts";
import { toConnectError } from "../interceptors/errors.ts";
import type { PolicyTable } from "../interceptors/policy.ts";
import type { HoldKey } from "../open-keys.ts";
import { respellGrpcMessage } from "./grpc-message.ts";
import { errorReply, type HttpRequest, type HttpRoute, type NodeRequest, type NodeResponse, webHeaders, writeReply } from "./http-routes.ts";
import { openListener } from "./listener.ts";
import { createRpcHandler, type RpcHandler } from "./rpc-handler.ts";
import type { Sessions } from "./sessions.ts";
import { isHttp2, writeTrailersOnly } from "./trailers-only.ts";
import { type TransportLimits, transportLimits } from "./transport-limits.ts";

export interface ServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly routes: (router: ConnectRouter) => void;
  /** Every rpc that `routes` registers must be in it, else the server refuses to start. */
  readonly policies: PolicyTable;
  readonly auth: Auth;
  /** What ends open calls with their keys; absent: nothing does. */
  readonly holdKey?: HoldKey;
  /** Run after auth and validation, around the services; the first is the outermost. */
  readonly interceptors: readonly Interceptor[];
  readonly http: readonly HttpRoute[];
  readonly log: Log;
  readonly clock: Clock;
  /** Hears of every finished call, for metrics. */
  readonly onCall?: (call: FinishedCall) => void;
  /** Gets what is neither an rpc nor one of `http`; returns false to have it answered with 404. */
  readonly connectFallback?: (request: NodeRequest, response: NodeResponse, context: FallbackContext) => boolean;
  readonly limits?: Partial<TransportLimits>;
}

export interface FinishedCall {
  /** `package.Service/Method`, or empty for plain HTTP. */
  readonly method: string;
  readonly code: string;
  readonly reason: string | undefined;
  readonly durationMs: number;
}

export interface FallbackContext {
  readonly call: Call;
  /** Aborts when the server begins to stop. */
  readonly drain: AbortSignal;
  readonly dispatch: RpcHandler["dispatch"];
}

export interface Server {
  readonly port: number;
  /**
   * Announces the end to clients, ends streams with SERVER_DRAINING, takes no new calls and resolves when the open ones
   * are answered. It waits as long as they take: bound it, then call `stop`. May be called twice.
   */
  drain(): Promise<void>;
  /** Cuts what is left and frees the port. May be called twice. */
  stop(): Promise<void>;
}

/** Opens the port. Rejects with one sentence when it is taken or an rpc has no policy. */
export async function startServer(options: ServerOptions): Promise<Server> {
  const limits = { ...transportLimits, ...options.limits };
  const drainController = new AbortController();
  setMaxListeners(0, drainController.signal); // one for every open stream
  const rpc = createRpcHandler({ ...options, drain: drainController.signal, limits });
  const routes = new Map(options.http.map((route) => [`${route.method} ${route.path}`, route]));
  const fallback = { drain: drainController.signal, dispatch: rpc.dispatch };

  let openCalls = 0;
  let onIdle: (() => void) | undefined;

  function onRequest(request: NodeRequest, response: NodeResponse, sessions: Sessions): void {
    const startedAt = options.clock.monotonic();
    const header = webHeaders(request);
    const call = createCall(header, request.socket.remoteAddress ?? "", hasRivalCredentials(request));
    const session = "stream" in request ? request.stream.session : undefined;
    openCalls++;
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    response.once("close", () => {
      if (!response.writableEnded && call.code === "OK") call.code = "CANCELED";
      const durationMs = options.clock.monotonic() - startedAt;
      if (call.method !== "") {
        logCall(options.log, call, durationMs);
        options.onCall?.({ method: call.method, code: call.code, reason: call.reason, durationMs });
      }
      if (--openCalls === 0) onIdle?.();
    });
    if (session) response.once("finish", () => releaseUnread(request as Http2ServerRequest));
    else if (drainController.signal.aborted) response.setHeader("connection", "close");
    for (const [name, value] of Object.entries(echoHeaders(call))) response.setHeader(name, value);
    try {
      if (headerBytes(request) > limits.headerBytesMax) writeReply(response, { status: 431 }, true);
      else answer(request, response, header, call, () => sessions.touch(session));
    } catch (error) {
      writeReply(response, errorReply(toConnectError(error, call, options.log)), true);
    }
  }

  function answer(request: NodeRequest, response: NodeResponse, header: Headers, call: Call, touch: () => void): void {
    if (rpc.handle(request, response, header, call, touch)) return;
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    const isHead = request.method === "HEAD";
    const route = routes.get(`${isHead ? "GET" : request.method} ${path}`);
    if (route) void answerRoute(route, new URLSearchParams(query), path, request, response, call);
    else if (!options.connectFallback?.(request, response, { ...fallback, call })) answerUnknown(request, response, call);
  }

  async function answerRoute(route: HttpRoute, query: URLSearchParams, path: string, request: NodeRequest, response: NodeResponse, call: Call): Promise<void> {
    const headers = webHeaders(request);
    const gone = new AbortController();
    response.once("close", () => gone.abort("the caller has gone, or has its answer"));
    const authorize: HttpRequest["authorize"] = (scope) => options.auth.authorize(headers, request.url ?? "", call, [scope]);
    try {
      if (route.access !== "open") await authorize(route.access.scope);
      const reply = await route.handle({ method: request.method ?? "", path, query, headers, call, signal: gone.signal, authorize });
      writeReply(response, reply, request.method !== "HEAD");
    } catch (error) {
      writeReply(response, errorReply(toConnectError(error, call, options.log)), request.method !== "HEAD");
    }
  }

  function answerUnknown(request: NodeRequest, response: NodeResponse, call: Call): void {
    const error = toConnectError(new AppError("FEATURE_DISABLED", "Nothing is served at this path."), call, options.log);
    const contentType = request.headers["content-type"] ?? "";
    if (contentType.startsWith("application/grpc")) writeGrpcStatus(response, error, contentType);
    else writeReply(response, { ...errorReply(error), status: 404 }, request.method !== "HEAD");
  }

  const listener = await openListener({ host: options.host, port: options.port, limits, clock: options.clock, log: options.log, onRequest });
  void rpc.prepare();
  let drained: Promise<void> | undefined;
  let stopped: Promise<void> | undefined;

  async function drain(): Promise<void> {
    listener.announceEnd();
    drainController.abort(drainingError());
    await options.clock.sleep(limits.goawayMs);
    listener.close();
    if (openCalls > 0) await new Promise<void>((resolve) => (onIdle = resolve));
  }

  return {
    port: listener.port,
    drain: () => (drained ??= drain()),
    stop() {
      if (!drainController.signal.aborted) drainController.abort(drainingError());
      return (stopped ??= listener.destroy());
    },
  };
}

/** An answer that came before the request ended: the rest of the request is not wanted any more. */
function releaseUnread(request: Http2ServerRequest): void {
  if (!request.complete && !request.stream.destroyed) request.stream.close(constants.NGHTTP2_NO_ERROR);
}

/** An answer without a message: its status stands in the headers, but for gRPC over HTTP/1.1, where nobody looks for it there. */
function writeGrpcStatus(response: NodeResponse, error: ConnectError, contentType: string): void {
  const status = setTrailerStatus(new Headers(), error);
  respellGrpcMessage(status);
  if (isHttp2(response)) return writeTrailersOnly(response, new Headers({ "content-type": contentType }), status);
  const isWeb = contentType.startsWith("application/grpc-web");
  response.writeHead(200, { "content-type": contentType, ...(isWeb ? Object.fromEntries(status) : {}) });
  if (!isWeb) response.addTrailers(Object.fromEntries(status));
  response.end();
}

/** HTTP/1.1 is held to the limit by Node; HTTP/2 clients need not obey what our settings say. */
function headerBytes(request: NodeRequest): number {
  let bytes = 0;
  for (const text of request.rawHeaders) bytes += text.length;
  return bytes;
}

/** Node keeps the first of several authorization lines; who sends two that differ is not to be guessed at. */
function hasRivalCredentials(request: NodeRequest): boolean {
  const seen = new Set<string>();
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    if (request.rawHeaders[index]?.toLowerCase() === "authorization") seen.add(request.rawHeaders[index + 1] as string);
  }
  return seen.size > 1;
}
