import { createHmac } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { ok } from "../../src/base/result.ts";
import { failure } from "../../src/domain/failure.ts";
import { notification } from "../../src/steps/notification.ts";
import type { HttpEgress, StepCall, StepOutcome } from "../../src/steps/step-handler.ts";
import { type MisbehavingServer, type SeenRequest, startMisbehavingServer } from "./misbehaving-server.ts";
import { attemptOf, failureIn, localEgress, problemsOf, resultIn, secretsOf, servicesOf, testNow } from "./step-call.ts";

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

function notify(path: string, more: JsonObject = {}, webhook: JsonObject = {}, facts: Partial<StepCall> = {}): Promise<StepOutcome> {
  const config = { webhook: { url: `{{origin}}${path}`, payload: { order: "{{order}}" }, ...webhook }, ...more };
  return Promise.resolve(notification.run(attemptOf(notification, config, { origin: server.origin, order: { id: 7 } }, facts), servicesOf(egress)));
}

test("posts the payload with the headers of Standard Webhooks", async () => {
  expect(resultIn(await notify("/echo", {}, { headers: { "X-One": "1" } }))).toEqual({ channel: "webhook", status: 200, delivered: true });
  expect(server.seen.at(-1)).toMatchObject({
    method: "POST",
    body: '{"order":{"id":7}}',
    headers: {
      "content-type": "application/json",
      "webhook-id": "exe_01JQ0000000000000000000000/reserve/action",
      "webhook-timestamp": String(testNow / 1000),
      "x-correlation-id": "corr-1",
      "x-one": "1",
    },
  });
});

test("a signature verifies with the convention's own library, while the secret is being rotated with both values", async () => {
  const [current, before, stranger] = [
    "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0",
    "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0",
    "whsec_c3RyYW5nZXItc3RyYW5nZXItMTIz",
  ] as const;
  const now = Date.now();
  const facts = { secrets: secretsOf({ hook: [current, before] }), now: () => now };
  expect(resultIn(await notify("/echo", {}, { signing_secret: { slot: "hook" } }, facts))).toMatchObject({ delivered: true });
  const { body, headers } = server.seen.at(-1) as SeenRequest;
  const signed = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
  for (const secret of [current, before]) expect(new Webhook(secret).verify(body, signed)).toEqual({ order: { id: 7 } });
  expect(() => new Webhook(stranger).verify(body, signed)).toThrow();
  expect(() => new Webhook(current).verify(`${body} `, signed)).toThrow();

  await notify("/echo", {}, { signing_secret: { slot: "hook" } }, { ...facts, secrets: secretsOf({ hook: "any text of a secret" }) });
  const plain = server.seen.at(-1) as SeenRequest;
  const expected = createHmac("sha256", "any text of a secret").update(`${plain.headers["webhook-id"]}.${plain.headers["webhook-timestamp"]}.${plain.body}`);
  expect(plain.headers["webhook-signature"]).toBe(`v1,${expected.digest("base64")}`);
});

test("nothing is sent without the secret that is named", async () => {
  const sent = server.seen.length;
  const { failure: met, outcome } = failureIn(await notify("/echo", {}, { signing_secret: { slot: "nobody" } }));
  expect([met.name, outcome]).toEqual(["SECRET.MISSING", "failed"]);
  const odd = await notify("/echo", {}, { signing_secret: { slot: "odd" } }, { secrets: secretsOf({ odd: "whsec_%%%" }) });
  expect(failureIn(odd).failure.name).toBe("SECRET.INVALID");
  expect(server.seen.length).toBe(sent);
});

test.each(["a\r\nX-Evil: 1", "a\nb", "a\u0007b"])("a header's value %j is refused when it is known, and nothing is sent", async (evil) => {
  const sent = server.seen.length;
  const config = { webhook: { url: `${server.origin}/echo`, payload: {}, headers: { "X-One": "{{evil}}" } } };
  const refused = failureIn(await notification.run(attemptOf(notification, config, { evil }), servicesOf(egress)));
  expect(refused).toMatchObject({ outcome: "failed", failure: { name: "EXPRESSION", message: expect.stringMatching(/x-one/i) } });
  expect(server.seen.length).toBe(sent);
});

test.each([
  ["/status/410", "HTTP.410 failed"],
  ["/status/404", "HTTP.404 failed"],
  ["/status/500", "HTTP.500 unknown"],
  ["/redirect/302", "HTTP.302 unknown"],
  ["/reset-early", "NETWORK unknown"],
])("%s fails as %s", async (path, expected) => {
  const { failure: met, outcome } = failureIn(await notify(path));
  expect(`${met.name} ${outcome}`).toBe(expected);
});

test("a receiver that is gone is remembered, others are not", async () => {
  const gone: string[] = [];
  const quota = { take: async () => ok(undefined), gone: async (tenantId: string, recipient: string) => void gone.push(`${tenantId} ${recipient}`) };
  for (const status of [404, 410, 500]) {
    const config = { webhook: { url: `${server.origin}/status/${status}`, payload: {} } };
    await notification.run(attemptOf(notification, config), servicesOf(egress, undefined, { quota }));
  }
  expect(gone).toEqual([`tenant-a webhook:${server.origin}/status/410`]);
});

test("best_effort keeps the failure in the result and completes", async () => {
  expect(resultIn(await notify("/status/503", { best_effort: true }))).toEqual({
    channel: "webhook",
    status: 503,
    delivered: false,
    error: { name: "HTTP.503", message: `POST ${server.origin}/status/503 answered 503` },
  });
  expect(resultIn(await notify("", { best_effort: true }, { url: "http://10.0.0.1/" }))).toMatchObject({
    delivered: false,
    status: null,
    error: { name: "LIMIT.EGRESS" },
  });
});

test("best_effort does not turn a cancelled run into a success", async () => {
  const stop = AbortSignal.abort(failure("CANCELED", "stop"));
  expect(failureIn(await notify("/ok", { best_effort: true }, {}, { signal: stop })).failure.name).toBe("CANCELED");
});

test("refuses at save what cannot be sent, by field", () => {
  expect(problemsOf(notification, {})).toEqual(["webhook: VALIDATION_FAILED"]);
  expect(problemsOf(notification, { email: { to: ["a@b.c"] } })).toEqual(["email.subject: VALIDATION_FAILED", "email.text: VALIDATION_FAILED"]);
  expect(problemsOf(notification, { slack: { webhook_url: { slot: "s" } } })).toEqual(["slack.text: VALIDATION_FAILED"]);
  expect(problemsOf(notification, { teams: { webhook_url: { slot: "s" } } })).toEqual(["teams.text: VALIDATION_FAILED"]);
  const webhook = { url: "https://example.com/", signing_secret: { slot: "s" }, headers: { Host: "x" } };
  expect(problemsOf(notification, { webhook })).toEqual(["webhook.headers.Host: VALIDATION_FAILED"]);
});
