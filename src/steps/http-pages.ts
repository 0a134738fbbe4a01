/**
 * Pagination of `http_request`: asks page after page, as the definition says where the next one is, and collects their items. The
 * pages of one attempt share its time, its signal and one bound of bytes; each has an idempotency key of its own, equal on every
 * attempt. A failed page fails the attempt, and the next one begins with the first page again.
 */
import { isJsonObject, type Json, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { integerField, isSet, objectField, textField, textOf } from "./config-fields.ts";
import type { Report } from "./report.ts";
import type { StepCall, StepOutcome } from "./step-handler.ts";

const pagesDefault = 100;
const pagesMax = 1_000;

/** Asks one page; its success is the result `{status, headers, body}` of a single call. */
export type AskPage = (page: { readonly url: string; readonly idempotencyKey: string }) => Promise<StepOutcome>;

/** The result is `{items, pages}`. `firstUrl` has the step's query already. */
export async function collectPages(call: StepCall, firstUrl: string, ask: AskPage): Promise<StepOutcome> {
  const config = objectField(call.config, "pagination") ?? {};
  const most = Math.min(integerField(config, "max_pages") ?? pagesDefault, pagesMax);
  const items: Json[] = [];
  const asked = new Set<string>();
  let bytes = 0;
  let url: string | undefined = startUrl(config, firstUrl);
  let pages = 0;
  while (url !== undefined && pages < most) {
    // Pages before this one may have had effects: whatever fails from here on is not surely without any.
    if (asked.has(url)) return unknown(failure("LIMIT.PAGES", `page ${pages + 1} leads back to a page that was read already`));
    asked.add(url);
    const outcome = await ask({ url, idempotencyKey: pages === 0 ? call.idempotencyKey : `${call.idempotencyKey}/page/${pages + 1}` });
    if (outcome.kind !== "succeeded") return pages === 0 || outcome.kind !== "failed" ? outcome : { ...outcome, outcome: "unknown" };
    pages++;
    const result = outcome.result;
    const found = itemsOf(call, result, pages);
    if (!found.ok) return unknown(found.fault);
    bytes += found.value.reduce<number>((sum, item) => sum + jsonBytes(item) + 1, 0);
    if (bytes > limits.resultBytesMax) return unknown(failure("LIMIT.BODY", `the items of ${pages} pages are larger than ${limits.resultBytesMax} bytes`));
    items.push(...found.value);
    const next = nextUrl(call, config, { result, firstUrl, url, pages, isEmpty: found.value.length === 0 });
    if (!next.ok) return unknown(next.fault);
    url = next.value;
  }
  return { kind: "succeeded", result: { items, pages } };
}

function itemsOf(call: StepCall, result: Json, page: number): Result<readonly Json[], Failure> {
  const items = call.evaluate("pagination.items", { result });
  if (!items.ok) return items;
  return Array.isArray(items.value) ? ok(items.value) : fail(failure("EXPRESSION", `pagination.items gives no list on page ${page}`));
}

function startUrl(config: JsonObject, firstUrl: string): string {
  return isSet(config, "first_page") ? withParameter(firstUrl, config, textOf(config["first_page"] as Json)) : firstUrl;
}

interface PageRead {
  readonly result: Json;
  readonly firstUrl: string;
  readonly url: string;
  readonly pages: number;
  readonly isEmpty: boolean;
}

/** Undefined: this was the last page. */
function nextUrl(call: StepCall, config: JsonObject, read: PageRead): Result<string | undefined, Failure> {
  if (isSet(config, "first_page")) {
    return ok(read.isEmpty ? undefined : withParameter(read.firstUrl, config, String(Number(config["first_page"]) + read.pages)));
  }
  const path = textField(config, "next_url") === undefined ? "pagination.next_cursor" : "pagination.next_url";
  const next = call.evaluate(path, { result: read.result });
  if (!next.ok) return next;
  if (next.value === null || next.value === "") return ok(undefined);
  if (typeof next.value !== "string" && typeof next.value !== "number")
    return fail(failure("EXPRESSION", `${path} gives neither text nor null on page ${read.pages}`));
  if (path === "pagination.next_cursor") return ok(withParameter(read.firstUrl, config, textOf(next.value)));
  const text = textOf(next.value);
  const url = URL.canParse(text, read.url) ? new URL(text, read.url) : undefined;
  if (!url) return fail(failure("EXPRESSION", `${path} gives no URL on page ${read.pages}`));
  if (url.origin !== new URL(read.firstUrl).origin) return fail(failure("LIMIT.PAGES", `page ${read.pages} leads to another origin, which is never followed`));
  return ok(url.href);
}

function withParameter(url: string, config: JsonObject, value: string): string {
  if (!URL.canParse(url)) return url;
  const parsed = new URL(url);
  parsed.searchParams.set(textField(config, "parameter") ?? "", value);
  return parsed.href;
}

function unknown(reason: Failure): StepOutcome {
  return { kind: "failed", outcome: "unknown", failure: reason };
}

/** What is refused at save. */
export function checkPagination(pagination: Json | undefined, report: Report): void {
  if (!isJsonObject(pagination)) return;
  const ways = ["next_url", "next_cursor", "first_page"].filter((name) => isSet(pagination, name));
  if (ways.length !== 1) report("pagination", "VALIDATION_FAILED", "give one of next_url, next_cursor and first_page");
  if (textField(pagination, "items") === undefined) report("pagination.items", "VALIDATION_FAILED", "give the list of a page, for example result.body.data");
  const named = textField(pagination, "parameter");
  if (ways.length === 1 && ways[0] !== "next_url" && named === undefined)
    report("pagination.parameter", "VALIDATION_FAILED", "give the query parameter that carries the cursor or page number");
  if (ways[0] === "next_url" && named !== undefined) report("pagination.parameter", "VALIDATION_FAILED", "is not used with next_url, which is a whole address");
  const pages = integerField(pagination, "max_pages") ?? pagesDefault;
  if (pages < 0 || pages > pagesMax) report("pagination.max_pages", "LIMIT_EXCEEDED", `must be at most ${pagesMax}`);
}
