/** Metadata of outgoing gRPC calls: what a definition may set, and what every call carries from us (contract §9). */
import type { JsonObject } from "../base/json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { textOf } from "./config-fields.ts";
import { callHeaders, checkHeaders, headerProblem, quotedKey } from "./http-headers.ts";
import type { StepCall } from "./step-handler.ts";

/** Framing belongs to the client, and the key is the step's own: `idempotency_key` of the step changes it. */
const reserved = /^(?:grpc-.*|content-type|content-encoding|accept-encoding|user-agent|idempotency-key|:.*)$/;

/** Why a definition may not set this key, or undefined. */
export function metadataProblem(key: string, value: string): string | undefined {
  if (!/^[0-9a-z_.-]+$/.test(key)) return "is not a metadata key: lower-case letters, digits, _ - and .";
  if (reserved.test(key)) return "is set by the service and cannot be given";
  const problem = headerProblem(key, value);
  if (problem !== undefined) return problem;
  if (key.endsWith("-bin")) return /^[A-Za-z0-9+/]*={0,2}$/.test(value) ? undefined : "has a value that is not base64, as -bin keys need";
  return /^[\u0020-\u007e]*$/.test(value) ? undefined : "has a value that is not printable ASCII; use a -bin key with base64";
}

/** The metadata of one attempt. Values that are null are left out. */
export function metadataOf(call: StepCall, given: JsonObject | undefined): Result<Record<string, string>, Failure> {
  const members = Object.entries(given ?? {}).filter(([, value]) => value !== null);
  const texts = Object.fromEntries(members.map(([key, value]) => [key, textOf(value)]));
  for (const [key, value] of Object.entries(texts)) {
    const problem = metadataProblem(key, value);
    if (problem) return fail(failure("EXPRESSION", `metadata "${key.slice(0, 100)}" ${problem}`));
  }
  const checked = checkHeaders(texts);
  if (!checked.ok) return checked;
  return ok({ ...checked.value, ...callHeaders(call), "idempotency-key": quotedKey(call.idempotencyKey) });
}
