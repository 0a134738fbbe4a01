import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { failure } from "../../src/domain/failure.ts";
import { matchesStatus, readRetryAfter } from "../../src/steps/http-answer.ts";
import { httpRequest } from "../../src/steps/http-request.ts";
import type { HttpEgress, StepCall, StepOutcome } from "../../src/steps/step-handler.ts";
import { type MisbehavingServer, startMisbehavingServer } from "./misbehaving-server.ts";
import { attemptOf, failureIn, localEgress, problemsOf, resultIn, servicesOf, testNow } from "./step-call.ts";

let server: MisbehavingServer;
let egress: HttpEgress & AsyncDisposable;
beforeAll(async () => {
  server = await startMisbehavingServer();
  egress = localEgress();
});
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

function run(path: string, config: JsonObject = {}, facts: Partial<StepCall> = {}, scope: JsonObject = {}): Promise<StepOutcome> {
  const call = attemptOf(httpRequest, { url: `{{origin}}${path}`, ...config }, { origin: server.origin, ...scope }, facts);
  return Promise.resolve(httpRequest.run(call, servicesOf(egress)));
}
async function echo(
  config: JsonObject,
  facts: Partial<StepCall> = {},
  scope: JsonObject = {},
): Promise<{ method: string; path: string; headers: Record<string, string>; body: string }> {
  return (resultIn(await run("/echo", config, facts, scope)) as { body: never }).body;
}
async function failedAs(outcome: Promise<StepOutcome>): Promise<string> {
  const { failure: met, outcome: effect } = failureIn(await outcome);
  return `${met.name} ${effect}`;
}

describe("the request", () => {
  test("carries who calls, constant over attempts but for the attempt", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const { headers } = await echo({ method: "POST", json: {} }, { attempt: 3, traceparent, stepPath: "orders[3]/charge", operation: "compensate" });
    expect(headers).toMatchObject({
      "idempotency-key": '"exe_01JQ0000000000000000000000/reserve/action"',
      "saga-id": "exe_01JQ0000000000000000000000",
      "saga-step": "orders[3]/charge",
      "saga-op": "compensate",
      "saga-attempt": "3",
      "saga-deadline": new Date(testNow + 30_000).toISOString(),
      "x-correlation-id": "corr-1",
      traceparent,
    });
    for (const name of ["saga-token", "x-tenant-id", "baggage"]) expect(headers).not.toHaveProperty(name);
  });

  test("sends JSON, text and forms with their media types", async () => {
    expect(await echo({ method: "POST", json: { a: "{{n + 1.0}}", b: [null] } }, {}, { n: 1 })).toMatchObject({
      body: '{"a":2,"b":[null]}',
      headers: { "content-type": "application/json" },
    });
    expect(await echo({ method: "PUT", text: "n={{n}}" }, {}, { n: 1 })).toMatchObject({
      method: "PUT",
      body: "n=1",
      headers: { "content-type": "text/plain; charset=utf-8" },
    });
    const form = await echo({ method: "POST", form: { q: "a b&c", n: 1, list: ["x", true], none: null } });
    expect(form).toMatchObject({ body: "q=a+b%26c&n=1&list=x&list=true", headers: { "content-type": "application/x-www-form-urlencoded" } });
    expect(await echo({ method: "POST", json: {}, headers: { "Content-Type": "application/vnd.api+json" } })).toMatchObject({
      headers: { "content-type": "application/vnd.api+json" },
    });
  });

  test("adds the query to what the URL has, and leaves null out", async () => {
    const { path } = await echo({ url: "{{origin}}/echo?a=1%202", query: { b: "x&y", n: "{{n}}", none: "{{null}}" } }, {}, { n: 3 });
    expect(path).toBe("/echo?a=1%202&b=x%26y&n=3");
  });

  test("names the idempotency key as asked, or not at all", async () => {
    expect((await echo({ idempotency_header: "X-Request-Key" })).headers).toMatchObject({ "x-request-key": '"exe_01JQ0000000000000000000000/reserve/action"' });
    expect((await echo({ idempotency_header: "-" })).headers).not.toHaveProperty("idempotency-key");
    expect((await echo({ headers: { "idempotency-key": "mine" } })).headers["idempotency-key"]).toBe("mine");
    const { headers } = await echo({}, { idempotencyKey: 'a"b\\c\r\nX-Evil: 1é' });
    expect(headers["idempotency-key"]).toBe('"a\\"b\\\\c%0D%0AX-Evil: 1%C3%A9"');
    expect(headers).not.toHaveProperty("x-evil");
  });

  test.each([
    ["a line break in a header", { headers: { "X-A": "{{bad}}" } }, { bad: "1\r\nHost: evil" }, "EXPRESSION failed"],
    ["a character headers cannot carry", { headers: { "X-A": "{{bad}}" } }, { bad: "日" }, "EXPRESSION failed"],
    ["too many header bytes", { headers: { "X-A": "{{bad}}" } }, { bad: "x".repeat(17_000) }, "LIMIT.HEADERS failed"],
    ["a body beyond 5 MiB", { method: "POST", text: "x".repeat(5 * 1024 * 1024 + 1) }, {}, "LIMIT.BODY failed"],
    ["a URL that is no text", { url: "{{bad}}" }, { bad: { a: 1 } }, "EXPRESSION failed"],
    ["a URL that leads inside", { url: "http://{{bad}}/" }, { bad: "169.254.169.254" }, "LIMIT.EGRESS failed"],
    ["a URL with a password", { url: "http://u:p@{{bad}}/" }, { bad: "127.0.0.1" }, "LIMIT.EGRESS failed"],
    ["another scheme", { url: "{{bad}}:///etc/passwd" }, { bad: "file" }, "LIMIT.EGRESS failed"],
  ] as [string, JsonObject, JsonObject, string][])("is never sent with %s made by an expression", async (_, config, scope, expected) => {
    const before = server.seen.length;
    expect(await failedAs(run("/echo", config, {}, scope))).toBe(expected);
    expect(server.seen.length).toBe(before);
  });
});

