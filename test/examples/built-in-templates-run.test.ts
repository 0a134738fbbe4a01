/** Every template that ships is made into a workflow and run by the real service against real HTTP servers. */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { fromJson, type JsonObject, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type Clients, connect } from "../../examples/demo/client.ts";
import { type Siblings, startSiblings } from "../../examples/demo/siblings.ts";
import { startHostedServer } from "../service/support/hosted-server.ts";
import type { RunningServer } from "../service/support/server.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type ScriptedHost, startScriptedHost } from "./scripted-host.ts";

let siblings: Siblings;
let database: TestDatabase;
let server: RunningServer;
let clients: Clients;
let other: ScriptedHost;

beforeAll(async () => {
  other = await startScriptedHost();
  const fail = (name: string): never => {
    throw new Error(`${name} ended`);
  };
  siblings = await startSiblings(0, fail);
  database = await createMigratedDatabase();
  server = await startHostedServer({ databaseUrl: database.databaseUrl, egressAllow: [...siblings.hosts, other.url("").replace("http://", "")] });
  clients = connect(server.url, server.apiKey);
});

afterAll(async () => {
  await server?.stop();
  await siblings?.stop();
  other?.close();
  await database?.drop();
});

interface Ended {
  readonly id: string;
  readonly state: string;
  readonly output: unknown;
  readonly failure: string | undefined;
  readonly failureMessage: string | undefined;
  /** Names of the steps that completed. */
  readonly steps: readonly string[];
  readonly standingEffects: readonly string[];
}

let workflows = 0;

async function make(template: string, parameters: JsonObject): Promise<string> {
  const name = `${template}-${++workflows}`;
  const { workflow, warnings } = await clients.templates.createWorkflowFromTemplate({ template, name, parameters });
  expect(warnings).toEqual([]);
  return workflow?.id ?? "";
}

async function start(workflow: string, input: JsonObject = {}): Promise<Ended> {
  const { execution } = await clients.workflows.startExecution({ workflow, input, wait: { seconds: 50n } });
  const id = execution?.id ?? "";
  const { steps } = await clients.workflows.listExecutionSteps({ executionId: id, pageSize: 100 });
  return {
    id,
    state: ExecutionState[execution?.state ?? 0] ?? "",
    output: execution?.output && toJson(ValueSchema, execution.output),
    failure: execution?.failure?.name,
    failureMessage: execution?.failure?.message,
    steps: steps.filter((step) => step.state === StepState.COMPLETED).map((step) => step.name),
    standingEffects: execution?.standingEffects ?? [],
  };
}

async function effectsOf(executionId: string): Promise<string[]> {
  return (await siblings.effectsOf(executionId)).map((effect) => `${effect.operation} ${effect.action}`);
}

it("lists what ships, each published and in a well-known category", async () => {
  const files = (await readdir(new URL("../../templates/", import.meta.url))).map((file) => file.replace(".json", ""));
  const { templates } = await clients.templates.listTemplates({ filter: "built_in = true", orderBy: "name", pageSize: 1000 });
  expect(templates.map(({ name }) => name)).toEqual(files.sort());
  expect(templates.every(({ latestVersion, builtIn }) => latestVersion >= 1 && builtIn)).toBe(true);
  expect(new Set(templates.map(({ category }) => category))).toEqual(new Set(["integration", "file-processing", "sync", "automation", "notification"]));
});

describe("http-request", () => {
  it("gets what the run's path names", async () => {
    const run = await start(await make("http-request", { url: siblings.url("orders") }), { path: "/orders/A-1003/lines.csv" });
    expect(run).toMatchObject({ state: "COMPLETED", output: { status: 200 } });
    expect((run.output as { body: string }).body).toContain("NOTE-A5");
  });

  it("posts the template's body, or the run's own", async () => {
    other.routes.set("POST /things", (body: string) => ({ echo: JSON.parse(body) as unknown }));
    const workflow = await make("http-request", { url: other.url("/things"), method: "POST", body: { from: "template" } });
    expect((await start(workflow)).output).toEqual({ status: 200, body: { echo: { from: "template" } } });
    expect((await start(workflow, { body: [1, "{{execution_id}}"] })).output).toEqual({ status: 200, body: { echo: [1, "{{execution_id}}"] } });
  });

  it("ends at once with a refusal that no repetition can change", async () => {
    const run = await start(await make("http-request", { url: siblings.url("orders"), method: "DELETE" }), { path: "/nothing/1" });
    expect(run).toMatchObject({ state: "FAILED", failure: "HTTP.404" });
  });

  it("takes no path that leads to another host", async () => {
    const workflow = await make("http-request", { url: siblings.url("orders") });
    await expect(start(workflow, { path: "@example.com/" })).rejects.toThrow(/path/);
  });
});

