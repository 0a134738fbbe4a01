/**
 * `http_request`: one HTTP call. The result is `{status, headers, body}`, `{status, headers, blob}` when the answer is stored as a file, with
 * pagination `{items, pages}`. What an answer means for the saga is read after
 * the table of saga.md §7 (`http-answer.ts`); whether it is tried again is decided by the failure's name alone.
 */
import type { Json, JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { checkAuth, httpSecretRefs } from "./auth/check-auth.ts";
import { sendAuthorized } from "./auth/send-authorized.ts";
import { failedWith, integerField, isSet, listField, objectField, textField, textOf } from "./config-fields.ts";
import { describeTarget, destinationOf } from "./egress/describe-target.ts";
import { fileReference } from "./file-reference.ts";
import { type Answer, isStillAtWork, matchesStatus, type ResponseType, readBody, readRetryAfter, statusFailure, stillAtWork } from "./http-answer.ts";
import { fileBody, keepAnswer } from "./http-files.ts";
import { callHeaders, checkHeaders, quotedKey, withHeaders } from "./http-headers.ts";
import { collectPages } from "./http-pages.ts";
import { bodyBytesMax, checkHttpRequest, isStoredAsFile, methods, responseBytesDefault } from "./http-request-check.ts";
import type { StepFile } from "./step-files.ts";
import type { AnswerHead, EgressRequest, StepCall, StepHandler, StepOutcome, StepServices } from "./step-handler.ts";

const readingMethods = new Set(["GET", "HEAD", "OPTIONS"]);

export const httpRequest: StepHandler = {
  type: "http_request",
  nature: "effect",
  fields: {
    url: { as: "template" },
    query: { as: "template" },
    headers: { as: "template" },
    json: { as: "template" },
    text: { as: "template" },
    form: { as: "template" },
    blob_id: { as: "template" },
    "auth.basic.username": { as: "template" },
    "auth.oauth2.client_id": { as: "template" },
    success_when: { as: "expression", adds: ["result"], kinds: ["bool"] },
    "pagination.next_url": { as: "expression", adds: ["result"], kinds: ["string", "null"] },
    "pagination.next_cursor": { as: "expression", adds: ["result"], kinds: ["string", "null", "int", "uint", "double"] },
    "pagination.items": { as: "expression", adds: ["result"], kinds: ["list"] },
  },
  secretRefs: httpSecretRefs,
  startToCloseMs: 30_000,
  startToCloseMsMax: 15 * 60_000,
  naturalKind: (config) => (readingMethods.has(methodOf(config)) ? "readonly" : undefined),
  destination: (config) => destinationOf(textField(config, "url")),
  check(config, report) {
    checkHttpRequest(config, report);
    checkAuth(config, report);
  },

  async run(call, services) {
    const request = await buildRequest(call, services);
    if (!request.ok) return failedWith(request.fault);
    if (isStoredAsFile(call.config)) return askForFile(call, services, request.value);
    const ask = async (asked: EgressRequest): Promise<StepOutcome> => {
      const answer = await sendAuthorized(call, services, asked);
      return answer.kind === "answered" ? readAnswer(call, asked, answer) : answer;
    };
    if (!isSet(call.config, "pagination")) return ask(request.value);
    return collectPages(call, request.value.url, async ({ url, idempotencyKey }) => {
      const page = await buildRequest({ ...call, idempotencyKey }, services);
      return page.ok ? ask({ ...page.value, url }) : failedWith(page.fault);
    });
  },
};

function methodOf(config: JsonObject): string {
  return textField(config, "method") ?? "GET";
}

/** Only success is stored; what else is answered is read. A file that nobody will be told of is taken back. */
async function askForFile(call: StepCall, services: StepServices, request: EgressRequest): Promise<StepOutcome> {
  const bytesMax = Math.min(integerField(call.config, "max_response_bytes") ?? responseBytesDefault, limits.fileBytesMax);
  const accepts = (head: AnswerHead): boolean => isBodyDue(request, head) && isSuccess(call, head) && !(call.isParticipant && isStillAtWork(head));
  const kept = keepAnswer(call, services, { url: request.url, bytesMax, accepts });
  const answer = await sendAuthorized(call, services, { ...request, sink: kept.sink });
  const outcome = answer.kind === "answered" ? readAnswer(call, request, answer, kept.file() ?? null) : answer;
  if (outcome.kind !== "succeeded") await kept.discard();
  return outcome;
}

async function buildRequest(call: StepCall, services: StepServices): Promise<Result<EgressRequest, Failure>> {
  const { config } = call;
  const method = methodOf(config);
  if (!methods.has(method)) return fail(failure("EXPRESSION", `"${method.slice(0, 40)}" is not an HTTP method of this step`));
  const url = textField(config, "url");
  if (url === undefined) return fail(failure("EXPRESSION", "url is empty or not text"));
  const body = isSet(config, "blob_id") ? await fileBody(call, services, textOf(config["blob_id"] as Json)) : buildBody(config);
  if (!body.ok) return body;
  const given = checkHeaders(textMembers(objectField(config, "headers")));
  if (!given.ok) return given;
  const idempotencyHeader = textField(config, "idempotency_header") ?? "Idempotency-Key";
  const ours = {
    accept: isStoredAsFile(config) ? "*/*" : "application/json, */*;q=0.9",
    ...callHeaders(call),
    ...services.siblings?.headersFor(call, url),
    ...(idempotencyHeader === "-" ? {} : { [idempotencyHeader]: quotedKey(call.idempotencyKey) }),
    ...(body.value ? { "content-type": body.value.mediaType } : {}),
  };
  return ok({
    tenantId: call.tenantId,
    method,
    url: withQuery(url, textMembers(objectField(config, "query"))),
    headers: withHeaders(ours, given.value),
    ...(body.value ? { body: body.value.content } : {}),
    responseBytesMax: Math.min(integerField(config, "max_response_bytes") ?? responseBytesDefault, bodyBytesMax),
    redirectsMax: integerField(config, "max_redirects") ?? 0,
    signal: call.signal,
  });
}

function buildBody(config: JsonObject): Result<{ readonly content: string; readonly mediaType: string } | undefined, Failure> {
  const body = isSet(config, "json")
    ? { content: JSON.stringify(config["json"]), mediaType: "application/json" }
    : isSet(config, "text")
      ? { content: textOf(config["text"] as Json), mediaType: "text/plain; charset=utf-8" }
      : isSet(config, "form")
        ? { content: formText(config["form"] as JsonObject), mediaType: "application/x-www-form-urlencoded" }
        : undefined;
  const bytes = Buffer.byteLength(body?.content ?? "");
  return bytes > bodyBytesMax ? fail(failure("LIMIT.BODY", `the request body has ${bytes} bytes, the limit is ${bodyBytesMax}`)) : ok(body);
}

/** A list becomes the field repeated, null is left out, an object inside is sent as JSON text. */
function formText(form: JsonObject): string {
  const pairs = Object.entries(form).flatMap(([name, value]) => (Array.isArray(value) ? value : [value]).map((item): [string, Json] => [name, item]));
  return new URLSearchParams(pairs.filter(([, value]) => value !== null).map(([name, value]): [string, string] => [name, textOf(value)])).toString();
}

/** Values as text; null means "not this one", so that an optional parameter can be written as one template. */
function textMembers(members: JsonObject | undefined): Record<string, string> {
  const given = Object.entries(members ?? {}).filter(([, value]) => value !== null);
  return Object.fromEntries(given.map(([name, value]) => [name, textOf(value)]));
}

/** Appends to the query a URL already has, without rewriting what stands there. */
function withQuery(url: string, query: Readonly<Record<string, string>>): string {
  if (Object.keys(query).length === 0 || !URL.canParse(url)) return url;
  const parsed = new URL(url);
  parsed.search = `${parsed.search}${parsed.search === "" ? "?" : "&"}${new URLSearchParams(query)}`;
  return parsed.href;
}

function isSuccess(call: StepCall, { status }: AnswerHead): boolean {
  const patterns = listField(call.config, "success_statuses").map(String);
  return matchesStatus(patterns.length > 0 ? patterns : ["2xx"], status);
}

function isBodyDue({ method }: EgressRequest, { status }: AnswerHead): boolean {
  return method !== "HEAD" && status !== 204 && status !== 205;
}

/** `file` is the answer stored, or null when there was none to store; without it the body is read. */
function readAnswer(call: StepCall, request: EgressRequest, answer: Answer, file?: StepFile | null): StepOutcome {
  const isGone = call.operation === "compensate" && answer.status === 410; // nothing there to undo
  if (call.isParticipant && isStillAtWork(answer)) return stillAtWork(call, request, answer);
  if (!isGone && !isSuccess(call, answer)) return statusFailure(call, request, answer);
  const head = { status: answer.status, headers: answer.headers as JsonObject };
  const body = file === undefined ? readBody(answer, responseTypeOf(call.config), isBodyDue(request, answer)) : ok(null);
  if (!body.ok) return unknown(body.fault);
  const result = file === undefined ? { ...head, body: body.value } : { ...head, blob: file && fileReference(file) };
  return isGone ? { kind: "succeeded", result, nothingToUndo: true } : checkSuccess(call, request, answer, result);
}

/** `success_when` decides over an answer that was a success by its status; "not yet" is the usual meaning of false. */
function checkSuccess(call: StepCall, request: EgressRequest, answer: Answer, result: JsonObject): StepOutcome {
  if (!textField(call.config, "success_when")) return { kind: "succeeded", result };
  const verdict = call.evaluate("success_when", { result });
  if (!verdict.ok) return unknown(verdict.fault);
  if (verdict.value === true) return { kind: "succeeded", result };
  if (verdict.value !== false) return unknown(failure("EXPRESSION", `success_when gives ${JSON.stringify(verdict.value).slice(0, 100)}, not a boolean`));
  const retryAfterMs = readRetryAfter(answer.headers["retry-after"], call.now());
  const rejected = failure("HTTP.REJECTED", `${request.method} ${describeTarget(request.url)} answered ${answer.status}, but success_when is false`);
  return { kind: "failed", outcome: "unknown", failure: rejected, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

function unknown(fault: Failure): StepOutcome {
  return { kind: "failed", outcome: "unknown", failure: fault };
}

function responseTypeOf(config: JsonObject): ResponseType {
  const name = (textField(config, "response_type") ?? "").replace("HTTP_RESPONSE_TYPE_", "");
  return name === "JSON" || name === "TEXT" || name === "NONE" ? name : "AUTO";
}
