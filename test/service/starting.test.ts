/** Starting: once and only once, under a name, with input that fits, and with a correlation id that travels. */
import { describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { ConflictPolicy } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { connect, postJson } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { ended, seconds, useServer } from "./support/fixture.ts";
import { refusal, refusalOfStatus } from "./support/refusal.ts";

const service = useServer();
const countOf = async (correlationId: string): Promise<number> =>
  (await service.clients.workflows.listExecutions({ filter: `correlation_id = "${correlationId}"`, pageSize: 1000 })).executions.length;

describe("request_id", () => {
  test("the same call again is the same execution, before and after its end", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [logStep("a")]);
    const request = { workflow, requestId: crypto.randomUUID(), input: { n: 1, deep: { b: [1, 2], a: "x" } }, correlationId: "twice" };
    const first = await workflows.startExecution(request);
    expect(first.existing).toBe(false);
    await ended(service.clients, first.execution?.id ?? "");
    let replayed: string | null = null;
    const again = await workflows.startExecution(
      { ...request, input: { deep: { a: "x", b: [1, 2] }, n: 1 } },
      { onHeader: (header) => (replayed = header.get("idempotent-replayed")) },
    );
    expect(again).toMatchObject({ existing: true, execution: { id: first.execution?.id } });
    expect(replayed).toBe("true");
    expect(await countOf("twice")).toBe(1);
  });

  test("the same id with anything else in it is refused", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [logStep("a")]);
    const request = { workflow, requestId: crypto.randomUUID(), input: { n: 1 }, correlationId: "reused" };
    await workflows.startExecution(request);
    for (const change of [
      { input: { n: 2 } },
      { input: { n: "1" } },
      { executionKey: "k" },
      { labels: { a: "b" } },
      { workflow: await createWorkflow(service.clients, [logStep("a")]) },
    ]) {
      expect(await refusal(workflows.startExecution({ ...request, ...change })), JSON.stringify(change)).toMatchObject({
        code: "ALREADY_EXISTS",
        reason: "REQUEST_ID_REUSED",
      });
    }
    expect(await countOf("reused")).toBe(1);
  });

  test("20 simultaneous twins are one execution with one effect", async () => {
    const { clients, ledger, server } = service;
    const workflow = await createWorkflow(clients, [httpStep("act", `${ledger.url}/once`)]);
    const request = { workflow, requestId: crypto.randomUUID(), correlationId: "storm", wait: seconds(50) };
    const others = Array.from({ length: 4 }, () => connect(server).workflows);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => (others[index % 4] ?? clients.workflows).startExecution(request)));
    expect(new Set(answers.map((answer) => answer.execution?.id)).size).toBe(1);
    expect(answers.filter((answer) => !answer.existing)).toHaveLength(1);
    expect(answers.map((answer) => answer.execution?.state)).toEqual(answers.map(() => ExecutionState.COMPLETED));
    expect(ledger.callsTo("/once")).toHaveLength(1);
    expect(await countOf("storm")).toBe(1);
  });

  test("may come as the header idempotency-key", async () => {
    const { clients, server } = service;
    const workflow = await createWorkflow(clients, [logStep("a")]);
    const twin = connect(server, { "idempotency-key": crypto.randomUUID() }).workflows;
    const [first, second] = [await twin.startExecution({ workflow }), await twin.startExecution({ workflow })];
    expect(second.execution?.id).toBe(first.execution?.id);
  });

  test("has the same form in the header as in the message", async () => {
    const { clients, server } = service;
    const workflow = await createWorkflow(clients, [logStep("a")]);
    const requestId = `order/${Math.random()}#1`;
    const inHeader = await connect(server, { "idempotency-key": `"${requestId}"` }).workflows.startExecution({ workflow });
    expect((await clients.workflows.startExecution({ workflow, requestId })).execution?.id).toBe(inHeader.execution?.id);
    const tooLong = connect(server, { "idempotency-key": "x".repeat(37) }).workflows;
    expect(await refusal(tooLong.startExecution({ workflow }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["idempotency-key"] });
  });

  test("of a refused start is free for a corrected one", async () => {
    const { workflows } = service.clients;
    const requestId = crypto.randomUUID();
    const workflow = await createWorkflow(service.clients, [logStep("a")], { input_schema: { type: "object", required: ["n"] } });
    expect(await refusal(workflows.startExecution({ workflow, requestId }))).toMatchObject({ reason: "INPUT_SCHEMA_MISMATCH" });
    expect(await workflows.startExecution({ workflow, requestId, input: { n: 1 } })).toMatchObject({ existing: false });
  });
});

