/** The webhook channel: posts the payload after the Standard Webhooks convention, signed when it names a secret. */
import type { JsonObject } from "../../base/json.ts";
import { signWebhook } from "../auth/sign-webhook.ts";
import { failed, failedWith, objectField, textField, textOf } from "../config-fields.ts";
import { matchesStatus, statusFailure } from "../http-answer.ts";
import { callHeaders, checkHeaders, sendable, withHeaders } from "../http-headers.ts";
import { bodyBytesMax, checkHeaderLiterals, checkUrlLiteral } from "../http-request-check.ts";
import type { Report } from "../report.ts";
import type { StepCall, StepOutcome, StepServices } from "../step-handler.ts";

/** What receivers answer is not used, so little of it is read. */
const responseBytesMax = 64 * 1024;

export function checkWebhook(webhook: JsonObject, report: Report): void {
  checkUrlLiteral(webhook["url"], "webhook.url", report);
  checkHeaderLiterals(objectField(webhook, "headers"), "webhook.headers", report);
}

export async function postWebhook(call: StepCall, services: StepServices, webhook: JsonObject): Promise<StepOutcome> {
  const url = textField(webhook, "url");
  if (url === undefined) return failed("EXPRESSION", "webhook.url is empty or not text");
  const body = JSON.stringify(webhook["payload"] ?? null);
  if (Buffer.byteLength(body) > bodyBytesMax) return failed("LIMIT.BODY", `the payload is larger than ${bodyBytesMax} bytes`);
  const members = Object.entries(objectField(webhook, "headers") ?? {}).filter(([, value]) => value !== null);
  const given = checkHeaders(Object.fromEntries(members.map(([name, value]) => [name, textOf(value)])));
  if (!given.ok) return failedWith(given.fault);
  const recipient = `webhook:${url}`;
  const taken = await services.quota.take(call.tenantId, [recipient]);
  if (!taken.ok) return failedWith(taken.fault);
  const message = { id: sendable(call.idempotencyKey), timestamp: String(Math.floor(call.now() / 1000)), body };
  const signature = await signWebhook(call, webhook["signing_secret"], message);
  if (!signature.ok) return failedWith(signature.fault);
  const ours = {
    "content-type": "application/json",
    ...callHeaders(call),
    ...services.siblings?.baggageFor(call, url),
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
  if (answer.status === 410) await services.quota.gone(call.tenantId, recipient);
  if (!matchesStatus(["2xx"], answer.status)) return statusFailure(call, { method: "POST", url }, answer);
  return { kind: "succeeded", result: { channel: "webhook", status: answer.status, delivered: true } };
}
