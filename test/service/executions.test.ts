/** One run from start to end against a real world: what the steps did, what is shown of it, what the other side received. */
import { describe, expect, test } from "vitest";
import { EndReason, type Execution, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { View } from "#gen/pyairtable/workflow/v1/view_pb.js";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { ms, run, seconds, stepsOf, useServer } from "./support/fixture.ts";
import { plain } from "./support/plain.ts";
import { range, sequences } from "./support/watching.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;

describe("a run of all step types", () => {
  test("computes, calls, waits, tells, and shows each step with input, result, attempts and times", async () => {
    const { clients, ledger } = service;
    ledger.script("/order", [{ status: 201, body: { id: "o-7", total: 12.5 }, headers: { "x-made": "yes" } }]);
    const correlationId = "corr:all-7";
    const steps = [
      { name: "rows", file_process: { source: { text: "sku;qty\na;2\nb;0\nc;5" }, extract: { target: "FILE_EXTRACT_TARGET_ROWS", delimiter: ";" } } },
      { name: "checked", file_process: { source: { text: '{"a":1}' }, validate: { json_schema: { type: "object", required: ["a"] } } } },
      {
        name: "shaped",
        data_transform: {
          input: "{{steps.rows.result.rows}}",
          operations: [{ filter: "int(it.qty) > 0" }, { map: { sku: "{{it.sku}}", n: "{{int(it.qty)}}" } }],
          output: { lines: "{{input}}", sum: "{{input.map(l, l.n).sum()}}" },
        },
      },
      {
        name: "remember",
        data_transform: { output: { who: "{{trigger.data.customer}}", count: "{{steps.shaped.result.sum}}" } },
        export: { who: "result.who", count: "result.count" },
      },
      {
        name: "choose",
        conditional: {
          cases: [
            { name: "small", when: "variables.count < 5", steps: [logStep("is_small")] },
            { name: "big", when: "variables.count >= 5", steps: [logStep("is_big", "{{variables.who}} wants {{variables.count}}")] },
          ],
        },
      },
      {
        ...httpStep("order", at("/order"), { json: { lines: "{{steps.shaped.result.lines}}", for: "{{variables.who}}", text: "n={{variables.count}}!" } }),
        export: { order_id: "result.body.id" },
      },
      delayStep("pause", "0.15s"),
      { name: "skipped", run_if: "variables.count > 100", log: { message: "never" } },
      { name: "tell", notification: { webhook: { url: at("/hook"), payload: { order: "{{variables.order_id}}", saga: "{{saga.id}}" } } } },
      logStep("done", "order {{steps.order.result.body.id}} {{steps.skipped.status}}"),
    ];
    const outputs = {
      id: "{{variables.order_id}}",
      total: "{{steps.order.result.body.total}}",
      status: "{{steps.order.result.status}}",
      run: "{{execution_id}}",
      corr: "{{correlation_id}}",
      chosen: "{{steps.choose.result.matched}}",
    };
    const workflow = await createWorkflow(clients, steps, { variables: { who: "nobody", order_id: null }, outputs });
    const { execution } = await clients.workflows.startExecution({
      workflow,
      input: { customer: "{{1+1}} Zoë" },
      correlationId,
      wait: seconds(50),
      labels: { kind: "all" },
    });

    expect(execution).toMatchObject({
      state: ExecutionState.COMPLETED,
      endReason: EndReason.SUCCESS,
      sagaState: SagaState.COMPLETED,
      workflowName: workflow,
      revision: 1,
      correlationId,
      labels: { kind: "all" },
      priority: 5,
      failedStep: "",
    });
    const id = execution?.id ?? "";
    expect(id).toMatch(/^exe_[0-9A-HJKMNP-TV-Z]{26}$/);
    expect(execution?.output?.kind).toMatchObject({ case: "structValue" });
    expect(plain(execution?.output)).toEqual({ id: "o-7", total: 12.5, status: 201, run: id, corr: correlationId, chosen: "big" });
    expect(execution?.variables).toEqual({ who: "{{1+1}} Zoë", count: 7, order_id: "o-7" });
    expect(execution?.input).toEqual({ customer: "{{1+1}} Zoë" });
    expect(ms(execution?.endTime) - ms(execution?.startTime)).toBeGreaterThanOrEqual(150);

    const shown = new Map([...(await stepsOf(clients, id))].filter(([path]) => path !== "is_small"));
    expect([...shown.keys()]).toEqual(["rows", "checked", "shaped", "remember", "choose", "is_big", "order", "pause", "skipped", "tell", "done"]);
    expect([...shown.values()].map((step) => step.type)).toEqual([
      "file_process",
      "file_process",
      "data_transform",
      "data_transform",
      "conditional",
      "log",
      "http_request",
      "delay",
      "log",
      "notification",
      "log",
    ]);
    for (const [path, step] of shown) {
      expect(step.state, path).toBe(path === "skipped" ? StepState.SKIPPED : StepState.COMPLETED);
      if (path === "skipped") continue;
      expect(step.attempt, path).toBe(1);
      expect(ms(step.endTime), path).toBeGreaterThanOrEqual(ms(step.startTime));
    }
    const pause = shown.get("pause");
    expect(ms(pause?.endTime) - ms(pause?.startTime)).toBeGreaterThanOrEqual(150);
    expect(plain(shown.get("order")?.result)).toMatchObject({ status: 201, body: { id: "o-7", total: 12.5 }, headers: { "x-made": "yes" } });
    expect(plain(shown.get("checked")?.result)).toMatchObject({ valid: true, media_type: "application/json", size_bytes: 7 });
    expect(plain(shown.get("order")?.input)).toMatchObject({ json: { for: "{{1+1}} Zoë" } });

    const [order] = ledger.callsTo("/order");
    expect(order?.body).toEqual({
      lines: [
        { sku: "a", n: 2 },
        { sku: "c", n: 5 },
      ],
      for: "{{1+1}} Zoë",
      text: "n=7!",
    });
    expect(order?.key).toBe(`"${id}/order/action"`);
    expect(order?.headers).toMatchObject({ "saga-id": id, "saga-step": "order", "saga-op": "action", "saga-attempt": "1", "x-correlation-id": correlationId });
    expect(order?.headers).not.toHaveProperty("x-tenant-id");
    expect(order?.headers).not.toHaveProperty("saga-token");
    expect(order?.headers).not.toHaveProperty("authorization");
    const [hook] = ledger.callsTo("/hook");
    expect(hook?.body).toEqual({ order: "o-7", saga: id });
    expect(hook?.headers).toMatchObject({ "webhook-id": expect.stringMatching(/.+/), "x-correlation-id": correlationId });
  });

  test("its log is gapless, in pages, and tells the same story", async () => {
    const { clients } = service;
    const { id, lastSequence } = await run(clients, [httpStep("a", at("/a")), logStep("b"), delayStep("c", "0.02s"), httpStep("d", at("/d"))]);
    const all = await clients.workflows.listExecutionEvents({ executionId: id });
    expect(sequences(all.events)).toEqual(range(1, Number(lastSequence)));
    expect(all.lastSequence).toBe(lastSequence);
    const names = all.events.map((event) => event.type);
    expect(names[0]).toBe("execution_created");
    expect(names.at(-1)).toBe("execution_ended");
    expect(names.filter((name) => name === "execution_ended")).toHaveLength(1);
    for (const event of all.events) expect(event.payload.case).toBe(event.type.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
    const paged = [];
    for (let token = "", first = true; first || token !== ""; first = false) {
      const page = await clients.workflows.listExecutionEvents({ executionId: id, afterSequence: 2n, pageSize: 3, pageToken: token });
      expect(page.events.length).toBeLessThanOrEqual(3);
      paged.push(...sequences(page.events));
      token = page.nextPageToken;
    }
    expect(paged).toEqual(range(3, Number(lastSequence)));
    const filtered = await clients.workflows.listExecutionEvents({ executionId: id, eventTypes: ["step_succeeded"] });
    expect(filtered.events.map((event) => event.stepPath)).toEqual(["a", "b", "c", "d"]);
  });
});

test("set_variables changes what later steps see", async () => {
  const { clients } = service;
  const steps = [
    { name: "remember", set_variables: { variables: { who: "{{trigger.data.customer}}", added: { n: 7 } } } },
    logStep("read", "{{variables.who}} {{variables.added.n}} {{variables.kept}}"),
  ];
  const execution = await run(clients, steps, { variables: { who: "nobody", kept: true } }, { customer: "Zoë" });
  expect(execution).toMatchObject({ state: ExecutionState.COMPLETED, variables: { who: "Zoë", added: { n: 7 }, kept: true } });
  const { events } = await clients.workflows.listExecutionEvents({ executionId: execution.id });
  const told = events.map(({ payload }) =>
    payload.case === "variablesSet" ? payload.value.variables : payload.case === "stepSucceeded" ? payload.value.exports : undefined,
  );
  expect(told).toContainEqual({ who: "Zoë", added: { n: 7 } });
});

describe("retries", () => {
  test("after 503 come with growing pauses, one key and rising attempts", async () => {
    const { clients, ledger } = service;
    ledger.script("/busy", [503, 503, 200]);
    const execution = await run(clients, [
      { ...httpStep("busy", at("/busy")), retry_policy: { initial_interval: "0.1s", backoff_coefficient: 3, maximum_interval: "5s", jitter: 0 } },
    ]);
    expect(execution.state).toBe(ExecutionState.COMPLETED);
    const calls = ledger.callsTo("/busy");
    expect(calls.map((call) => call.headers["saga-attempt"])).toEqual(["1", "2", "3"]);
    expect(new Set(calls.map((call) => call.key)).size).toBe(1);
    const [first = 0, second = 0, third = 0] = calls.map((call) => call.at);
    expect(second - first).toBeGreaterThanOrEqual(95);
    expect(third - second).toBeGreaterThanOrEqual(295);
    expect((await stepsOf(clients, execution.id)).get("busy")).toMatchObject({ state: StepState.COMPLETED, attempt: 3 });
  });

  test("are all on record with the step: when, how each ended, and why", async () => {
    const { clients, ledger } = service;
    ledger.script("/thrice", [503, { status: 429, headers: { "retry-after": "0" } }, 200]);
    const { id } = await run(clients, [httpStep("a", at("/thrice"))]);
    const { step, attempts } = await clients.workflows.getExecutionStep({ executionId: id, path: "a" });
    expect(step).toMatchObject({ state: StepState.COMPLETED, attempt: 3 });
    expect(attempts.map((attempt) => [attempt.attempt, attempt.state, attempt.failure?.name ?? ""])).toEqual([
      [1, OperationState.UNKNOWN, "HTTP.503"],
      [2, OperationState.FAILED, "HTTP.429"],
      [3, OperationState.SUCCEEDED, ""],
    ]);
    for (const attempt of attempts) expect(ms(attempt.endTime)).toBeGreaterThanOrEqual(ms(attempt.startTime));
  });

  test("obey Retry-After and an attempt's time limit", async () => {
    const { clients, ledger } = service;
    ledger.script("/later", [{ status: 429, headers: { "retry-after": "1" } }, 200]);
    ledger.script("/silent", ["hang", 200]);
    const [later, silent] = await Promise.all([
      run(clients, [httpStep("later", at("/later"))]),
      run(clients, [{ ...httpStep("silent", at("/silent")), timeouts: { start_to_close: "0.6s" } }]),
    ]);
    expect(later.state).toBe(ExecutionState.COMPLETED);
    expect(ms(later.endTime) - ms(later.startTime)).toBeGreaterThanOrEqual(1000);
    expect(silent.state).toBe(ExecutionState.COMPLETED);
    const { events } = await clients.workflows.listExecutionEvents({ executionId: silent.id, eventTypes: ["step_retry_scheduled"] });
    // A success of the other one meanwhile brings the next try forward, on record.
    const failures = events.filter(({ payload }) => payload.case === "stepRetryScheduled" && !payload.value.recovered);
    expect(failures.map((event) => event.payload.value)).toMatchObject([{ outcome: OperationState.UNKNOWN, failure: { name: "TIMEOUT.START_TO_CLOSE" } }]);
    expect(ledger.callsTo("/silent")[0]?.aborted).toBe(true);
  });

  test("do not follow what is final: 402, a fail step, a wrong expression, a forbidden address", async () => {
    const { clients, ledger } = service;
    ledger.script("/declined", [{ status: 402, body: { code: "CARD_DECLINED" } }]);
    const [declined, failed, wrong, forbidden] = await Promise.all([
      run(clients, [httpStep("pay", at("/declined"))]),
      run(clients, [{ name: "stop", fail: { error: "NO_STOCK", message: "none of {{trigger.data.sku}}", details: { left: 0 } } }], {}, { sku: "a" }),
      run(clients, [logStep("read", "{{trigger.data.missing.deep}}")]),
      run(clients, [{ name: "spy", http_request: { url: "{{trigger.data.url}}" } }], {}, { url: "http://[::ffff:127.0.0.1]/" }),
    ]);
    expect(declined).toMatchObject({
      state: ExecutionState.FAILED,
      endReason: EndReason.STEP_FAILED,
      failedStep: "pay",
      failure: { name: "HTTP.402", stepPath: "pay" },
    });
    expect(JSON.stringify(plain(declined.failure?.details))).toContain("CARD_DECLINED");
    expect(ledger.callsTo("/declined")).toHaveLength(1);
    expect(failed).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "USER.NO_STOCK", message: "none of a" }, sagaState: SagaState.COMPENSATED });
    expect(plain(failed.failure?.details)).toEqual({ left: 0 });
    expect(wrong).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "EXPRESSION" }, failedStep: "read" });
    expect(forbidden).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "LIMIT.EGRESS" } });
  });
});

