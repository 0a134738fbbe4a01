/** E-mails as they lie on the server, read by Python's own parser: every byte that was meant to arrive, and nothing else. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { simpleParser } from "mailparser";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { notification } from "../../src/steps/notification.ts";
import { createSmtpMailer } from "../../src/steps/notify/smtp-mailer.ts";
import { memoryFiles } from "./memory-files.ts";
import { startSmtp, type TestSmtp } from "./smtp-server.ts";
import { attemptOf, resultIn, servicesOf } from "./step-call.ts";

interface Attachment {
  readonly name: string;
  readonly mediaType: string;
  readonly bytes: Buffer;
}
interface Letter {
  readonly title: string;
  readonly email: JsonObject;
  readonly attachments?: readonly Attachment[];
}
interface Reading {
  readonly headers: [string, string][];
  readonly addresses: Record<string, string[]>;
  readonly bodies: Record<string, string>;
  readonly attachments: [string, string, string][];
  readonly defects: string[];
}

const every = Buffer.from(Array.from({ length: 1024 }, (_, index) => index % 256));
const text = [
  ".",
  "..",
  ".hidden",
  "From here on",
  "trailing blanks  \t",
  "=3D and = and =?utf-8?q?no?=",
  "x".repeat(5_000),
  "日本語 ".repeat(300).trim(),
  "😀\tÄÖÜ",
  "",
  "Subject: other",
  "",
  "-- end",
].join("\n");
const html = `<p>${"long ".repeat(1_000)}</p>\n<p>.</p>\n.\n<b title="a&amp;b">Zoë</b>`;
const letters: readonly Letter[] = [
  { title: "a text of every kind of line", email: { subject: "Plain", text } },
  { title: "HTML alone", email: { subject: "Only HTML", html } },
  {
    title: "all of it",
    email: { subject: "Bestellung – 日本語 😀", text, html, cc: ["carol@example.com"], bcc: ["hidden@example.com"], reply_to: "answers@example.com" },
    attachments: [
      { name: "every byte.bin", mediaType: "application/octet-stream", bytes: every },
      { name: 'räpörtti 日本 "2026"; x=y.csv', mediaType: "text/csv", bytes: Buffer.from("a,b\r\n1,2\n3,4\r.\r\n..\n") },
      { name: `${"long-name-".repeat(20)}.txt`, mediaType: "text/plain", bytes: Buffer.from("no line break at the end") },
      { name: "lines\r\nBcc: e@x.io\r\n\r\n.txt", mediaType: "text/plain", bytes: every },
      { name: "empty.txt", mediaType: "text/plain", bytes: Buffer.alloc(0) },
      { name: "types.bin", mediaType: "text/plain\r\nBcc: e@x.io", bytes: every },
      { name: "letter.eml", mediaType: "message/rfc822", bytes: Buffer.from("Subject: inner\r\nBcc: e@x.io\r\n\r\n.\r\n") },
    ],
  },
  { title: "the longest subject", email: { subject: "ä日".repeat(127), text: "x" } },
  { title: "a long subject of one word", email: { subject: "w".repeat(255), text: "x" } },
  { title: "a subject that looks encoded", email: { subject: "=?utf-8?q?injected=0D=0ABcc:_e=40x.io?=", text: "x" } },
  { title: "a subject with blanks that count", email: { subject: 'two  blanks, <a@b.c>; "quoted"', text: "x" } },
];

const files = memoryFiles();
let smtp: TestSmtp;
let readings: readonly Reading[] | undefined;

beforeAll(async () => {
  smtp = await startSmtp();
  const mail = createSmtpMailer({ url: `smtp://127.0.0.1:${smtp.port}`, from: "service@example.com", tls: "off" });
  for (const { email, attachments = [] } of letters) {
    const ids = attachments.map(({ name, mediaType, bytes }) => files.put("tenant-a", name, bytes, mediaType).id);
    // By expressions, as the values of a run come.
    const given = Object.fromEntries(Object.keys(email).map((key) => [key, Array.isArray(email[key]) ? [`{{email.${key}[0]}}`] : `{{email.${key}}}`]));
    const config = { email: { to: ["ada@example.com"], ...given, ...("html" in email ? { html: email["html"] } : {}), attachment_blob_ids: ids } };
    const facts = { correlationId: "corr\r\nBcc: e@x.io\r\n\r\nnot a header ä" };
    const outcome = await notification.run(attemptOf(notification, config as JsonObject, { email }, facts), servicesOf(undefined, undefined, { mail, files }));
    expect(resultIn(outcome)).toMatchObject({ delivered: true });
  }
  mail.close();
  readings = await readByPython(smtp.received.map(({ raw }) => raw));
}, 60_000);
afterAll(() => smtp?.[Symbol.asyncDispose]());

/** Undefined where there is no Python. */
function readByPython(raws: readonly Buffer[]): Promise<readonly Reading[] | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<readonly Reading[] | undefined>();
  const script = fileURLToPath(new URL("../fixtures/read-mail.py", import.meta.url));
  const child = execFile("python3", [script], { env: { ...process.env, PYTHONIOENCODING: "utf-8" }, maxBuffer: 16 * 1024 * 1024 }, (error, stdout) => {
    if (error && (error.code === "ENOENT" || error.code === 127)) resolve(undefined);
    else if (error) reject(error);
    else resolve(JSON.parse(stdout) as Reading[]);
  });
  child.stdin?.on("error", () => undefined).end(JSON.stringify(raws.map((raw) => raw.toString("base64"))));
  return promise;
}

