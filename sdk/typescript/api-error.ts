/** The one error that calls of the service throw, with what a program may act on. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RequestInfoSchema, RetryInfoSchema } from "#gen/google/rpc/error_details_pb.js";
import type { Status } from "#gen/google/rpc/status_pb.js";
import type { ErrorReason } from "#gen/pyairtable/workflow/v1/failure_pb.js";

/** A reason of the service's catalogue. A newer service may know more of them. */
export type ReasonName = Exclude<keyof typeof ErrorReason, "UNSPECIFIED">;

/** gRPC's status codes by name. */
export type CodeName =
  | "CANCELED"
  | "UNKNOWN"
  | "INVALID_ARGUMENT"
  | "DEADLINE_EXCEEDED"
  | "NOT_FOUND"
  | "ALREADY_EXISTS"
  | "PERMISSION_DENIED"
  | "RESOURCE_EXHAUSTED"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL"
  | "UNAVAILABLE"
  | "DATA_LOSS"
  | "UNAUTHENTICATED";

export interface FieldViolation {
  /** Path of the field, for example `workflow.definition.steps[1].name`. */
  readonly field: string;
  readonly reason: string;
  readonly description: string;
}

export interface ApiErrorFacts {
  readonly code: CodeName;
  /** Absent when no service answered: a lost connection, or a proxy's word. */
  readonly reason?: ReasonName | undefined;
  /** Facts for programs, keys in lowerCamelCase. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly fieldViolations?: readonly FieldViolation[];
  /** The service asks to wait so long before the next try. */
  readonly retryAfterMs?: number | undefined;
  /** Names the call in the service's logs; empty when no service answered. */
  readonly requestId?: string;
  readonly cause?: unknown;
}

/** A call was refused, or did not get through: then its code is UNAVAILABLE. The message says what to do. */
export class WorkflowApiError extends Error {
  readonly code: CodeName;
  readonly reason: ReasonName | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly fieldViolations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;
  readonly requestId: string;

  constructor(message: string, { code, reason, metadata = {}, fieldViolations = [], retryAfterMs, requestId = "", cause }: ApiErrorFacts) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "WorkflowApiError";
    this.code = code;
    this.reason = reason;
    this.metadata = metadata;
    this.fieldViolations = fieldViolations;
    this.retryAfterMs = retryAfterMs;
    this.requestId = requestId;
  }
}

/** Whether `error` is the service's refusal for this reason. */
export function isReason<Reason extends ReasonName>(error: unknown, reason: Reason): error is WorkflowApiError & { readonly reason: Reason } {
  return error instanceof WorkflowApiError && error.reason === reason;
}

/** Carries what the program's own code threw (its key function) through a transport, which would take it for its own failure. */
export class ProgramError extends Error {
  constructor(cause: unknown) {
    super("the program's own error", { cause });
    this.name = "ProgramError";
  }
}

/** Anything that a transport throws, as the one error. Throws what comes from the program itself as it is: no other try would change it. */
export function toApiError(thrown: unknown): WorkflowApiError {
  if (thrown instanceof WorkflowApiError) return thrown;
  if (!(thrown instanceof ConnectError)) throw thrown;
  if (thrown.cause instanceof ProgramError) throw thrown.cause.cause;
  const error = thrown;
  const [info] = error.findDetails(ErrorInfoSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  const answered = info !== undefined;
  return new WorkflowApiError(!answered && lost.has(error.code) ? `the connection was lost: ${error.rawMessage}` : error.rawMessage, {
    code: !answered && lost.has(error.code) ? "UNAVAILABLE" : nameOf(error.code),
    reason: (info?.reason ?? (error.code === Code.DeadlineExceeded ? "DEADLINE_EXCEEDED" : undefined)) as ReasonName | undefined,
    metadata: info?.metadata ?? {},
    fieldViolations: error
      .findDetails(BadRequestSchema)
      .flatMap((bad) => bad.fieldViolations.map(({ field, reason, description }) => ({ field, reason, description }))),
    retryAfterMs: retry?.retryDelay && durationMs(retry.retryDelay),
    requestId: error.findDetails(RequestInfoSchema)[0]?.requestId ?? "",
    cause: thrown,
  });
}

/** The error of one item of a batch (`BatchStartExecutions`, `CompleteTasks`). */
export function errorOfStatus({ code, message, details }: Status): WorkflowApiError {
  const error = new ConnectError(message, code as Code);
  error.details = details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return toApiError(error);
}

/** The service names a reason with every error. Without one, these are a stream or connection that was reset under the call. */
const lost: ReadonlySet<Code> = new Set([Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown, Code.Unavailable]);

/** NotFound → NOT_FOUND. */
function nameOf(code: Code): CodeName {
  return (Code[code] ?? "Unknown").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() as CodeName;
}
