/**
 * Access tokens by the client credentials grant (RFC 6749), kept in memory only: one per tenant, endpoint, client, secret and
 * scopes, until shortly before it expires. Attempts that need the same token at once wait for one request.
 *
 * The client signs in by HTTP Basic, which every token endpoint has to take. What the endpoint answers is read strictly and
 * never repeated: an error is told by its status and its registered word alone.
 */
import { createHash } from "node:crypto";
import type { Clock } from "../../base/clock.ts";
import { isJsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import { describeTarget } from "../egress/describe-target.ts";
import { matchesStatus, readRetryAfter } from "../http-answer.ts";
import { parseJsonText } from "../json-text.ts";
import { failsAfter, signalFailure } from "../signal-failure.ts";
import type { EgressOutcome, HttpEgress } from "../step-handler.ts";
import type { TokenFault, TokenRequest, TokenSource } from "./token-source.ts";

const responseBytesMax = 64 * 1024;
const tokenCharactersMax = 8_192;
/** Beyond one caller's attempt: others may wait for the same token. */
const requestMs = 15_000;
/** When the endpoint does not say how long its token lives. */
const lifeMsDefault = 300_000;
const lifeMsMax = 86_400_000;
/** A token is not used in its last seconds: it has to arrive before it expires. */
const marginMs = 10_000;
const tokensMax = 1_000;

interface Kept {
  readonly token: string;
  /** On the monotonic clock. */
  readonly usableUntil: number;
}

export class OAuthTokens implements TokenSource {
  readonly #http: HttpEgress;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();
  readonly #underWay = new Map<string, Promise<Result<Kept, TokenFault>>>();

  /** `http` must be the egress itself, not one attempt's: its mask would hide the token. */
  constructor(http: HttpEgress, clock: Clock) {
    this.#http = http;
    this.#clock = clock;
  }

  async get(request: TokenRequest, signal: AbortSignal, refused?: string): Promise<Result<string, TokenFault>> {
    const key = keyOf(request);
    const kept = this.#kept.get(key);
    if (kept && kept.token !== refused && kept.usableUntil > this.#clock.monotonic()) return ok(kept.token);
    this.#kept.delete(key);
    const fetched = await this.#shared(key, request, signal);
    return fetched.ok ? ok(fetched.value.token) : fetched;
  }

  async #shared(key: string, request: TokenRequest, signal: AbortSignal): Promise<Result<Kept, TokenFault>> {
    let work = this.#underWay.get(key);
    if (!work) {
      work = this.#fetch(key, request).finally(() => this.#underWay.delete(key));
      this.#underWay.set(key, work);
    }
    if (signal.aborted) return fail({ failure: signalFailure(signal) });
    const over = new AbortController();
    const aborted = new Promise<Result<Kept, TokenFault>>((resolve) =>
      signal.addEventListener("abort", () => resolve(fail({ failure: signalFailure(signal) })), { once: true, signal: over.signal }),
    );
    return Promise.race([work, aborted]).finally(() => over.abort("there is an answer"));
  }

  async #fetch(key: string, request: TokenRequest): Promise<Result<Kept, TokenFault>> {
    const { tenantId, tokenUrl, clientId, clientSecret, scopes } = request;
    const form = new URLSearchParams({ grant_type: "client_credentials", ...(scopes.length > 0 ? { scope: scopes.join(" ") } : {}) });
    const startedAt = this.#clock.monotonic();
    const outcome = await this.#http.request({
      tenantId,
      method: "POST",
      url: tokenUrl,
      headers: {
        accept: "application/json",
        "content-type": "application/x-www-form-urlencoded",
        "user-agent": "pyairtable-workflow-service",
        authorization: `Basic ${Buffer.from(`${formEncoded(clientId)}:${formEncoded(clientSecret)}`).toString("base64")}`,
      },
      body: form.toString(),
      responseBytesMax,
      redirectsMax: 0,
      signal: failsAfter(requestMs, failure("NETWORK", `no token came within ${requestMs / 1000} s`)),
    });
    const read = readToken(outcome, tokenUrl, this.#clock.now());
    if (!read.ok) return read;
    const { token, lifeMs } = read.value;
    const kept = { token, usableUntil: startedAt + lifeMs - Math.min(marginMs, lifeMs / 2) };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (this.#kept.size > tokensMax) this.#kept.delete(this.#kept.keys().next().value as string);
    return ok(kept);
  }
}

function readToken(outcome: EgressOutcome, tokenUrl: string, now: number): Result<{ readonly token: string; readonly lifeMs: number }, TokenFault> {
  const endpoint = `the token endpoint ${describeTarget(tokenUrl)}`;
  if (outcome.kind === "failed") {
    // An attempt that only asked for a token has done nothing; the endpoint's own time limit is not the step's.
    const name = outcome.failure.name.startsWith("LIMIT.") ? outcome.failure.name : "NETWORK";
    return fail({ failure: failure(name, `${endpoint} gave no token: ${name === "NETWORK" ? "it does not answer" : outcome.failure.message}`) });
  }
  const parsed = parseJsonText(outcome.body.toString("utf8"), "body");
  const answer = parsed.ok && isJsonObject(parsed.value) ? parsed.value : {};
  if (!matchesStatus(["2xx"], outcome.status)) {
    const word = typeof answer["error"] === "string" && /^[a-z_]{1,40}$/.test(answer["error"]) ? ` (${answer["error"]})` : "";
    const retryAfterMs = readRetryAfter(outcome.headers["retry-after"], now);
    const refused = failure(`HTTP.${outcome.status}`, `${endpoint} answered ${outcome.status}${word}`, { status: outcome.status });
    return fail({ failure: refused, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
  }
  const token = answer["access_token"];
  const isUsable = typeof token === "string" && token.length <= tokenCharactersMax && /^[\u0021-\u007e]+$/.test(token);
  if (!isUsable) return fail({ failure: failure("SCHEMA", `${endpoint} answered ${outcome.status} without a usable access_token`) });
  const type = answer["token_type"];
  if (type !== undefined && (typeof type !== "string" || type.toLowerCase() !== "bearer")) {
    return fail({ failure: failure("SCHEMA", `${endpoint} gave a token that is not of the type Bearer`) });
  }
  return ok({ token, lifeMs: lifeMsOf(answer["expires_in"]) });
}

/** Some endpoints write the number as text; nonsense counts as nothing said. */
function lifeMsOf(value: unknown): number {
  const seconds = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value;
  if (typeof seconds !== "number" || !Number.isFinite(seconds) || seconds < 0) return lifeMsDefault;
  return Math.min(seconds * 1000, lifeMsMax);
}

/** RFC 6749 §2.3.1: both parts are form-encoded before they are joined. */
function formEncoded(text: string): string {
  return new URLSearchParams([["", text]]).toString().slice(1);
}

/** The secret is part of it: after a rotation a new token is asked for. */
function keyOf({ tenantId, tokenUrl, clientId, clientSecret, scopes }: TokenRequest): string {
  return createHash("sha256")
    .update(JSON.stringify([tenantId, tokenUrl, clientId, clientSecret, scopes]))
    .digest("base64");
}
