/** What is counted from durable events, by a clock that the test owns. Spans and scrapes: test/service/{telemetry,metrics}.test.ts. */

import { describe, expect, it } from "vitest";
import { formatId, uuidV7 } from "../../src/base/ids.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { Metrics } from "../../src/base/metrics.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import type { NewEvent } from "../../src/domain/events.ts";
import { applyEvent } from "../../src/domain/execution.ts";
import { type ExecutionState, emptyExecution } from "../../src/domain/execution-state.ts";
import { failure } from "../../src/domain/failure.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import type { Attempt } from "../../src/engine/run-step.ts";
import { type DriveTelemetry, newTraceparent, silentTelemetry, startingContext, traceparentOf } from "../../src/engine/telemetry.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { createEngineTelemetry, reasonOf } from "../../src/telemetry/engine-telemetry.ts";
import { createInstruments } from "../../src/telemetry/instruments.ts";
import { fc } from "../support/property.ts";

const uuid = uuidV7(Date.UTC(2026, 0, 1), new Uint8Array(10).fill(7));
const executionId = formatId("execution", uuid);

function revisionOf(steps: JsonObject[]): CompiledRevision {
  const parsed = parseDefinition({ steps }, new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]));
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  return { workflowId: "wfl_1", workflowName: "w", revision: 1, definition: parsed.value.definition, params: {} };
}

interface World {
  readonly state: ExecutionState;
  readonly drive: DriveTelemetry;
  /** Sets the monotonic clock, milliseconds. */
  at(ms: number): void;
  /** Folds events, as they are before they are written. */
  fold(...events: NewEvent[]): Parameters<DriveTelemetry["committed"]>[0];
  /** `name{labels}` → value, or [count, sum] of a histogram; without `pyairtable_workflow_`. */
  read(): Promise<Record<string, number | [number, number]>>;
}

function world(steps: JsonObject[]): World {
  const metrics = new Metrics();
  let monotonic = 0;
  const telemetry = createEngineTelemetry({ instruments: createInstruments(metrics), monotonic: () => monotonic });
  const state = emptyExecution({ executionId, tenantId: "acme" });
  return {
    state,
    drive: telemetry.drive(state, revisionOf(steps)),
    at: (ms) => void (monotonic = ms),
    fold: (...events) =>
      events.map((event) => {
        const numbered = { ...event, sequence: state.sequence + 1 };
        applyEvent(state, numbered);
        return numbered;
      }),
    async read() {
      const found = (await metrics.collect()).flatMap(({ name, series }) =>
        series.map(({ labels, value }) => [
          [name.replace("pyairtable_workflow_", ""), ...labels].join(" "),
          typeof value === "number" ? value : [value.count, Number(value.sum.toFixed(9))],
        ]),
      );
      return Object.fromEntries(found.filter(([, value]) => (Array.isArray(value) ? value[0] : value) !== 0));
    },
  };
}

const created: NewEvent = {
  type: "execution_created",
  at: 1_000,
  stepPath: "",
  attempt: 0,
  payload: { workflowId: "wfl_1", workflowName: "w", revision: 1, input: {}, correlationId: "c", triggerType: "api" },
};
const started: NewEvent = { type: "execution_started", at: 1_000, stepPath: "", attempt: 0, payload: {} };
const begun = (stepPath: string, at: number, attempt = 1): NewEvent => ({ type: "step_started", at, stepPath, attempt, payload: { input: {} } });
const done = (stepPath: string, at: number, attempt = 1): NewEvent => ({ type: "step_succeeded", at, stepPath, attempt, payload: { result: null } });
const endedAs = (state: "completed" | "failed", at: number): NewEvent => ({
  type: "execution_ended",
  at,
  stepPath: "",
  attempt: 0,
  payload: { state, endReason: state === "completed" ? "success" : "step_failed" },
});