describe("http-poll-until", () => {
  it("asks until the job is done", async () => {
    const states = ["queued", "running", "succeeded"];
    other.routes.set("GET /jobs/j1", () => ({ status: states.shift(), result: 42 }));
    const run = await start(await make("http-poll-until", { url: other.url("/jobs") }), { job_id: "j1" });
    expect(run).toMatchObject({ state: "COMPLETED", output: { status: "succeeded", questions: 3, answer: { status: "succeeded", result: 42 } } });
  });

  it("fails when the job failed, with the job's answer", async () => {
    other.routes.set("GET /jobs/j2", { state: "broken" });
    const run = await start(await make("http-poll-until", { url: other.url("/jobs"), status_field: "state", failed_values: ["broken"] }), { job_id: "j2" });
    expect(run).toMatchObject({ state: "FAILED", failure: "USER.JOB_FAILED", failureMessage: "job j2 ended as broken" });
  });

  it("gives up after as many questions as its parameter says", async () => {
    other.routes.set("GET /jobs/j3", { status: "running" });
    const before = other.received.length;
    const run = await start(await make("http-poll-until", { url: other.url("/jobs"), maximum_questions: 2 }), { job_id: "j3" });
    expect(run).toMatchObject({ state: "FAILED", failure: "HTTP.REJECTED" });
    expect(other.received.slice(before).map(({ route }) => route)).toEqual(["GET /jobs/j3", "GET /jobs/j3"]);
  });
});

describe("webhook-relay", () => {
  it("hands wanted events on and drops the others", async () => {
    const workflow = await make("webhook-relay", { target_url: `${siblings.url("webhook-sink")}/in`, event_types: ["record.created"] });
    const wanted = await start(workflow, { type: "record.created", data: { id: 7, text: "{{params}}" } });
    expect(wanted).toMatchObject({ state: "COMPLETED", output: { relayed: true } });
    const unwanted = await start(workflow, { type: "record.deleted" });
    expect(unwanted).toMatchObject({ state: "COMPLETED", output: { relayed: false }, steps: ["choose", "drop"] });
    const messages = (await (await fetch(`${siblings.url("webhook-sink")}/messages`)).json()) as JsonObject[];
    expect(messages.filter((message) => String(message["type"]).startsWith("record."))).toEqual([
      { type: "record.created", source: "pyairtable", time: expect.any(String), data: { id: 7, text: "{{params}}" } },
    ]);
    expect(await effectsOf(unwanted.id)).toEqual([]);
  });
});

describe("file-validate-extract", () => {
  it("gives the rows of a CSV", async () => {
    const workflow = await make("file-validate-extract", { required_columns: ["sku", "quantity"] });
    const run = await start(workflow, { url: `${siblings.url("orders")}/orders/A-1002/lines.csv` });
    expect(run).toMatchObject({ state: "COMPLETED", output: { media_type: "text/csv", row_count: 2 } });
    expect((run.output as { rows: JsonObject[] }).rows[0]).toMatchObject({ sku: "CHAIR-7", name: 'Chair "Aino", oak', quantity: "4" });
  });

  it("reads JSON too and leaves out rows without any value", async () => {
    other.routes.set("GET /rows.json", [{ a: 1 }, { a: null, b: "" }, { b: "x" }]);
    const run = await start(await make("file-validate-extract", {}), { url: other.url("/rows.json") });
    expect(run).toMatchObject({ state: "COMPLETED", output: { columns: ["a", "b"], rows: [{ a: 1 }, { b: "x" }] } });
  });

  it("reads a workbook's first sheet", async () => {
    other.routes.set("GET /book", await readFile(new URL("../fixtures/files/workbook.xlsx", import.meta.url)));
    const run = await start(await make("file-validate-extract", { required_columns: ["sku", "sold"] }), { url: other.url("/book") });
    expect(run).toMatchObject({ state: "COMPLETED", output: { row_count: 2, rows: [{ sku: "007", price: 12.5 }, { sku: "=SUM(A1)" }] } });
  });

  it("refuses a file without the columns it needs, one with too many rows, and one that is no table", async () => {
    const lines = { url: `${siblings.url("orders")}/orders/A-1001/lines.csv` };
    const columns = await start(await make("file-validate-extract", { required_columns: ["sku", "weight", "colour"] }), lines);
    expect(columns).toMatchObject({ state: "FAILED", failure: "USER.COLUMNS_MISSING", failureMessage: "the file lacks weight, colour" });
    expect(await start(await make("file-validate-extract", { maximum_rows: 2 }), lines)).toMatchObject({ failure: "USER.TOO_MANY_ROWS" });
    other.routes.set("GET /picture", Buffer.from("89504e470d0a1a0a0000000d", "hex"));
    expect(await start(await make("file-validate-extract", {}), { url: other.url("/picture") })).toMatchObject({ state: "FAILED", failure: "SCHEMA" });
  });
});

