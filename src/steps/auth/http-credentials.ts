/**
 * The credentials of `http_request` that are put in as they are: bearer, basic, a key in a header or in the query, headers
 * from secrets, and the signature of the body. OAuth2 needs a token first (`oauth-tokens.ts`).
 *
 * The signature is the header `X-Signature-256: sha256=<hex>`: HMAC-SHA256 with the secret over the bytes of the body, or over
 * nothing when there is none. While the secret is being rotated it carries one more, comma-separated, made with the value before.
 */
import { createHmac } from "node:crypto";
import type { JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { objectField, textField } from "../config-fields.ts";
import { withHeaders } from "../http-headers.ts";
import { thrownFailure } from "../signal-failure.ts";
import type { EgressRequest, StepCall } from "../step-handler.ts";
import { readHeaderSecret, readSecret, slotOf } from "./read-secret.ts";

export const signatureHeader = "x-signature-256";

/** The request with what `auth` and `secret_headers` add, OAuth2 excepted. An optional slot without a secret adds nothing. */
export async function withCredentials(call: StepCall, request: EgressRequest): Promise<Result<EgressRequest, Failure>> {
  const auth = objectField(call.config, "auth") ?? {};
  const headers = await secretHeaders(call, objectField(call.config, "secret_headers") ?? {});
  if (!headers.ok) return headers;
  const added = await schemeOf(call, auth, request);
  if (!added.ok) return added;
  return ok({ ...request, ...added.value, headers: withHeaders(request.headers, { ...headers.value, ...added.value.headers }) });
}

type Added = { readonly headers?: Readonly<Record<string, string>>; readonly url?: string };

async function schemeOf(call: StepCall, auth: JsonObject, request: EgressRequest): Promise<Result<Added, Failure>> {
  if (auth["bearer"]) {
    const token = await readHeaderSecret(call, auth["bearer"]);
    return token.ok ? ok(bearer(token.value)) : token;
  }
  const basic = objectField(auth, "basic");
  if (basic) return basicCredentials(call, basic);
  const apiKey = objectField(auth, "api_key");
  if (apiKey) return keyCredentials(call, apiKey, request);
  if (auth["hmac_sha256"]) return signature(call, auth["hmac_sha256"] as JsonObject, request);
  return ok({});
}

export function bearer(token: string | undefined): Added {
  return token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } };
}

async function basicCredentials(call: StepCall, basic: JsonObject): Promise<Result<Added, Failure>> {
  const username = textField(basic, "username") ?? "";
  if (/[:\p{Cc}]/u.test(username)) return fail(failure("EXPRESSION", "auth.basic.username holds a colon or a control character"));
  const password = await readSecret(call, basic["password"]);
  if (!password.ok) return password;
  if (password.value === undefined) return ok({});
  if (/\p{Cc}/u.test(password.value)) return fail(invalid(basic["password"] as JsonObject, "a password may not hold control characters"));
  const credentials = Buffer.from(`${username}:${password.value}`).toString("base64");
  call.secrets.conceal(credentials);
  return ok({ headers: { authorization: `Basic ${credentials}` } });
}

async function keyCredentials(call: StepCall, apiKey: JsonObject, request: EgressRequest): Promise<Result<Added, Failure>> {
  const header = textField(apiKey, "header");
  const value = await (header === undefined ? readSecret : readHeaderSecret)(call, apiKey["value"]);
  if (!value.ok) return value;
  if (value.value === undefined) return ok({});
  if (header !== undefined) return ok({ headers: { [header]: value.value } });
  if (!URL.canParse(request.url)) return ok({});
  const url = new URL(request.url);
  // Appended to what stands there: the query is not written anew.
  url.search = `${url.search}${url.search === "" ? "?" : "&"}${new URLSearchParams([[textField(apiKey, "query_parameter") ?? "", value.value]])}`;
  return ok({ url: url.href });
}

async function signature(call: StepCall, reference: JsonObject, request: EgressRequest): Promise<Result<Added, Failure>> {
  const keys = await call.secrets.resolveAll(slotOf(reference));
  if (!keys.ok) return keys;
  if (keys.value.length === 0) return ok({});
  const made = keys.value.map((key) => createHmac("sha256", key));
  const body = request.body ?? "";
  try {
    for await (const piece of typeof body === "object" && "read" in body ? body.read() : [body]) for (const hmac of made) hmac.update(piece);
  } catch (fault) {
    return fail(thrownFailure(fault));
  }
  return ok({ headers: { [signatureHeader]: made.map((hmac) => `sha256=${hmac.digest("hex")}`).join(",") } });
}

async function secretHeaders(call: StepCall, references: JsonObject): Promise<Result<Readonly<Record<string, string>>, Failure>> {
  const headers: [string, string][] = [];
  for (const [name, reference] of Object.entries(references)) {
    const value = await readHeaderSecret(call, reference);
    if (!value.ok) return value;
    if (value.value !== undefined) headers.push([name, value.value]);
  }
  return ok(Object.fromEntries(headers));
}

function invalid(reference: JsonObject, why: string): Failure {
  return failure("SECRET.INVALID", `the secret of slot "${slotOf(reference)}" cannot be sent: ${why}`);
}