describe("execution_key", () => {
  test("is held by one open execution, and FAIL, RETURN_EXISTING and TERMINATE_EXISTING do what they say", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [delayStep("long", "3600s")]);
    const start = (conflictPolicy = ConflictPolicy.UNSPECIFIED) => workflows.startExecution({ workflow, executionKey: "order:7", conflictPolicy });
    const { execution: first } = await start();
    const taken = await refusal(start());
    expect(taken).toMatchObject({ code: "ALREADY_EXISTS", reason: "EXECUTION_EXISTS" });
    expect(Object.values(taken.metadata)).toContain(first?.id);
    expect(await start(ConflictPolicy.RETURN_EXISTING)).toMatchObject({ existing: true, execution: { id: first?.id } });
    const { execution: second, existing } = await start(ConflictPolicy.TERMINATE_EXISTING);
    expect(existing).toBe(false);
    expect(second?.id).not.toBe(first?.id);
    expect((await ended(service.clients, first?.id ?? "")).state).toBe(ExecutionState.TERMINATED);
    expect((await workflows.getExecution({ executionId: "key:order:7" })).execution?.id).toBe(second?.id);

    await workflows.terminateExecution({ executionId: "key:order:7", reason: "done" });
    expect(await start()).toMatchObject({ existing: false });
  });

  test("is held against a run that would end in its first commit, and validate_only tells", async () => {
    const { clients } = service;
    const executionKey = "held-by-a-long-run";
    const long = await createWorkflow(clients, [delayStep("d", "60s")]);
    const short = await createWorkflow(clients, [logStep("a")]);
    const { execution: holder } = await clients.workflows.startExecution({ workflow: long, executionKey });
    for (const validateOnly of [true, false]) {
      const taken = await refusal(clients.workflows.startExecution({ workflow: short, executionKey, validateOnly }));
      expect(taken).toMatchObject({ reason: "EXECUTION_EXISTS", metadata: { executionId: holder?.id } });
      expect(await refusal(clients.sagas.startSaga({ executionKey, autoComplete: true, validateOnly }))).toMatchObject({ reason: "EXECUTION_EXISTS" });
    }
    const { results } = await clients.workflows.batchStartExecutions({ requests: [{ workflow: short, executionKey }] });
    expect(results[0]?.result.case).toBe("error");
    const { RETURN_EXISTING, TERMINATE_EXISTING } = ConflictPolicy;
    const returned = await clients.workflows.startExecution({ workflow: short, executionKey, conflictPolicy: RETURN_EXISTING });
    expect(returned).toMatchObject({ existing: true, execution: { id: holder?.id } });
    const replacing = await clients.workflows.startExecution({ workflow: short, executionKey, conflictPolicy: TERMINATE_EXISTING });
    expect(replacing).toMatchObject({ existing: false, execution: { state: ExecutionState.COMPLETED } });
    expect((await ended(clients, holder?.id ?? "")).state).toBe(ExecutionState.TERMINATED);
  });

  test("20 at once under one key: one starts", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [delayStep("long", "3600s")]);
    const starts = (policy: ConflictPolicy, executionKey: string) =>
      Promise.allSettled(Array.from({ length: 20 }, () => workflows.startExecution({ workflow, executionKey, conflictPolicy: policy })));
    const failing = await starts(ConflictPolicy.FAIL, "one");
    expect(failing.filter((one) => one.status === "fulfilled")).toHaveLength(1);
    const returning = await starts(ConflictPolicy.RETURN_EXISTING, "two");
    expect(returning.map((one) => one.status)).toEqual(returning.map(() => "fulfilled"));
    expect(new Set(returning.map((one) => (one.status === "fulfilled" ? one.value.execution?.id : ""))).size).toBe(1);
  });
});