describe("file-convert-optimize", () => {
  const sha256 = (content: string | Buffer): string => createHash("sha256").update(content).digest("hex");

  it("makes JSON of a CSV, and packs it if that is wanted", async () => {
    const rows = Array.from({ length: 50 }, (_, index) => ({ sku: `CHAIR-${index}`, name: "Chair, oak" }));
    other.routes.set("GET /lines.csv", Buffer.from(`sku,name\n${rows.map(({ sku, name }) => `${sku},"${name}"\n`).join("")}`));
    const json = `${JSON.stringify(rows)}\n`;
    const plain = await start(await make("file-convert-optimize", { to_media_type: "application/json" }), { url: other.url("/lines.csv") });
    expect(plain).toMatchObject({ state: "COMPLETED", output: { media_type: "application/json", size_bytes: json.length, sha256: sha256(json) } });
    const packed = await start(await make("file-convert-optimize", { to_media_type: "application/json", compress: true }), { url: other.url("/lines.csv") });
    expect(packed).toMatchObject({ state: "COMPLETED", output: { media_type: "application/gzip", sha256: sha256(gzipSync(json, { level: 9 })) } });
  });

  it("fits a picture into full HD", async () => {
    const picture = await sharp({ create: { width: 3000, height: 1000, channels: 3, background: "teal" } })
      .png()
      .toBuffer();
    other.routes.set("GET /wide", picture);
    const run = await start(await make("file-convert-optimize", { to_media_type: "image/webp" }), { url: other.url("/wide") });
    expect(run).toMatchObject({ state: "COMPLETED", output: { media_type: "image/webp", blob: { name: "file.webp" } } });
    expect(run.steps).toContain("shrink");
  });

  it("refuses what cannot become that", async () => {
    other.routes.set("GET /wide-not", { a: 1 });
    const run = await start(await make("file-convert-optimize", { to_media_type: "image/webp" }), { url: other.url("/wide-not") });
    expect(run).toMatchObject({ state: "FAILED", failure: "SCHEMA", failureMessage: "application/json cannot become image/webp" });
  });
});

describe("data-sync", () => {
  it("sends what is new or differs, and nothing when all is equal", async () => {
    const source = [
      { id: 1, name: "Ada" },
      { id: 2, name: "Grace" },
      { id: 3, name: "Edsger" },
      { id: 3, name: "twin" },
    ];
    let target: JsonObject[] = [
      { id: 1, name: "Ada", note: "only here" },
      { id: 2, name: "grace" },
      { id: 9, name: "stays" },
    ];
    other.routes.set("GET /source", { items: source });
    other.routes.set("GET /target", () => target);
    other.routes.set("POST /target/batch", (body: string) => {
      const { records } = JSON.parse(body) as { records: JsonObject[] };
      target = [...target.filter((known) => !records.some((record) => record["id"] === known["id"])), ...records];
      return { stored: records.length };
    });
    const workflow = await make("data-sync", {
      source_url: other.url("/source"),
      source_field: "items",
      target_url: other.url("/target"),
      upsert_url: other.url("/target/batch"),
    });
    expect(await start(workflow)).toMatchObject({ state: "COMPLETED", output: { changed: 2 } });
    expect(other.received.filter(({ route }) => route === "POST /target/batch").map(({ body }) => JSON.parse(body) as unknown)).toEqual([
      {
        records: [
          { id: 2, name: "Grace" },
          { id: 3, name: "Edsger" },
        ],
      },
    ]);
    expect(await start(workflow)).toMatchObject({ state: "COMPLETED", output: { changed: 0 } });
    expect(other.received.filter(({ route }) => route === "POST /target/batch")).toHaveLength(1);
  });

  it("compares only the fields it is told to", async () => {
    other.routes.set("GET /left", [{ key: "a", name: "A", seen: 1 }]);
    other.routes.set("GET /right", [{ key: "a", name: "A", seen: 2 }]);
    const workflow = await make("data-sync", {
      source_url: other.url("/left"),
      target_url: other.url("/right"),
      upsert_url: other.url("/none"),
      key: "key",
      fields: ["name"],
    });
    expect(await start(workflow)).toMatchObject({ state: "COMPLETED", output: { changed: 0 } });
  });
});

