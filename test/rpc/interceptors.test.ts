/** What stands between the wire and a service: who calls, what is refused and with which words. */
import { request as httpRequest } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import { callerOf } from "../../src/rpc/interceptors/call.ts";
import { buildPolicyTable } from "../../src/rpc/interceptors/policy.ts";
import { EchoService, echoFile, goodKey, type LogLine, methodWithoutPolicy, otherKey, serviceOf, startTestServer, type TestServer } from "./server-fixture.ts";

interface Problem {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly reason: string;
  readonly metadata: Record<string, string>;
  readonly fields: { field: string; description: string }[];
  readonly headers: Headers;
}

let server: TestServer;
let seenCaller: unknown;
beforeAll(async () => {
  server = await startTestServer({
    fail(request, context) {
      seenCaller = callerOf(context);
      switch (request.text) {
        case "bug":
          throw new TypeError("secret detail: x is not a function");
        case "invariant":
          throw new AppError("INTERNAL_BUG", "broken invariant: secret detail");
        case "abort":
          throw new DOMException("This operation was aborted", "AbortError");
        case "limit":
          throw new AppError("RATE_LIMITED", "Slow down.", { retryAfterMs: 2_500, metadata: { subject: "key:key_1" } });
        case "state":
          throw new AppError("WORKFLOW_PAUSED", "The workflow is paused. Resume it first.");
        default:
          return { text: "fine" };
      }
    },
    slow: (_request, context) =>
      new Promise((_resolve, reject) => context.signal.addEventListener("abort", () => reject(new DOMException("This operation was aborted", "AbortError")))),
  });
});
afterAll(() => server.stop());