/** Texts travel with CRLF, and end with a line break. */
const asSent = (body: unknown): string => `${String(body).replaceAll("\n", "\r\n")}`;

test.for(letters.map((letter, index) => [letter.title, letter, index] as const))("%s", ([, { email, attachments = [] }, index], context) => {
  const reading = readings?.[index];
  if (!reading) return context.skip("there is no python3 here");
  expect(reading.defects).toEqual([]);
  const headers = new Map(reading.headers);
  expect(headers.get("subject")).toBe(email["subject"]);
  expect(reading.addresses).toEqual({
    from: ["service@example.com"],
    to: ["ada@example.com"],
    ...(email["cc"] ? { cc: email["cc"], "reply-to": [email["reply_to"]] } : {}),
  });
  for (const [kind, type] of [
    ["text", "text/plain"],
    ["html", "text/html"],
  ] as const) {
    if (email[kind] === undefined) expect(reading.bodies[type]).toBeUndefined();
    else expect(reading.bodies[type]?.replace(/\r\n$/, "")).toBe(asSent(email[kind]));
  }
  expect(reading.attachments).toEqual(
    attachments.map(({ name, mediaType, bytes }) => [name, /^message|\r/.test(mediaType) ? "application/octet-stream" : mediaType, bytes.toString("base64")]),
  );
});

test.each(letters.map((letter, index) => [letter.title, index] as const))(
  "on the wire: short lines of ASCII, headers that we built, recipients in the envelope only: %s",
  (_, index) => {
    const { raw, to } = smtp.received[index] ?? { raw: Buffer.alloc(0), to: [] };
    const lines = raw.toString("latin1").split("\r\n");
    expect(lines.filter((line) => line.length > 998 || /[\r\n\u0080-\u00ff]/.test(line))).toEqual([]);
    const head = lines
      .slice(0, lines.indexOf(""))
      .filter((line) => !/^[ \t]/.test(line))
      .map((line) => line.slice(0, line.indexOf(":")));
    const ours = [
      "From",
      "To",
      "Cc",
      "Reply-To",
      "Subject",
      "Message-ID",
      "X-Correlation-ID",
      "Date",
      "MIME-Version",
      "Content-Type",
      "Content-Transfer-Encoding",
    ];
    expect(head.filter((name) => !ours.includes(name))).toEqual([]);
    expect(new Set(head).size).toBe(head.length);
    expect(raw.includes("hidden@example.com")).toBe(false);
    expect(to).toEqual(["ada@example.com", ...(letters[index]?.email["cc"] ? ["carol@example.com", "hidden@example.com"] : [])]);
  },
);

test("another parser sees the same", async () => {
  const read = await simpleParser(smtp.received[2]?.raw ?? "");
  expect(read.subject).toBe(letters[2]?.email["subject"]);
  expect(read.attachments.map(({ content }) => content)).toEqual(letters[2]?.attachments?.map(({ bytes }) => bytes));
});
