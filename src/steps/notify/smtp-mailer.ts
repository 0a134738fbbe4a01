/**
 * The operator's SMTP server. Messages are built here field by field: nothing that a tenant wrote is handed to the library as an
 * object, so neither files nor addresses are read on a tenant's behalf, and the envelope names exactly the checked recipients.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { createTransport } from "nodemailer";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { signalFailure } from "../signal-failure.ts";
import type { MailFault, MailMessage, MailSender } from "../step-handler.ts";
import { encodeSubject } from "./mail-subject.ts";

export interface SmtpOptions {
  /** `smtp://[user:password@]host[:port]` (STARTTLS, required unless `tls: false`) or `smtps://…`. */
  readonly url: string;
  /** Sender of every message. */
  readonly from: string;
  /** `required`: STARTTLS or nothing; `off`: for a server on this machine that knows none. */
  readonly tls: "required" | "off";
  /** Certificate authorities in PEM [those of Node, NODE_EXTRA_CA_CERTS included]. */
  readonly ca?: string | undefined;
}

const timeoutMs = 15_000;

export const noMail: MailSender = {
  send: async () =>
    fail({ outcome: "failed", failure: failure("SMTP.NOT_CONFIGURED", "no SMTP server is configured; the operator sets PAWF_SMTP_URL and PAWF_SMTP_FROM") }),
};

export function createSmtpMailer({ url, from, tls, ca }: SmtpOptions): MailSender & { close(): void } {
  const { protocol, hostname, port, username, password } = new URL(url);
  const isImplicit = protocol === "smtps:";
  const transport = createTransport({
    host: hostname.replace(/^\[|\]$/g, ""),
    port: port === "" ? (isImplicit ? 465 : 587) : Number(port),
    secure: isImplicit,
    ...(isImplicit ? {} : tls === "off" ? { ignoreTLS: true } : { requireTLS: true }),
    ...(ca === undefined ? {} : { tls: { ca } }),
    ...(username === "" ? {} : { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
    connectionTimeout: timeoutMs,
    greetingTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    pool: true,
    maxConnections: 4,
    disableFileAccess: true,
    disableUrlAccess: true,
    logger: false,
  });
  return {
    close: () => transport.close(),
    async send(message, signal) {
      const messageId = `<${createHash("sha256").update(message.idempotencyKey).digest("hex").slice(0, 40)}@${from.slice(from.lastIndexOf("@") + 1)}>`;
      const sending = transport.sendMail(mailOf(message, from, messageId)).then(
        () => ok({ messageId }),
        (error: unknown) => fail(faultOf(error)),
      );
      return await Promise.race([sending, aborted(signal)]);
    },
  };
}

function mailOf(message: MailMessage, from: string, messageId: string): Parameters<ReturnType<typeof createTransport>["sendMail"]>[0] {
  const { to, cc, bcc, replyTo, subject, text, html, attachments, correlationId } = message;
  const named = (addresses: readonly string[]) => addresses.map((address) => ({ name: "", address }));
  return {
    envelope: { from, to: [...to, ...cc, ...bcc] },
    from: { name: "", address: from },
    to: named(to),
    cc: named(cc),
    ...(replyTo === undefined ? {} : { replyTo: { name: "", address: replyTo } }),
    subject: encodeSubject(subject),
    ...(text === undefined ? {} : { text }),
    ...(html === undefined ? {} : { html }),
    messageId,
    headers: { "X-Correlation-ID": correlationId },
    attachments: attachments.map(({ name, mediaType, content }) => ({ filename: name, contentType: typeOf(mediaType), content: Readable.from(content()) })),
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

/** A message inside of a message would be read as part of this one, and could not be sent byte by byte: it is just bytes. */
function typeOf(mediaType: string): string {
  return /^(?!message\/|multipart\/)[\w.+-]+\/[\w.+-]+$/i.test(mediaType) ? mediaType : "application/octet-stream";
}

async function aborted(signal: AbortSignal): Promise<Result<never, MailFault>> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  return fail({ outcome: "unknown", failure: signalFailure(signal) });
}

/** What the server said, without addresses: 4xx is tried again, 5xx is final. After the message was handed over nobody knows. */
function faultOf(error: unknown): MailFault {
  // An attachment that cannot be read ends its own stream with a failure of ours.
  if (!(error instanceof Error)) return { outcome: "failed", failure: error as Failure };
  const { responseCode, code, command } = error as { responseCode?: number; code?: string; command?: string };
  if (responseCode !== undefined) {
    return { outcome: "failed", failure: smtpFailure(responseCode, command) };
  }
  if (code === "EAUTH") return { outcome: "failed", failure: failure("SMTP.535", "the SMTP server refuses the configured user; tell the operator") };
  // Before DATA ended the server has taken nothing.
  const outcome = command === "DATA" ? "unknown" : "failed";
  return { outcome, failure: failure("NETWORK", `the SMTP server cannot be reached or broke off${code ? ` (${code})` : ""}`) };
}

function smtpFailure(responseCode: number, command: string | undefined): Failure {
  return failure(`SMTP.${responseCode}`, `the SMTP server answered ${responseCode}${command ? ` to ${command}` : ""}`);
}
