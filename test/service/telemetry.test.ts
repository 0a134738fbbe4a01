/** Traces as siblings and collectors see them: one trace from the caller's request to every attempt, over retries, waits and crashes. */

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SpanKind, SpanStatusCode } from "@opentelemetry/api";
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type App, startApp } from "../../src/app.ts";
import { parseId } from "../../src/base/ids.ts";
import { silentLog } from "../../src/base/log.ts";
import { readConfig } from "../../src/config.ts";
import { createMigratedDatabase, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { ended, seconds, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { type Ledger, type LedgerCall, startLedger } from "./support/ledger.ts";
import { makeApiKey, startServer } from "./support/server.ts";

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
const callerSpan = "00f067aa0ba902b7";
const traceparent = `00-${traceId}-${callerSpan}-01`;
const form = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

function contextOf(call: LedgerCall | undefined): { traceId: string; spanId: string; flags: string } {
  const match = form.exec(call?.headers["traceparent"] ?? "");
  if (!match) throw new Error(`no trace context in ${JSON.stringify(call?.headers)}`);
  return { traceId: match[1] as string, spanId: match[2] as string, flags: match[3] as string };
}

describe("without a collector", () => {
  const service = useServer();

  test("every attempt, retries, notifications and undos too, carries the caller's trace and a span id of its own", async () => {
    const { server, ledger } = service;
    const clients = connect(server, { traceparent });
    ledger.script("/flaky", [503, 503, 200]);
    ledger.script("/declined", [402]);
    const url = ledger.url;
    const workflow = await createWorkflow(clients, [
      httpStep("flaky", `${url}/flaky`, { undo: `${url}/undo` }),
      { name: "tell", notification: { webhook: { url: `${url}/hook`, payload: {} } } },
      httpStep("declined", `${url}/declined`),
    ]);
    const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
    expect(execution?.state).toBe(ExecutionState.COMPENSATED);
    const calls = ledger.calls.filter((call) => call.headers["saga-id"] === execution?.id);
    expect(calls.map((call) => call.path)).toEqual(["/flaky", "/flaky", "/flaky", "/hook", "/declined", "/undo"]);
    const contexts = calls.map(contextOf);
    expect(new Set(contexts.map((context) => context.traceId))).toEqual(new Set([traceId]));
    expect(new Set(contexts.map((context) => context.flags))).toEqual(new Set(["01"]));
    const spanIds = new Set(contexts.map((context) => context.spanId));
    expect(spanIds.size).toBe(calls.length);
    expect(spanIds).not.toContain(callerSpan);
  });

  test("an unsampled caller stays unsampled", async () => {
    const { server, ledger } = service;
    const clients = connect(server, { traceparent: `00-${traceId}-${callerSpan}-00` });
    const workflow = await createWorkflow(clients, [httpStep("quiet", `${ledger.url}/quiet`)]);
    await clients.workflows.startExecution({ workflow, wait: seconds(50) });
    expect(contextOf(ledger.callsTo("/quiet")[0])).toMatchObject({ traceId, flags: "00" });
  });

  test("an execution started without a trace has one all the same, the same for all its attempts", async () => {
    const { clients, ledger } = service;
    ledger.script("/alone", [503, 200]);
    const workflow = await createWorkflow(clients, [httpStep("alone", `${ledger.url}/alone`), httpStep("second", `${ledger.url}/second`)]);
    const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
    const contexts = [...ledger.callsTo("/alone"), ...ledger.callsTo("/second")].map(contextOf);
    const own = parseId("execution", execution?.id ?? "")?.replaceAll("-", "");
    expect(contexts.map((context) => context.traceId)).toEqual([own, own, own]);
    expect(new Set(contexts.map((context) => context.spanId)).size).toBe(3);
  });

  test("two starts with one request id run once, in the trace of one of them", async () => {
    const { server, ledger } = service;
    const workflow = await createWorkflow(service.clients, [delayStep("pause", "0.2s"), httpStep("once", `${ledger.url}/once`)]);
    const request = { workflow, requestId: "5f2b6a10-0000-4000-8000-000000000001", wait: seconds(50) };
    const first = connect(server, { traceparent }).workflows.startExecution(request);
    const second = connect(server, { traceparent: `00-${"a".repeat(32)}-${callerSpan}-01` }).workflows.startExecution(request);
    await Promise.all([first, second]);
    const [call, ...more] = ledger.callsTo("/once");
    expect(more).toEqual([]);
    expect([traceId, "a".repeat(32)]).toContain(contextOf(call).traceId);
  });
});

describe("over a crash", () => {
  let database: TestDatabase;
  let ledger: Ledger;
  beforeAll(async () => {
    ledger = await startLedger();
    database = await createMigratedDatabase();
  });
  afterAll(async () => {
    ledger.release();
    await ledger.close();
    await database.drop();
  });

  test("the attempt that is sent again after kill -9, and the steps after it, are in the caller's trace", async () => {
    const first = await startServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] });
    ledger.script("/crash", ["hang", 200]);
    const workflow = await createWorkflow(connect(first), [httpStep("crash", `${ledger.url}/crash`), httpStep("after", `${ledger.url}/after`)]);
    const { execution } = await connect(first, { traceparent }).workflows.startExecution({ workflow });
    await ledger.called("/crash");
    await first.kill();
    const second = await startAnother(first);
    try {
      expect((await ended(connect(second), execution?.id ?? "")).state).toBe(ExecutionState.COMPLETED);
    } finally {
      await second.stop();
    }
    const calls = [...ledger.callsTo("/crash"), ...ledger.callsTo("/after")];
    expect(calls.map((call) => call.headers["saga-attempt"])).toEqual(["1", "2", "1"]);
    const contexts = calls.map(contextOf);
    expect(contexts.map((context) => context.traceId)).toEqual([traceId, traceId, traceId]);
    expect(new Set(contexts.map((context) => context.spanId)).size).toBe(3);
  });
});

