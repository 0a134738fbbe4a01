/** Secrets as parts of requests: found by their SecretRef, and refused where a header cannot carry them. */
import { isJsonObject, type Json } from "../../base/json.ts";
import { fail, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import type { StepCall } from "../step-handler.ts";

/** The slot that a SecretRef names. */
export function slotOf(reference: Json | undefined): string {
  return isJsonObject(reference) && typeof reference["slot"] === "string" ? reference["slot"] : "";
}

/** The value of a SecretRef; undefined for an optional slot without a secret. */
export function readSecret(call: StepCall, reference: Json | undefined): Promise<Result<string | undefined, Failure>> {
  return call.secrets.resolve(slotOf(reference));
}

/** What a header may carry: printable ASCII. Others would break the request, or be sent as something else. */
const sendable = /^[\u0020-\u007e]+$/;

/** As `readSecret`, for a value that is sent in a header as it stands. */
export async function readHeaderSecret(call: StepCall, reference: Json | undefined): Promise<Result<string | undefined, Failure>> {
  const secret = await readSecret(call, reference);
  if (!secret.ok || secret.value === undefined || sendable.test(secret.value)) return secret;
  return fail(
    failure("SECRET.INVALID", `the secret of slot "${slotOf(reference)}" holds characters that a header cannot carry; set it again without line breaks`),
  );
}
