import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { failure } from "../../src/domain/failure.ts";
import { httpRequest } from "../../src/steps/http-request.ts";
import type { HttpEgress, StepCall, StepOutcome } from "../../src/steps/step-handler.ts";
import { attemptOf, failureIn, localEgress, resultIn, servicesOf } from "./step-call.ts";

let origin = "";
let answer: (url: URL, request: IncomingMessage) => { body: unknown; status?: number; headers?: Record<string, string> };
const seen: { readonly url: string; readonly key: string; readonly body: string }[] = [];
const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  seen.push({ url: request.url ?? "", key: String(request.headers["idempotency-key"]), body: Buffer.concat(chunks).toString() });
  const { body, status = 200, headers = {} } = answer(new URL(request.url ?? "/", origin), request);
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
});
let egress: HttpEgress & AsyncDisposable;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  egress = localEgress();
});
beforeEach(() => void seen.splice(0));
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

function run(pagination: JsonObject, config: JsonObject = {}, facts: Partial<StepCall> = {}): Promise<StepOutcome> {
  const call = attemptOf(httpRequest, { url: `${origin}/orders`, pagination, ...config }, {}, { idempotencyKey: "key", ...facts });
  return Promise.resolve(httpRequest.run(call, servicesOf(egress)));
}
const told = async (outcome: Promise<StepOutcome>): Promise<string> => {
  const { failure: met, outcome: effect } = failureIn(await outcome);
  return `${met.name} ${effect}`;
};
const numbers = Array.from({ length: 7 }, (_, index) => index + 1);
const paged = (from: number, size = 3): number[] => numbers.slice(from, from + size);

describe("pages are found", () => {
  test("by a page number that counts up until a page is empty", async () => {
    answer = (url) => ({ body: { data: paged((Number(url.searchParams.get("page")) - 1) * 3) } });
    const pagination = { first_page: 1, parameter: "page", items: "result.body.data" };
    expect(resultIn(await run(pagination, { query: { status: "open" } }))).toEqual({ items: numbers, pages: 4 });
    expect(seen.map(({ url }) => url)).toEqual([1, 2, 3, 4].map((page) => `/orders?status=open&page=${page}`));
  });

  test("by a page number that begins with zero", async () => {
    answer = (url) => ({ body: paged(Number(url.searchParams.get("p")) * 3) });
    expect(resultIn(await run({ first_page: 0, parameter: "p", items: "result.body" }))).toEqual({ items: numbers, pages: 4 });
  });

  test("by a cursor until it is null, and values of it never change the rest of the address", async () => {
    answer = (url) => {
      const from = Number(url.searchParams.get("after")?.replace("&x=", "") ?? 0);
      return { body: { rows: paged(from), next: from + 3 < numbers.length ? `&x=${from + 3}` : null } };
    };
    const pagination = { next_cursor: "result.body.next", parameter: "after", items: "result.body.rows" };
    expect(resultIn(await run(pagination))).toEqual({ items: numbers, pages: 3 });
    expect(seen.map(({ url }) => url)).toEqual(["/orders", "/orders?after=%26x%3D3", "/orders?after=%26x%3D6"]);
  });

  test("by the next address, whole or relative, also from a header", async () => {
    answer = (url) => {
      const from = Number(url.searchParams.get("from") ?? 0);
      const next = from + 3 < numbers.length ? `${from === 0 ? origin : ""}/orders?from=${from + 3}` : "";
      return { body: paged(from), headers: { "x-next": next } };
    };
    const pagination = { next_url: "result.headers['x-next']", items: "result.body.map(n, n * 2.0)" };
    expect(resultIn(await run(pagination))).toEqual({ items: numbers.map((n) => n * 2), pages: 3 });
  });
});

