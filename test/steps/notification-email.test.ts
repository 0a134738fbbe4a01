import { randomBytes } from "node:crypto";
import { simpleParser } from "mailparser";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { fail, ok } from "../../src/base/result.ts";
import { failure } from "../../src/domain/failure.ts";
import { notification } from "../../src/steps/notification.ts";
import { createSmtpMailer, noMail } from "../../src/steps/notify/smtp-mailer.ts";
import type { StepOutcome, StepServices } from "../../src/steps/step-handler.ts";
import { certificate as otherCertificate, privateKey as otherKey } from "./grpc/certificate.ts";
import { authority, certificate, privateKey } from "./mail-certificate.ts";
import { memoryFiles } from "./memory-files.ts";
import { type ReceivedMail, startSmtp, type TestSmtp } from "./smtp-server.ts";
import { attemptOf, failureIn, problemsOf, resultIn, servicesOf } from "./step-call.ts";

let smtp: TestSmtp;
let mail: ReturnType<typeof createSmtpMailer>;
const files = memoryFiles();
beforeAll(async () => {
  smtp = await startSmtp();
  mail = createSmtpMailer({ url: `smtp://127.0.0.1:${smtp.port}`, from: "service@example.com", tls: "off" });
});
afterAll(async () => {
  mail?.close();
  await smtp?.[Symbol.asyncDispose]();
});

const letter = { to: ["ada@example.com"], subject: "Order {{order.id}}", text: "Dear {{name}}" };
const scope = { order: { id: 7 }, name: "Ada <b>& co</b>", address: "ada@example.com" };

function send(email: JsonObject, more: Partial<StepServices> = {}, others: JsonObject = {}, inScope: JsonObject = scope): Promise<StepOutcome> {
  return Promise.resolve(notification.run(attemptOf(notification, { email, ...others }, inScope), servicesOf(undefined, undefined, { mail, files, ...more })));
}

const last = (): ReceivedMail => smtp.received.at(-1) as ReceivedMail;

test("an e-mail arrives as it was written: recipients, subject, text, HTML with escaped values, attachments byte by byte", async () => {
  const bytes = randomBytes(100_000);
  const file = files.put("tenant-a", "räport.bin", bytes, "application/x-report");
  const outcome = await send({
    ...letter,
    to: ["{{address}}", "bob@example.com"],
    cc: ["carol@example.com"],
    bcc: ["hidden@example.com"],
    reply_to: "answers@example.com",
    subject: "Bestellung {{order.id}} – bestätigt",
    html: "<p>Dear {{name}}</p>{{order}}",
    attachment_blob_ids: [file.id],
  });
  expect(resultIn(outcome)).toMatchObject({ channel: "email", delivered: true, recipients: 4 });
  expect(last()).toMatchObject({ from: "service@example.com", to: ["ada@example.com", "bob@example.com", "carol@example.com", "hidden@example.com"] });
  const read = await simpleParser(last().raw);
  expect(read.subject).toBe("Bestellung 7 – bestätigt");
  expect(read.text?.trim()).toBe("Dear Ada <b>& co</b>");
  expect(read.html).toBe("<p>Dear Ada &lt;b&gt;&amp; co&lt;/b&gt;</p>{&quot;id&quot;:7}");
  expect(read.attachments.map(({ filename, contentType, content }) => [filename, contentType, content.equals(bytes)])).toEqual([
    ["räport.bin", "application/x-report", true],
  ]);
  expect(read.headers.get("x-correlation-id")).toBe("corr-1");
  expect(last().raw.toString()).not.toContain("hidden@example.com");
  expect(read.messageId).toBe((resultIn(outcome) as JsonObject)["message_id"]);
});

test("every attempt carries the same message id", async () => {
  const ids = [await send(letter), await send(letter)].map((outcome) => (resultIn(outcome) as JsonObject)["message_id"]);
  expect(ids[0]).toBe(ids[1]);
});

