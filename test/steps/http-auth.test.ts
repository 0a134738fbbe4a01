/** Every scheme as a real server sees it, and nothing of it in what the step comes to. */
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { Mask } from "../../src/base/mask.ts";
import { OAuthTokens } from "../../src/steps/auth/oauth-tokens.ts";
import { httpRequest } from "../../src/steps/http-request.ts";
import { maskedServices } from "../../src/steps/masked-services.ts";
import type { HttpEgress, StepCall, StepOutcome } from "../../src/steps/step-handler.ts";
import { type MisbehavingServer, startMisbehavingServer } from "./misbehaving-server.ts";
import { grant, type OAuthServer, startOAuthServer } from "./oauth-server.ts";
import { attemptOf, failureIn, localEgress, resultIn, secretsOf, servicesOf } from "./step-call.ts";

const secret = "s3cret/with+odd=chars";
let server: MisbehavingServer;
let egress: HttpEgress & AsyncDisposable;
let oauth: OAuthServer;
let tokens: OAuthTokens;
beforeAll(async () => {
  server = await startMisbehavingServer();
  egress = localEgress();
});
beforeEach(async () => {
  await oauth?.[Symbol.asyncDispose]();
  oauth = await startOAuthServer();
  tokens = new OAuthTokens(egress, systemClock);
});
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
  await oauth[Symbol.asyncDispose]();
});

/** One attempt as the engine makes it: what comes back passes the mask. */
async function run(config: JsonObject, secrets: Record<string, string | string[]> = { key: secret }, facts: Partial<StepCall> = {}): Promise<StepOutcome> {
  const mask = new Mask();
  const services = maskedServices({ ...servicesOf(egress), tokens }, mask);
  const call = attemptOf(httpRequest, { url: `${server.origin}/echo`, ...config }, { user: "ali" }, { secrets: secretsOf(secrets, mask), ...facts });
  return mask.json((await httpRequest.run(call, services)) as unknown as JsonObject) as unknown as StepOutcome;
}

const key = { slot: "key" };
const sent = () => server.seen.at(-1);

