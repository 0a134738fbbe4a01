/**
 * The examples of docs/files.md and docs/notifications.md are true: they run as they stand there, against a real mail server that the
 * service trusts by its configuration only, and real webhooks. So does the built-in template that uses all channels.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { simpleParser } from "mailparser";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Execution, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { FileExtractTarget, FileProcessStepSchema, NotificationStepSchema } from "#gen/pyairtable/workflow/v1/step_types_pb.js";
import { uploadFile } from "../service/support/files.ts";
import { run, seconds, stepsOf, useServerProcess } from "../service/support/fixture.ts";
import type { LedgerCall } from "../service/support/ledger.ts";
import { authority, certificate, privateKey } from "../steps/mail-certificate.ts";
import { startSmtp } from "../steps/smtp-server.ts";
import { type DocExample, fencesNotRun, readExamples } from "./doc-examples.ts";

const folder = mkdtempSync(path.join(tmpdir(), "pawf-docs-"));
const authorityFile = path.join(folder, "authority.pem");
writeFileSync(authorityFile, authority);
const login = ["shop", "p@ss:w/rd"] as const;
const smtp = await startSmtp({ tls: { key: privateKey, cert: certificate }, login });
const service = useServerProcess({
  env: {
    PAWF_SMTP_URL: `smtp://${login[0]}:${encodeURIComponent(login[1])}@localhost:${smtp.port}`,
    PAWF_SMTP_FROM: "service@example.com",
    NODE_EXTRA_CA_CERTS: authorityFile,
  },
});
const uploads = { photo: "photo.jpg", workbook: "workbook.xlsx", invoice: "invoice.pdf", archive: "folder.zip" };
const signing = ["whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0", "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0"] as const;
const slots = { secret_slots: ["crm_hook", "slack_hook", "teams_hook"].map((name) => ({ name })) };
let input: JsonObject;

beforeAll(async () => {
  const { clients, ledger } = service;
  const upload = async ([name, file]: [string, string]) =>
    [name, await uploadFile(clients, file, await readFile(new URL(`../fixtures/files/${file}`, import.meta.url)))] as const;
  input = {
    ...Object.fromEntries(await Promise.all(Object.entries(uploads).map(upload))),
    crm: ledger.url,
    order: { id: 7, total: 12.5 },
    customer: { name: "Zoë <O'Hara>", email: "zoe@example.com" },
  };
  ledger.script("/gone", [410]);
  await clients.secrets.setSecret({ name: "crm_hook", value: signing[1] });
  // In the middle of a rotation both values are valid.
  await clients.secrets.rotateSecret({ name: "crm_hook", value: signing[0], keepPrevious: seconds(3_600) });
  for (const chat of ["slack", "teams"]) await clients.secrets.setSecret({ name: `${chat}_hook`, value: `${ledger.url}/${chat}/T0P-SECRET` });
});
afterAll(async () => {
  await smtp[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function check(name: string, { steps, result }: DocExample): Promise<void> {
  const execution = await run(service.clients, steps, JSON.stringify(steps).includes('"slot"') ? slots : {}, input);
  expect(ExecutionState[execution.state], execution.failure?.message).toBe("COMPLETED");
  const shown = (await stepsOf(service.clients, execution.id)).get(name)?.result;
  expect(shown && toJson(ValueSchema, shown)).toEqual(result);
}
const byName = (examples: readonly DocExample[]) => examples.map((example) => [example.name, example] as const);
const lastCall = (route: string): LedgerCall => service.ledger.callsTo(route).at(-1) as LedgerCall;

describe("docs/files.md", () => {
  const examples = readExamples("files.md");

  it.each(byName(examples))("%s", check);

  it("has an example for every operation and every target", () => {
    const shown = JSON.stringify(examples.map(({ steps }) => steps));
    const operations = FileProcessStepSchema.oneofs[0]?.fields.map(({ name }) => `"${name}"`) ?? [];
    const targets = Object.values(FileExtractTarget).filter((name) => typeof name === "string" && name !== "UNSPECIFIED");
    expect([...operations, ...targets.map((name) => `FILE_EXTRACT_TARGET_${name}`)].filter((name) => !shown.includes(name))).toEqual([]);
    expect(fencesNotRun("files.md")).toBe(0);
  });
});

describe("docs/notifications.md", () => {
  const examples = readExamples("notifications.md");

  it.each(byName(examples))("%s", check);

  it("has an example for every channel", () => {
    const shown = JSON.stringify(examples.map(({ steps }) => steps));
    const channels = NotificationStepSchema.oneofs[0]?.fields.map(({ name }) => `"${name}"`) ?? [];
    expect(channels.filter((name) => !shown.includes(name))).toEqual([]);
    expect(fencesNotRun("notifications.md")).toBe(0);
  });

  it("the e-mail arrived over TLS with the operator's login, at its recipients, with values escaped in HTML and the invoice attached", async () => {
    const [mail] = smtp.received.filter(({ to }) => to.includes("archive@example.com"));
    expect(mail).toMatchObject({ user: "shop", isSecure: true, from: "service@example.com", to: ["zoe@example.com", "archive@example.com"] });
    const read = await simpleParser(mail?.raw ?? "");
    expect(read).toMatchObject({ subject: "Order 7", html: "<p>Thank you, <b>Zoë &lt;O&#39;Hara&gt;</b>.</p>", replyTo: { text: "sales@example.com" } });
    expect(read.text?.trim()).toBe("Thank you, Zoë <O'Hara>.");
    expect(read.attachments.map(({ filename, contentType, content }) => [filename, contentType, content.toString()])).toEqual([
      ["file.html", "text/html", "<h1>Invoice 7</h1>\n<p>Chair, oak: 12.50</p>\n"],
    ]);
  });

  it("the webhook's signature verifies with the reference library by the new value and by the old one", () => {
    const { headers, body } = lastCall("/hooks");
    expect(headers["x-source"]).toBe("shop");
    for (const secret of signing) expect(new Webhook(secret).verify(JSON.stringify(body), headers)).toEqual({ type: "order.paid", order: input["order"] });
    expect(() => new Webhook("whsec_c3RyYW5nZXItc3RyYW5nZXItMTIz").verify(JSON.stringify(body), headers)).toThrow();
  });

  it("the chats got what their services take, and their addresses stand nowhere", async () => {
    expect(lastCall("/slack/T0P-SECRET").body).toMatchObject({ text: "Order 7 failed", blocks: [{ text: { text: "Order *7* failed" } }] });
    expect(lastCall("/teams/T0P-SECRET").body).toMatchObject({ type: "message", attachments: [{ content: { type: "AdaptiveCard" } }] });
    expect(service.server.logLines.join("\n")).not.toContain("T0P-SECRET");
  });
});

describe("notify-multi-channel", () => {
  const make = async (name: string, parameters: JsonObject, secretBindings: Record<string, string> = {}): Promise<Execution | undefined> => {
    const { workflows, templates } = service.clients;
    await templates.createWorkflowFromTemplate({ template: "notify-multi-channel", name, parameters, secretBindings });
    return (await workflows.startExecution({ workflow: name, input: { title: "Disk full", text: "on db-1", severity: "critical" }, wait: seconds(50) }))
      .execution;
  };
  const outputOf = (execution: Execution | undefined): unknown => execution?.output && toJson(ValueSchema, execution.output);

  it("tells everybody by webhook, e-mail, Slack and Teams", async () => {
    const parameters = {
      webhook_urls: [`${service.ledger.url}/ops`],
      email_to: ["ops@example.com", "boss@example.com"],
      slack: true,
      teams: true,
      minimum_delivered: 5,
    };
    const execution = await make("all-channels", parameters, { slack_webhook: "slack_hook", teams_webhook: "teams_hook" });
    expect([ExecutionState[execution?.state ?? 0], outputOf(execution)], execution?.failure?.message).toEqual(["COMPLETED", { delivered: 5, missed: 0 }]);
    expect(lastCall("/ops").body).toMatchObject({ title: "Disk full", severity: "critical" });
    expect(lastCall("/slack/T0P-SECRET").body).toEqual({ text: "*[critical] Disk full*\non db-1" });
    expect(lastCall("/teams/T0P-SECRET").body).toMatchObject({ text: "**[critical] Disk full**\non db-1" });
    const mails = smtp.received.filter(({ raw }) => raw.includes("Subject: [critical] Disk full"));
    expect(mails.map(({ to }) => to)).toEqual(expect.arrayContaining([["ops@example.com"], ["boss@example.com"]]));
  });

  it("says who was missed, and needs no secret for a channel that is not used", async () => {
    const execution = await make("some-channels", { webhook_urls: [`${service.ledger.url}/gone`], email_to: ["ops@example.com"] });
    expect(outputOf(execution)).toEqual({ delivered: 1, missed: 1 });
  });
});