describe("hostile values", () => {
  const hostile = [
    "b@x.io\r\nBcc: e@x.io",
    "b@x.io\nBcc: e@x.io",
    "a@x.io, b@x.io",
    "a@x.io;b@x.io",
    "Ada <ada@x.io>",
    "<ada@x.io>",
    "group:a@x.io;",
    '"a b"@x.io',
    "a@[127.0.0.1]",
    "a@localhost",
    "a@x..io",
    "a\u0007@x.io",
    "a@x.io\u2028b",
    "",
    `${"a".repeat(65)}@x.io`,
    "ａ@x.io",
  ];
  test.each(hostile)("the recipient %j is refused at save and at run, and nothing is sent", async (address) => {
    const before = smtp.received.length;
    expect(problemsOf(notification, { email: { ...letter, to: [address] } })).toEqual(["email.to[0]: VALIDATION_FAILED"]);
    for (const field of ["to", "cc", "bcc"]) {
      const { failure } = failureIn(await send({ ...letter, [field]: ["{{evil}}"] }, {}, {}, { ...scope, evil: address }));
      expect(failure.name).toBe("SCHEMA");
      expect(failure.message).toContain(`email.${field}[0]`);
    }
    if (address !== "") expect(failureIn(await send({ ...letter, reply_to: "{{evil}}" }, {}, {}, { ...scope, evil: address })).failure.name).toBe("SCHEMA");
    expect(smtp.received).toHaveLength(before);
  });

  test("more than 50 recipients are refused, however they are spread", async () => {
    const many = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => `r${from + index}@example.com`);
    const before = smtp.received.length;
    const spread = failureIn(await send({ ...letter, to: many(0, 20), cc: many(20, 40), bcc: many(40, 51) }));
    expect(spread).toMatchObject({ outcome: "failed", failure: { name: "SCHEMA", message: expect.stringContaining("51") } });
    expect(resultIn(await send({ ...letter, to: many(0, 20), cc: many(20, 40), bcc: many(40, 50) }))).toMatchObject({ recipients: 50 });
    expect(smtp.received).toHaveLength(before + 1);
  });

  test("a list or an object is not one address", async () => {
    for (const evil of [["a@x.io", "b@x.io"], { address: "a@x.io" }, 7, null]) {
      expect(failureIn(await send({ ...letter, to: ["{{evil}}"] }, {}, {}, { ...scope, evil })).failure.name).toBe("SCHEMA");
    }
  });

  test.each(["a\r\nBcc: e@x.io", "a\nb", "a\u0007", "x".repeat(256)])("the subject %j is refused", async (subject) => {
    expect(problemsOf(notification, { email: { ...letter, subject } })).toEqual(["email.subject: VALIDATION_FAILED"]);
    expect(failureIn(await send({ ...letter, subject: "{{evil}}" }, {}, {}, { ...scope, evil: subject })).failure.name).toBe("SCHEMA");
  });

  test("attachments are ids of the tenant's own files, never paths or addresses", async () => {
    const foreign = files.put("rival", "a", Buffer.from("secret"));
    for (const id of ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/", foreign.id]) {
      expect(failureIn(await send({ ...letter, attachment_blob_ids: [id] })).failure.name).toBe("FILE.NOT_FOUND");
    }
    const big = files.put("tenant-a", "big", Buffer.alloc(15 * 1024 * 1024 + 1));
    expect(failureIn(await send({ ...letter, attachment_blob_ids: [big.id] })).failure.name).toBe("LIMIT.BODY");
  });

  test("a text of dots and header-like lines stays the text", async () => {
    const text = "Subject: other\r\n\r\n.\r\n.\r\nRCPT TO:<e@x.io>\r\n..\r\nend";
    await send({ ...letter, text });
    expect((await simpleParser(last().raw)).text?.replaceAll("\r\n", "\n").trim()).toBe(text.replaceAll("\r\n", "\n"));
    expect(last().to).toEqual(["ada@example.com"]);
  });
});