describe("credentials", () => {
  it("bearer", async () => {
    expect(resultIn(await run({ auth: { bearer: key } }))).toMatchObject({ body: { headers: { authorization: "Bearer ***" } } });
    expect(sent()?.headers.authorization).toBe(`Bearer ${secret}`);
  });

  it("basic, with a name made by an expression", async () => {
    const result = resultIn(await run({ auth: { basic: { username: "{{user}}ce", password: key } } }, { key: "pässword:x" }));
    expect(Buffer.from(String(sent()?.headers.authorization).replace("Basic ", ""), "base64").toString()).toBe("alice:pässword:x");
    expect(result).toMatchObject({ body: { headers: { authorization: "Basic ***" } } });
  });

  it("a key in a header, and a key in the query behind what stands there", async () => {
    await run({ auth: { api_key: { header: "X-Api-Key", value: key } } });
    expect(sent()?.headers["x-api-key"]).toBe(secret);
    const result = resultIn(
      await run({ url: `${server.origin}/echo?a=%20b`, query: { c: "d" }, auth: { api_key: { query_parameter: "api key", value: key } } }),
    );
    expect(sent()?.path).toBe(`/echo?a=%20b&c=d&api+key=${encodeURIComponent(secret)}`);
    expect(result).toMatchObject({ body: { path: "/echo?a=%20b&c=d&api+key=***" } });
  });

  it("headers from secrets, beside a scheme", async () => {
    await run({ secret_headers: { "X-One": key, "X-Two": { slot: "two" } }, auth: { bearer: key } }, { key: secret, two: "second-value" });
    expect(sent()?.headers).toMatchObject({ "x-one": secret, "x-two": "second-value", authorization: `Bearer ${secret}` });
  });

  it("a signature of the body, with one more while the secret is being rotated", async () => {
    const sign = (value: string, body: string) => `sha256=${createHmac("sha256", value).update(body).digest("hex")}`;
    await run({ method: "POST", json: { a: "é" }, auth: { hmac_sha256: key } });
    expect(sent()?.headers["x-signature-256"]).toBe(sign(secret, '{"a":"é"}'));
    await run({ method: "POST", text: "body", auth: { hmac_sha256: key } }, { key: ["new-value", "old-value"] });
    expect(sent()?.headers["x-signature-256"]).toBe(`${sign("new-value", "body")},${sign("old-value", "body")}`);
    await run({ auth: { hmac_sha256: key } });
    expect(sent()?.headers["x-signature-256"]).toBe(sign(secret, ""));
  });

  it("nothing is sent without the secret, with one that no header can carry, or with a name that is none", async () => {
    const before = server.seen.length;
    const faults: [JsonObject, Record<string, string>, string][] = [
      [{ auth: { bearer: key } }, {}, "SECRET.MISSING"],
      [{ secret_headers: { "X-One": key } }, {}, "SECRET.MISSING"],
      [{ auth: { bearer: key } }, { key: "zzq\nX-Evil: yes" }, "SECRET.INVALID"],
      [{ auth: { api_key: { header: "X-A", value: key } } }, { key: "zzqä" }, "SECRET.INVALID"],
      [{ auth: { basic: { username: "a", password: key } } }, { key: "zzq\nzzq" }, "SECRET.INVALID"],
      [{ auth: { basic: { username: "{{user}}:x", password: key } } }, { key: secret }, "EXPRESSION"],
      [{ auth: { oauth2: { token_url: `${oauth.origin}/token`, client_id: "c", client_secret: key } } }, {}, "SECRET.MISSING"],
    ];
    for (const [config, secrets, name] of faults) {
      const { failure, outcome } = failureIn(await run(config, secrets));
      expect([failure.name, outcome]).toEqual([name, "failed"]);
      expect(JSON.stringify(failure)).not.toMatch(/zzq|Evil/);
    }
    expect([server.seen.length, oauth.tokenCalls.length]).toEqual([before, 0]);
  });

  it("an error that quotes the credentials, cut in the middle of them, shows none of it", async () => {
    const long = "x".repeat(1_990);
    const { failure } = failureIn(await run({ url: `${server.origin}/say/422/${long}`, auth: { bearer: key } }));
    expect(JSON.stringify(failure)).not.toContain("s3cret");
    expect(failure.details).toMatchObject({ status: 422 });
    expect(JSON.stringify(failure.details)).toContain("***");
  });
});

