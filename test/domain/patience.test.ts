/** Saga rule R7: no undo before its action was heard of or cannot be at work any more. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { cancelExecution } from "../../src/domain/control.ts";
import { completeStep } from "../../src/domain/control-step.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { explainExecution } from "../../src/domain/explain.ts";
import {
  compile,
  fails,
  identity,
  type Order,
  type Script,
  type Simulated,
  type Simulation,
  simulate,
  simulationStartAt,
  succeeds,
  unclear,
} from "./simulate.ts";
import type { Reply } from "./simulated-steps.ts";

const undo = (more: JsonObject = {}): JsonObject => ({ compensation: { step: { call: {} }, ...more } });
/** One attempt of two seconds unless told. */
const step = (more: JsonObject = {}): JsonObject => ({
  name: "a",
  call: {},
  retry_policy: { maximum_attempts: 1, initial_interval: "1s", jitter: 0 },
  timeouts: { start_to_close: "2s" },
  ...undo(),
  ...more,
});
const run = (a: JsonObject, replies: readonly Reply[], more: Simulation = {}): Simulated => {
  const script: Script = { a: replies, no: [fails()] };
  return simulate(compile({ steps: [a, { name: "no", call: {} }] }), { script, ...more });
};
/** Milliseconds after the start at which the undo left. */
const undoneAt = ({ calls }: Simulated): number | undefined => {
  const sent = calls.find(({ operation }) => operation === "compensate");
  return sent && sent.sentAt - simulationStartAt;
};
const slow = succeeds("late", 60_000);

describe("the undo of an action that timed out", () => {
  it("waits for its deadline and five seconds, or as long again when that is longer", () => {
    expect(undoneAt(run(step(), [slow]))).toBe(2_000 + 5_000);
    expect(undoneAt(run(step({ timeouts: { start_to_close: "8s" } }), [slow]))).toBe(8_000 + 8_000);
  });

  it("does not wait when its participant has a barrier", () => {
    expect(undoneAt(run(step(undo({ barrier: true })), [slow]))).toBe(2_000);
  });

  it("waits for the attempt that was not heard of, though later ones were refused", () => {
    const twice = { retry_policy: { maximum_attempts: 2, initial_interval: "1s", jitter: 0 } };
    expect(undoneAt(run(step(twice), [slow, fails("NETWORK")]))).toBe(2_000 + 5_000);
  });

  it("waits no longer once a later attempt has succeeded under the same key", () => {
    const twice = { retry_policy: { maximum_attempts: 2, initial_interval: "1s", jitter: 0 } };
    expect(undoneAt(run(step(twice), [slow, succeeds("done")]))).toBeLessThan(3_100);
  });

  it("waits until the same moment on the replica that takes over", () => {
    const whole = run(step(), [slow]);
    const turned = whole.ledger.findIndex(({ type }) => type === "saga_state_changed");
    const resumed = run(step(), [slow], { resumeFrom: whole.ledger.slice(0, turned + 1) });
    expect(undoneAt(resumed)).toBe(undoneAt(whole));
  });
});

it("an explanation says what the undo waits for", () => {
  const { ledger } = run(step(), [slow]);
  const turned = ledger.findIndex(({ type }) => type === "saga_state_changed");
  const state = foldExecution(identity, ledger.slice(0, turned + 1));
  const { definition } = compile({ steps: [step(), { name: "no", call: {} }] });
  const { blockers } = explainExecution(definition, state, { owner: undefined }, simulationStartAt + 2_001);
  expect(blockers).toMatchObject([{ stepPath: "a", untilAt: simulationStartAt + 7_000, message: expect.stringContaining("may be at work until then") }]);
});

describe("the undo of an action that has answered", () => {
  it("starts at once, however unclear the answer", () => {
    expect(undoneAt(run(step(), [unclear("HTTP.503")]))).toBeLessThan(100);
    expect(undoneAt(run(step(), [succeeds("done")]))).toBeLessThan(100);
  });

  it("waits when only a gateway or the network has answered", () => {
    for (const name of ["HTTP.502", "HTTP.504", "NETWORK", "GRPC.UNAVAILABLE", "GRPC.DEADLINE_EXCEEDED"]) {
      expect(undoneAt(run(step(), [unclear(name)])), name).toBe(7_000);
    }
  });
});