describe("the answer", () => {
  test("becomes {status, headers, body}", async () => {
    expect(resultIn(await run("/ok"))).toMatchObject({ status: 200, headers: { "content-type": "application/json" }, body: { ok: true } });
  });

  test.each([
    ["/text", {}, "café"],
    ["/ok", { response_type: "HTTP_RESPONSE_TYPE_TEXT" }, '{"ok":true}'],
    ["/ok", { response_type: "HTTP_RESPONSE_TYPE_NONE" }, null],
    ["/binary", { response_type: "HTTP_RESPONSE_TYPE_NONE" }, null],
    ["/empty", {}, null],
    ["/ok", { method: "HEAD" }, null],
    ["/status/204", { response_type: "HTTP_RESPONSE_TYPE_JSON" }, null],
  ] as [string, JsonObject, Json][])("%s with %j has the body %j", async (path, config, expected) => {
    expect(resultIn(await run(path, config))).toMatchObject({ body: expected });
  });

  test("keeps large integers exact and __proto__ a plain key", async () => {
    const { body } = resultIn(await run("/proto")) as { body: JsonObject };
    expect(JSON.stringify(body)).toBe('{"__proto__":{"admin":true},"id":"12345678901234567890"}');
    expect((body as { admin?: unknown }).admin).toBeUndefined();
  });

  test.each([
    ["/deep", {}, "LIMIT.DEPTH unknown"],
    ["/garbage", {}, "SCHEMA unknown"],
    ["/nul", {}, "SCHEMA unknown"],
    ["/binary", {}, "SCHEMA unknown"],
    ["/empty", { response_type: "HTTP_RESPONSE_TYPE_JSON" }, "SCHEMA unknown"],
    ["/text", { response_type: "HTTP_RESPONSE_TYPE_JSON" }, "SCHEMA unknown"],
    ["/endless", {}, "LIMIT.BODY unknown"],
    ["/ok", { max_response_bytes: "5" }, "LIMIT.BODY unknown"],
  ] as [string, JsonObject, string][])("%s with %j is unreadable: %s", async (path, config, expected) => {
    expect(await failedAs(run(path, config))).toBe(expected);
  });

  test("is cut off by the attempt's deadline with an unknown effect", async () => {
    const timeout = new AbortController();
    const outcome = failedAs(run("/slow-body", {}, { signal: timeout.signal }));
    await expect.poll(() => server.seen.some(({ path }) => path === "/slow-body")).toBe(true);
    timeout.abort(failure("TIMEOUT.START_TO_CLOSE", "too long"));
    expect(await outcome).toBe("TIMEOUT.START_TO_CLOSE unknown");
  });
});

