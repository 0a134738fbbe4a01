/** What is refused in an `http_request` when a definition is saved, beyond the contract's own field rules. */

import type { Json, JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { integerField, isSet, listField, objectField, textField } from "./config-fields.ts";
import { statusPattern } from "./http-answer.ts";
import { headerProblem } from "./http-headers.ts";
import { checkPagination } from "./http-pages.ts";
import type { Report } from "./report.ts";

export const methods = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
export const responseBytesDefault = 1024 * 1024;
export const bodyBytesMax = 5 * 1024 * 1024;
const redirectsMax = 5;

export function checkHttpRequest(config: JsonObject, report: Report): void {
  const method = textField(config, "method") ?? "GET";
  if (!methods.has(method)) report("method", "VALIDATION_FAILED", `is not one of ${[...methods].join(", ")}`);
  checkUrlLiteral(config["url"], "url", report);
  checkHeaderLiterals(objectField(config, "headers"), "headers", report);
  listField(config, "success_statuses").forEach((pattern, index) => {
    if (typeof pattern !== "string" || !statusPattern.test(pattern))
      report(`success_statuses[${index}]`, "VALIDATION_FAILED", 'is neither a status like "404" nor a class like "2xx"');
  });
  const bytesMax = integerField(config, "max_response_bytes") ?? responseBytesDefault;
  const most = isStoredAsFile(config) ? limits.fileBytesMax : bodyBytesMax;
  if (bytesMax < 0 || bytesMax > most) report("max_response_bytes", "LIMIT_EXCEEDED", `must be at most ${most}`);
  const redirects = integerField(config, "max_redirects") ?? 0;
  if (redirects < 0 || redirects > redirectsMax) report("max_redirects", "LIMIT_EXCEEDED", `must be at most ${redirectsMax}`);
  const header = textField(config, "idempotency_header") ?? "Idempotency-Key";
  const problem = header === "-" ? undefined : headerProblem(header, "");
  if (problem) report("idempotency_header", "VALIDATION_FAILED", problem);
  if (isStoredAsFile(config) && isSet(config, "pagination"))
    report("response_type", "VALIDATION_FAILED", "BLOB stores one answer; pages are read, so leave out pagination or response_type");
  checkPagination(config["pagination"], report);
}

export function isStoredAsFile(config: JsonObject): boolean {
  return config["response_type"] === "HTTP_RESPONSE_TYPE_BLOB";
}

/** Only form is judged here; where it may lead is decided when it is called, by the operator's rules of that day. */
export function checkUrlLiteral(url: Json | undefined, path: string, report: Report): void {
  if (typeof url !== "string" || url === "") return report(path, "VALIDATION_FAILED", "give a URL with http or https");
  if (url.includes("{{")) return;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed) report(path, "VALIDATION_FAILED", "is not a URL");
  else if (parsed.protocol !== "http:" && parsed.protocol !== "https:") report(path, "EGRESS_BLOCKED", `${parsed.protocol} is not possible; use http or https`);
  else if (parsed.username !== "" || parsed.password !== "") report(path, "EGRESS_BLOCKED", "must not carry a user name or password");
}

export function checkHeaderLiterals(headers: JsonObject | undefined, path: string, report: Report): void {
  const seen = new Set<string>();
  for (const [name, value] of Object.entries(headers ?? {})) {
    const isTemplate = typeof value === "string" && value.includes("{{");
    const problem = headerProblem(name, isTemplate || typeof value !== "string" ? "" : value);
    if (problem) report(`${path}.${name}`, "VALIDATION_FAILED", problem);
    if (seen.size === seen.add(name.toLowerCase()).size) report(`${path}.${name}`, "VALIDATION_FAILED", "is given twice");
  }
}