describe("a failure that is expected", () => {
  test("is caught by its name, or passed over, and the run goes on", async () => {
    const { clients, ledger } = service;
    ledger.script("/gone", [404]);
    const caught = await run(clients, [
      {
        ...httpStep("find", at("/gone")),
        on_error: {
          catches: [
            { errors: ["HTTP.5xx"], steps: [logStep("wrong")] },
            { errors: ["HTTP.4xx"], steps: [logStep("handled", "{{error.name}}")] },
          ],
        },
      },
      { ...httpStep("again", at("/gone")), on_error: { action: "ON_ERROR_ACTION_CONTINUE" } },
      logStep("after", "{{steps.again.error.name}} {{steps.find.status}}"),
    ]);
    expect(caught.state).toBe(ExecutionState.COMPLETED);
    const steps = new Map([...(await stepsOf(clients, caught.id))].filter(([path]) => path !== "wrong"));
    expect([...steps.keys()]).toEqual(["find", "handled", "again", "after"]);
    expect(plain(steps.get("after")?.result)).toMatchObject({ message: expect.stringMatching(/^HTTP\.404 /) });
  });
});

test("a step that only computes shows its times, and keeps no input: that follows from the definition", async () => {
  const { clients } = service;
  const execution = await run(clients, [logStep("say", "n is {{trigger.data.n}}")], {}, { n: 7 });
  const say = (await stepsOf(clients, execution.id)).get("say");
  expect(ms(say?.startTime)).toBeGreaterThanOrEqual(ms(execution.createTime));
  expect(plain(say?.result)).toMatchObject({ message: "n is 7" });
  expect(say?.input).toBeUndefined();
});

