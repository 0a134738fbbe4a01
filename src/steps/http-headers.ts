/** Headers of outgoing requests: what a definition may set, and what every request carries from us (contract §9). */
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { StepCall } from "./step-handler.ts";

const headersMax = 64;
const headerBytesMax = 16 * 1024;

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/;
/** Printable ASCII, tab and the upper half of Latin-1; a line break would start a header of its own. */
const fieldValue = /^[\t\u0020-\u007e\u0080-\u00ff]*$/;

/** Framing and routing belong to the client; the rest says who calls and in which saga, which nobody may forge. */
const reserved =
  /^(?:host|content-length|transfer-encoding|connection|keep-alive|te|trailer|upgrade|expect|proxy-.*|saga-.*|traceparent|tracestate|baggage|x-correlation-id|x-tenant-id)$/i;

/** Why a definition may not set this header, or undefined. */
export function headerProblem(name: string, value: string): string | undefined {
  if (!token.test(name)) return "is not a header name";
  if (reserved.test(name)) return "is set by the service and cannot be given";
  return fieldValue.test(value) ? undefined : "has a value with line breaks or characters that headers cannot carry";
}

/** Checks headers whose values were rendered just now. Names are compared without case: the last of two twins would win unseen. */
export function checkHeaders(headers: Readonly<Record<string, string>>): Result<Readonly<Record<string, string>>, Failure> {
  const entries = Object.entries(headers);
  for (const [name, value] of entries) {
    const problem = headerProblem(name, value);
    if (problem) return fail(failure("EXPRESSION", `header "${name.slice(0, 100)}" ${problem}`));
  }
  if (new Set(entries.map(([name]) => name.toLowerCase())).size < entries.length) return fail(failure("EXPRESSION", "a header is given twice"));
  const bytes = entries.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 0);
  if (entries.length > headersMax || bytes > headerBytesMax)
    return fail(failure("LIMIT.HEADERS", `more than ${headersMax} headers or ${headerBytesMax} bytes of them`));
  return ok(headers);
}

/** What every request carries: which attempt of which operation this is, and the trace it belongs to. */
export function callHeaders(call: StepCall): Record<string, string> {
  return {
    "user-agent": "pyairtable-workflow-service",
    "x-correlation-id": sendable(call.correlationId),
    "saga-id": call.executionId,
    "saga-step": sendable(call.stepPath),
    "saga-op": call.operation,
    "saga-attempt": String(call.attempt),
    "saga-deadline": new Date(call.deadlineAt).toISOString(),
    ...(call.traceparent === undefined ? {} : { traceparent: sendable(call.traceparent) }),
    ...(call.traceparent === undefined || call.carried?.tracestate === undefined ? {} : { tracestate: sendable(call.carried.tracestate) }),
  };
}

/** The idempotency key as the quoted string that the Idempotency-Key draft asks for. */
export function quotedKey(key: string): string {
  return `"${sendable(key).replace(/[\\"]/g, "\\$&")}"`;
}

/** Characters outside printable ASCII percent-encoded: equal on every attempt, and never a header of its own. */
export function sendable(text: string): string {
  return text.toWellFormed().replace(/[^\u0020-\u007e]/gu, encodeURIComponent);
}

/** `over` wins; names are compared without case. */
export function withHeaders(base: Readonly<Record<string, string>>, over: Readonly<Record<string, string>>): Record<string, string> {
  const taken = new Set(Object.keys(over).map((name) => name.toLowerCase()));
  return { ...Object.fromEntries(Object.entries(base).filter(([name]) => !taken.has(name.toLowerCase()))), ...over };
}
