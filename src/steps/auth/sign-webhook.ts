/**
 * Signatures after Standard Webhooks: HMAC-SHA256 over `id.timestamp.body`, written `v1,<base64>`. While the secret is being
 * rotated there is one for each value that is still valid, so that receivers change over in their own time.
 */
import { createHmac } from "node:crypto";
import type { Json } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import type { StepCall } from "../step-handler.ts";
import { slotOf } from "./read-secret.ts";

export interface WebhookMessage {
  readonly id: string;
  /** Seconds since the epoch. */
  readonly timestamp: string;
  readonly body: string;
}

/** The header `webhook-signature`; nothing when no secret is named, or an optional slot has none. */
export async function signWebhook(
  call: Pick<StepCall, "secrets">,
  reference: Json | undefined,
  { id, timestamp, body }: WebhookMessage,
): Promise<Result<Readonly<Record<string, string>>, Failure>> {
  if (reference === undefined || reference === null) return ok({});
  const secrets = await call.secrets.resolveAll(slotOf(reference));
  if (!secrets.ok) return secrets;
  const keys = secrets.value.map(keyOf);
  if (keys.some((key) => key.length === 0)) {
    return fail(failure("SECRET.INVALID", `the secret of slot "${slotOf(reference)}" is not whsec_ followed by base64`));
  }
  const signatures = keys.map((key) => `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64")}`);
  return ok(signatures.length === 0 ? {} : { "webhook-signature": signatures.join(" ") });
}

/** `whsec_` and base64 is the form that the convention's tools make; any other text is taken by its bytes. */
function keyOf(secret: string): Buffer {
  if (!secret.startsWith("whsec_")) return Buffer.from(secret);
  const text = secret.slice("whsec_".length);
  return /^[A-Za-z0-9+/_-]+={0,2}$/.test(text) ? Buffer.from(text, "base64") : Buffer.alloc(0);
}
