/** A refused call taken apart: what a client may rely on is code, reason, fields and metadata, whichever library it uses. */
import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { ServiceError } from "@grpc/grpc-js";
import { BadRequestSchema, ErrorInfoSchema, QuotaFailureSchema, RequestInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import { type Status, StatusSchema } from "#gen/google/rpc/status_pb.js";
import { ErrorReason, ErrorReasonSchema } from "#gen/pyairtable/workflow/v1/failure_pb.js";

export interface Refusal {
  /** In upper case, for example INVALID_ARGUMENT. */
  readonly code: string;
  readonly message: string;
  readonly reason: string;
  readonly domain: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Proto paths of BadRequest. */
  readonly fields: readonly string[];
  readonly fieldMessages: readonly string[];
  readonly requestId: string;
  /** RetryInfo in milliseconds; undefined = none. */
  readonly retryDelayMs: number | undefined;
  readonly hasQuotaFailure: boolean;
}

/** Names of the catalogue without their prefix. */
export const listedReasons: ReadonlySet<string> = new Set(ErrorReasonSchema.values.map((value) => value.name.replace("ERROR_REASON_", "")));

export async function refusal(call: Promise<unknown> | AsyncIterable<unknown>): Promise<Refusal> {
  try {
    if (Symbol.asyncIterator in call) for await (const _ of call) void _;
    else await call;
  } catch (error) {
    return refusalOf(error);
  }
  throw new Error("the call was not refused");
}

export function refusalOf(error: unknown): Refusal {
  const connectError = error instanceof ConnectError ? error : fromGrpcJs(error);
  const [info] = connectError.findDetails(ErrorInfoSchema);
  const violations = connectError.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  const [retry] = connectError.findDetails(RetryInfoSchema);
  return {
    code: nameOf(connectError.code),
    message: connectError.rawMessage,
    reason: info?.reason ?? "",
    domain: info?.domain ?? "",
    metadata: info?.metadata ?? {},
    fields: violations.map((violation) => violation.field),
    fieldMessages: violations.map((violation) => violation.description),
    requestId: connectError.findDetails(RequestInfoSchema)[0]?.requestId ?? "",
    retryDelayMs: retry?.retryDelay === undefined ? undefined : Number(retry.retryDelay.seconds) * 1000 + retry.retryDelay.nanos / 1e6,
    hasQuotaFailure: connectError.findDetails(QuotaFailureSchema).length > 0,
  };
}

/** The error of one item of a batch. */
export function refusalOfStatus(status: Status): Refusal {
  return refusalOf(connectErrorOf(status.code, status.message, status));
}

function fromGrpcJs(error: unknown): ConnectError {
  const { code, details, metadata } = error as ServiceError;
  if (typeof code !== "number" || metadata === undefined) throw error;
  const [packed] = metadata.get("grpc-status-details-bin");
  return connectErrorOf(code, details, packed instanceof Buffer ? fromBinary(StatusSchema, packed) : undefined);
}

function connectErrorOf(code: number, message: string, status: Status | undefined): ConnectError {
  const error = new ConnectError(message, code as Code);
  error.details = (status?.details ?? []).map((any) => ({ type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1), value: any.value }));
  return error;
}

function nameOf(code: Code): string {
  return (Code[code] ?? String(code)).replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

/** A reason as the service's own enum names it, for DefinitionIssue. */
export function reasonName(reason: ErrorReason): string {
  return (ErrorReason[reason] ?? "").replace("ERROR_REASON_", "");
}

/** The details of a Connect JSON error. */
export function refusalOfJson(answer: { readonly body: Record<string, unknown> }): Refusal {
  const { code = "", message = "", details = [] } = answer.body as { code?: string; message?: string; details?: { type: string; value: string }[] };
  const error = new ConnectError(message, codeNamed(code));
  error.details = details.map(({ type, value }) => ({ type, value: Buffer.from(value, "base64") }));
  return refusalOf(error);
}

function codeNamed(name: string): Code {
  const camel = name.replace(/(^|_)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());
  const code = (Code as unknown as Record<string, Code | undefined>)[camel];
  if (code === undefined) throw new Error(`"${name}" is no status code`);
  return code;
}
