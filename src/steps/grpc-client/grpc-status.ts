/** The status of a call, as trailers carry it. */
import { createRegistry, fromBinary, toJson } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import * as details from "#gen/google/rpc/error_details_pb.js";
import { StatusSchema } from "#gen/google/rpc/status_pb.js";
import { type Json, jsonBytes } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import type { GrpcStatus } from "../grpc-egress.ts";
import { parseJsonText } from "../json-text.ts";

export const codeNames = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

export type CodeName = (typeof codeNames)[number];

/** What a status may bring into an event, in bytes of JSON. */
const detailBytesMax = 8 * 1024;
const detailsMax = 16;

const registry = createRegistry(details.file_google_rpc_error_details);

export type Headers = Readonly<Record<string, string | string[] | number | undefined>>;

/** The status in trailers (or in headers of an answer without a body); undefined when there is none. */
export function readStatus(trailers: Headers): GrpcStatus | undefined {
  const text = first(trailers["grpc-status"]);
  if (text === undefined) return undefined;
  const code = /^\d{1,2}$/.test(text) && codeNames[Number(text)] !== undefined ? Number(text) : codeNames.indexOf("UNKNOWN");
  const message = decodeMessage(first(trailers["grpc-message"]) ?? "");
  const rich = readDetails(first(trailers["grpc-status-details-bin"]));
  return {
    code,
    codeName: codeNames[code] as CodeName,
    message,
    details: rich.details,
    retryAfterMs: cap(rich.retryAfterMs ?? pushback(first(trailers["grpc-retry-pushback-ms"]))),
    isGrpc: true,
  };
}

/** What stands for the status when something between us and the server answered in plain HTTP (gRPC's own table). */
export function statusOfHttp(httpStatus: number): GrpcStatus {
  return ownStatus(httpCodes[httpStatus] ?? "UNKNOWN", `the answer is HTTP ${httpStatus}, not gRPC`);
}

const httpCodes: Readonly<Record<number, CodeName>> = {
  400: "INTERNAL",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "UNIMPLEMENTED",
  429: "UNAVAILABLE",
  502: "UNAVAILABLE",
  503: "UNAVAILABLE",
  504: "UNAVAILABLE",
};

/** A status that we make up because what came cannot be read as one. */
export function ownStatus(codeName: CodeName, message: string): GrpcStatus {
  return { code: codeNames.indexOf(codeName), codeName, message, details: [], retryAfterMs: undefined, isGrpc: false };
}

function first(value: string | string[] | number | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value === undefined ? undefined : String(value);
}

/** Percent-encoded UTF-8, never longer than the header block; what cannot be decoded is shown as it came. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text).toWellFormed();
  } catch {
    return text.toWellFormed();
  }
}

function pushback(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
}

function cap(delayMs: number | undefined): number | undefined {
  return delayMs === undefined ? undefined : Math.min(Math.max(delayMs, 0), limits.serverDelayMsMax);
}

/** Details of types we do not know are left out, and so are those that do not fit into an event. */
function readDetails(text: string | undefined): { readonly details: readonly Json[]; readonly retryAfterMs?: number } {
  if (text === undefined) return { details: [] };
  try {
    const status = fromBinary(StatusSchema, Buffer.from(text, "base64"));
    const known = status.details.slice(0, detailsMax).flatMap((any) => anyUnpack(any, registry) ?? []);
    const shown: Json[] = [];
    let retryAfterMs: number | undefined;
    let bytes = 0;
    for (const detail of known) {
      const schema = registry.getMessage(detail.$typeName);
      if (!schema) continue;
      const delay = detail.$typeName === "google.rpc.RetryInfo" ? (detail as details.RetryInfo).retryDelay : undefined;
      if (delay) retryAfterMs = Number(delay.seconds) * 1000 + Math.round(delay.nanos / 1e6);
      const json = parseJsonText(JSON.stringify({ type: detail.$typeName, ...(toJson(schema, detail) as object) }), "details", limits.jsonDepthMax - 8);
      if (json.ok && (bytes += jsonBytes(json.value)) <= detailBytesMax) shown.push(json.value);
    }
    return { details: shown, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
  } catch {
    return { details: [] };
  }
}