describe("input", () => {
  test("must meet the schema, and the refusal says where", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [logStep("a")], {
      input_schema: {
        type: "object",
        required: ["order"],
        properties: { order: { type: "object", properties: { lines: { type: "array", items: { type: "integer" } } } } },
        additionalProperties: false,
      },
    });
    const wrong = await refusal(workflows.startExecution({ workflow, input: { order: { lines: [1, "two"] } }, correlationId: "schema" }));
    expect(wrong).toMatchObject({ code: "INVALID_ARGUMENT", reason: "INPUT_SCHEMA_MISMATCH" });
    expect(wrong.fields.join()).toMatch(/^input.*lines/);
    expect(await refusal(workflows.startExecution({ workflow, correlationId: "schema" }))).toMatchObject({ reason: "INPUT_SCHEMA_MISMATCH" });
    expect(await refusal(workflows.startExecution({ workflow, input: { order: {}, extra: 1 }, correlationId: "schema" }))).toMatchObject({
      reason: "INPUT_SCHEMA_MISMATCH",
    });
    expect(await countOf("schema")).toBe(0);
    const dry = await workflows.startExecution({ workflow, input: { order: { lines: [1] } }, correlationId: "schema", validateOnly: true });
    expect(await countOf("schema")).toBe(0);
    expect(dry.execution?.workflowName, "what would have happened").toBe(workflow);
    const requests = [
      { workflow, input: { order: { lines: [1] } }, correlationId: "schema" },
      { workflow, correlationId: "schema" },
    ];
    const dryBatch = await workflows.batchStartExecutions({ requests, validateOnly: true });
    expect(dryBatch.results.map(({ result }) => result.case)).toEqual(["execution", "error"]);
    expect(await countOf("schema")).toBe(0);
  });

  test("that no database takes, or that is too deep or too large, is refused with its path", async () => {
    const { server, clients } = service;
    const workflow = await createWorkflow(clients, [logStep("a")]);
    const start = (input: unknown) => postJson(server, "WorkflowService/StartExecution", { workflow, input, correlationId: "poison" });
    let deep: unknown = 1;
    for (let level = 0; level < 40; level++) deep = { a: deep };
    for (const input of [{ a: "x\u0000" }, { "k\u0000": 1 }, { a: ["\ud800"] }, deep]) {
      const { status, body } = await start(input);
      expect({ status, code: body.code }, JSON.stringify(input).slice(0, 40)).toEqual({ status: 400, code: "invalid_argument" });
      expect(JSON.stringify(body)).toContain("input");
    }
    const large = await start({ a: "x".repeat(4 * 1024 * 1024) });
    expect(large.body.code).toBe("resource_exhausted");
    const { body } = await start({ a: "x".repeat(1024 * 1024), __proto__: { z: 1 } });
    expect(body["execution"]).toMatchObject({ workflowName: workflow });
    expect(await countOf("poison")).toBe(1);
  });
});