describe("the status", () => {
  test.each([
    [302, "unknown"],
    [400, "failed"],
    [401, "failed"],
    [402, "failed"],
    [404, "failed"],
    [408, "unknown"],
    [409, "unknown"],
    [410, "failed"],
    [422, "failed"],
    [425, "unknown"],
    [429, "failed"],
    [500, "unknown"],
    [502, "unknown"],
    [503, "unknown"],
    [504, "unknown"],
  ])("%i is HTTP.%i with effect %s", async (status, effect) => {
    expect(await failedAs(run(`/status/${status}`))).toBe(`HTTP.${status} ${effect}`);
  });

  test("409 and 500 surely had no effect if the participant says so", async () => {
    expect(await failedAs(run("/status-failed/409"))).toBe("HTTP.409 failed");
    expect(await failedAs(run("/status-failed/500"))).toBe("HTTP.500 failed");
  });

  test("410 on an undo means there is nothing left to undo", async () => {
    expect(resultIn(await run("/status/410", {}, { operation: "compensate" }))).toMatchObject({ status: 410 });
  });

  test("counts as success as declared", async () => {
    expect(resultIn(await run("/status/404", { success_statuses: ["2xx", "404"] }))).toMatchObject({ status: 404, body: { code: "NO" } });
    expect(await failedAs(run("/ok", { success_statuses: ["201"] }))).toBe("HTTP.200 unknown");
    expect([matchesStatus(["2xx"], 299), matchesStatus(["2xx"], 300), matchesStatus(["404"], 404)]).toEqual([true, false, true]);
  });

  test("brings what the other side said, so that a catch can act on it", async () => {
    const { failure: met } = failureIn(await run("/status/422?key=secret"));
    expect(met.details).toEqual({ status: 422, body: { code: "NO" } });
    expect(met.message).toBe(`GET ${server.origin}/status/422 answered 422`);
  });

  test("503 hands on the delay the server asked for", async () => {
    const asked = async (value: string) => failureIn(await run(`/retry-after/${encodeURIComponent(value)}`)).retryAfterMs;
    expect(await asked("7")).toBe(7_000);
    expect(await asked(new Date(testNow + 90_000).toUTCString())).toBe(90_000);
    expect(await asked("999999")).toBe(3_600_000);
    expect(await asked("soon")).toBeUndefined();
  });

  test.each([
    ["", undefined],
    ["0", 0],
    ["-5", undefined],
    ["1.5", undefined],
    ["1e9", undefined],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["Sun, 99 Foo 2026", undefined],
  ])("Retry-After %j reads as %j ms", (value, expected) => {
    expect(readRetryAfter(value, testNow)).toBe(expected);
  });
});

test("success_when false is HTTP.REJECTED, to be tried again", async () => {
  expect(resultIn(await run("/ok", { success_when: "result.status == 200 && result.body.ok" }))).toMatchObject({ status: 200 });
  expect(await failedAs(run("/ok", { success_when: "{{ !result.body.ok }}" }))).toBe("HTTP.REJECTED unknown");
  expect(await failedAs(run("/ok", { success_when: "result.body.missing" }))).toBe("EXPRESSION unknown");
  expect(await failedAs(run("/ok", { success_when: "result.status" }))).toBe("EXPRESSION unknown");
});

test("redirects are followed only when asked for", async () => {
  expect(await failedAs(run("/redirect/302"))).toBe("HTTP.302 unknown");
  expect(resultIn(await run("/redirect/302", { max_redirects: 1 }))).toMatchObject({ status: 200, body: { path: "/echo" } });
});

test("a refused connection surely had no effect", async () => {
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, "127.0.0.1", resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  expect(await failedAs(run("", { url: `http://127.0.0.1:${port}/`, method: "POST" }))).toBe("NETWORK failed");
});

test("only methods that read have nothing to undo", () => {
  const kinds = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"].map((method) => httpRequest.naturalKind?.({ method }));
  expect(kinds).toEqual(["readonly", "readonly", "readonly", undefined, undefined, undefined, undefined]);
  expect(httpRequest.naturalKind?.({})).toBe("readonly");
});