describe("each page", () => {
  test("has a key of its own, equal on every attempt, and sends what the step sends", async () => {
    answer = (url) => ({ body: { rows: [1], next: url.searchParams.has("c") ? null : "2" } });
    const pagination = { next_cursor: "result.body.next", parameter: "c", items: "result.body.rows" };
    for (const attempt of [1, 2]) resultIn(await run(pagination, { method: "POST", json: { q: "open" } }, { attempt }));
    expect(seen.map(({ key, body }) => [key, body])).toEqual(['"key"', '"key/page/2"', '"key"', '"key/page/2"'].map((key) => [key, '{"q":"open"}']));
  });

  test("has to be a success by status and by success_when; after the first one nothing is surely without effect", async () => {
    answer = (url) => ({ body: [1], status: url.searchParams.get("page") === "2" ? 422 : 200 });
    const pagination = { first_page: 1, parameter: "page", items: "result.body" };
    expect(await told(run(pagination))).toBe("HTTP.422 unknown");
    answer = () => ({ body: [1], status: 422 });
    expect(await told(run(pagination))).toBe("HTTP.422 failed");
    answer = (url) => ({ body: [Number(url.searchParams.get("page"))] });
    expect(await told(run(pagination, { success_when: "result.body[0] < 3.0" }))).toBe("HTTP.REJECTED unknown");
  });

  test("brings the delay the server asks for", async () => {
    answer = () => ({ body: [], status: 429, headers: { "retry-after": "7" } });
    expect(await run({ first_page: 1, parameter: "page", items: "result.body" })).toMatchObject({ retryAfterMs: 7_000 });
  });
});

describe("what has no end ends", () => {
  const endless = { first_page: 1, parameter: "page", items: "result.body" };

  test("after max_pages, with what was read", async () => {
    answer = (url) => ({ body: [Number(url.searchParams.get("page"))] });
    expect(resultIn(await run({ ...endless, max_pages: 3 }))).toEqual({ items: [1, 2, 3], pages: 3 });
    expect(resultIn(await run(endless))).toMatchObject({ pages: 100 });
  });

  test("when a page leads back to one that was read", async () => {
    answer = () => ({ body: { rows: [], next: "/orders" } });
    expect(await told(run({ next_url: "result.body.next", items: "result.body.rows" }))).toBe("LIMIT.PAGES unknown");
    answer = () => ({ body: { rows: [], next: "same" } });
    expect(await told(run({ next_cursor: "result.body.next", parameter: "c", items: "result.body.rows" }))).toBe("LIMIT.PAGES unknown");
  });

  test("when the items grow beyond a result", async () => {
    answer = () => ({ body: ["x".repeat(200_000)] });
    expect(await told(run(endless))).toBe("LIMIT.BODY unknown");
    expect(seen.length).toBeLessThan(30);
  });

  test("with the attempt", async () => {
    const controller = new AbortController();
    answer = (url) => {
      if (url.searchParams.get("page") === "3") controller.abort(failure("TIMEOUT.START_TO_CLOSE", "late"));
      return { body: [1] };
    };
    expect(await told(run(endless, {}, { signal: controller.signal }))).toBe("TIMEOUT.START_TO_CLOSE unknown");
    expect(seen.length).toBe(3);
  });
});

describe("a page may lead nowhere else", () => {
  test.each(["http://169.254.169.254/x", "https://127.0.0.1/x", "//evil.example/x", "file:///etc/passwd", "http://[::1]/"])("not to %s", async (next) => {
    answer = () => ({ body: { rows: [], next } });
    expect(await told(run({ next_url: "result.body.next", items: "result.body.rows" }))).toBe("LIMIT.PAGES unknown");
    expect(seen).toHaveLength(1);
  });

  test.each<[string, unknown, JsonObject]>([
    ["items that are no list", { rows: "x", next: null }, {}],
    ["a next address that is an object", { rows: [], next: {} }, {}],
    ["a next address that is none", { rows: [], next: "http://[" }, {}],
    ["no such member", {}, {}],
  ])("%s is an error in the expression", async (_, body) => {
    answer = () => ({ body });
    expect(await told(run({ next_url: "result.body.next", items: "result.body.rows" }))).toBe("EXPRESSION unknown");
  });
});
