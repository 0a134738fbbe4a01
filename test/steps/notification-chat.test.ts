import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { notification } from "../../src/steps/notification.ts";
import type { HttpEgress, StepOutcome } from "../../src/steps/step-handler.ts";
import { type MisbehavingServer, startMisbehavingServer } from "./misbehaving-server.ts";
import { attemptOf, failureIn, localEgress, resultIn, secretsOf, servicesOf } from "./step-call.ts";

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

function notify(channel: JsonObject, path = "/echo?key=T0P-SECRET", more: JsonObject = {}): Promise<StepOutcome> {
  const secrets = secretsOf({ hook: `${server.origin}${path}` });
  return Promise.resolve(notification.run(attemptOf(notification, { ...channel, ...more }, { order: { id: 7 } }, { secrets }), servicesOf(egress)));
}

const webhook_url = { slot: "hook" };
const sent = (): unknown => JSON.parse(server.seen.at(-1)?.body ?? "");

test("Slack gets text and blocks with their values", async () => {
  const blocks = [{ type: "section", text: { type: "mrkdwn", text: "*{{order.id}}*" } }];
  expect(resultIn(await notify({ slack: { webhook_url, text: "Order {{order.id}}", blocks } }))).toEqual({ channel: "slack", status: 200, delivered: true });
  expect(sent()).toEqual({ text: "Order 7", blocks: [{ type: "section", text: { type: "mrkdwn", text: "*7*" } }] });
});

test("Teams gets an adaptive card: the author's, or one made of the text", async () => {
  expect(resultIn(await notify({ teams: { webhook_url, text: "Order {{order.id}}" } }))).toEqual({ channel: "teams", status: 200, delivered: true });
  expect(sent()).toMatchObject({
    type: "message",
    attachments: [
      { contentType: "application/vnd.microsoft.card.adaptive", content: { type: "AdaptiveCard", body: [{ type: "TextBlock", text: "Order 7" }] } },
    ],
  });
  await notify({ teams: { webhook_url, card: { type: "AdaptiveCard", body: [{ type: "TextBlock", text: "{{order.id}} came" }] } } });
  expect(sent()).toMatchObject({ attachments: [{ content: { body: [{ text: "7 came" }] } }] });
});

test("the address, which is a credential, stands in no failure", async () => {
  for (const path of ["/status/404?key=T0P-SECRET", "/status/500/T0P-SECRET", "/reset?T0P-SECRET"]) {
    const outcome = failureIn(await notify({ slack: { webhook_url, text: "x" } }, path));
    expect(JSON.stringify(outcome)).not.toContain("T0P-SECRET");
  }
});

test("a secret that is no address, or none, is told by its slot", async () => {
  const call = attemptOf(notification, { slack: { webhook_url, text: "x" } }, {}, { secrets: secretsOf({ hook: "not an address" }) });
  expect(failureIn(await notification.run(call, servicesOf(egress))).failure).toMatchObject({
    name: "SECRET.INVALID",
    message: expect.stringContaining("hook"),
  });
  const none = attemptOf(notification, { teams: { webhook_url, text: "x" } }, {}, { secrets: secretsOf({}) });
  expect(failureIn(await notification.run(none, servicesOf(egress))).failure.name).toMatch(/^SECRET\./);
});
