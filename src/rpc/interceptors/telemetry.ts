/**
 * A server span for each call that passed auth and validation, as a child of the caller's context. What the call starts
 * belongs to it: the caller handed on carries the span's own context. Put in place only when there is a tracer.
 */
import { ConnectError, type Interceptor } from "@connectrpc/connect";
import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, TraceFlags, type Tracer, trace } from "@opentelemetry/api";
import { AppError } from "../../base/errors.ts";
import { type Call, callerKey, ensureCall } from "./call.ts";
import { codeName } from "./errors.ts";
import { methodName } from "./policy.ts";

/** Health and reflection are asked by machines all day; their spans would hide the others. */
const traced = /^pyairtable\./;

/** Codes that are the service's fault; a refusal is an answer like any other. */
const serverErrors = new Set(["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"]);

export function createRpcSpans(tracer: Tracer): Interceptor {
  return (next) => async (request) => {
    const method = methodName(request.method);
    if (!traced.test(method)) return await next(request);
    const call = ensureCall(request.contextValues, request.header);
    const attributes = {
      "rpc.system.name": (request.header.get("content-type") ?? "").startsWith("application/grpc") ? "grpc" : "connectrpc",
      "rpc.method": method,
      "pyairtable.workflow.correlation.id": call.correlationId,
      "pyairtable.workflow.request.id": call.requestId,
    };
    const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parentOf(call));
    const caller = request.contextValues.get(callerKey);
    if (caller) request.contextValues.set(callerKey, { ...caller, traceparent: traceparentOf(span) });
    try {
      const response = await next(request);
      if (response.stream) return { ...response, message: untilEnd(response.message, span) };
      end(span, "OK");
      return response;
    } catch (error) {
      end(span, codeOf(error));
      throw error;
    }
  };
}

async function* untilEnd<Message>(messages: AsyncIterable<Message>, span: Span): AsyncIterable<Message> {
  // A reader that goes away ends the generator without an error.
  let code = "CANCELED";
  try {
    yield* messages;
    code = "OK";
  } catch (error) {
    code = codeOf(error);
    throw error;
  } finally {
    end(span, code);
  }
}

function end(span: Span, code: string): void {
  span.setAttribute("rpc.response.status_code", code);
  if (serverErrors.has(code)) {
    span.setAttribute("error.type", code);
    span.setStatus({ code: SpanStatusCode.ERROR, message: code });
  }
  span.end();
}

function codeOf(error: unknown): string {
  if (error instanceof AppError) return error.code;
  if (error instanceof ConnectError) return codeName(error.code);
  return error instanceof Error && error.name === "AbortError" ? "CANCELED" : "INTERNAL";
}

function parentOf({ traceparent }: Call): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  const [, traceId = "", spanId = "", flags = "00"] = traceparent.split("-");
  return trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true });
}

function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}