describe("the server", () => {
  test("that refuses for now is SMTP.450, tried again by default; for good SMTP.550", async () => {
    for (const code of [450, 550]) {
      smtp.refuseWith = code;
      expect(failureIn(await send(letter))).toMatchObject({ outcome: "failed", failure: { name: `SMTP.${code}` } });
    }
    expect(resultIn(await send(letter, {}, { best_effort: true }))).toMatchObject({ channel: "email", delivered: false, error: { name: "SMTP.550" } });
    smtp.refuseWith = undefined;
  });

  test("that is away is NETWORK; none configured says so", async () => {
    const away = createSmtpMailer({ url: "smtp://127.0.0.1:9", from: "a@example.com", tls: "off" });
    expect(failureIn(await send(letter, { mail: away }))).toMatchObject({ outcome: "failed", failure: { name: "NETWORK" } });
    away.close();
    expect(failureIn(await send(letter, { mail: noMail })).failure.name).toBe("SMTP.NOT_CONFIGURED");
  });

  test("is only spoken to under TLS unless told otherwise", async () => {
    const plain = createSmtpMailer({ url: `smtp://127.0.0.1:${smtp.port}`, from: "a@example.com", tls: "required" });
    const before = smtp.received.length;
    expect(failureIn(await send(letter, { mail: plain })).failure.name).toMatch(/^(NETWORK|SMTP\.\d+)$/);
    expect(smtp.received).toHaveLength(before);
    plain.close();
  });
});

describe.each([
  ["STARTTLS", "smtp", false],
  ["TLS from the first byte", "smtps", true],
] as const)("%s", (_, protocol, isImplicit) => {
  const mine = { key: privateKey, cert: certificate };
  const login = ["user@example.com", "p@ss:w/rd"] as const;
  const mailer = (port: number, ca: string | undefined, password: string = login[1], host = "localhost") => {
    const url = `${protocol}://${encodeURIComponent(login[0])}:${encodeURIComponent(password)}@${host}:${port}`;
    return createSmtpMailer({ url, from: "service@example.com", tls: "required", ca });
  };

  test("delivers with a login to a server whose certificate a known authority signed, and to no other", async () => {
    await using server = await startSmtp({ tls: mine, isImplicit, login });
    const trusting = mailer(server.port, authority);
    expect(resultIn(await send(letter, { mail: trusting }))).toMatchObject({ delivered: true, recipients: 1 });
    expect(resultIn(await send(letter, { mail: trusting }))).toMatchObject({ delivered: true });
    trusting.close();
    expect(server.received.map(({ user, isSecure, to }) => ({ user, isSecure, to }))).toEqual(
      Array(2).fill({ user: "user@example.com", isSecure: true, to: ["ada@example.com"] }),
    );
    const stranger = mailer(server.port, undefined);
    expect(failureIn(await send(letter, { mail: stranger }))).toMatchObject({ outcome: "failed", failure: { name: "NETWORK" } });
    stranger.close();
    const forgetful = mailer(server.port, authority, "wrong");
    const refused = failureIn(await send(letter, { mail: forgetful }));
    expect(refused).toMatchObject({ outcome: "failed", failure: { name: "SMTP.535" } });
    expect(JSON.stringify(refused)).not.toContain("wrong");
    forgetful.close();
    expect(server.received).toHaveLength(2);
  });

  test("a certificate of another name is refused, and the password stays here", async () => {
    await using server = await startSmtp({ tls: { key: otherKey, cert: otherCertificate }, isImplicit, login });
    const mail = mailer(server.port, otherCertificate);
    expect(failureIn(await send(letter, { mail }))).toMatchObject({ outcome: "failed", failure: { name: "NETWORK" } });
    mail.close();
    expect(server.logins).toEqual([]);
  });
});

test("one message counts for all its recipients or for none, and above the limit nothing is sent", async () => {
  const asked: (readonly string[])[] = [];
  const quota = {
    gone: async () => undefined,
    take: async (_: string, recipients: readonly string[]) => {
      asked.push(recipients);
      return asked.length > 1 ? fail(failure("LIMIT.NOTIFICATIONS", "enough")) : ok(undefined);
    },
  };
  const before = smtp.received.length;
  const addresses = { to: ["ada@example.com", "ada@example.com"], cc: ["bob@example.com"], bcc: ["carol@example.com"] };
  expect((await send({ ...letter, ...addresses }, { quota })).kind).toBe("succeeded");
  expect(failureIn(await send(letter, { quota })).failure.name).toBe("LIMIT.NOTIFICATIONS");
  expect(asked[0]).toEqual(["ada@example.com", "ada@example.com", "bob@example.com", "carol@example.com"]);
  expect(smtp.received).toHaveLength(before + 1);
});
