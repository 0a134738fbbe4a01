/**
 * `notification`: tells somebody. The webhook channel posts the payload after the Standard Webhooks convention, signed when it
 * names a secret; the other channels of the contract are refused at save until they exist. The result is
 * `{channel, status, delivered}`; with `best_effort` a failed delivery completes the step and is kept as `error`.
 */
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { signWebhook } from "./auth/sign-webhook.ts";
import { failed, failedWith, isSet, objectField, textField, textOf } from "./config-fields.ts";
import { destinationOf } from "./egress/describe-target.ts";
import { matchesStatus, statusFailure } from "./http-answer.ts";
import { callHeaders, checkHeaders, sendable, withHeaders } from "./http-headers.ts";
import { bodyBytesMax, checkHeaderLiterals, checkUrlLiteral, reportLater } from "./http-request-check.ts";
import type { StepCall, StepHandler, StepOutcome, StepServices } from "./step-handler.ts";

/** What receivers answer is not used, so little of it is read. */
const responseBytesMax = 64 * 1024;

export const notification: StepHandler = {
  type: "notification",
  nature: "effect",
  fields: { "webhook.url": { as: "template" }, "webhook.payload": { as: "template" }, "webhook.headers": { as: "template" } },
  secretRefs: ["webhook.signing_secret", "slack.webhook_url", "teams.webhook_url"],
  startToCloseMs: 15_000,
  startToCloseMsMax: 15 * 60_000,

  /** Best effort never waits: a webhook that is away is noted in the result, not put off. */
  destination: (config) => (config["best_effort"] === true ? undefined : destinationOf(textField(objectField(config, "webhook") ?? {}, "url"))),

  check(config, report) {
    for (const channel of ["email", "slack", "teams"]) {
      if (isSet(config, channel)) reportLater(report, channel, `the ${channel} channel`);
    }
    const webhook = objectField(config, "webhook");
    if (!webhook) {
      if (!["email", "slack", "teams"].some((channel) => isSet(config, channel))) report("webhook", "VALIDATION_FAILED", "give the channel to notify");
      return;
    }
    checkUrlLiteral(webhook["url"], "webhook.url", report);
    checkHeaderLiterals(objectField(webhook, "headers"), "webhook.headers", report);
  },

  async run(call, services) {
    const webhook = objectField(call.config, "webhook");
    const outcome = webhook ? await postWebhook(call, services, webhook) : failed("SCHEMA", "the notification names no webhook");
    return call.config["best_effort"] === true ? tolerate(outcome) : outcome;
  },
};

async function postWebhook(call: StepCall, services: StepServices, webhook: JsonObject): Promise<StepOutcome> {
  const url = textField(webhook, "url");
  if (url === undefined) return failed("EXPRESSION", "webhook.url is empty or not text");
  const body = JSON.stringify(webhook["payload"] ?? null);
  if (Buffer.byteLength(body) > bodyBytesMax) return failed("LIMIT.BODY", `the payload is larger than ${bodyBytesMax} bytes`);
  const members = Object.entries(objectField(webhook, "headers") ?? {}).filter(([, value]) => value !== null);
  const given = checkHeaders(Object.fromEntries(members.map(([name, value]) => [name, textOf(value)])));
  if (!given.ok) return failedWith(given.fault);
  const message = { id: sendable(call.idempotencyKey), timestamp: String(Math.floor(call.now() / 1000)), body };
  const signature = await signWebhook(call, webhook["signing_secret"], message);
  if (!signature.ok) return failedWith(signature.fault);
  const ours = {
    "content-type": "application/json",
    ...callHeaders(call),
    "webhook-id": message.id,
    "webhook-timestamp": message.timestamp,
    ...signature.value,
  };
  const answer = await services.http.request({
    tenantId: call.tenantId,
    method: "POST",
    url,
    headers: withHeaders(given.value, ours),
    body,
    responseBytesMax,
    redirectsMax: 0,
    signal: call.signal,
  });
  if (answer.kind === "failed") return answer;
  if (!matchesStatus(["2xx"], answer.status)) return statusFailure(call, { method: "POST", url }, answer);
  return { kind: "succeeded", result: { channel: "webhook", status: answer.status, delivered: true } };
}

/** A cancelled attempt stays a failure: the run is being ended, not the delivery tolerated. */
function tolerate(outcome: StepOutcome): StepOutcome {
  if (outcome.kind !== "failed" || outcome.failure.name === "CANCELED") return outcome;
  const { name, message, details } = outcome.failure;
  const status = isJsonObject(details) ? (details["status"] ?? null) : null;
  return { kind: "succeeded", result: { channel: "webhook", status, delivered: false, error: { name, message } } };
}
