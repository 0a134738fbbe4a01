/**
 * `notification`: tells somebody, by e-mail, webhook, Slack or Teams (`notify/`). The result is `{channel, delivered}` with what the
 * channel adds (`status`, `message_id`, `recipients`); with `best_effort` a failed delivery completes the step and is kept as `error`.
 */
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { failed, isSet, objectField, textField } from "./config-fields.ts";
import { destinationOf } from "./egress/describe-target.ts";
import { checkChat, postChat } from "./notify/chat.ts";
import { checkEmail, sendEmail } from "./notify/email.ts";
import { checkWebhook, postWebhook } from "./notify/webhook.ts";
import type { StepHandler, StepOutcome } from "./step-handler.ts";

const channels = ["email", "webhook", "slack", "teams"] as const;
const templates = { as: "template" } as const;

export const notification: StepHandler = {
  type: "notification",
  nature: "effect",
  fields: {
    "email.to": templates,
    "email.cc": templates,
    "email.bcc": templates,
    "email.reply_to": templates,
    "email.subject": templates,
    "email.text": templates,
    "email.html": { as: "html" },
    "email.attachment_blob_ids": templates,
    "webhook.url": templates,
    "webhook.payload": templates,
    "webhook.headers": templates,
    "slack.text": templates,
    "slack.blocks": templates,
    "teams.text": templates,
    "teams.card": templates,
  },
  secretRefs: ["webhook.signing_secret", "slack.webhook_url", "teams.webhook_url"],
  startToCloseMs: 15_000,
  startToCloseMsMax: 15 * 60_000,

  /** Best effort never waits: a webhook that is away is noted in the result, not put off. */
  destination: (config) => (config["best_effort"] === true ? undefined : destinationOf(textField(objectField(config, "webhook") ?? {}, "url"))),

  check(config, report) {
    const channel = channels.find((name) => isSet(config, name));
    const own = channel && objectField(config, channel);
    if (channel === undefined || !own) return report("webhook", "VALIDATION_FAILED", `give the channel to notify: ${channels.join(", ")}`);
    if (channel === "email") checkEmail(own, report);
    else if (channel === "webhook") checkWebhook(own, report);
    else checkChat(channel, own, report);
  },

  async run(call, services) {
    const channel = channels.find((name) => isSet(call.config, name)) ?? "webhook";
    const own = objectField(call.config, channel);
    const outcome = own ? await sendBy(channel, own, call, services) : failed("SCHEMA", "the notification names no channel");
    return call.config["best_effort"] === true ? tolerate(channel, outcome) : outcome;
  },
};

function sendBy(channel: (typeof channels)[number], config: JsonObject, ...[call, services]: Parameters<StepHandler["run"]>): Promise<StepOutcome> {
  switch (channel) {
    case "email":
      return sendEmail(call, services, config);
    case "webhook":
      return postWebhook(call, services, config);
    case "slack":
    case "teams":
      return postChat(call, services, channel, config);
    default:
      return channel satisfies never;
  }
}

/** A cancelled attempt stays a failure: the run is being ended, not the delivery tolerated. */
function tolerate(channel: string, outcome: StepOutcome): StepOutcome {
  if (outcome.kind !== "failed" || outcome.failure.name === "CANCELED") return outcome;
  const { name, message, details } = outcome.failure;
  const status = isJsonObject(details) ? (details["status"] ?? null) : null;
  return { kind: "succeeded", result: { channel, status, delivered: false, error: { name, message } } };
}
