/** The e-mail channel: checks what was rendered and hands the configured SMTP server a message that we built. */
import type { JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { failedWith, listField, textField, textOf } from "../config-fields.ts";
import type { Report } from "../report.ts";
import type { MailMessage, StepCall, StepOutcome, StepServices } from "../step-handler.ts";
import { mailAddressProblem } from "./mail-address.ts";

const recipientFields = ["to", "cc", "bcc"] as const;
const recipientsMax = 50;
const subjectCharactersMax = 255;
const bodyBytesMax = 1024 * 1024;
/** Most mail servers take 25 MB, a third of it lost to the encoding. */
const attachmentsBytesMax = 15 * 1024 * 1024;

/** Literals only: what expressions make is checked when it is known. */
export function checkEmail(email: JsonObject, report: Report): void {
  for (const field of recipientFields) {
    for (const [index, value] of listField(email, field).entries()) reportAddress(value, `email.${field}[${index}]`, report);
  }
  if (textField(email, "reply_to") !== undefined) reportAddress(email["reply_to"] as string, "email.reply_to", report);
  const subject = textField(email, "subject");
  if (subject !== undefined && !subject.includes("{{") && subjectProblem(subject))
    report("email.subject", "VALIDATION_FAILED", subjectProblem(subject) as string);
  if (subject === undefined) report("email.subject", "VALIDATION_FAILED", "give the subject");
  if (textField(email, "text") === undefined && textField(email, "html") === undefined) report("email.text", "VALIDATION_FAILED", "give text or html");
}

function reportAddress(value: unknown, path: string, report: Report): void {
  if (typeof value !== "string" || value.includes("{{")) return;
  const problem = mailAddressProblem(value);
  if (problem) report(path, "VALIDATION_FAILED", problem);
}

export async function sendEmail(call: StepCall, services: StepServices, email: JsonObject): Promise<StepOutcome> {
  const message = await messageOf(call, services, email);
  if (!message.ok) return failedWith(message.fault);
  const recipients = [...message.value.to, ...message.value.cc, ...message.value.bcc];
  const taken = await services.quota.take(call.tenantId, recipients);
  if (!taken.ok) return failedWith(taken.fault);
  const sent = await services.mail.send(message.value, call.signal);
  if (!sent.ok) return { kind: "failed", ...sent.fault };
  return { kind: "succeeded", result: { channel: "email", delivered: true, message_id: sent.value.messageId, recipients: recipients.length } };
}

async function messageOf(call: StepCall, services: StepServices, email: JsonObject): Promise<Result<MailMessage, Failure>> {
  const addresses = { to: [] as string[], cc: [] as string[], bcc: [] as string[] };
  for (const field of recipientFields) {
    for (const [index, value] of listField(email, field).entries()) {
      // A list or an object is not one address, whatever its text looks like.
      const problem = typeof value === "string" ? mailAddressProblem(value) : "is not text";
      if (problem) return fail(failure("SCHEMA", `email.${field}[${index}] ${problem}`));
      addresses[field].push(value as string);
    }
  }
  const count = addresses.to.length + addresses.cc.length + addresses.bcc.length;
  if (count === 0 || count > recipientsMax) return fail(failure("SCHEMA", `an e-mail has 1 to ${recipientsMax} recipients, not ${count}`));
  const replyTo = textField(email, "reply_to");
  const replyProblem = replyTo === undefined ? undefined : mailAddressProblem(replyTo);
  if (replyProblem) return fail(failure("SCHEMA", `email.reply_to ${replyProblem}`));
  const subject = textOf(email["subject"] ?? "");
  if (subjectProblem(subject)) return fail(failure("SCHEMA", `email.subject ${subjectProblem(subject)}`));
  const [text, html] = [bodyOf(email, "text"), bodyOf(email, "html")];
  for (const body of [text, html]) {
    if (body !== undefined && Buffer.byteLength(body) > bodyBytesMax) return fail(failure("LIMIT.BODY", `a body has at most ${bodyBytesMax} bytes`));
  }
  const attachments = await attachmentsOf(call, services, email);
  if (!attachments.ok) return attachments;
  const { idempotencyKey, correlationId } = call;
  return ok({ ...addresses, replyTo, subject, text, html, attachments: attachments.value, idempotencyKey, correlationId });
}

async function attachmentsOf(call: StepCall, services: StepServices, email: JsonObject): Promise<Result<MailMessage["attachments"], Failure>> {
  const attachments: MailMessage["attachments"][number][] = [];
  let bytes = 0;
  for (const id of listField(email, "attachment_blob_ids").map(textOf)) {
    const file = await services.files.find(call.tenantId, id);
    if (!file.ok) return file;
    bytes += file.value.sizeBytes;
    if (bytes > attachmentsBytesMax) return fail(failure("LIMIT.BODY", `the attachments of an e-mail have at most ${attachmentsBytesMax} bytes together`));
    const { name, mediaType } = file.value;
    attachments.push({ name, mediaType, content: () => services.files.read(call.tenantId, id) });
  }
  return ok(attachments);
}

function bodyOf(email: JsonObject, field: "text" | "html"): string | undefined {
  const value = email[field];
  return value === undefined || value === null || value === "" ? undefined : textOf(value);
}

/** A line break in a subject begins the next header. */
function subjectProblem(subject: string): string | undefined {
  if (subject.length > subjectCharactersMax) return `has more than ${subjectCharactersMax} characters`;
  return /\p{Cc}|[\u2028\u2029]/u.test(subject) ? "contains control characters" : undefined;
}