describe("paged-data-sync", () => {
  it("reads every page, sends each record once in batches, and tells of a batch that was not taken", async () => {
    const pages = [[{ id: 1 }, { id: 2 }], [{ id: 2 }, { id: 3 }, { id: 4 }], [{ id: 5 }], []];
    for (const [index, items] of pages.entries()) other.routes.set(`GET /paged?status=open&page=${index + 1}`, { items });
    const stored: number[] = [];
    other.routes.set("POST /paged/batch", (body: string) => {
      const records = (JSON.parse(body) as { records: { id: number }[] }).records;
      if (records.some(({ id }) => id === 5)) return undefined;
      stored.push(...records.map(({ id }) => id));
      return { stored: records.length };
    });
    const parameters = { source_url: other.url("/paged?status=open"), items_field: "items", upsert_url: other.url("/paged/batch"), batch_size: 2 };
    const run = await start(await make("paged-data-sync", parameters));
    expect(run).toMatchObject({ state: "COMPLETED", output: { pages: 4, records: 5, sent: 4, failed_batches: 1 } });
    expect(stored).toEqual([1, 2, 3, 4]);
  });
});

describe("wait-for-event", () => {
  const parameters = (): JsonObject => ({ request_url: `${siblings.url("webhook-sink")}/approvals`, decision_url: other.url("/decisions") });

  it.each(["granted", "denied"])("asks, waits, and tells that it was %s", async (decision) => {
    other.routes.set("POST /decisions", (body: string) => ({ echo: JSON.parse(body) as unknown }));
    const workflow = await make("wait-for-event", { ...parameters(), subject: "purchase" });
    const requestId = `po-${decision}`;
    const { execution } = await clients.workflows.startExecution({ workflow, input: { request_id: requestId, data: { amount: 7 } } });
    await clients.workflows.publishEvent({ eventType: `approval.${decision}`, correlationKey: requestId, data: fromJson(ValueSchema, { by: "Ada" }) });
    const { execution: ended } = await clients.workflows.waitExecution({ executionId: execution?.id ?? "", timeout: { seconds: 50n, nanos: 0 } });
    expect(ended?.output && toJson(ValueSchema, ended.output)).toEqual({ decision, data: { by: "Ada" } });
    const messages = (await (await fetch(`${siblings.url("webhook-sink")}/messages`)).json()) as JsonObject[];
    expect(messages).toContainEqual(expect.objectContaining({ type: "approval.requested", subject: "purchase", request_id: requestId, data: { amount: 7 } }));
    const told = other.received.filter(({ route }) => route === "POST /decisions").map(({ body }) => JSON.parse(body) as unknown);
    expect(told).toContainEqual({ request_id: requestId, decision, data: { by: "Ada" } });
  });
});

describe("notify-multi-channel", () => {
  const urls = (): string[] => [`${siblings.url("webhook-sink")}/one`, other.url("/told"), other.url("/refuses")];

  it("tells everybody it can and says who was missed", async () => {
    other.routes.set("POST /told", { ok: true });
    const run = await start(await make("notify-multi-channel", { webhook_urls: urls().slice(0, 2) }), { title: "deployed", severity: "warning" });
    expect(run).toMatchObject({ state: "COMPLETED", output: { delivered: 2, missed: 0 } });
    const told = other.received.filter(({ route }) => route === "POST /told").map(({ body }) => JSON.parse(body) as JsonObject);
    expect(told.at(-1)).toMatchObject({ type: "notification", source: "pyairtable", title: "deployed", text: "", severity: "warning" });
  });

  it("fails when too few were reached, and the others know all the same", async () => {
    const retry = { step: "send", change: { case: "patch" as const, value: { retry_policy: { maximum_attempts: 1 } } } };
    const name = `notify-few-${++workflows}`;
    await clients.templates.createWorkflowFromTemplate({
      template: "notify-multi-channel",
      name,
      parameters: { webhook_urls: urls(), minimum_delivered: 3 },
      overrides: [retry],
    });
    const run = await start(name, { title: "down" });
    expect(run).toMatchObject({ state: "FAILED", failure: "USER.TOO_FEW_REACHED", failureMessage: "2 of 3 receivers were reached" });
  });
});

