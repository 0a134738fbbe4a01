import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import type { SagaTerms } from "../../src/domain/events.ts";
import { called, types } from "./commanded.ts";
import { compile, fails, type Script, type Simulated, type Simulation, simulate, succeeds } from "./simulate.ts";

const http = (path: string): JsonObject => ({ http: { method: "POST", url: `https://orders.example/${path}` } });
const step = (name: string, stage: number, more: JsonObject = {}): JsonObject => ({
  name,
  stage,
  action: http(name),
  compensation: http(`undo-${name}`),
  ...more,
});
const saga = (enlisted: readonly JsonObject[], script: Script = {}, more: Simulation = {}, terms: SagaTerms = { autoComplete: true }): Simulated =>
  simulate(compile({ steps: [] }), { script, enlisted, created: { workflowId: "", workflowName: "", revision: 0, saga: terms }, ...more });

describe("what joined a saga", () => {
  it("runs stage by stage, the steps of one stage together", () => {
    const { state, calls } = saga([
      step("hotel", 2),
      step("flight", 1),
      step("car", 1),
      step("mail", 3, { compensation: null, kind: "COMPENSATION_KIND_RETRIABLE" }),
    ]);
    expect(state.saga).toBe("completed");
    expect(calls.map(({ path }) => path)).toEqual(["flight", "car", "hotel", "mail"]);
    expect(calls[0]?.sentAt).toBe(calls[1]?.sentAt);
    expect(calls.map(({ idempotencyKey }) => idempotencyKey)[0]).toMatch(/\/flight\/action$/);
  });

  it("is undone in reverse when a step fails for good, and the failing one is left alone", () => {
    const run = saga([step("flight", 1), step("hotel", 2), step("car", 3)], { car: [fails("HTTP.422")] });
    expect(called(run)).toEqual(["flight", "hotel", "car", "undo hotel", "undo flight"]);
    expect(run.state).toMatchObject({ status: "compensated", saga: "compensated", endReason: "step_failed", failedStep: "car" });
  });

  it("ends what runs beside a failed step before anything is undone", () => {
    const run = saga([step("flight", 1), step("hotel", 1)], { flight: [fails("HTTP.422")], hotel: [succeeds("booked", 5_000)] });
    expect(called(run)).toEqual(["flight", "hotel", "undo hotel"]);
    expect(run.state.saga).toBe("compensated");
  });

  it("gives the undo what the action was sent, as it was recorded then", () => {
    const { calls } = saga([step("flight", 1), step("hotel", 2, { input: { seat: "{{steps.flight.result}}" } }), step("car", 3)], {
      flight: [succeeds("12A")],
      car: [fails("HTTP.422")],
    });
    const undo = calls.find(({ path, operation }) => path === "hotel" && operation === "compensate");
    expect(undo?.config["json"]).toEqual({ seat: "12A" });
  });

  it("stays open without a step, and completes by itself when it shall", () => {
    expect(saga([]).state.status).toBe("running");
    expect(saga([step("flight", 1)], {}, {}, {}).state.saga).toBe("running");
    expect(saga([step("flight", 1)]).state.saga).toBe("completed");
  });

  it("confirms what it did once it can no longer turn back", () => {
    const run = saga([step("flight", 1, { confirmation: http("confirm-flight") }), step("hotel", 2)], { "confirm flight": [fails("HTTP.503"), succeeds()] });
    expect(run.calls.map(({ operation, path }) => `${operation} ${path}`)).toEqual(["action flight", "action hotel", "confirm flight", "confirm flight"]);
    expect(types(run)).toContain("saga_state_changed");
    expect(run.state).toMatchObject({ saga: "completed", pastPivot: true });
  });

  it("is the same when its ledger is cut and read again at any place", () => {
    const steps = [step("flight", 1), step("hotel", 2), step("car", 2), step("train", 3)];
    const script: Script = { train: [fails("HTTP.422")] };
    const whole = saga(steps, script);
    for (let length = steps.length + 1; length < whole.ledger.length; length++) {
      const resumed = saga(steps, script, { resumeFrom: whole.ledger.slice(0, length) });
      expect(resumed.state.saga, `cut after ${length}`).toBe("compensated");
      // What may have run unheard before the cut is undone too.
      const undone = (run: Simulated): string[] =>
        [...run.state.steps.values()].flatMap(({ path, undo }) => (undo && path !== "train" ? [`${path} ${undo.status}`] : []));
      expect(undone(resumed)).toEqual(undone(whole));
    }
  });
});