describe("with a tracer", () => {
  const exporter = new InMemorySpanExporter();
  const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });
  const apiKey = makeApiKey();
  let database: TestDatabase;
  let ledger: Ledger;
  let app: App;
  let clients: Clients;
  const dataDir = mkdtempSync(join(tmpdir(), "pawf-spans-"));
  beforeAll(async () => {
    ledger = await startLedger();
    database = await createMigratedDatabase();
    const config = readConfig(
      {
        HOST: "127.0.0.1",
        PORT: "0",
        DATABASE_URL: database.databaseUrl,
        PAWF_DATA_DIR: dataDir,
        PAWF_ADMIN_KEY: apiKey,
        PAWF_MASTER_KEY: "0123456789abcdef0123456789abcdef",
        PAWF_ALLOW_UNSAFE_DATABASE: "1",
        PAWF_EGRESS_ALLOW: ledger.address,
        PAWF_LEASE_SECONDS: "60",
      },
      false,
    );
    app = await startApp({ config, log: silentLog, version: "0", tracer: provider.getTracer("test") });
    clients = connect({ url: `http://127.0.0.1:${app.port}`, apiKey }, { traceparent });
  });
  afterAll(async () => {
    await app.stop();
    await provider.shutdown();
    await ledger.close();
    await database.drop();
    rmSync(dataDir, { recursive: true, force: true });
  });
  const spansOf = (executionId: string): ReadableSpan[] =>
    exporter.getFinishedSpans().filter((span) => span.attributes["pyairtable.workflow.execution.id"] === executionId);

  test("one span for each attempt with its outcome, in the trace of the call, linked to the drive that sent it", async () => {
    ledger.script("/charge", [503, 200]);
    const workflow = await createWorkflow(clients, [logStep("note"), httpStep("charge", `${ledger.url}/charge`)]);
    const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
    const id = execution?.id ?? "";
    await expect.poll(() => spansOf(id).length).toBe(4);
    const spans = spansOf(id);

    const server = exporter.getFinishedSpans().find((span) => span.name.endsWith("/StartExecution"));
    expect(server?.name).toBe("pyairtable.workflow.v1.WorkflowService/StartExecution");
    expect(server).toMatchObject({ kind: SpanKind.SERVER, attributes: { "rpc.system.name": "grpc", "rpc.response.status_code": "OK" } });
    expect(server?.parentSpanContext?.spanId).toBe(callerSpan);

    const charges = spans.filter((span) => span.name === "step charge");
    expect(charges.map((span) => span.status)).toEqual([{ code: SpanStatusCode.ERROR, message: "HTTP.503" }, { code: SpanStatusCode.UNSET }]);
    expect(charges.map((span) => span.attributes["pyairtable.workflow.step.attempt"])).toEqual([1, 2]);
    expect(charges[0]?.attributes).toMatchObject({
      "pyairtable.workflow.workflow.name": workflow,
      "pyairtable.workflow.workflow.revision": 1,
      "pyairtable.workflow.step.name": "charge",
      "pyairtable.workflow.step.type": "http_request",
      "error.type": "HTTP.503",
    });
    // What the sibling got is the span of that very attempt.
    expect(ledger.callsTo("/charge").map((call) => contextOf(call).spanId)).toEqual(charges.map((span) => span.spanContext().spanId));

    const [drive] = spans.filter((span) => span.name === `execution ${workflow}`);
    expect(drive?.links.map((link) => link.context.spanId)).toEqual([server?.spanContext().spanId]);
    expect(drive?.attributes).toMatchObject({ "pyairtable.workflow.drive.end": "ended", "pyairtable.workflow.execution.state": "completed" });
    for (const span of spans) {
      expect(span.spanContext().traceId).toBe(traceId);
      expect(span.parentSpanContext?.spanId).toBe(server?.spanContext().spanId);
      if (span !== drive) expect(span.links.map((link) => link.context.spanId)).toEqual([drive?.spanContext().spanId]);
    }
  });

  test("a wait ends the drive; the next one is another span of the same trace, and the wait is one span with its real length", async () => {
    const workflow = await createWorkflow(clients, [delayStep("pause", "3s"), httpStep("after", `${ledger.url}/after-wait`)]);
    const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
    const id = execution?.id ?? "";
    await expect.poll(() => spansOf(id).filter((span) => span.name.startsWith("execution ")).length).toBe(2);
    const spans = spansOf(id);
    const drives = spans.filter((span) => span.name.startsWith("execution "));
    expect(drives.map((span) => span.attributes["pyairtable.workflow.drive.end"])).toEqual(["parked", "ended"]);
    const pause = spans.find((span) => span.name === "step pause");
    expect((pause?.duration[0] ?? 0) + (pause?.duration[1] ?? 0) / 1e9).toBeGreaterThan(2.9);
    const after = spans.find((span) => span.name === "step after");
    expect(after?.links[0]?.context.spanId).toBe(drives[1]?.spanContext().spanId);
    expect(new Set(spans.map((span) => span.spanContext().traceId))).toEqual(new Set([traceId]));
  });

  test("a failed execution and a refused call say so by name, without messages", async () => {
    ledger.script("/no", [402]);
    const workflow = await createWorkflow(clients, [httpStep("no", `${ledger.url}/no`)]);
    const { execution } = await clients.workflows.startExecution({ workflow, wait: seconds(50) });
    await expect.poll(() => spansOf(execution?.id ?? "").length).toBe(2);
    for (const span of spansOf(execution?.id ?? "")) expect(span.status).toEqual({ code: SpanStatusCode.ERROR, message: "HTTP.402" });
    await expect(clients.workflows.getExecution({ executionId: "exe_01ARZ3NDEKTSV4RRFFQ69G5FAV" })).rejects.toThrow();
    const refused = exporter.getFinishedSpans().filter((span) => span.attributes["rpc.response.status_code"] === "NOT_FOUND");
    expect(refused.map((span) => [span.name.split("/")[1], span.status.code])).toEqual([["GetExecution", SpanStatusCode.UNSET]]);
  });
});

