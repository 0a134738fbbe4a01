/**
 * The one place where a refusal becomes a ConnectError. Every error that leaves the service carries
 * google.rpc.ErrorInfo (reason, domain, facts) and RequestInfo, and further details where they apply. What nobody
 * expected is logged once, with its stack, and leaves as INTERNAL_BUG without it.
 */
import { createRegistry } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "#gen/google/rpc/error_details_pb.js";
import { AppError, type ErrorCode, type ErrorReason } from "../../base/errors.ts";
import type { Log } from "../../base/log.ts";
import { type Call, ensureCall } from "./call.ts";

const errorDomain = "workflow.pyairtable.dev";

/** Violations travel in response trailers, and clients allow 8 KiB of those: text beyond this is left out. */
const violationCharactersMax = 2_500;
const messageCharactersMax = 1_000;

const codes: Record<ErrorCode, Code> = {
  INVALID_ARGUMENT: Code.InvalidArgument,
  FAILED_PRECONDITION: Code.FailedPrecondition,
  ABORTED: Code.Aborted,
  ALREADY_EXISTS: Code.AlreadyExists,
  NOT_FOUND: Code.NotFound,
  PERMISSION_DENIED: Code.PermissionDenied,
  UNAUTHENTICATED: Code.Unauthenticated,
  RESOURCE_EXHAUSTED: Code.ResourceExhausted,
  UNAVAILABLE: Code.Unavailable,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  OUT_OF_RANGE: Code.OutOfRange,
  UNIMPLEMENTED: Code.Unimplemented,
  INTERNAL: Code.Internal,
};

type Details = NonNullable<ConstructorParameters<typeof ConnectError>[3]>;

/** Turns everything that calls throw into errors of the contract; outermost of the chain. */
export function createErrors(log: Log): Interceptor {
  return (next) => async (request) => {
    const call = ensureCall(request.contextValues, request.header);
    const convert = (error: unknown): ConnectError => toConnectError(error, call, log, request.signal);
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: converted(response.message, convert) } : response;
    } catch (error) {
      throw convert(error);
    }
  };
}

async function* converted<Message>(messages: AsyncIterable<Message>, convert: (error: unknown) => ConnectError): AsyncIterable<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw convert(error);
  }
}

/** An interrupted wait says only "aborted"; why stands in the signal (deadline, drain, caller gone). */
function surfaced(error: unknown, signal: AbortSignal): unknown {
  const interrupted = error instanceof Error && (error.name === "AbortError" || error.name === "TimeoutError");
  return interrupted && signal.aborted && signal.reason !== undefined ? signal.reason : error;
}

/**
 * The error as it leaves the service; notes code and reason in `call`, logs what nobody expected. `signal` is the
 * signal of the call, where there is one.
 */
export function toConnectError(error: unknown, call: Call, log: Log, signal?: AbortSignal): ConnectError {
  const result = convert(signal ? surfaced(error, signal) : error, call, log);
  call.code = codeName(result.code);
  call.reason = result.findDetails(ErrorInfoSchema)[0]?.reason;
  return result;
}

function convert(error: unknown, call: Call, log: Log): ConnectError {
  if (error instanceof ConnectError) return fromFramework(error, call, log);
  if (error instanceof AppError && error.code !== "INTERNAL") return fromAppError(error, call);
  if (error instanceof Error && error.name === "AbortError") return new ConnectError("The caller went away.", Code.Canceled);
  log.error(
    { err: error, request_id: call.requestId, correlation_id: call.correlationId, tenant_id: call.tenantId, rpc_method: call.method },
    "a call met an error nobody expected",
  );
  const message = `Something went wrong inside the service. Try again; if it stays, report request id ${call.requestId}.`;
  return fromAppError(new AppError("INTERNAL_BUG", message), call);
}

/** Connect's own refusals (decoding, sizes, unknown methods, deadline) get the reason that the contract has for them. */
function fromFramework(error: ConnectError, call: Call, log: Log): ConnectError {
  if (error.findDetails(ErrorInfoSchema).length > 0) return error;
  const sentence = error.rawMessage;
  switch (error.code) {
    case Code.Canceled:
      return error;
    case Code.DeadlineExceeded:
      return fromAppError(
        new AppError("DEADLINE_EXCEEDED", "The deadline of the call passed before the answer was ready. Allow more time or ask for less."),
        call,
      );
    case Code.ResourceExhausted:
      return fromAppError(new AppError(/MaxBytes/.test(sentence) ? "PAYLOAD_TOO_LARGE" : "OVERLOADED", sentence), call);
    case Code.Unimplemented:
      return fromAppError(new AppError("FEATURE_DISABLED", sentence), call);
    case Code.InvalidArgument:
      return fromAppError(new AppError("VALIDATION_FAILED", sentence), call);
    case Code.NotFound:
      return withDetails(error, "FEATURE_DISABLED", call);
    case Code.Unavailable:
      return withDetails(error, "OVERLOADED", call);
    case Code.Internal:
      // A stream that the caller, its proxy or the wire reset: nothing of ours failed, and nobody is left to read an answer.
      if (/^http\/2 stream closed with error code/.test(sentence)) return new ConnectError("The caller went away.", Code.Canceled);
      if (sentence.startsWith("parse binary")) return fromAppError(new AppError("VALIDATION_FAILED", `The message cannot be decoded: ${sentence}`), call);
      break;
    default:
      break;
  }
  return convert(new Error(`unexpected ConnectError: ${error.message}`, { cause: error }), call, log);
}

