/**
 * How long a call may take: the caller's deadline, lowered to our maximum, or the method's default. It is written into
 * the request's timeout header before Connect reads it, so that `ctx.signal` and `ctx.timeoutMs()` tell handlers; the
 * interceptor answers in time even where a handler does not listen.
 */
import type { Interceptor } from "@connectrpc/connect";
import { createLinkedAbortController } from "@connectrpc/connect/protocol";
import { AppError, violationsError } from "../../base/errors.ts";
import { type HoldKey, openForAll } from "../open-keys.ts";
import { drainKey, keyUseOf } from "./call.ts";
import type { MethodRule } from "./policy.ts";

/** Longest unary call. */
const unaryDeadlineMsMax = 15 * 60_000;
/** Longest stream; watches end by themselves after 30 minutes, and a timer cannot count beyond 24 days. */
const streamDeadlineMsMax = 24 * 3_600_000;

const grpcUnits: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** Milliseconds this call may take; undefined: no bound, or the caller's cannot be read, which is left to `checkTimeout`. */
export function deadlineMsOf(headers: Headers, rule: MethodRule): number | undefined {
  const header = timeoutHeader(headers);
  const text = headers.get(header);
  const wantedMs = text === null ? rule.defaultDeadlineMs : parseTimeoutMs(header, text);
  if (wantedMs === undefined) return undefined;
  return Math.min(wantedMs, rule.method.methodKind === "unary" ? unaryDeadlineMsMax : streamDeadlineMsMax);
}

/** Sets the timeout header that holds for this call. An unreadable one is left to `checkTimeout`. */
export function applyDeadline(headers: Headers, rule: MethodRule): void {
  const header = timeoutHeader(headers);
  const text = headers.get(header);
  const timeoutMs = deadlineMsOf(headers, rule);
  if (timeoutMs === undefined || (text !== null && parseTimeoutMs(header, text) === timeoutMs)) return;
  const ceiled = Math.ceil(timeoutMs);
  headers.set(header, header === "grpc-timeout" ? `${ceiled}m` : String(ceiled));
}

/** Throws VALIDATION_FAILED naming the header when the caller's timeout cannot be read. */
export function checkTimeout(headers: Headers): void {
  const header = timeoutHeader(headers);
  const text = headers.get(header);
  if (text === null || parseTimeoutMs(header, text) !== undefined) return;
  const description = header === "grpc-timeout" ? "must be up to 8 digits and a unit (H M S m u n)" : "must be up to 10 digits, in milliseconds";
  throw violationsError([{ field: header, reason: "VALIDATION_FAILED", description }]);
}

function timeoutHeader(headers: Headers): "grpc-timeout" | "connect-timeout-ms" {
  return headers.get("content-type")?.toLowerCase().startsWith("application/grpc") ? "grpc-timeout" : "connect-timeout-ms";
}

function parseTimeoutMs(header: string, text: string): number | undefined {
  if (header === "connect-timeout-ms") return /^\d{1,10}$/.test(text) ? Number(text) : undefined;
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  return match ? Number(match[1]) * (grpcUnits[match[2] as string] as number) : undefined;
}

/**
 * Ends a call when its signal aborts, with the signal's reason. Streams also end when the server drains, with
 * SERVER_DRAINING, and when the key ends that let them in: their handlers see that in `ctx.signal`. Unary calls may finish.
 */
export function createDeadline(holdKey: HoldKey = () => openForAll): Interceptor {
  return (next) => async (request) => {
    if (request.signal.aborted) throw request.signal.reason;
    if (!request.stream) return unlessAborted(request.signal, next(request));
    const drain = request.contextValues.get(drainKey);
    if (drain.aborted) throw drain.reason;
    const key = holdKey(keyUseOf({ values: request.contextValues }));
    // Not AbortSignal.any: this one lets go of `drain`, which lives as long as the server, when the call ends.
    const { signal } = createLinkedAbortController(request.signal, drain, key.signal);
    signal.addEventListener("abort", key.release, { once: true });
    try {
      const response = await unlessAborted(signal, next({ ...request, signal }));
      if (response.stream) return { ...response, message: endedBy(signal, [drain, key.signal], response.message, key.release) };
      key.release();
      return response;
    } catch (error) {
      key.release();
      throw error;
    }
  };
}

/** The error with which streams end and new calls are refused while the server stops. */
export function drainingError(): AppError {
  return new AppError("SERVER_DRAINING", "This server is stopping. Call again; another one answers.", { retryAfterMs: 100 });
}

/** Like the promise, but rejects with the signal's reason as soon as it aborts. */
export function unlessAborted<Value>(signal: AbortSignal, promise: Promise<Value>): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * A stream whose handler returns quietly because the server drains, or because the key ended, must not look finished to its
 * reader, hence the second look at `ends`; a reader that resumes after the last event just gets the end again.
 */
function endedBy<Message>(signal: AbortSignal, ends: readonly AbortSignal[], messages: AsyncIterable<Message>, onOver: () => void): AsyncIterable<Message> {
  return {
    [Symbol.asyncIterator]() {
      const inner = messages[Symbol.asyncIterator]();
      const leave = (): void => {
        onOver();
        void inner.return?.().catch(() => undefined);
      };
      return {
        async next() {
          try {
            const result = await unlessAborted(signal, inner.next());
            if (!result.done) return result;
            for (const end of ends) end.throwIfAborted();
            onOver();
            return result;
          } catch (error) {
            leave();
            throw error;
          }
        },
        async return(value) {
          leave();
          return { done: true, value };
        },
      };
    },
  };
}