async function call(method: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${server.url}/test.echo.v1.EchoService/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${goodKey}`, ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

async function problemOf(reply: Promise<Response>): Promise<Problem> {
  const response = await reply;
  const error = (await response.json()) as { code: string; message: string; details?: { type: string; debug: Record<string, unknown> }[] };
  const detail = (name: string): Record<string, unknown> | undefined => error.details?.find((one) => one.type === `google.rpc.${name}`)?.debug;
  return {
    status: response.status,
    code: error.code,
    message: error.message,
    headers: response.headers,
    reason: String(detail("ErrorInfo")?.["reason"]),
    metadata: (detail("ErrorInfo")?.["metadata"] ?? {}) as Record<string, string>,
    fields: (detail("BadRequest")?.["fieldViolations"] ?? []) as Problem["fields"],
  };
}

describe("JSON requests", () => {
  const deep = (levels: number): unknown => (levels === 0 ? 1 : { a: deep(levels - 1) });
  test.each<[string, unknown, string, string]>([
    ["an unknown field", { txt: "a" }, "txt", "is not a field of test.echo.v1.EchoRequest"],
    ["an unknown field deep inside", { items: [{}, { inner: { nam: "a" } }] }, "items[1].inner.nam", "is not a field"],
    ["an own __proto__", '{"__proto__":{"text":"a"}}', "__proto__", "is not a field"],
    ["text where a number belongs", { bigNumber: "many" }, "big_number", "a whole number of 64 bits"],
    ["a number where text belongs", { text: 1 }, "text", "must be text"],
    ["a list where an object belongs", { freeData: [] }, "free_data", "must be a JSON object"],
    ["an object where a list belongs", { items: {} }, "items", "must be a list"],
    ["an unknown enum value", { items: [{ kind: "KIND_SQUARE" }] }, "items[0].kind", "KIND_UNSPECIFIED, KIND_ROUND"],
    ["a wrong duration", { wait_time: "5 minutes" }, "wait_time", "duration"],
    ["two members of a oneof", { left: "a", right: 1 }, "right", "only one of left, right"],
    ["an integer that would be rounded", '{"freeData":{"a":[9007199254740993]}}', "free_data.a[0]", "send it as text"],
    ["a rounded integer in a field", '{"bigNumber":9007199254740993}', "big_number", "send it as text"],
    ["NUL in text", { text: "a\u0000" }, "text", "NUL"],
    ["half a surrogate pair in free data", { freeData: { a: ["\ud800"] } }, "free_data.a[0]", "surrogate"],
    ["free data nested 33 levels", { freeData: deep(33) }, `free_data${".a".repeat(32)}`, "deeper than 32"],
    ["a free value nested 33 levels", { freeValue: deep(33) }, `free_value${".a".repeat(32)}`, "deeper than 32"],
    ["free data nested 98 levels", { freeData: deep(98) }, `free_data${".a".repeat(32)}`, "deeper than 32"],
    ["a broken rule", { items: [{ name: "too long" }] }, "items[0].name", "5"],
  ])("%s is refused with its path", async (_name, body, field, description) => {
    const problem = await problemOf(call("Echo", body));
    expect(problem).toMatchObject({ status: 400, code: "invalid_argument", reason: "VALIDATION_FAILED" });
    expect(problem.fields[0]?.field).toBe(field);
    expect(problem.fields[0]?.description).toContain(description);
    expect(problem.message).toContain(field);
  });

  test.each([
    ["not JSON", "{"],
    ["nothing", ""],
    ["the same field twice", '{"text":"a","text":"b"}'],
    ["a list", "[]"],
    ["100,000 brackets", "[".repeat(100_000)],
  ])("%s is refused", async (_name, body) => {
    expect(await problemOf(call("Echo", body))).toMatchObject({ status: 400, reason: "VALIDATION_FAILED" });
  });

  test("what fits is taken, in both spellings, with nulls and large integers as text", async () => {
    const body = {
      text: "a",
      items: [{ name: "b", kind: "KIND_ROUND", inner: null }],
      freeData: { a: deep(31), n: null, big: "9007199254740993" },
      free_value: [1, { b: true }],
      bigNumber: "9007199254740993",
      wait_time: "1.5s",
      left: null,
      right: 3,
    };
    expect(await (await call("Echo", body)).json()).toEqual({ text: "a" });
    expect((await call("Echo", { freeData: deep(32) })).status).toBe(200);
  });

  test("many faults come in one answer that stays small", async () => {
    const items = Array.from({ length: 1_000 }, () => ({ name: "x".repeat(400), surplus: 1 }));
    const reply = await call("Echo", { items });
    const text = await reply.clone().text();
    expect(text.length).toBeLessThan(16_000);
    expect((await problemOf(Promise.resolve(reply))).fields.length).toBeGreaterThan(5);
  });

  test("a stream refuses unknown fields too", async () => {
    const message = Buffer.from('{"txt":"a"}');
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    const reply = await fetch(`${server.url}/test.echo.v1.EchoService/Count`, {
      method: "POST",
      headers: { "content-type": "application/connect+json", authorization: `Bearer ${goodKey}` },
      body: Buffer.concat([head, message]),
    });
    const text = await reply.text();
    expect(text).toContain("VALIDATION_FAILED");
    expect(text).toContain("txt");
  });
});

describe("binary requests", () => {
  test.each([
    ["at the top", Buffer.from([0x98, 0x06, 0x01]), "99"],
    ["inside a list", Buffer.from([0x12, 0x03, 0x98, 0x06, 0x01]), "items[0].99"],
  ])("an unknown field %s is refused with its number", async (_where, bytes, field) => {
    const reply = fetch(`${server.url}/test.echo.v1.EchoService/Echo`, {
      method: "POST",
      headers: { "content-type": "application/proto", authorization: `Bearer ${goodKey}` },
      body: bytes,
    });
    const problem = await problemOf(reply);
    expect(problem).toMatchObject({ status: 400, reason: "VALIDATION_FAILED" });
    expect(problem.fields[0]?.field).toBe(field);
  });
});

describe("credentials", () => {
  test("the key may come as bearer, as x-api-key, or as both when they agree", async () => {
    expect((await call("Echo", {})).status).toBe(200);
    expect((await call("Echo", {}, { authorization: `bearer ${goodKey}`, "x-api-key": goodKey })).status).toBe(200);
    const alone = await fetch(`${server.url}/test.echo.v1.EchoService/Echo`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": goodKey },
      body: "{}",
    });
    expect(alone.status).toBe(200);
  });

  test.each<[string, Record<string, string>, string]>([
    ["two different ones", { "x-api-key": otherKey }, "KEY_INVALID"],
    ["another scheme", { authorization: `Basic ${goodKey}` }, "KEY_INVALID"],
    ["an empty one", { authorization: "Bearer " }, "KEY_INVALID"],
    ["an unknown one", { authorization: "Bearer nope" }, "KEY_INVALID"],
    ["one of 9,000 characters", { authorization: `Bearer ${"a".repeat(9_000)}` }, "KEY_INVALID"],
  ])("%s is refused", async (_name, headers, reason) => {
    expect(await problemOf(call("Echo", {}, headers))).toMatchObject({ status: 401, code: "unauthenticated", reason });
  });

  test("two authorization lines that differ are refused", async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(`${server.url}/test.echo.v1.EchoService/Echo`, { method: "POST" }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      request.on("error", reject);
      request.setHeader("content-type", "application/json");
      request.setHeader("authorization", [`Bearer ${goodKey}`, `Bearer ${otherKey}`]);
      request.end("{}");
    });
    expect(status).toBe(401);
  });

  test("a missing scope is named", async () => {
    expect(await problemOf(call("Admin", {}))).toMatchObject({ status: 403, reason: "SCOPE_MISSING", metadata: { scope: "echo:admin" } });
    expect(await problemOf(call("Echo", {}, { authorization: `Bearer ${otherKey}` }))).toMatchObject({ status: 403, metadata: { scope: "echo:read" } });
  });

  test("a public method looks at no key", async () => {
    const reply = await fetch(`${server.url}/test.echo.v1.EchoService/Public`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer nope" },
      body: '{"text":"open"}',
    });
    expect(await reply.json()).toEqual({ text: "open" });
  });

  test("who is refused has no body read: the refusal comes before the body", async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const request = httpRequest(
        `${server.url}/test.echo.v1.EchoService/Echo`,
        { method: "POST", headers: { "content-type": "application/json", "content-length": "1000" } },
        (response) => {
          resolve(response.statusCode);
          request.destroy();
        },
      );
      request.on("error", reject);
      request.write("{");
    });
    expect(status).toBe(401);
  });

  test("too many failures of a peer are answered with RATE_LIMITED, a right key still passes", async () => {
    const limited = await startTestServer({}, { failuresPerMinuteMax: 3 });
    try {
      const reasons: string[] = [];
      for (let attempt = 0; attempt < 5; attempt++) {
        const problem = await problemOf(
          fetch(`${limited.url}/test.echo.v1.EchoService/Echo`, {
            method: "POST",
            headers: { "content-type": "application/json", "x-api-key": "guess" },
            body: "{}",
          }),
        );
        reasons.push(problem.reason);
        if (attempt === 4) expect(Number(problem.headers.get("retry-after"))).toBeGreaterThan(0);
      }
      expect(reasons).toEqual(["KEY_INVALID", "KEY_INVALID", "KEY_INVALID", "RATE_LIMITED", "RATE_LIMITED"]);
      const right = await fetch(`${limited.url}/test.echo.v1.EchoService/Echo`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-api-key": goodKey },
        body: "{}",
      });
      expect(right.status).toBe(200);
    } finally {
      await limited.stop();
    }
  });
});

describe("the ids of a call", () => {
  const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  test("reach the service as a Caller", async () => {
    await call("Fail", {}, { "x-correlation-id": "corr-1", "x-request-id": "req-1", traceparent });
    expect(seenCaller).toEqual({
      tenantId: "tenant-1",
      actor: "key_1",
      scopes: new Set(["echo:read", "monitoring:read"]),
      correlationId: "corr-1",
      requestId: "req-1",
      traceparent,
    });
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ["from x-request-id", { "x-request-id": "req-2" }, /^req-2$/],
    ["from the baggage", { baggage: "a=b, correlation.id=bag-1;p=1" }, /^bag-1$/],
    ["new when there is none", {}, /^[0-9a-f-]{36}$/],
    ["new when it has odd characters", { "x-correlation-id": "a b" }, /^[0-9a-f-]{36}$/],
    ["new when it is too long", { "x-correlation-id": "a".repeat(129) }, /^[0-9a-f-]{36}$/],
  ])("the correlation id is %s", async (_name, headers, expected) => {
    const reply = await call("Echo", {}, headers);
    expect(reply.headers.get("x-correlation-id")).toMatch(expected);
  });

  test("a traceparent that is none is left out", async () => {
    await call("Fail", {}, { traceparent: `00-${"0".repeat(32)}-00f067aa0ba902b7-01` });
    expect(seenCaller).not.toHaveProperty("traceparent");
  });
});

describe("errors", () => {
  test("a bug leaves as INTERNAL_BUG with the request id, and is logged once with its stack", async () => {
    const problem = await problemOf(call("Fail", { text: "bug" }, { "x-request-id": "req-bug" }));
    expect(problem).toMatchObject({ status: 500, code: "internal", reason: "INTERNAL_BUG" });
    expect(problem.message).toContain("req-bug");
    expect(JSON.stringify(problem)).not.toContain("secret detail");
    const logged = server.log.lines.filter((line) => line.level === "error" && line.fields["request_id"] === "req-bug");
    expect(logged).toHaveLength(1);
    expect((logged[0] as LogLine).fields["err"]).toHaveProperty("stack", expect.stringContaining("interceptors.test.ts"));
  });

  test("a broken invariant and a stray AbortError tell nothing and are no UNKNOWN", async () => {
    const invariant = await problemOf(call("Fail", { text: "invariant" }));
    expect(invariant).toMatchObject({ reason: "INTERNAL_BUG" });
    expect(invariant.message).not.toContain("secret");
    expect((await problemOf(call("Fail", { text: "abort" }))).code).not.toBe("unknown");
  });

  test("an AbortError at the deadline is DEADLINE_EXCEEDED", async () => {
    expect(await problemOf(call("Slow", {}, { "connect-timeout-ms": "50" }))).toMatchObject({ code: "deadline_exceeded", reason: "DEADLINE_EXCEEDED" });
  });

  test("quota and state have their own details", async () => {
    const limit = await call("Fail", { text: "limit" });
    expect(limit.headers.get("retry-after")).toBe("3");
    expect(await limit.json()).toMatchObject({
      details: expect.arrayContaining([
        expect.objectContaining({ type: "google.rpc.RetryInfo", debug: { retryDelay: "2.500s" } }),
        expect.objectContaining({ type: "google.rpc.QuotaFailure", debug: { violations: [{ subject: "key:key_1", description: "Slow down." }] } }),
      ]),
    });
    const state = await (await call("Fail", { text: "state" })).json();
    expect(state).toMatchObject({
      code: "failed_precondition",
      details: expect.arrayContaining([expect.objectContaining({ type: "google.rpc.PreconditionFailure" })]),
    });
  });

  test("every call leaves one line without payload", async () => {
    await call("Fail", { text: "state" }, { "x-request-id": "req-line" });
    await expect.poll(() => server.log.lines.filter((line) => line.fields["request_id"] === "req-line")).toHaveLength(1);
    const line = server.log.lines.find((one) => one.fields["request_id"] === "req-line");
    expect(line?.level).toBe("info");
    expect(line?.fields).toMatchObject({
      rpc_method: "test.echo.v1.EchoService/Fail",
      code: "FAILED_PRECONDITION",
      reason: "WORKFLOW_PAUSED",
      tenant_id: "tenant-1",
      duration_ms: expect.any(Number),
    });
  });
});

describe("the policy table", () => {
  test("knows scopes, access and default deadlines", () => {
    const table = buildPolicyTable([EchoService]);
    expect(table.get("test.echo.v1.EchoService/Echo")).toMatchObject({ access: "key", scopes: ["echo:read"], defaultDeadlineMs: 10_000 });
    expect(table.get("test.echo.v1.EchoService/Fail")?.defaultDeadlineMs).toBe(30_000);
    expect(table.get("test.echo.v1.EchoService/Slow")?.defaultDeadlineMs).toBe(300);
    expect(table.get("test.echo.v1.EchoService/Count")?.defaultDeadlineMs).toBeUndefined();
    expect(table.get("test.echo.v1.EchoService/Public")?.access).toBe("open");
  });

  test("lists every rpc that lacks something", () => {
    const scopeless = { ...methodWithoutPolicy, name: "Scopeless", options: { "[pyairtable.api.v1.policy]": { rateClass: "RATE_CLASS_READ" } } };
    expect(() => buildPolicyTable([serviceOf(echoFile([methodWithoutPolicy, scopeless]))])).toThrow(
      /EchoService\/Forgotten: has no policy option\n.*EchoService\/Scopeless: its policy lacks scopes, audit/,
    );
  });
});