describe("BatchStartExecutions", () => {
  test("answers each item for itself, in order, and can be repeated", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [logStep("a")], { input_schema: { type: "object", properties: { n: { type: "integer" } } } });
    const requests = [0, 1, 2, 3, 4].map((n) => ({
      workflow: n === 2 ? "nobody" : workflow,
      requestId: crypto.randomUUID(),
      input: n === 3 ? { n: "three" } : { n },
      correlationId: "batch",
    }));
    const { results } = await workflows.batchStartExecutions({ requests });
    expect(results.map((one) => one.result.case)).toEqual(["execution", "execution", "error", "error", "execution"]);
    const reasons = results.flatMap((one) => (one.result.case === "error" ? [refusalOfStatus(one.result.value)] : []));
    expect(reasons).toMatchObject([
      { code: "NOT_FOUND", reason: "WORKFLOW_NOT_FOUND" },
      { code: "INVALID_ARGUMENT", reason: "INPUT_SCHEMA_MISMATCH" },
    ]);
    const again = await workflows.batchStartExecutions({ requests });
    expect(again.results.map((one) => one.existing)).toEqual([true, true, false, false, true]);
    expect(await countOf("batch")).toBe(3);
    const many = await workflows.batchStartExecutions({
      requests: Array.from({ length: 500 }, (_, n) => ({ workflow, input: { n }, correlationId: "batch-500" })),
    });
    expect(new Set(many.results.map((one) => (one.result.case === "execution" ? one.result.value.id : ""))).size).toBe(500);
    expect(await refusal(workflows.batchStartExecutions({ requests: Array.from({ length: 501 }, () => ({ workflow })) }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      fields: ["requests"],
    });
    expect(await refusal(workflows.batchStartExecutions({ requests: [] }))).toMatchObject({ code: "INVALID_ARGUMENT", fields: ["requests"] });
    await expect
      .poll(async () => (await workflows.listExecutions({ filter: 'correlation_id = "batch-500" AND state = COMPLETED', pageSize: 1000 })).executions.length, {
        timeout: 30_000,
      })
      .toBe(500);
    const ids: string[] = [];
    for (let pageToken = "", first = true; first || pageToken !== ""; first = false) {
      const page = await workflows.listExecutions({ filter: 'correlation_id = "batch-500"', pageSize: 120, pageToken });
      ids.push(...page.executions.map((execution) => execution.id));
      pageToken = page.nextPageToken;
    }
    expect(new Set(ids).size).toBe(500);
    expect(ids).toHaveLength(500);
  });

  test("an item that is refused reads the same in JSON, details included", async () => {
    const answer = await postJson(service.server, "WorkflowService/BatchStartExecutions", { requests: [{ workflow: "nobody" }] });
    expect(answer.status).toBe(200);
    const [{ error }] = answer.body["results"] as [{ error: { code: number; details: { "@type": string; reason?: string }[] } }];
    expect(error.code).toBe(5);
    expect(error.details.map((detail) => detail["@type"])).toEqual(["type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.ResourceInfo"]);
    expect(error.details[0]).toMatchObject({ reason: "WORKFLOW_NOT_FOUND", domain: "workflow.pyairtable.dev" });
  });

  test("a batch with a request_id starts everything once, answers a repeat as before, and refuses another payload", async () => {
    const { workflows } = service.clients;
    const workflow = await createWorkflow(service.clients, [logStep("a")]);
    const requestId = crypto.randomUUID();
    const requests = [{ workflow, correlationId: "whole-batch" }, { workflow, correlationId: "whole-batch" }, { workflow: "no-such-workflow" }];
    const twins = await Promise.all([1, 2].map(() => workflows.batchStartExecutions({ requestId, requests })));
    const idsOf = ({ results }: (typeof twins)[number]): (string | undefined)[] =>
      results.map(({ result }) => (result.case === "execution" ? result.value.id : result.case));
    expect(new Set(idsOf(twins[0] as never)).size).toBe(3);
    expect(idsOf(twins[1] as never)).toEqual(idsOf(twins[0] as never));
    let replayed: string | null = null;
    const again = await workflows.batchStartExecutions({ requestId, requests }, { onHeader: (header) => (replayed = header.get("idempotent-replayed")) });
    expect([idsOf(again), replayed]).toEqual([idsOf(twins[0] as never), "true"]);
    expect(await countOf("whole-batch")).toBe(2);
    expect(await refusal(workflows.batchStartExecutions({ requestId, requests: requests.slice(1) }))).toMatchObject({ reason: "REQUEST_ID_REUSED" });

    // The process died after the starts and before it kept the batch's answer: the repeat finds them.
    const { Client } = await import("pg");
    const database = new Client(service.database.connection);
    await database.connect();
    await database.query("delete from idempotency_keys where request_id = $1", [requestId]);
    await database.end();
    const repeated = await workflows.batchStartExecutions({ requestId, requests });
    expect(idsOf(repeated)).toEqual(idsOf(twins[0] as never));
    expect(repeated.results.slice(0, 2).map(({ existing }) => existing)).toEqual([true, true]);
    expect(await countOf("whole-batch")).toBe(2);
  });
});

