/** What is refused in `auth` and `secret_headers` when a definition is saved: two writers of one header, and names that are ours. */
import type { JsonObject } from "../../base/json.ts";
import { objectField, textField } from "../config-fields.ts";
import { headerProblem } from "../http-headers.ts";
import { checkUrlLiteral } from "../http-request-check.ts";
import type { Report } from "../report.ts";
import { signatureHeader } from "./http-credentials.ts";

/** Where SecretRefs stand in an `http_request`. */
export const httpSecretRefs = ["auth.bearer", "auth.basic.password", "auth.api_key.value", "auth.oauth2.client_secret", "auth.hmac_sha256", "secret_headers.*"];

export function checkAuth(config: JsonObject, report: Report): void {
  const auth = objectField(config, "auth") ?? {};
  const secretHeaders = Object.keys(objectField(config, "secret_headers") ?? {});
  const given = new Set(Object.keys(objectField(config, "headers") ?? {}).map((name) => name.toLowerCase()));
  for (const name of secretHeaders) {
    const problem = headerProblem(name, "");
    if (problem) report(`secret_headers.${name}`, "VALIDATION_FAILED", problem);
    else if (given.has(name.toLowerCase())) report(`secret_headers.${name}`, "VALIDATION_FAILED", "is given twice");
    given.add(name.toLowerCase());
  }
  const ours = authHeader(auth);
  const problem = ours && headerProblem(ours, "");
  if (problem) report("auth.api_key.header", "VALIDATION_FAILED", problem);
  if (ours && given.has(ours.toLowerCase())) report("auth", "VALIDATION_FAILED", `sets the header ${ours}, which is given as well; keep one of them`);
  const oauth = objectField(auth, "oauth2");
  if (!oauth) return;
  checkUrlLiteral(oauth["token_url"], "auth.oauth2.token_url", report);
}

/** The header that a scheme writes. */
function authHeader(auth: JsonObject): string | undefined {
  const apiKey = objectField(auth, "api_key");
  if (apiKey) return textField(apiKey, "header");
  if (auth["hmac_sha256"]) return signatureHeader;
  return Object.keys(auth).length > 0 ? "authorization" : undefined;
}
