/** Slack- and Teams-compatible incoming webhooks. The address is a credential, so it comes from a secret and is shown nowhere. */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { failed, failedWith, isSet, textField } from "../config-fields.ts";
import { statusFailure } from "../http-answer.ts";
import { bodyBytesMax } from "../http-request-check.ts";
import type { Report } from "../report.ts";
import type { StepCall, StepOutcome, StepServices } from "../step-handler.ts";

const responseBytesMax = 16 * 1024;

export function checkChat(channel: "slack" | "teams", config: JsonObject, report: Report): void {
  const more = channel === "slack" ? "blocks" : "card";
  if (textField(config, "text") === undefined && !isSet(config, more)) report(`${channel}.text`, "VALIDATION_FAILED", `give text or ${more}`);
}

export async function postChat(call: StepCall, services: StepServices, channel: "slack" | "teams", config: JsonObject): Promise<StepOutcome> {
  const reference = config["webhook_url"];
  const slot = isJsonObject(reference) ? textField(reference, "slot") : undefined;
  const secret = await call.secrets.resolve(slot ?? "");
  if (!secret.ok) return failedWith(secret.fault);
  const url = secret.value;
  if (url === undefined || !URL.canParse(url)) return failed("SECRET.INVALID", `the secret of slot "${slot}" is not the address of an incoming webhook`);
  const taken = await services.quota.take(call.tenantId, [`${channel}:${slot}`]);
  if (!taken.ok) return failedWith(taken.fault);
  // The address is the credential: failures and the log name its slot instead.
  const shownAs = `the ${channel} webhook of slot "${slot}"`;
  const body = JSON.stringify(channel === "slack" ? slackBody(config) : teamsBody(config));
  if (Buffer.byteLength(body) > bodyBytesMax) return failed("LIMIT.BODY", `the message is larger than ${bodyBytesMax} bytes`);
  const answer = await services.http.request({
    tenantId: call.tenantId,
    method: "POST",
    url,
    shownAs,
    headers: { "content-type": "application/json" },
    body,
    responseBytesMax,
    redirectsMax: 0,
    signal: call.signal,
  });
  if (answer.kind === "failed") return answer;
  if (Math.floor(answer.status / 100) !== 2) return statusFailure(call, { method: "POST", url, shownAs }, answer);
  return { kind: "succeeded", result: { channel, status: answer.status, delivered: true } };
}

function slackBody(config: JsonObject): Json {
  const text = textField(config, "text");
  const blocks = config["blocks"];
  return { ...(text === undefined ? {} : { text }), ...(Array.isArray(blocks) ? { blocks } : {}) };
}

/** The form that workflows of Teams take: a message with adaptive cards. Bare text becomes a card of one text block. */
function teamsBody(config: JsonObject): Json {
  const text = textField(config, "text");
  const card = isJsonObject(config["card"])
    ? config["card"]
    : {
        type: "AdaptiveCard",
        $schema: "http://adaptivecards.io/schemas/adaptive-card.json",
        version: "1.4",
        body: [{ type: "TextBlock", text: text ?? "", wrap: true }],
      };
  return { type: "message", ...(text === undefined ? {} : { text }), attachments: [{ contentType: "application/vnd.microsoft.card.adaptive", content: card }] };
}
