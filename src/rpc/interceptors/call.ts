/**
 * What the server knows about one call: made when its headers arrive, carried in Connect's context values, and read
 * by the interceptors, the services and the access log.
 */
import { randomUUID } from "node:crypto";
import { type ContextValues, createContextKey } from "@connectrpc/connect";
import type { Caller } from "../../base/caller.ts";
import { AppError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { readBaggage, readTracestate, type TraceBaggage } from "../../base/trace-context.ts";

/** The key that a call came in by, and which of its secrets. */
export interface KeyUse {
  /** `key_…` */
  readonly keyId: string;
  readonly secretHash: Uint8Array;
}

export interface Call extends TraceBaggage {
  readonly requestId: string;
  readonly correlationId: string;
  readonly traceparent: string | undefined;
  /** Network address of the caller. */
  readonly peer: string;
  /** Several `authorization` lines that do not agree; Node keeps only the first of them. */
  readonly ambiguousCredential: boolean;
  /** `package.Service/Method`; empty for plain HTTP routes. */
  method: string;
  tenantId: string | undefined;
  /** Id of the key that was sent. */
  actor?: string;
  /** What lets it in; calls that stay open end with it. Absent: nothing that could end. */
  keyUse?: KeyUse | undefined;
  /** Code and reason of the answer; set by the errors interceptor. */
  code: string;
  reason: string | undefined;
}

export const callKey = createContextKey<Call | undefined>(undefined, { description: "call" });
export const callerKey = createContextKey<Caller | undefined>(undefined, { description: "caller" });
/** What an interceptor that answers by itself has to answer with: Connect has put content type and status there already. */
export const replyKey = createContextKey<{ readonly header: Headers; readonly trailer: Headers } | undefined>(undefined, { description: "reply headers" });
/** Aborts with SERVER_DRAINING when the server begins to stop. Long polls listen to it; streams see it in their signal. */
export const drainKey = createContextKey<AbortSignal>(new AbortController().signal, { description: "drain" });

/** Who calls. KEY_MISSING where a method that is open to everybody needs somebody after all. */
export function callerOf(context: { readonly values: ContextValues }): Caller {
  const caller = context.values.get(callerKey);
  if (caller) return caller;
  throw new AppError("KEY_MISSING", "This call needs an API key. Send it as `authorization: Bearer <key>`.");
}

/** The signal that aborts when the server begins to stop; a long poll answers early then. */
export function drainSignalOf(context: { readonly values: ContextValues }): AbortSignal {
  return context.values.get(drainKey);
}

/** Throws SCOPE_MISSING naming the scope that the caller's key lacks. */
export function requireScope(caller: Caller, scope: string): void {
  if (caller.scopes.has(scope)) return;
  throw new AppError("SCOPE_MISSING", `The key lacks the scope ${scope}. Use a key that holds it.`, { metadata: { scope } });
}

/** The key that the call stays open with. */
export function keyUseOf(context: { readonly values: ContextValues }): KeyUse | undefined {
  return context.values.get(callKey)?.keyUse;
}

/** The record of a call from its headers; `newId` makes the ids that the caller did not send. */
export function createCall(headers: Headers, peer: string, ambiguousCredential = false, newId: () => string = randomUUID): Call {
  const requestId = safeId(headers.get("x-request-id"));
  const correlationId =
    safeId(headers.get("x-correlation-id")) ??
    safeId(headers.get("correlation-id")) ??
    requestId ??
    safeId(correlationInBaggage(headers.get("baggage"))) ??
    newId();
  const traceparent = validTraceparent(headers.get("traceparent"));
  // Without a trace its state means nothing.
  const tracestate = traceparent === undefined ? undefined : readTracestate(headers.get("tracestate"));
  const baggage = readBaggage(headers.get("baggage"));
  return {
    requestId: requestId ?? newId(),
    correlationId,
    traceparent,
    ...(tracestate === undefined ? {} : { tracestate }),
    ...(baggage === undefined ? {} : { baggage }),
    peer,
    ambiguousCredential,
    method: "",
    tenantId: undefined,
    code: "OK",
    reason: undefined,
  };
}

/** The call of a request; made on the spot where no server stands in front (in-process transports). */
export function ensureCall(values: ContextValues, headers: Headers): Call {
  let call = values.get(callKey);
  if (!call) {
    call = createCall(headers, "in-process");
    values.set(callKey, call);
  }
  return call;
}

/** Headers that every reply carries, errors too. */
export function echoHeaders(call: Call): Record<string, string> {
  return { "x-correlation-id": call.correlationId, "x-request-id": call.requestId };
}

const idPattern = new RegExp(`^[A-Za-z0-9._:-]{1,${limits.correlationIdCharactersMax}}$`);

/** The id, if it may travel as it is; others are replaced, since they would have to be escaped everywhere. */
export function safeId(text: string | null | undefined): string | undefined {
  return text && idPattern.test(text) ? text : undefined;
}

function correlationInBaggage(baggage: string | null): string | undefined {
  for (const member of baggage?.split(",") ?? []) {
    const [key, value] = (member.split(";")[0] ?? "").split("=");
    if (key?.trim() === "correlation.id") return value?.trim();
  }
  return undefined;
}

function validTraceparent(text: string | null): string | undefined {
  const match = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/.exec(text ?? "");
  return match?.[0];
}
