/** What went wrong → an exit code and what to tell. */
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  PreconditionFailureSchema,
  QuotaFailureSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "#gen/google/rpc/error_details_pb.js";
import { exit, exitCodeOf } from "./exit-codes.ts";
import { spanText } from "./spans.ts";
import { UsageError } from "./usage-error.ts";

export interface Refusal {
  readonly exitCode: number;
  readonly lines: readonly string[];
}

export function refusalOf(error: unknown, url: string): Refusal {
  if (error instanceof UsageError) {
    const help = error.command === "" ? "pawf --help" : `pawf ${error.command} --help`;
    return { exitCode: exit.usage, lines: [`pawf: ${error.message}`, `  see ${help}`] };
  }
  if (!(error instanceof ConnectError)) throw error;
  const reason = reasonOf(error);
  const heading = [codeName(error.code), reason].filter(Boolean).join(" ");
  const lines = [`pawf: ${heading}: ${error.rawMessage || "(no message)"}`];
  const violations = error.findDetails(BadRequestSchema).flatMap((bad) => bad.fieldViolations);
  for (const { field, reason: rule, description } of violations) lines.push(`  field ${field}: ${description}${rule && rule !== reason ? ` (${rule})` : ""}`);
  for (const { violations: states } of error.findDetails(PreconditionFailureSchema)) {
    for (const { type, subject, description } of states) lines.push(`  ${[type, subject].filter(Boolean).join(" ")}: ${description}`);
  }
  for (const { violations: quotas } of error.findDetails(QuotaFailureSchema)) {
    for (const { subject, description } of quotas) lines.push(`  quota ${subject}: ${description}`);
  }
  const advice = adviceFor(error, reason, url);
  if (advice !== "") lines.push(`  ${advice}`);
  const [request] = error.findDetails(RequestInfoSchema);
  if (request) lines.push(`  request ${request.requestId}`);
  return { exitCode: exitCodeOf(error.code), lines };
}

/** The reason of the catalogue; empty when the error is not the service's word, for example a connection that broke. */
export function reasonOf(error: ConnectError): string {
  return error.findDetails(ErrorInfoSchema)[0]?.reason ?? "";
}

/** `INVALID_ARGUMENT` */
export function codeName(code: Code): string {
  return (Code[code] ?? String(code)).replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}

function adviceFor(error: ConnectError, reason: string, url: string): string {
  const [retry] = error.findDetails(RetryInfoSchema);
  if (retry?.retryDelay) return `try again in ${spanText(durationMs(retry.retryDelay))}`;
  switch (reason) {
    case "":
      return error.code === Code.Unavailable ? `is the service running at ${url}? \`npm start\` serves; PAWF_URL or --url names another address` : "";
    case "KEY_MISSING":
      return "set PAWF_API_KEY, or --key @FILE; `npm start` keeps its development key in .pawf/dev.key";
    case "KEY_INVALID":
    case "KEY_EXPIRED":
    case "KEY_REVOKED":
      return "PAWF_API_KEY (or --key) holds another server's key, or one that has ended";
    case "SCOPE_MISSING":
      return "use a key that holds the scope, or make one: pawf key create NAME --scope SCOPE";
    case "EXECUTION_NOT_FOUND":
      return "pawf execution list shows those that there are";
    case "WORKFLOW_NOT_FOUND":
      return "pawf workflow list shows those that there are";
    case "TEMPLATE_NOT_FOUND":
      return "pawf template list shows those that there are";
    case "SAGA_NOT_FOUND":
      return "pawf saga list shows those that there are";
    default:
      return "";
  }
}