it("a cancel ends an attempt at once, and its undo waits until it cannot be at work any more", () => {
  const cancel = {
    when: () => true,
    command: (state: Simulated["state"], _: unknown, now: number) => cancelExecution(state, now, { actor: "key_1", reason: "" }),
  };
  const running = { ...cancel, when: (state: Simulated["state"]) => state.steps.get("a")?.status === "running" };
  const canceled = run(step(), [slow], { orders: [running] });
  expect(canceled.ledger.find(({ type }) => type === "step_canceled")?.at).toBe(simulationStartAt);
  expect(undoneAt(canceled)).toBe(7_000);
  expect(canceled.state).toMatchObject({ status: "compensated", endReason: "canceled" });
});

describe("a saga that is stuck", () => {
  const spent = { retry_policy: { maximum_attempts: 1 } };
  const named = (name: string): JsonObject => ({ ...step(undo(spent)), name });

  it("stays visibly stuck while one undo has spent its budget, whatever other undos come to", () => {
    const steps = [named("a"), named("b"), { name: "no", call: {} }];
    const revision = compile({ steps, compensation_policy: { undo_order: "UNDO_ORDER_PARALLEL", halt_on_stuck: true } });
    const simulated = simulate(revision, { script: { no: [fails()], "undo a": [{ ...unclear(), tookMs: 1 }], "undo b": [succeeds("ok", 50)] } });
    expect(simulated.isParkedForGood).toBe(true);
    expect(simulated.state).toMatchObject({ status: "stuck", stuck: { stepPath: "a" } });
  });

  const race = {
    name: "race",
    parallel: {
      join: "JOIN_MODE_ANY",
      branches: [
        { name: "x", steps: [{ name: "fast", call: {} }] },
        { name: "y", steps: [named("slow")] },
      ],
    },
  };

  it("because of a loser, and whose next failure would halt it, says so once and comes to rest", () => {
    const halts = { ...step({ timeouts: { start_to_close: "60s" } }), name: "halts", on_error: { action: "ON_ERROR_ACTION_HALT" } };
    const branches = [
      { name: "one", steps: [race] },
      { name: "two", steps: [halts] },
    ];
    const revision = compile({ steps: [{ name: "both", parallel: { branches } }], compensation_policy: { halt_on_stuck: true } });
    const script: Script = {
      fast: [succeeds("won", 50)],
      slow: [succeeds("lost", 60)],
      "undo slow": [fails("HTTP.422")],
      halts: [{ ...fails("HTTP.422"), tookMs: 30_000 }],
    };
    const simulated = simulate(revision, { script });
    expect(simulated.isParkedForGood).toBe(true);
    expect(simulated.ledger.filter(({ type }) => type === "saga_state_changed")).toHaveLength(1);
    expect(simulated.state).toMatchObject({ status: "stuck", stuck: { stepPath: "slow" } });
  });

  it("because of a loser is stuck again when the execution turns back", () => {
    const revision = compile({ steps: [race], compensation_policy: { halt_on_stuck: true } });
    const script: Script = { fast: [succeeds("won", 50)], slow: [succeeds("lost", 60)], "undo slow": [fails("HTTP.422")] };
    const simulated = simulate(revision, { script, created: { timeoutAt: simulationStartAt + 30_000 } });
    expect(simulated.ledger.filter(({ type }) => type === "saga_state_changed").map(({ payload }) => (payload as { state: string }).state)).toEqual([
      "stuck",
      "compensating",
      "stuck",
    ]);
    expect(simulated.state.status).toBe("stuck");
  });
});

it("an operator's word is no report: the undo still waits for the attempt that was not heard of", () => {
  const twice = { retry_policy: { maximum_attempts: 2, initial_interval: "1s", jitter: 0 } };
  const retrying = (state: Simulated["state"]): boolean => state.steps.get("a")?.status === "retrying";
  const complete: Order = {
    when: retrying,
    command: (state, revision, now) => completeStep({ state, revision, now }, { actor: "key_1", reason: "r", path: "a", result: 1 }),
  };
  expect(undoneAt(run(step(twice), [slow], { orders: [complete] }))).toBe(7_000);
});

describe("schedule_to_close", () => {
  it("ends an attempt that would outlast what all attempts together may take", () => {
    const timeouts = { start_to_close: "10s", schedule_to_close: "3s" };
    const retry = { maximum_attempts: 5, initial_interval: "1s", backoff_coefficient: 1, jitter: 0 };
    const endOf = (replies: readonly Reply[]): number | undefined => {
      const failed = run(step({ timeouts, retry_policy: retry, ...undo({ barrier: true }) }), replies).ledger.find(({ type }) => type === "step_failed");
      return failed && failed.at - simulationStartAt;
    };
    expect(endOf([slow])).toBe(3_000);
    expect(endOf([unclear("HTTP.503"), slow])).toBe(3_000);
  });
});
