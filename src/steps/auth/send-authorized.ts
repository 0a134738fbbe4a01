/**
 * Sends a request of `http_request` with its credentials: put in now, gone afterwards. With OAuth2 an answer 401 means that the
 * token was withdrawn before its time: one new one is fetched and the request sent once more, under the same idempotency key.
 */
import { listField, objectField, textField } from "../config-fields.ts";
import type { EgressOutcome, EgressRequest, StepCall, StepServices } from "../step-handler.ts";
import { bearer, withCredentials } from "./http-credentials.ts";
import { readSecret } from "./read-secret.ts";
import type { TokenRequest } from "./token-source.ts";

/** What was refused before anything was sent may say when to try again. */
export type AuthorizedOutcome = EgressOutcome | (Extract<EgressOutcome, { kind: "failed" }> & { readonly retryAfterMs?: number });

export async function sendAuthorized(call: StepCall, services: StepServices, request: EgressRequest): Promise<AuthorizedOutcome> {
  const prepared = await withCredentials(call, request);
  if (!prepared.ok) return { kind: "failed", outcome: "failed", failure: prepared.fault };
  const oauth = objectField(objectField(call.config, "auth") ?? {}, "oauth2");
  if (!oauth) return services.http.request(prepared.value);

  const clientSecret = await readSecret(call, oauth["client_secret"]);
  if (!clientSecret.ok) return { kind: "failed", outcome: "failed", failure: clientSecret.fault };
  if (clientSecret.value === undefined) return services.http.request(prepared.value);
  const wish: TokenRequest = {
    tenantId: call.tenantId,
    tokenUrl: textField(oauth, "token_url") ?? "",
    clientId: textField(oauth, "client_id") ?? "",
    clientSecret: clientSecret.value,
    scopes: listField(oauth, "scopes").map(String),
  };
  const send = async (refused?: string): Promise<{ readonly token?: string; readonly outcome: AuthorizedOutcome }> => {
    const token = await services.tokens.get(wish, call.signal, refused);
    if (!token.ok) return { outcome: { kind: "failed", outcome: "failed", ...token.fault } };
    call.secrets.conceal(token.value);
    const headers = { ...prepared.value.headers, ...bearer(token.value).headers };
    return { token: token.value, outcome: await services.http.request({ ...prepared.value, headers }) };
  };
  const first = await send();
  return first.outcome.kind === "answered" && first.outcome.status === 401 ? (await send(first.token)).outcome : first.outcome;
}
