/**
 * The JSON routes (`/api/v1/…`) in front of the rpcs that declare one: path, query and body become the request message, the
 * rpc is called through the same gate as by gRPC, and its answer goes back in proto names. A watch of an execution's events is
 * sent as server-sent events to those who accept them.
 */
import { type DescService, fromJsonString, toJson } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { AppError, violationsError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import type { Log } from "../../base/log.ts";
import { toConnectError } from "../interceptors/errors.ts";
import { methodName } from "../interceptors/policy.ts";
import { eventText, readEnvelopes } from "./event-stream.ts";
import { errorReply, type NodeRequest, type NodeResponse, webHeaders, writeReply } from "./http-routes.ts";
import { type JsonMatch, jsonRoutesOf, matchJsonRoute } from "./json-paths.ts";
import { jsonRequest } from "./json-request.ts";
import { readBody } from "./read-body.ts";
import type { FallbackContext } from "./start-server.ts";
import { transportLimits } from "./transport-limits.ts";

/** Streams that stand behind a GET of a list for those who accept events. */
const streamOf: ReadonlyMap<string, string> = new Map([["ListExecutionEvents", "WatchExecution"]]);

export function createJsonRoutes(services: readonly DescService[], log: Log) {
  const routes = jsonRoutesOf(services);
  return (request: NodeRequest, response: NodeResponse, context: FallbackContext): boolean => {
    const [path = "", query = ""] = (request.url ?? "").split("?", 2);
    if (!path.startsWith("/api/")) return false;
    const isHead = request.method === "HEAD";
    let match: JsonMatch | undefined;
    try {
      match = matchJsonRoute(routes, isHead ? "GET" : (request.method ?? ""), path);
    } catch {
      return false; // broken escapes name nothing
    }
    if (!match) return false;
    const found = match;
    answer(found, new URLSearchParams(query), request, response, context).catch((error: unknown) => {
      writeReply(response, errorReply(toConnectError(error, context.call, log)), !isHead);
    });
    return true;
  };
}

async function answer(match: JsonMatch, query: URLSearchParams, request: NodeRequest, response: NodeResponse, context: FallbackContext): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort(new DOMException("The caller went away.", "AbortError")));
  const headers = webHeaders(request);
  const stream = (headers.get("accept") ?? "").includes("text/event-stream") ? streamOf.get(match.route.method.name) : undefined;
  const called = stream === undefined ? match : streamed(match, stream, query, headers);
  const read = async (): Promise<Uint8Array> => Buffer.from(jsonRequest(called, query, await bodyOf(called, request, headers, gone.signal)));
  const reply = await context.dispatch(methodName(called.route.method), { headers, json: read, call: context.call, signal: gone.signal });
  if (stream === undefined) await sendWhole(called, reply, request, response);
  else await sendEvents(called, reply, response);
}

/** The same path, but of the stream; a browser that comes back says where it was. */
function streamed(match: JsonMatch, stream: string, query: URLSearchParams, headers: Headers): JsonMatch {
  const method = match.route.method.parent.methods.find(({ name }) => name === stream);
  if (!method) throw new AppError("FEATURE_DISABLED", `${stream} is not served here.`);
  const last = headers.get("last-event-id");
  if (last !== null && last !== "") query.set("after_sequence", last);
  return { ...match, route: { ...match.route, method } };
}

async function bodyOf({ route }: JsonMatch, request: NodeRequest, headers: Headers, signal: AbortSignal): Promise<string> {
  if (route.body === "") return "";
  const type = headers.get("content-type") ?? "";
  const encoding = headers.get("content-encoding") ?? "identity";
  if (type !== "" && !/^application\/json\s*(;|$)/i.test(type))
    throw violationsError([{ field: "content-type", reason: "VALIDATION_FAILED", description: "must be application/json" }]);
  if (encoding !== "identity") throw new AppError("FEATURE_DISABLED", "Compressed bodies are not taken on these routes; send it as it is.");
  const bytes = await readBody(request, { bytesMax: limits.messageBytesMax, msMax: transportLimits.bodyMsMax, signal });
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw violationsError([{ field: "(body)", reason: "VALIDATION_FAILED", description: "is not UTF-8 text" }]);
  }
}

async function sendWhole({ route }: JsonMatch, reply: UniversalServerResponse, request: NodeRequest, response: NodeResponse): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of reply.body ?? []) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString("utf8");
  const { output } = route.method;
  const isOk = reply.status === 200;
  const body = isOk ? `${JSON.stringify(toJson(output, fromJsonString(output, text, { ignoreUnknownFields: true }), { useProtoFieldName: true }))}\n` : text;
  const headers = Object.fromEntries([...(reply.header ?? [])].filter(([name]) => name !== "content-length" && name !== "content-encoding"));
  writeReply(
    response,
    { status: reply.status, headers: { ...headers, "content-type": "application/json", "cache-control": "no-store" }, body },
    request.method !== "HEAD",
  );
}

async function sendEvents({ route }: JsonMatch, reply: UniversalServerResponse, response: NodeResponse): Promise<void> {
  const write = response as import("node:http").ServerResponse; // both kinds share this part of their interface
  for await (const item of readEnvelopes(route.method, reply.body ?? nothing())) {
    if (response.destroyed) return;
    if (!response.headersSent) {
      if ("end" in item && item.end.error) return writeReply(response, errorBeforeStream(item.end.error), true);
      write.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" });
    }
    if ("message" in item) {
      if (!write.write(eventText(item.message))) await drained(response);
    } else if (item.end.error) write.write(`event: error\ndata: ${JSON.stringify(item.end.error)}\n\n`);
  }
  write.end();
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function errorBeforeStream(error: { readonly code?: string }) {
  const status = statusByCode[error.code ?? ""] ?? 500;
  return { status, headers: { "content-type": "application/json", "cache-control": "no-store" }, body: JSON.stringify(error) };
}

/** As unary calls answer in the Connect protocol. */
const statusByCode: Readonly<Record<string, number>> = {
  invalid_argument: 400,
  failed_precondition: 400,
  out_of_range: 400,
  unauthenticated: 401,
  permission_denied: 403,
  not_found: 404,
  already_exists: 409,
  aborted: 409,
  resource_exhausted: 429,
  unimplemented: 501,
  unavailable: 503,
  deadline_exceeded: 504,
};

/** Resolves when the reader has caught up or is gone. Leaves no listener behind: a slow reader makes us wait thousands of times. */
function drained(response: NodeResponse): Promise<void> {
  const events = response as NodeJS.EventEmitter;
  return new Promise((resolve) => {
    const done = (): void => {
      events.off("drain", done).off("close", done);
      resolve();
    };
    events.on("drain", done).on("close", done);
  });
}
