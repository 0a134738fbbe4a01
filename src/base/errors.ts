/**
 * The one error class that reaches a caller. Every refusal names a reason from the closed list below (the same
 * list as enum ErrorReason in the contract; a test compares them) and a sentence that says what to do.
 */
export type ErrorCode =
  | "INVALID_ARGUMENT"
  | "FAILED_PRECONDITION"
  | "ABORTED"
  | "ALREADY_EXISTS"
  | "NOT_FOUND"
  | "PERMISSION_DENIED"
  | "UNAUTHENTICATED"
  | "RESOURCE_EXHAUSTED"
  | "UNAVAILABLE"
  | "DEADLINE_EXCEEDED"
  | "OUT_OF_RANGE"
  | "UNIMPLEMENTED"
  | "INTERNAL";

const reasonsByCode = {
  INVALID_ARGUMENT: [
    "VALIDATION_FAILED",
    "PAGE_TOKEN_INVALID",
    "PAGE_TOKEN_MISMATCH",
    "FILTER_INVALID",
    "ORDER_BY_INVALID",
    "FIELD_MASK_INVALID",
    "DSL_VERSION_UNSUPPORTED",
    "STEP_NAME_DUPLICATE",
    "STEP_TYPE_UNKNOWN",
    "EXPRESSION_INVALID",
    "EXPRESSION_TYPE",
    "UNKNOWN_VARIABLE",
    "SCHEMA_INVALID",
    "LIMIT_EXCEEDED",
    "PIVOT_ORDER",
    "COMPENSATION_INVALID",
    "SECRET_SLOT_UNKNOWN",
    "SUB_WORKFLOW_CYCLE",
    "EGRESS_BLOCKED",
    "PARAMETERS_INVALID",
    "OVERRIDE_INVALID",
    "TEMPLATE_CYCLE",
    "BUNDLE_INVALID",
    "INPUT_SCHEMA_MISMATCH",
    "FIXTURE_MISSING",
    "ENDPOINT_INVALID",
    "RESUME_TOKEN_INVALID",
    "TOKEN_INVALID",
    "STEP_PAYLOAD_MISMATCH",
    "FILE_DIGEST_MISMATCH",
  ],
  NOT_FOUND: [
    "TEMPLATE_NOT_FOUND",
    "TEMPLATE_VERSION_NOT_FOUND",
    "WORKFLOW_NOT_FOUND",
    "REVISION_NOT_FOUND",
    "EXECUTION_NOT_FOUND",
    "STEP_NOT_FOUND",
    "SAGA_NOT_FOUND",
    "TASK_NOT_FOUND",
    "SECRET_NOT_FOUND",
    "FILE_NOT_FOUND",
    "KEY_NOT_FOUND",
    "TENANT_NOT_FOUND",
  ],
  ALREADY_EXISTS: ["NAME_TAKEN", "EXECUTION_EXISTS", "REQUEST_ID_REUSED"],
  ABORTED: ["ETAG_MISMATCH"],
  UNAUTHENTICATED: ["KEY_MISSING", "KEY_INVALID", "KEY_EXPIRED", "KEY_REVOKED"],
  PERMISSION_DENIED: ["SCOPE_MISSING", "TENANT_SUSPENDED"],
  RESOURCE_EXHAUSTED: ["RATE_LIMITED", "QUOTA_EXCEEDED", "STREAM_LIMIT", "OVERLOADED", "CONCURRENCY_LIMIT", "SIGNAL_LIMIT", "PAYLOAD_TOO_LARGE"],
  UNAVAILABLE: ["STORAGE_UNAVAILABLE", "SERVER_DRAINING"],
  DEADLINE_EXCEEDED: ["DEADLINE_EXCEEDED"],
  OUT_OF_RANGE: ["SEQUENCE_AHEAD", "RESUME_EXPIRED"],
  UNIMPLEMENTED: ["FEATURE_DISABLED"],
  INTERNAL: ["INTERNAL_BUG"],
  FAILED_PRECONDITION: [
    "TEMPLATE_BUILT_IN",
    "TEMPLATE_IN_USE",
    "TEMPLATE_NOT_PUBLISHED",
    "NOTHING_TO_PUBLISH",
    "WORKFLOW_NOT_DERIVED",
    "UPGRADE_CONFLICT",
    "WORKFLOW_IN_USE",
    "WORKFLOW_NOT_ACTIVE",
    "WORKFLOW_PAUSED",
    "EXECUTION_TERMINAL",
    "EXECUTION_NOT_TERMINAL",
    "EXECUTION_NOT_RETRYABLE",
    "REVISION_INCOMPATIBLE",
    "PAST_PIVOT",
    "STEP_STATE_CONFLICT",
    "SAGA_STATE_CONFLICT",
    "SAGA_NOT_STUCK",
    "OPEN_STEPS",
    "STALE_TOKEN",
    "EXECUTION_FAILED",
    "FILE_NOT_UPLOADING",
    "FILE_NOT_READY",
    "FILE_OFFSET_CONFLICT",
  ],
} as const satisfies Record<ErrorCode, readonly string[]>;

export type ErrorReason = (typeof reasonsByCode)[ErrorCode][number];

const codeOfReason = new Map<string, ErrorCode>(
  Object.entries(reasonsByCode).flatMap(([code, reasons]) => reasons.map((reason) => [reason, code as ErrorCode])),
);

/** All reasons, for the test that holds them against the contract. */
export const errorReasons: readonly string[] = [...codeOfReason.keys()];

/** One field of a request that is wrong: proto path (`definition.steps[1].name`), reason and a sentence. */
export interface FieldViolation {
  readonly field: string;
  readonly reason: ErrorReason;
  readonly description: string;
}

export interface AppErrorDetails {
  /** Facts a program may act on, keys in lowerCamelCase; never payloads, secrets or another tenant's values. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  /** When to try again, in milliseconds. */
  readonly retryAfterMs?: number;
  readonly cause?: unknown;
}

export class AppError extends Error {
  readonly code: ErrorCode;
  readonly reason: ErrorReason;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;

  constructor(reason: ErrorReason, message: string, details: AppErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "AppError";
    this.code = codeOfReason.get(reason) ?? "INTERNAL";
    this.reason = reason;
    this.metadata = details.metadata ?? {};
    this.violations = details.violations ?? [];
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** The error for a request whose fields are wrong; its reason is that of the first violation. */
export function violationsError(violations: readonly FieldViolation[]): AppError {
  const first = violations[0];
  if (!first) throw new Error("violationsError needs at least one violation");
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  return new AppError(first.reason, `${first.field}: ${first.description}${more}`, { violations });
}

/** The error for a request that lacks a field it cannot do without. */
export function missingField(field: string): AppError {
  return violationsError([{ field, reason: "VALIDATION_FAILED", description: "is required" }]);
}

/** Stops the execution that met a broken invariant; never caused by what a caller sends. */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AppError("INTERNAL_BUG", `broken invariant: ${message}`);
}

/** Text of anything that was thrown, without its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