test("steps that never began are not listed: a branch not taken, a catch not needed, what comes after the failure", async () => {
  const { clients } = service;
  const execution = await run(clients, [
    { name: "choose", conditional: { cases: [{ name: "no", when: "false", steps: [logStep("in_no")] }] } },
    { ...logStep("fine"), on_error: { catches: [{ steps: [logStep("in_catch")] }] } },
    { name: "stop", fail: { error: "X" } },
    logStep("after"),
  ]);
  const listed = [...(await stepsOf(clients, execution.id)).values()];
  expect(listed.filter((step) => step.state !== StepState.SKIPPED).map((step) => step.path)).toEqual(["choose", "fine", "stop"]);
});

test("a list with view FULL has what GetExecution has, in pages that fit", async () => {
  const { workflows } = service.clients;
  const workflow = await createWorkflow(service.clients, [logStep("a", "{{trigger.data.n}}")]);
  const text = "x".repeat(900_000);
  for (let n = 0; n < 5; n++) await workflows.startExecution({ workflow, input: { n, text }, wait: seconds(20) });
  const filter = `workflow_name = "${workflow}"`;
  const seen: Execution[] = [];
  let pages = 0;
  for (let pageToken = ""; pages === 0 || pageToken !== ""; pages++) {
    const { executions, nextPageToken } = await workflows.listExecutions({ filter, pageSize: 1000, pageToken, view: View.FULL });
    seen.push(...executions);
    pageToken = nextPageToken;
  }
  expect(seen.map(({ input }) => input?.["n"])).toEqual([4, 3, 2, 1, 0]);
  expect(pages).toBeGreaterThan(1);
  for (const execution of seen) expect((await workflows.getExecution({ executionId: execution.id })).execution).toEqual(execution);
  const [basic] = (await workflows.listExecutions({ filter, pageSize: 1 })).executions;
  expect(basic?.input).toBeUndefined();
});