describe("with a collector", () => {
  test("spans and metrics arrive over OTLP, the last ones when the service stops", async () => {
    const received: { path: string; body: Buffer }[] = [];
    const collector = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      received.push({ path: request.url ?? "", body: Buffer.concat(chunks) });
      response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
    });
    await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
    const database = await createMigratedDatabase();
    const endpoint = `http://127.0.0.1:${(collector.address() as AddressInfo).port}`;
    const server = await startServer({
      databaseUrl: database.databaseUrl,
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: "orders-workflows" },
    });
    try {
      const clients = connect(server, { traceparent });
      const workflow = await createWorkflow(clients, [logStep("seen_by_collector")]);
      await clients.workflows.startExecution({ workflow, wait: seconds(50) });
      expect((await server.stop()).code).toBe(0);
      const sent = (path: string): Buffer => Buffer.concat(received.filter((request) => request.path === path).map(({ body }) => body));
      for (const text of ["step seen_by_collector", `execution ${workflow}`, "WorkflowService/StartExecution", "orders-workflows"]) {
        expect(sent("/v1/traces").includes(text), text).toBe(true);
      }
      expect(sent("/v1/traces").includes(Buffer.from(traceId, "hex"))).toBe(true);
      for (const text of ["pyairtable_workflow_steps_finished_total", "rpc_server_call_duration_seconds", "orders-workflows"]) {
        expect(sent("/v1/metrics").includes(text), text).toBe(true);
      }
    } finally {
      await server.kill();
      collector.closeAllConnections();
      collector.close();
      await database.drop();
    }
  });

  test("a protocol that would be lost on the way is refused at start", () => {
    const wanted = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4317", OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" };
    expect(() => readConfig(wanted, false)).toThrow(/OTEL_EXPORTER_OTLP_PROTOCOL must be one of http\/protobuf/);
    expect(readConfig({ ...wanted, OTEL_SDK_DISABLED: "true" }, false).telemetry).toBeUndefined();
    expect(readConfig({}, false).telemetry).toBeUndefined();
  });
});