describe("what is counted", () => {
  it("a pure step's overhead is its turn with the commit; its duration is what the ledger says", async () => {
    const { drive, at, fold, read } = world([{ name: "a", log: { message: "" } }]);
    at(10);
    drive.turn();
    const events = fold(created, started, done("a", 1_000), endedAs("completed", 1_002));
    at(14);
    drive.committed(events);
    expect(await read()).toEqual({
      executions_started_total: 1,
      "executions_finished_total completed": 1,
      execution_duration_seconds: [1, 0.002],
      "steps_finished_total log completed": 1,
      "step_duration_seconds log": [1, 0],
      "step_overhead_seconds log": [1, 0.004],
    });
  });

  it("an effect's overhead is the time before it was sent and after it answered, whatever its handler took", async () => {
    const { drive, at, fold, read } = world([{ name: "call", http_request: { url: "http://x.example/" } }]);
    drive.turn();
    const intents = fold(created, started, begun("call", 1_000));
    at(5);
    drive.committed(intents);
    const attempt = drive.attempt({ path: "call", operation: "action", number: 1 } as Attempt);
    at(905);
    attempt.end({ kind: "succeeded", result: null });
    at(906);
    drive.turn();
    const outcome = fold(done("call", 1_905));
    at(908);
    drive.committed(outcome);
    expect(await read()).toMatchObject({ "step_overhead_seconds http_request": [1, 0.008], "step_duration_seconds http_request": [1, 0.905] });
  });

  it("coordination is the time between an answer and the effect that follows from it, not one that a timer or a retry brings", async () => {
    const { drive, at, read } = world([]);
    const send = (path: string, number = 1) => drive.attempt({ path, operation: "action", number } as Attempt);
    drive.turn();
    const first = send("a");
    at(900);
    first.end({ kind: "succeeded", result: null });
    at(901);
    drive.turn();
    at(904);
    const second = send("b");
    expect(await read()).toMatchObject({ saga_coordination_seconds: [1, 0.004] });
    second.end({ kind: "succeeded", result: null });
    drive.turn();
    // A timer's turn: nothing answered since.
    at(5_000);
    drive.turn();
    send("c");
    expect(await read()).toMatchObject({ saga_coordination_seconds: [1, 0.004] });
  });

  it("nothing before it is durable, and retries by class of error", async () => {
    const { drive, fold, read } = world([{ name: "call", http_request: { url: "http://x.example/" } }]);
    const retry: NewEvent = {
      ...{ type: "step_retry_scheduled", at: 1_100, stepPath: "call", attempt: 1 },
      payload: { failure: failure("USER.secret-name", "m"), outcome: "failed", nextAttemptAt: 2_000 },
    };
    const events = fold(created, started, begun("call", 1_000), retry);
    expect(await read()).toEqual({});
    drive.committed(events);
    expect(await read()).toEqual({ executions_started_total: 1, "step_retries_total http_request USER": 1 });
  });

  it("a step that ended and was undone in the same turn counts as what it ended as", async () => {
    const { drive, fold, read } = world([{ name: "a", log: { message: "" } }]);
    const undone: NewEvent = { type: "compensation_started", at: 1_001, stepPath: "a", attempt: 1, payload: {} };
    drive.committed(fold(created, started, done("a", 1_000), undone));
    expect(await read()).toMatchObject({ "steps_finished_total log completed": 1 });
  });

  it("a copy that a rerun takes over is not counted a second time", async () => {
    const { drive, fold, read } = world([{ name: "a", log: { message: "" } }]);
    const copied: NewEvent = { type: "step_succeeded", at: 1_000, stepPath: "a", attempt: 1, payload: { result: null, copiedFrom: "exe_other" } };
    drive.committed(fold(created, started, copied));
    expect(await read()).toEqual({ executions_started_total: 1 });
  });
});

describe("reasons of retries", () => {
  it("keep our names and protocol codes", () => {
    for (const name of ["NETWORK", "TIMEOUT.START_TO_CLOSE", "HTTP.503", "HTTP.REJECTED", "GRPC.UNAVAILABLE", "LIMIT.BODY", "SMTP.451", "BREAKER_OPEN"]) {
      expect(reasonOf(failure(name, ""))).toBe(name);
    }
  });

  it("never let anybody else choose a label", () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom("USER.", "WORKER.", "HTTP.", ""), (text, prefix) => {
        const reason = reasonOf(failure(prefix + text, ""));
        expect(reason).toMatch(
          /^(?:other|USER|WORKER|NETWORK|EXPRESSION|SCHEMA|BREAKER_OPEN|CANCELED|INTERNAL|HTTP\.[1-5]\d\d|HTTP\.REJECTED|[A-Z]+\.[A-Z_]+)$/,
        );
      }),
    );
  });
});

describe("the trace of an execution", () => {
  const withTrace = (traceparent: string): ExecutionState => {
    const state = emptyExecution({ executionId, tenantId: "acme" });
    applyEvent(state, { ...created, payload: { ...created.payload, traceparent } as never, sequence: 1 } as never);
    return state;
  };

  it("is the one its start came with", () => {
    const traceparent = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;
    expect(traceparentOf(startingContext(withTrace(traceparent)))).toBe(traceparent);
    expect(newTraceparent(startingContext(withTrace(traceparent)))).toMatch(new RegExp(`^00-${"ab".repeat(16)}-(?!${"cd".repeat(8)})[0-9a-f]{16}-01$`));
  });

  it("is its id when it came with none, the same wherever it is driven", () => {
    const state = emptyExecution({ executionId, tenantId: "acme" });
    const digits = uuid.replaceAll("-", "");
    expect(startingContext(state)).toEqual({ traceId: digits, spanId: digits.slice(16), flags: "01" });
    const drive = silentTelemetry.drive(state, revisionOf([]));
    const attempts = [drive.attempt({} as Attempt), drive.attempt({} as Attempt)].map(({ traceparent }) => traceparent);
    for (const traceparent of attempts) expect(traceparent).toMatch(new RegExp(`^00-${digits}-[0-9a-f]{16}-01$`));
    expect(attempts[0]).not.toBe(attempts[1]);
  });
});
