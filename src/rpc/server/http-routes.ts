/** Plain HTTP beside gRPC: exact paths, small answers. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import type { ConnectError } from "@connectrpc/connect";
import { codeToHttpStatus, errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import type { Caller } from "../../base/caller.ts";
import type { Call } from "../interceptors/call.ts";

export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

export interface HttpRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Headers;
  readonly call: Call;
  /** Aborts when the caller is gone. */
  readonly signal: AbortSignal;
  /** The caller, who must hold `scope`; throws KEY_MISSING, KEY_INVALID, SCOPE_MISSING … */
  authorize(scope: string): Promise<Caller>;
}

export interface HttpReply {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export interface HttpRoute {
  /** GET routes answer HEAD too. */
  readonly method: "GET" | "POST";
  /** Compared as it is, without decoding. */
  readonly path: string;
  /** Scope that the caller's key must hold, or `open` for everybody. */
  readonly access: "open" | { readonly scope: string };
  handle(request: HttpRequest): HttpReply | Promise<HttpReply>;
}

export function jsonReply(status: number, value: unknown): HttpReply {
  return { status, headers: { "content-type": "application/json", "cache-control": "no-store" }, body: `${JSON.stringify(value)}\n` };
}

/** An error as the Connect protocol writes it: JSON with code, message and details. */
export function errorReply(error: ConnectError): HttpReply {
  return {
    status: codeToHttpStatus(error.code),
    headers: { "content-type": "application/json", ...Object.fromEntries(error.metadata) },
    body: errorToJsonBytes(error, undefined),
  };
}

/** Sends the reply, unless nobody is there any more or half of another one is already on its way. */
export function writeReply(response: NodeResponse, reply: HttpReply, withBody: boolean): void {
  if (isGone(response)) return;
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const body = typeof reply.body === "string" ? Buffer.from(reply.body) : (reply.body ?? new Uint8Array());
  const write = response as ServerResponse; // both kinds share this part of their interface
  write.writeHead(reply.status, { ...reply.headers, "content-length": body.byteLength });
  write.end(withBody ? body : undefined);
}

/** Whether nobody waits for this answer any more. */
export function isGone(response: NodeResponse): boolean {
  return "stream" in response ? !response.stream || response.stream.destroyed : response.destroyed;
}

/** The headers of a request, without the pseudo ones of HTTP/2. */
export function webHeaders(request: NodeRequest): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(request.headers)) {
    if (name.startsWith(":") || value === undefined) continue;
    for (const line of Array.isArray(value) ? value : [value]) headers.append(name, line);
  }
  return headers;
}