describe("OAuth2 client credentials", () => {
  const config = (more: JsonObject = {}): JsonObject => ({
    url: `${oauth.origin}/service`,
    auth: { oauth2: { token_url: `${oauth.origin}/token`, client_id: "{{user}} c", client_secret: key, scopes: ["a", "b"] } },
    ...more,
  });

  it("fetches a token once, signed in by Basic, and keeps it for later attempts", async () => {
    expect(resultIn(await run(config()))).toMatchObject({ status: 200, body: { seen: "Bearer ***" } });
    expect(resultIn(await run(config()))).toMatchObject({ status: 200 });
    expect(oauth.tokenCalls).toHaveLength(1);
    const [call] = oauth.tokenCalls;
    expect(Object.fromEntries(call?.form ?? [])).toEqual({ grant_type: "client_credentials", scope: "a b" });
    const credentials = Buffer.from(String(call?.headers.authorization).replace("Basic ", ""), "base64").toString();
    expect(credentials).toBe(`ali+c:${encodeURIComponent(secret)}`);
    expect(oauth.calls).toEqual(["Bearer token-number-1", "Bearer token-number-1"]);
  });

  it("attempts at once share one request; another tenant, another secret and other scopes do not", async () => {
    await Promise.all(Array.from({ length: 8 }, () => run(config())));
    expect(oauth.tokenCalls).toHaveLength(1);
    await run(config(), { key: secret }, { tenantId: "tenant-b" });
    await run(config(), { key: "rotated-secret" });
    expect(oauth.tokenCalls).toHaveLength(3);
  });

  it("a token that the service no longer takes is fetched anew once, and the call is sent again under the same key", async () => {
    await run(config());
    oauth.valid.clear();
    expect(resultIn(await run(config()))).toMatchObject({ status: 200 });
    expect(oauth.calls).toEqual(["Bearer token-number-1", "Bearer token-number-1", "Bearer token-number-2"]);
    oauth.answer = (response) => grant(response, "never-taken");
    oauth.valid.clear();
    expect(failureIn(await run(config()))).toMatchObject({ failure: { name: "HTTP.401" }, outcome: "failed" });
    expect(oauth.tokenCalls).toHaveLength(3);
  });

  it("an expired token is not used; one without an end is kept for a while", async () => {
    oauth.answer = (response, count) => grant(response, `short-${count}-token`, oauth.valid, { expires_in: 0 });
    await run(config());
    await run(config());
    expect(oauth.tokenCalls).toHaveLength(2);
    oauth.answer = (response, count) => grant(response, `endless-${count}`, oauth.valid, { expires_in: "soon" });
    await run(config());
    await run(config());
    expect(oauth.tokenCalls).toHaveLength(3);
  });

  it.each<[string, OAuthServer["answer"], string]>([
    ["an error", (response) => void response.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_client"}'), "HTTP.400"],
    ["an error that quotes the secret", (response) => void response.writeHead(401).end(`{"error":"${secret}","x":"${secret}"}`), "HTTP.401"],
    ["a busy endpoint", (response) => void response.writeHead(503, { "retry-after": "7" }).end(), "HTTP.503"],
    ["no JSON", (response) => void response.writeHead(200).end("<html>"), "SCHEMA"],
    ["no token", (response) => void response.writeHead(200).end("{}"), "SCHEMA"],
    ["a token that is no text", (response) => void response.writeHead(200).end('{"access_token":{"a":1}}'), "SCHEMA"],
    ["a token with a line break", (response) => void response.writeHead(200).end('{"access_token":"a\\r\\nX-Evil: 1"}'), "SCHEMA"],
    ["a token of a megabyte", (response) => void response.writeHead(200).end(JSON.stringify({ access_token: "x".repeat(1024 * 1024) })), "LIMIT.BODY"],
    ["another kind of token", (response) => void response.writeHead(200).end('{"access_token":"abcdef","token_type":"mac"}'), "SCHEMA"],
    ["JSON too deep", (response) => void response.writeHead(200).end("[".repeat(5_000)), "SCHEMA"],
    ["a redirect", (response) => void response.writeHead(302, { location: "/token2" }).end(), "HTTP.302"],
    ["a broken connection", (response) => response.socket?.resetAndDestroy(), "NETWORK"],
  ])("%s from the token endpoint: a clear failure, surely without effect, and no call", async (_, answer, name) => {
    oauth.answer = answer;
    const outcome = failureIn(await run(config()));
    expect([outcome.failure.name, outcome.outcome]).toEqual([name, "failed"]);
    expect(JSON.stringify(outcome)).not.toContain(secret);
    expect(oauth.calls).toEqual([]);
    if (name === "HTTP.503") expect(outcome.retryAfterMs).toBe(7_000);
    oauth.answer = (response) => grant(response, "a-good-token", oauth.valid);
    expect(resultIn(await run(config()))).toMatchObject({ status: 200 });
  });

  it("an endpoint that never answers ends with the attempt, and others that wait for the same token with theirs", async () => {
    const asked = Promise.withResolvers<void>();
    oauth.answer = () => asked.resolve();
    const controllers = [new AbortController(), new AbortController()] as const;
    const waiting = controllers.map((controller) => run(config(), { key: secret }, { signal: controller.signal }));
    await asked.promise;
    controllers[0].abort({ name: "TIMEOUT.START_TO_CLOSE", message: "late" });
    expect(failureIn((await waiting[0]) as StepOutcome)).toMatchObject({ failure: { name: "TIMEOUT.START_TO_CLOSE" }, outcome: "failed" });
    controllers[1].abort({ name: "CANCELED", message: "over" });
    expect(failureIn((await waiting[1]) as StepOutcome).failure.name).toBe("CANCELED");
    expect(oauth.tokenCalls).toHaveLength(1);
  });

  it("a token endpoint behind the guard is refused like any other address", async () => {
    const inside = { auth: { oauth2: { token_url: "http://169.254.169.254/token", client_id: "c", client_secret: key } } };
    expect(failureIn(await run(config(inside)))).toMatchObject({ failure: { name: "LIMIT.EGRESS" }, outcome: "failed" });
  });
});
