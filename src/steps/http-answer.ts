/** Reads HTTP answers: what counts as success, whether a failure surely left no effect, and what the body says. */
import type { Json } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { targetOf } from "./egress/describe-target.ts";
import { parseJsonText } from "./json-text.ts";
import type { AnswerHead, EgressOutcome, EgressRequest, StepCall, StepOutcome } from "./step-handler.ts";

export type Answer = Extract<EgressOutcome, { kind: "answered" }>;
/** BLOB is not read here: `http-files.ts` stores it. */
export type ResponseType = "AUTO" | "JSON" | "TEXT" | "NONE";

/** `404`, or a class like `2xx`. */
export const statusPattern = /^[1-5](?:xx|\d\d)$/;

export function matchesStatus(patterns: readonly string[], status: number): boolean {
  return patterns.some((pattern) => pattern === String(status) || pattern === `${Math.floor(status / 100)}xx`);
}

/** Client errors that do not say "I did nothing": timeout, a twin is running, too early. 429 was refused before acting. */
const unclearStatuses = new Set([408, 409, 425]);
const detailCharactersMax = 2_000;

/** The failure of an answer that is no success, read after the table of saga.md §7. */
export function statusFailure(call: StepCall, request: Pick<EgressRequest, "method" | "url" | "shownAs">, answer: Answer): StepOutcome {
  const refused = answer.status >= 400 && answer.status < 500 && !unclearStatuses.has(answer.status);
  const declared = answer.headers["saga-outcome"]?.trim().toLowerCase() === "failed";
  const retryAfterMs = readRetryAfter(answer.headers["retry-after"], call.now());
  return {
    kind: "failed",
    outcome: refused || declared ? "failed" : "unknown",
    failure: failure(`HTTP.${answer.status}`, `${request.method} ${targetOf(request)} answered ${answer.status}`, {
      status: answer.status,
      body: excerpt(answer),
    }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  };
}

/** Accepted, too early, or a twin of this request is running; unless it says itself that it failed. */
export function isStillAtWork({ status, headers }: AnswerHead): boolean {
  return (status === 202 || status === 409 || status === 425) && headers["saga-outcome"]?.trim().toLowerCase() !== "failed";
}

export function stillAtWork(call: StepCall, request: Pick<EgressRequest, "method" | "url" | "shownAs">, answer: Answer): StepOutcome {
  const retryAfterMs = readRetryAfter(answer.headers["retry-after"], call.now());
  const cause = failure("IN_PROGRESS", `${request.method} ${targetOf(request)} answered ${answer.status}: it is still at work`);
  return { kind: "failed", outcome: "unknown", inProgress: true, failure: cause, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

/** Milliseconds a Retry-After asks for (seconds or an HTTP date), capped; undefined when absent or unreadable. */
export function readRetryAfter(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? "";
  const delayMs = /^\d{1,10}$/.test(text) ? Number(text) * 1000 : /^[A-Za-z]{3},? /.test(text) ? Date.parse(text) - now : Number.NaN;
  return Number.isNaN(delayMs) ? undefined : Math.min(Math.max(delayMs, 0), limits.serverDelayMsMax);
}

/** The body as a JSON value: parsed, text, or null when there is none. AUTO decides by the media type. */
export function readBody(answer: Answer, type: ResponseType, isBodyDue: boolean): Result<Json, Failure> {
  if (type === "NONE") return ok(null);
  if (answer.body.length === 0) {
    return type === "JSON" && isBodyDue ? fail(failure("SCHEMA", "the answer has no body, but JSON was due")) : ok(type === "TEXT" ? "" : null);
  }
  const [mediaType = "", ...parameters] = (answer.headers["content-type"] ?? "").toLowerCase().split(";");
  const isJson = /^\s*(?:application|text)\/(?:[\w.-]+\+)?json\s*$/.test(mediaType);
  const text = decodeText(answer.body, parameters.join(";"));
  if (!text.ok) return text;
  if (type === "JSON" || (type === "AUTO" && isJson)) return parseJsonText(text.value, "body", limits.jsonDepthMax - 1);
  return text.value.includes("\u0000") ? fail(failure("SCHEMA", "body contains a NUL character (U+0000)")) : text;
}

function decodeText(body: Buffer, parameters: string): Result<string, Failure> {
  const charset = /charset\s*=\s*"?([\w.:-]+)/.exec(parameters)?.[1] ?? "utf-8";
  try {
    return ok(new TextDecoder(charset, { fatal: true }).decode(body));
  } catch {
    return fail(failure("SCHEMA", `body is not ${charset.slice(0, 40)} text; response_type NONE accepts any body and drops it`));
  }
}

/** Enough of an error's body to act on (`error.details.body.code`), never more than an event should hold. */
function excerpt(answer: Answer): Json {
  const text = answer.body
    .subarray(0, detailCharactersMax * 4)
    .toString("utf8")
    .replaceAll("\u0000", "\ufffd");
  if (answer.body.length <= detailCharactersMax * 4) {
    const parsed = parseJsonText(text, "body", limits.jsonDepthMax - 8);
    if (parsed.ok) return parsed.value;
  }
  return text.slice(0, detailCharactersMax).toWellFormed();
}