describe("failure-alert", () => {
  it("says nothing about a healthy service", async () => {
    other.routes.set("GET /healthy", { ok: true });
    const run = await start(await make("failure-alert", { url: other.url("/healthy"), alert_url: `${siblings.url("webhook-sink")}/alerts` }));
    expect(run).toMatchObject({ state: "COMPLETED", output: { healthy: true, attempts: 1 } });
    expect(await effectsOf(run.id)).toEqual([]);
  });

  it("raises an alert when the service stays down", async () => {
    const run = await start(
      await make("failure-alert", { url: other.url("/down"), alert_url: `${siblings.url("webhook-sink")}/alerts`, service: "billing", severity: "warning" }),
    );
    expect(run).toMatchObject({ state: "COMPLETED", output: { healthy: false, attempts: 3 } });
    const messages = (await (await fetch(`${siblings.url("webhook-sink")}/messages`)).json()) as JsonObject[];
    expect(messages.filter((message) => message["type"] === "service.unhealthy")).toEqual([
      expect.objectContaining({ service: "billing", severity: "warning", error: "HTTP.500", attempts: 3, execution_id: run.id }),
    ]);
  });
});

describe("order-saga", () => {
  const parameters = (): JsonObject => ({ orders_url: siblings.url("orders"), payments_url: siblings.url("payments") });

  it("goes forward to its end", async () => {
    const run = await start(await make("order-saga", parameters()), { order_id: "A-1", amount_cents: 500, payment_token: "tok_busy" });
    expect(run.state).toBe("COMPLETED");
    expect(await effectsOf(run.id)).toEqual(["action POST /reservations", "action POST /charges", "action POST /shipments", "action POST /confirmations"]);
  });

  it("turns back when the pivot is refused", async () => {
    const run = await start(await make("order-saga", parameters()), { order_id: "A-2", amount_cents: 500, payment_token: "tok_declined" });
    expect(run).toMatchObject({ state: "COMPENSATED", failure: "HTTP.402", standingEffects: [] });
    expect(await effectsOf(run.id)).toEqual(["action POST /reservations", "compensate DELETE /reservations"]);
  });
});

describe("multi-step-integration", () => {
  const parameters = (): JsonObject => ({
    orders_url: siblings.url("orders"),
    payments_url: siblings.url("payments"),
    notify_url: `${siblings.url("webhook-sink")}/orders`,
    settle_delay: "0.05s",
  });

  it("marks a large order and fulfils it", async () => {
    const run = await start(await make("multi-step-integration", parameters()), { order_id: "A-1002", payment_token: "tok_visa" });
    expect(run).toMatchObject({ state: "COMPLETED", output: { order_id: "A-1002", item_count: 5, total_cents: 140_100, notified: true } });
    expect(run.steps).toContain("mark_large");
  });

  it("refuses an order with nothing to charge before it touches anything", async () => {
    const run = await start(await make("multi-step-integration", parameters()), { order_id: "A-1005", payment_token: "tok_visa" });
    expect(run).toMatchObject({ state: "FAILED", failure: "USER.EMPTY_ORDER", standingEffects: [] });
    expect(await effectsOf(run.id)).toEqual([]);
  });

  it("keeps a fulfilled order when the webhook is gone", async () => {
    const workflow = await make("multi-step-integration", { ...parameters(), notify_url: other.url("/gone") });
    const run = await start(workflow, { order_id: "A-1001", payment_token: "tok_visa" });
    expect(run).toMatchObject({ state: "COMPLETED", output: { notified: false } });
  });

  it("gives back what it did, last first, when nobody can deliver", async () => {
    const run = await start(await make("multi-step-integration", parameters()), { order_id: "A-1004", payment_token: "tok_visa", country: "AQ" });
    expect(run).toMatchObject({ state: "COMPENSATED", failure: "HTTP.422", standingEffects: [] });
    expect(await effectsOf(run.id)).toEqual([
      "action POST /reservations",
      "action POST /charges",
      "compensate POST /charges",
      "compensate DELETE /reservations",
    ]);
  });
});