test.each([
  [{ method: "TRACE" }, "method: VALIDATION_FAILED"],
  [{ method: "get" }, "method: VALIDATION_FAILED"],
  [{ url: "" }, "url: VALIDATION_FAILED"],
  [{ url: "/relative" }, "url: VALIDATION_FAILED"],
  [{ url: "ftp://example.com" }, "url: EGRESS_BLOCKED"],
  [{ url: "https://u:p@example.com" }, "url: EGRESS_BLOCKED"],
  [{ headers: { "bad name": "x" } }, "headers.bad name: VALIDATION_FAILED"],
  [{ headers: { A: "x\ny" } }, "headers.A: VALIDATION_FAILED"],
  [{ headers: { HOST: "x" } }, "headers.HOST: VALIDATION_FAILED"],
  [{ headers: { "content-Length": "1" } }, "headers.content-Length: VALIDATION_FAILED"],
  [{ headers: { "Transfer-Encoding": "x" } }, "headers.Transfer-Encoding: VALIDATION_FAILED"],
  [{ headers: { connection: "x" } }, "headers.connection: VALIDATION_FAILED"],
  [{ headers: { "Proxy-Authorization": "x" } }, "headers.Proxy-Authorization: VALIDATION_FAILED"],
  [{ headers: { "Saga-Token": "x" } }, "headers.Saga-Token: VALIDATION_FAILED"],
  [{ headers: { "X-Tenant-Id": "other" } }, "headers.X-Tenant-Id: VALIDATION_FAILED"],
  [{ headers: { A: "1", a: "2" } }, "headers.a: VALIDATION_FAILED"],
  [{ success_statuses: ["20x"] }, "success_statuses[0]: VALIDATION_FAILED"],
  [{ max_response_bytes: "5242881" }, "max_response_bytes: LIMIT_EXCEEDED"],
  [{ max_redirects: 6 }, "max_redirects: LIMIT_EXCEEDED"],
  [{ idempotency_header: "Host" }, "idempotency_header: VALIDATION_FAILED"],
  [{ response_type: "HTTP_RESPONSE_TYPE_BLOB", max_response_bytes: "104857601" }, "max_response_bytes: LIMIT_EXCEEDED"],
  [{ response_type: "HTTP_RESPONSE_TYPE_BLOB", pagination: { next_url: "result.body.next", items: "result.body.data" } }, "response_type: VALIDATION_FAILED"],
  [{ secret_headers: { Host: { slot: "s" } } }, "secret_headers.Host: VALIDATION_FAILED"],
  [{ headers: { "x-a": "1" }, secret_headers: { "X-A": { slot: "s" } } }, "secret_headers.X-A: VALIDATION_FAILED"],
  [{ headers: { Authorization: "x" }, auth: { bearer: { slot: "s" } } }, "auth: VALIDATION_FAILED"],
  [{ secret_headers: { "X-Key": { slot: "s" } }, auth: { api_key: { header: "x-key", value: { slot: "s" } } } }, "auth: VALIDATION_FAILED"],
  [{ auth: { api_key: { header: "Transfer-Encoding", value: { slot: "s" } } } }, "auth.api_key.header: VALIDATION_FAILED"],
  [{ auth: { oauth2: { token_url: "ftp://x/", client_id: "c", client_secret: { slot: "s" } } } }, "auth.oauth2.token_url: EGRESS_BLOCKED"],
  [{ pagination: { items: "result.body" } }, "pagination: VALIDATION_FAILED"],
  [{ pagination: { next_url: "x", parameter: "page", items: "result.body" } }, "pagination.parameter: VALIDATION_FAILED"],
  [{ pagination: { next_cursor: "x", items: "result.body" } }, "pagination.parameter: VALIDATION_FAILED"],
  [{ pagination: { next_url: "x" } }, "pagination.items: VALIDATION_FAILED"],
  [{ pagination: { next_url: "x", items: "result.body", max_pages: 1_001 } }, "pagination.max_pages: LIMIT_EXCEEDED"],
] as [JsonObject, string][])("%j is refused at save", (config, expected) => {
  expect(problemsOf(httpRequest, { url: "https://example.com/", ...config })).toEqual([expected]);
});

test("a whole configuration passes the check", () => {
  const config = {
    method: "POST",
    url: "https://api.example.com/{{trigger.data.id}}",
    headers: { Accept: "text/csv", "X-Key": "{{trigger.data.key}}" },
    success_statuses: ["2xx", "409"],
    max_response_bytes: "5242880",
    idempotency_header: "-",
  };
  expect(problemsOf(httpRequest, config)).toEqual([]);
});