function withDetails(error: ConnectError, reason: ErrorReason, call: Call): ConnectError {
  return new ConnectError(error.rawMessage, error.code, error.metadata, [errorInfo(reason, {}), requestInfo(call)]);
}

function fromAppError(error: AppError, call: Call): ConnectError {
  const message = shortened(error.message, messageCharactersMax);
  const [reason, ...others] = detailsOf(error);
  return new ConnectError(message, codes[error.code], retryHeaders(error), [reason, requestInfo(call), ...others], error.cause);
}

/** What a refusal tells programs beside the call's own id, the reason first. */
export function detailsOf(error: AppError): [Details[number], ...Details] {
  const details: [Details[number], ...Details] = [errorInfo(error.reason, error.metadata)];
  const message = shortened(error.message, messageCharactersMax);
  if (error.violations.length > 0) details.push(badRequest(error));
  if (error.retryAfterMs !== undefined) details.push({ desc: RetryInfoSchema, value: { retryDelay: duration(error.retryAfterMs) } });
  const subject = error.metadata["subject"] ?? "";
  switch (error.code) {
    case "FAILED_PRECONDITION":
      details.push({ desc: PreconditionFailureSchema, value: { violations: [{ type: error.reason, subject, description: message }] } });
      break;
    case "RESOURCE_EXHAUSTED":
      if (error.reason !== "OVERLOADED") details.push({ desc: QuotaFailureSchema, value: { violations: [{ subject, description: message }] } });
      break;
    case "NOT_FOUND":
    case "ALREADY_EXISTS":
      details.push({ desc: ResourceInfoSchema, value: { resourceType: resourceType(error.reason), resourceName: resourceName(error), description: message } });
      break;
    default:
      break;
  }
  return details;
}

/** Types of details: a status inside an answer (one item of a batch) cannot be written as JSON without them. */
export const detailTypes = createRegistry(
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
);

function errorInfo(reason: ErrorReason, metadata: Readonly<Record<string, string>>): Details[number] {
  return { desc: ErrorInfoSchema, value: { reason, domain: errorDomain, metadata: { ...metadata } } };
}

function requestInfo(call: Call): Details[number] {
  return { desc: RequestInfoSchema, value: { requestId: call.requestId } };
}

function badRequest(error: AppError): Details[number] {
  let left = violationCharactersMax;
  const fieldViolations: { field: string; reason: string; description: string }[] = [];
  for (const violation of error.violations) {
    const field = shortened(violation.field, 500);
    const description = shortened(violation.description, 500);
    left -= field.length + description.length;
    if (left < 0 && fieldViolations.length > 0) break;
    fieldViolations.push({ field, reason: violation.reason, description });
  }
  return { desc: BadRequestSchema, value: { fieldViolations } };
}

/** `retry-after` for HTTP callers, the pushback for gRPC clients with a retry policy. */
function retryHeaders(error: AppError): Record<string, string> {
  if (error.retryAfterMs === undefined) return {};
  return { "retry-after": String(Math.ceil(error.retryAfterMs / 1000)), "grpc-retry-pushback-ms": String(Math.ceil(error.retryAfterMs)) };
}

function duration(durationMs: number): { seconds: bigint; nanos: number } {
  const whole = Math.ceil(Math.max(0, durationMs));
  return { seconds: BigInt(Math.floor(whole / 1000)), nanos: (whole % 1000) * 1e6 };
}

/** TEMPLATE_VERSION_NOT_FOUND → template_version; NAME_TAKEN and its like name no type. */
function resourceType(reason: string): string {
  return reason.endsWith("_NOT_FOUND") ? reason.slice(0, -"_NOT_FOUND".length).toLowerCase() : reason === "EXECUTION_EXISTS" ? "execution" : "";
}

function resourceName(error: AppError): string {
  return error.metadata["name"] ?? error.metadata["id"] ?? error.metadata["executionId"] ?? "";
}

/** UPPER_SNAKE name of a code, as in the contract. */
export function codeName(code: Code): string {
  return (Code[code] ?? "Unknown").replace(/([a-z])([A-Z])/g, "$1_$2").toUpperCase();
}

function shortened(text: string, charactersMax: number): string {
  return text.length <= charactersMax ? text : `${text.slice(0, charactersMax - 1).toWellFormed()}…`;
}
