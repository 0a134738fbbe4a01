/** Rule R6: what a report from outside changes, and what its teller is answered. */
import { describe, expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";
import { Answered, applyCommand } from "../../src/domain/control-command.ts";
import { failure } from "../../src/domain/failure.ts";
import type { ReportedOutcome, ReportRequest } from "../../src/domain/reported-outcome.ts";
import { again, by, call, halt, once, order, stands, types, undoable } from "./commanded.ts";
import { compile, fails, type Simulated, simulate, simulationStartAt } from "./simulate.ts";

const ask = (name: string, more: JsonObject = {}): JsonObject => ({ name, ask: { body: null }, timeouts: { start_to_close: "60s" }, ...more });
const pull = (name: string, more: JsonObject = {}): JsonObject => ({ name, pull: { body: null }, ...more });
const undone: JsonObject = { compensation: { step: call("undo") } };
const succeeded = (result: Json = "done"): ReportedOutcome => ({ kind: "succeeded", result });
const failed = (name = "WORKER.busy", outcome: "failed" | "unknown" = "failed"): ReportedOutcome => ({ kind: "failed", failure: failure(name, name), outcome });
const progress: ReportedOutcome = { kind: "in_progress", percent: 40 };
const report = (path: string, attempt: number, outcome: ReportedOutcome, more: Partial<ReportRequest> = {}) => ({
  kind: "report" as const,
  ...{ path, attempt, outcome, operation: "action" as const, generation: 0, random: 0 },
  ...more,
});

/** What the report would be answered in that state. */
function answerTo({ state }: Simulated, revision: ReturnType<typeof compile>, command: ReturnType<typeof report>) {
  const answer = applyCommand({ state, revision, now: simulationStartAt + 1_000_000 }, command);
  if (answer instanceof AppError) return answer.reason;
  if (!(answer instanceof Answered)) throw new Error("a report is answered");
  return { decision: answer.answer["decision"], events: answer.events.map(({ type }) => type) };
}

describe("an operation whose outcome is reported", () => {
  it("is sent by nobody here, and the execution waits for its report without a timer while a task stands in a queue", () => {
    const waiting = simulate(compile({ steps: [pull("render")] }));
    expect(waiting.isParkedForGood).toBe(true);
    expect(waiting.calls).toEqual([]);
    expect(waiting.state.steps.get("render")).toMatchObject({ status: "queued", action: "dispatched", attempt: 1 });
  });

  it("is not sent again by a process that knows of it from the ledger only", () => {
    const revision = compile({ steps: [pull("render")] });
    const waiting = simulate(revision);
    expect(simulate(revision, { resumeFrom: waiting.ledger }).ledger).toEqual(waiting.ledger);
  });

  it("goes on with the reported result", () => {
    const done = simulate(compile({ steps: [ask("charge"), call("ship")] }), {
      orders: [order(report("charge", 1, succeeded({ id: 7 })), stands("charge", "running"))],
    });
    expect(done.state).toMatchObject({ status: "completed" });
    expect(done.state.steps.get("charge")?.result).toEqual({ id: 7 });
  });

  it("is tried again after a reported failure, with a new attempt, and is unknown when its time or the silence is too long", () => {
    const retried = simulate(compile({ steps: [ask("charge")] }), { orders: [order(report("charge", 1, failed()), stands("charge", "running"))] });
    const names = retried.ledger.filter(({ type }) => type.startsWith("step_")).map(({ type, attempt }) => `${type} ${attempt}`);
    expect(names.slice(0, 3)).toEqual(["step_started 1", "step_retry_scheduled 1", "step_started 2"]);
    // Nobody reported attempts 2 and 3.
    expect(retried.state.steps.get("charge")).toMatchObject({ status: "failed", action: "unknown", failure: { name: "TIMEOUT.START_TO_CLOSE" } });
    const silent = simulate(compile({ steps: [ask("charge", { ...once, timeouts: { start_to_close: "60s", heartbeat: "10s" } })] }));
    const ended = silent.ledger.find(({ type }) => type === "step_failed");
    expect(ended?.at).toBe(simulationStartAt + 10_000);
    expect(silent.state.steps.get("charge")?.failure?.name).toBe("TIMEOUT.HEARTBEAT");
  });

  it("lives on signs of life, never past its deadline", () => {
    const revision = compile({ steps: [ask("charge", { ...once, timeouts: { start_to_close: "60s", heartbeat: "10s" } })] });
    const beat = { ...report("charge", 1, progress) };
    const alive = simulate(revision, { orders: [order(beat, stands("charge", "running"))] });
    expect(alive.state.steps.get("charge")?.failure?.name).toBe("TIMEOUT.HEARTBEAT");
    const often = simulate(revision, { orders: [order(report("charge", 1, { ...progress, heartbeatMs: 40_000 }), stands("charge", "running"))] });
    expect(often.state.steps.get("charge")?.failure?.name).toBe("TIMEOUT.START_TO_CLOSE");
    expect(often.ledger.find(({ type }) => type === "step_failed")?.at).toBe(simulationStartAt + 60_000);
  });
});

describe("reports while the operation is open", () => {
  const revision = compile({ steps: [pull("render", undone), call("ship")] });
  const first = simulate(revision);
  const second = again(first, revision, report("render", 1, failed()));

  it("success of any attempt that was issued is taken, failure only from the newest one", () => {
    expect(second.state.steps.get("render")).toMatchObject({ status: "queued", attempt: 2 });
    expect(answerTo(second, revision, report("render", 1, succeeded()))).toEqual({ decision: "CONTINUE", events: ["step_succeeded"] });
    expect(answerTo(second, revision, report("render", 2, succeeded()))).toEqual({ decision: "CONTINUE", events: ["step_succeeded"] });
    expect(answerTo(second, revision, report("render", 1, progress))).toEqual({ decision: "ALREADY", events: [] });
    expect(answerTo(second, revision, report("render", 2, failed()))).toEqual({ decision: "CONTINUE", events: ["step_retry_scheduled"] });
  });

  it("a late success calls the next attempt off: its own outcome is a repeat then", () => {
    const done = again(second, revision, report("render", 1, succeeded("early bird")));
    expect(done.state.status).toBe("completed");
    expect(answerTo(done, revision, report("render", 2, succeeded("too late")))).toEqual({ decision: "ALREADY", events: [] });
  });

  it("a repeat of a failure gets the answer that stands; a failure of an attempt that fell silent is stale", () => {
    expect(answerTo(second, revision, report("render", 1, failed()))).toEqual({ decision: "ALREADY", events: [] });
    const silent = again(first, revision, report("render", 1, { kind: "expired", name: "TIMEOUT.HEARTBEAT", deadlineAt: simulationStartAt + 1, closeMs: 1 }));
    expect(answerTo(silent, revision, report("render", 1, failed()))).toBe("STALE_TOKEN");
    expect(answerTo(silent, revision, report("render", 1, progress))).toBe("STALE_TOKEN");
  });

  it("an attempt that was never issued, a step that never began and a confirmation nobody asked for are unknown", () => {
    expect(answerTo(second, revision, report("render", 3, succeeded()))).toBe("TOKEN_INVALID");
    expect(answerTo(second, revision, report("ship", 1, succeeded()))).toBe("TOKEN_INVALID");
    expect(answerTo(second, revision, report("nowhere", 1, succeeded()))).toBe("TOKEN_INVALID");
    expect(answerTo(second, revision, report("render", 1, succeeded(), { operation: "confirm" }))).toBe("TOKEN_INVALID");
    expect(answerTo(second, revision, report("render", 1, succeeded(), { operation: "compensate" }))).toBe("TOKEN_INVALID");
  });

  it("the first definite word stands; the second one is put on record once", () => {
    const stuck = compile({ steps: [pull("render"), call("ship", { ...once, ...halt })] });
    const done = again(again(simulate(stuck), stuck, report("render", 1, failed())), stuck, report("render", 2, succeeded()), { ship: [fails()] });
    const contradicted = report("render", 2, failed());
    expect(answerTo(done, stuck, contradicted)).toEqual({ decision: "ALREADY", events: ["anomaly"] });
    const noted = again(done, stuck, contradicted);
    expect(answerTo(noted, stuck, contradicted)).toEqual({ decision: "ALREADY", events: [] });
    expect(noted.state.steps.get("render")?.action).toBe("succeeded");
  });
});

describe("reports when the execution turns back", () => {
  const cancel = { kind: "cancel" as const, ...by };
  const revision = compile({ steps: [undoable("book"), ask("charge", undone)] });
  const running = simulate(revision, {
    turnsMax: 10,
    orders: [order(cancel, stands("charge", "running")), order(report("charge", 1, succeeded()), (state) => state.cancel !== undefined)],
  });

  it("no undo begins while the action may still run; its success is noted, and undone", () => {
    expect(running.state.status).toBe("compensated");
    expect(types(running).filter((type) => type.includes("charge"))).toEqual([
      "step_started charge",
      "step_succeeded charge",
      "compensation_started charge",
      "compensation_succeeded charge",
    ]);
  });

  it("an action that falls silent is undone only after its time and as long again, unless its participant has a barrier", () => {
    const silent = simulate(revision, { orders: [order(cancel, stands("charge", "running"))] });
    const undo = silent.ledger.find(({ type, stepPath }) => type === "compensation_started" && stepPath === "charge");
    expect(undo?.at).toBe(simulationStartAt + 5 + 120_000);
    expect(undo?.payload).toMatchObject({ mayNotHaveRun: true });
    const barrier = compile({ steps: [ask("charge", { compensation: { step: call("undo"), barrier: true } })] });
    const fenced = simulate(barrier, { orders: [order(cancel, stands("charge", "running"))] });
    expect(fenced.ledger.find(({ type }) => type === "compensation_started")?.at).toBe(simulationStartAt);
  });

  it("a success after the silence is evidence: it is undone with its result, and the answer says so", () => {
    const late = simulate(revision, {
      orders: [order(cancel, stands("charge", "running")), order(report("charge", 1, succeeded({ id: 9 })), stands("charge", "canceled"))],
    });
    expect(types(late)).toContain("anomaly charge");
    expect(late.state.steps.get("charge")).toMatchObject({ action: "succeeded", result: { id: 9 }, status: "compensated" });
    const undo = late.ledger.find(({ type, stepPath }) => type === "compensation_started" && stepPath === "charge");
    expect(undo?.payload).not.toHaveProperty("mayNotHaveRun");
  });

  it("whoever is at it is told to stop, and a task that nobody took ends without an effect", () => {
    const queued = compile({ steps: [undoable("book"), pull("render", undone)] });
    const canceled = again(simulate(queued), queued, cancel);
    expect(answerTo(canceled, queued, report("render", 1, progress))).toEqual({ decision: "STOP", events: ["step_progressed"] });
    const recalled = again(canceled, queued, report("render", 1, { kind: "recalled" }));
    expect(recalled.state.status).toBe("compensated");
    expect(types(recalled)).not.toContain("compensation_started render");
  });
});

it("an undo is reported as its action is, and finding nothing counts as undone", () => {
  const revision = compile({ steps: [undoable("book"), call("charge", { compensation: { step: pull("refund") } }), call("ship", once)] });
  const turned = simulate(revision, { script: { ship: [fails()] } });
  expect(turned.state.steps.get("charge")?.undo).toMatchObject({ status: "dispatched", report: { from: "queue", attempt: 1 } });
  const tried = again(turned, revision, report("charge", 1, failed("WORKER.down", "unknown"), { operation: "compensate" }));
  expect(tried.state.steps.get("charge")?.undo).toMatchObject({ attempt: 2 });
  const done = again(tried, revision, report("charge", 2, { kind: "succeeded", result: null, nothingToUndo: true }, { operation: "compensate" }));
  expect(done.state).toMatchObject({ status: "compensated" });
  expect(answerTo(done, revision, report("charge", 1, succeeded(), { operation: "compensate" }))).toEqual({ decision: "ALREADY", events: [] });
});

it("a task that an operator leaves out or fails by hand may be having its effect: it is undone when the execution turns back", () => {
  const revision = compile({ steps: [pull("render", { ...undone, on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }), call("ship", once)] });
  const queued = simulate(revision);
  for (const decision of [{ kind: "skip_step" as const }, { kind: "fail_step" as const, failure: failure("WORKER.gone", "gone") }]) {
    const turned = again(queued, revision, { ...decision, ...by, path: "render" }, { ship: [fails()] });
    expect(turned.state.status).toBe("compensated");
    expect(turned.ledger.find(({ type }) => type === "compensation_started")?.payload).toMatchObject({ mayNotHaveRun: true });
  }
});