describe("correlation", () => {
  test("comes from the request, else from a header, is echoed, stored, sent on, and found by", async () => {
    const { clients, ledger, server } = service;
    const workflow = await createWorkflow(clients, [httpStep("act", `${ledger.url}/corr`)]);
    const start = async (headers: Record<string, string>, correlationId = "") => {
      let echoed: string | null = null;
      const { execution } = await connect(server, headers).workflows.startExecution(
        { workflow, correlationId, wait: seconds(50) },
        { onHeader: (header) => (echoed = header.get("x-correlation-id")) },
      );
      return { id: execution?.id, stored: execution?.correlationId ?? "", echoed, sent: ledger.callsTo("/corr").at(-1)?.headers["x-correlation-id"] };
    };
    expect(await start({ "x-correlation-id": "from-header" })).toMatchObject({ stored: "from-header", echoed: "from-header", sent: "from-header" });
    expect(await start({ "x-correlation-id": "from-header" }, "from-field")).toMatchObject({ stored: "from-field", sent: "from-field" });
    expect(await start({ "x-request-id": "req.7" })).toMatchObject({ stored: "req.7", sent: "req.7" });
    const made = await start({});
    expect(made.stored).toMatch(/^[A-Za-z0-9._:-]{1,128}$/);
    expect(made.sent).toBe(made.stored);
    const { executions } = await clients.workflows.listExecutions({ filter: 'correlation_id = "from-header"' });
    expect(executions).toHaveLength(1);
    const refused = await postJson(
      server,
      "WorkflowService/GetExecution",
      { executionId: "key:none" },
      { "x-correlation-id": "echo-me", "x-request-id": "r-1" },
    );
    expect([refused.headers.get("x-correlation-id"), refused.headers.get("x-request-id")]).toEqual(["echo-me", "r-1"]);
  });

  test("of other characters is replaced, not stored and not sent", async () => {
    const { clients, ledger } = service;
    const workflow = await createWorkflow(clients, [httpStep("act", `${ledger.url}/odd`)]);
    for (const correlationId of ["not good\r\nX-Evil: 1", "é💥", "a b", "x".repeat(129)]) {
      const { execution } = await clients.workflows.startExecution({ workflow, correlationId, wait: seconds(50) });
      expect.soft(execution?.correlationId, correlationId.slice(0, 20)).toMatch(/^[A-Za-z0-9._:-]{1,128}$/);
      expect.soft(ledger.callsTo("/odd").at(-1)?.headers["x-correlation-id"]).toBe(execution?.correlationId);
    }
  });

  test("traceparent in, traceparent of the same trace out", async () => {
    const { clients, ledger, server } = service;
    const workflow = await createWorkflow(clients, [httpStep("act", `${ledger.url}/trace`)]);
    const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    await connect(server, { traceparent: `00-${trace}-00f067aa0ba902b7-01` }).workflows.startExecution({ workflow, wait: seconds(50) });
    expect(ledger.callsTo("/trace")[0]?.headers["traceparent"]).toContain(trace);
  });
});
