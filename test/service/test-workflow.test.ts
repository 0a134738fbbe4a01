/** TestWorkflow over the wire: fixtures instead of effects, a virtual clock, and the trace that a real run would leave. */
import { fromJson, type JsonValue, toJson } from "@bufbuild/protobuf";
import { timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { EndReason, ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { createWorkflow, definition, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { ms, seconds, useServer } from "./support/fixture.ts";
import { refusal } from "./support/refusal.ts";

const fixture = useServer();
const api = () => fixture.clients.workflows;
const ok = (value: JsonValue, more: object = {}) => ({ outcome: { case: "result" as const, value: fromJson(ValueSchema, value) }, ...more });
const bad = (name: string, more: object = {}) => ({ outcome: { case: "failure" as const, value: { name, message: "told so" } }, ...more });
const url = "https://shop.test/orders";

describe("TestWorkflow", () => {
  it("runs a stored workflow without a call, with the trace of a real run", async () => {
    const { ledger } = fixture;
    const steps = [
      httpStep("reserve", `${ledger.url}/dry-reserve`, { undo: `${ledger.url}/dry-undo` }),
      httpStep("charge", `${ledger.url}/dry-charge`),
      logStep("done", "{{steps.reserve.result.body.id}}"),
    ];
    const workflow = await createWorkflow(fixture.clients, steps);
    ledger.script("/dry-reserve", () => ({ status: 200, body: { id: "r1" } }));
    ledger.script("/dry-charge", [503, { status: 402, body: {} }]);
    const { execution } = await api().startExecution({ workflow, wait: seconds(15) });
    const { events } = await api().listExecutionEvents({ executionId: execution?.id ?? "", pageSize: 100 });
    const calls = ledger.calls.length;
    const test = await api().testWorkflow({
      subject: { case: "workflow", value: workflow },
      fixtures: { reserve: { attempts: [ok({ status: 200, body: { id: "r1" } })] }, charge: { attempts: [bad("HTTP.503"), bad("HTTP.402")] } },
    });
    expect(ledger.calls).toHaveLength(calls);
    expect(test.events.map(({ type, stepPath, attempt }) => [type, stepPath, attempt])).toEqual(
      events.map(({ type, stepPath, attempt }) => [type, stepPath, attempt]),
    );
    expect(test.events.map(({ sequence }) => Number(sequence))).toEqual(test.events.map((_, index) => index + 1));
    expect(test.execution).toMatchObject({
      state: ExecutionState.COMPENSATED,
      endReason: EndReason.STEP_FAILED,
      failedStep: "charge",
      failure: { name: "HTTP.402" },
    });
    expect(Object.fromEntries(test.steps.map(({ path, state }) => [path, state]))).toMatchObject({ charge: StepState.FAILED, done: StepState.PENDING });
    expect(test).toMatchObject({ truncated: false, unreachedSteps: ["done"] });
    expect(await refusal(api().getExecution({ executionId: test.execution?.id ?? "" }))).toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
  });

  it("passes delays and latencies on its virtual clock, and ends an attempt that takes too long", async () => {
    const start = Date.UTC(2031, 0, 1);
    const slow = {
      ...httpStep("slow", url),
      timeouts: { start_to_close: "10s" },
      on_error: { action: "ON_ERROR_ACTION_CONTINUE" },
      retry_policy: { maximum_attempts: 1 },
    };
    const test = await api().testWorkflow({
      subject: {
        case: "definition",
        value: definition([delayStep("month", "2592000s"), httpStep("quick", url), slow, logStep("why", "{{steps.slow.error.name}}")], {
          execution_timeout: "7776000s",
        }),
      },
      fixtures: { quick: { attempts: [ok("done", { latency: seconds(7) })] }, slow: { attempts: [ok("too late", { latency: seconds(60) })] } },
      startTime: timestampFromMs(start),
    });
    expect(test.execution).toMatchObject({ state: ExecutionState.COMPLETED });
    expect(ms(test.execution?.createTime)).toBe(start);
    expect(ms(test.execution?.endTime)).toBe(start + 2_592_000_000 + 7_000 + 10_000);
    expect(test.steps.find(({ name }) => name === "slow")?.failure).toMatchObject({ name: "TIMEOUT.START_TO_CLOSE" });
    expect(test.unreachedSteps).toEqual([]);
  });

  it("finds fixtures by path before name, in loops and for undos", async () => {
    const loop = { name: "each", for_each: { items: "[1, 2, 3]", steps: [httpStep("call", url)] } };
    const subject = { case: "definition" as const, value: definition([httpStep("first", url, { undo: url }), loop]) };
    const fixtures = { first: { attempts: [ok({ body: {} })] }, call: { attempts: [ok("fine")] }, "each[1]/call": { attempts: [bad("HTTP.400")] } };
    const undone = await api().testWorkflow({ subject, fixtures });
    expect(undone.execution).toMatchObject({ state: ExecutionState.COMPENSATED });
    expect(undone.steps.find(({ path }) => path === "each[1]/call")).toMatchObject({ state: StepState.FAILED });
    const retried = await api().testWorkflow({ subject, fixtures: { ...fixtures, "first.undo": { attempts: [bad("HTTP.503"), ok("undone")] } } });
    expect(retried.execution).toMatchObject({ state: ExecutionState.COMPENSATED });
    expect(retried.events.map(({ type }) => type)).toContain("compensation_retry_scheduled");
  });

  it("gives steps that wait for events, children, workers and files what their fixtures say", async () => {
    const child = await createWorkflow(fixture.clients, [logStep("a")]);
    const wait = { name: "wait", wait_for_event: { any_of: [{ event_type: "paid" }], timeout: "3600s" } };
    const steps = [
      wait,
      { name: "sub", sub_workflow: { workflow: child } },
      { name: "work", worker_task: { task_type: "t" } },
      { name: "file", file_process: { source: { text: "a" }, validate: {} } },
    ];
    const outputs = { all: "{{steps.wait.result.data}} {{steps.sub.result}} {{steps.work.result}}" };
    const fixtures = {
      wait: { attempts: [ok({ data: 7 })] },
      sub: { attempts: [ok("child")] },
      work: { attempts: [ok("done")] },
      file: { attempts: [ok({})] },
    };
    const test = await api().testWorkflow({ subject: { case: "definition", value: definition(steps, { outputs }) }, fixtures });
    expect(test).toMatchObject({ execution: { state: ExecutionState.COMPLETED }, unreachedSteps: [] });
    expect(test.execution?.output && toJson(ValueSchema, test.execution.output)).toEqual({ all: "7 child done" });
    const silent = await api().testWorkflow({ subject: { case: "definition", value: definition([wait]) } });
    expect(silent.execution).toMatchObject({ state: ExecutionState.FAILED, failure: { name: "TIMEOUT.EVENT" } });
  });

  it("asks for fixtures that are missing and refuses those of no step", async () => {
    const subject = {
      case: "definition" as const,
      value: definition([{ name: "which", conditional: { cases: [{ name: "a", when: "trigger.data.go", steps: [httpStep("call", url)] }] } }]),
    };
    expect((await api().testWorkflow({ subject, input: { go: false } })).unreachedSteps).toEqual(["call"]);
    expect(await refusal(api().testWorkflow({ subject, input: { go: true } }))).toMatchObject({
      code: "INVALID_ARGUMENT",
      reason: "FIXTURE_MISSING",
      fieldMessages: [expect.stringContaining("step call (http_request)")],
    });
    expect(await refusal(api().testWorkflow({ subject, input: { go: false }, fixtures: { cal: { attempts: [ok("x")] } } }))).toMatchObject({
      reason: "VALIDATION_FAILED",
      fields: ['fixtures["cal"]'],
    });
  });

  it("checks definition and input as a save and a start do", async () => {
    const schema = { input_schema: { type: "object", required: ["total"], properties: { total: { type: "number" } } } };
    const subject = { case: "definition" as const, value: definition([logStep("say", "{{trigger.data.total}}")], schema) };
    expect(await refusal(api().testWorkflow({ subject, input: { total: "1" } }))).toMatchObject({ reason: "INPUT_SCHEMA_MISMATCH", fields: ["input.total"] });
    const wrong = { case: "definition" as const, value: definition([logStep("say", "{{nothing}}")]) };
    expect(await refusal(api().testWorkflow({ subject: wrong }))).toMatchObject({ reason: "UNKNOWN_VARIABLE", fields: ["definition.steps[0].log.message"] });
    expect(await refusal(api().testWorkflow({ subject: { case: "workflow", value: "nobody" } }))).toMatchObject({ reason: "WORKFLOW_NOT_FOUND" });
  });

  it("stops at its bounds: a stuck saga waits for nobody, and a run without end is cut", async () => {
    const halted = { ...httpStep("call", url), on_error: { action: "ON_ERROR_ACTION_HALT" }, retry_policy: { maximum_attempts: 1 } };
    const stuck = await api().testWorkflow({
      subject: { case: "definition", value: definition([halted]) },
      fixtures: { call: { attempts: [bad("HTTP.400")] } },
    });
    expect(stuck).toMatchObject({ execution: { state: ExecutionState.STUCK }, truncated: false });
    const forever = { ...httpStep("call", url), retry_policy: { initial_interval: "0.01s", maximum_interval: "0.01s", maximum_attempts: 0 } };
    const cut = await api().testWorkflow({
      subject: { case: "definition", value: definition([forever]) },
      fixtures: { call: { attempts: [bad("HTTP.503")] } },
    });
    expect(cut).toMatchObject({ truncated: true, execution: { state: ExecutionState.WAITING } });
    expect(cut.events.length).toBeLessThanOrEqual(10_000);
  });
});
