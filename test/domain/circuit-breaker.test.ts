import { describe, expect, test } from "vitest";
import { admit, type Breaker, closedBreaker, learn, type Verdict, verdictOf } from "../../src/domain/circuit-breaker.ts";
import { decide } from "../../src/domain/decide.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { failure } from "../../src/domain/failure.ts";
import { settleAction, settleUndo } from "../../src/domain/settle.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import { fc } from "../support/property.ts";
import { stepFaults } from "./parsed.ts";
import { simulate } from "./simulate.ts";
import { compile, fails } from "./simulated-steps.ts";

const policy = { failureThreshold: 3, openIntervalMs: 1_000 };
const learned = (breaker: Breaker, ...verdicts: Verdict[]): Breaker => verdicts.reduce((at, verdict) => learn(at, verdict, false, policy, 0), breaker);

describe("a breaker", () => {
  test("opens after so many failures in a row, and not when one call between them went well", () => {
    expect(learned(closedBreaker, "failing", "failing")).toEqual({ state: "closed", failures: 2 });
    expect(learned(closedBreaker, "failing", "failing", "failing")).toEqual({ state: "open", until: 1_000 });
    expect(learned(closedBreaker, "failing", "failing", "healthy", "failing")).toEqual({ state: "closed", failures: 1 });
    expect(learned(closedBreaker, "failing", "failing", "nothing", "failing")).toEqual({ state: "open", until: 1_000 });
  });

  test("lets one probe through when its time is over, and believes only the probe", () => {
    const open: Breaker = { state: "open", until: 1_000 };
    expect(admit(open, 999).admission).toEqual({ kind: "refuse", until: 1_000 });
    const { admission, breaker } = admit(open, 1_000);
    expect(admission).toEqual({ kind: "probe" });
    expect(admit(breaker, 1_000).admission).toEqual({ kind: "await_probe" });
    expect(learn(breaker, "healthy", false, policy, 1_000)).toBe(breaker);
    expect(learn(breaker, "failing", false, policy, 1_000)).toBe(breaker);
    expect(learn(breaker, "healthy", true, policy, 1_000)).toEqual(closedBreaker);
    expect(learn(breaker, "failing", true, policy, 1_000)).toEqual({ state: "open", until: 2_000 });
    expect(admit(learn(breaker, "nothing", true, policy, 1_000), 1_000).admission).toEqual({ kind: "probe" });
  });

  test("never has two probes under way, and is never open for longer than its interval, whatever happens", () => {
    const step = fc.record({ call: fc.boolean(), verdict: fc.constantFrom<Verdict>("healthy", "failing", "nothing"), pass: fc.nat(500) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let breaker = closedBreaker;
        let now = 0;
        const flights: boolean[] = [];
        for (const { call, verdict, pass } of steps) {
          now += pass;
          if (call) {
            const admitted = admit(breaker, now);
            breaker = admitted.breaker;
            const { kind } = admitted.admission;
            if (kind === "pass" || kind === "probe") flights.push(kind === "probe");
          } else if (flights.length > 0) {
            breaker = learn(breaker, verdict, flights.shift() === true, policy, now);
          }
          if (flights.filter(Boolean).length > 1) return false;
          if (breaker.state === "open" && breaker.until > now + policy.openIntervalMs) return false;
        }
        return true;
      }),
    );
  });

  test.each<[string, Verdict, StepOutcome | string]>([
    ["success", "healthy", { kind: "succeeded", result: null }],
    ["a server's error", "failing", "HTTP.503"],
    ["overload", "failing", "HTTP.429"],
    ["no connection", "failing", "NETWORK"],
    ["silence", "failing", "TIMEOUT.START_TO_CLOSE"],
    ["a sibling that is away", "failing", "GRPC.UNAVAILABLE"],
    ["a refusal of this one request", "healthy", "HTTP.422"],
    ["an answer that means not yet", "healthy", "HTTP.REJECTED"],
    ["a template that failed", "nothing", "EXPRESSION"],
    ["a closed target", "nothing", "LIMIT.EGRESS"],
    ["an end from here", "nothing", "CANCELED"],
    ["a method that was never asked for", "nothing", "GRPC.UNIMPLEMENTED"],
  ])("reads %s as %s", (_, verdict, given) => {
    expect(verdictOf(typeof given === "string" ? { kind: "failed", outcome: "unknown", failure: failure(given, "m") } : given)).toBe(verdict);
  });
});

describe("an attempt that was put off", () => {
  const revision = compile({ steps: [{ name: "a", call: {}, compensation: { step: { call: {} } }, retry_policy: { maximum_attempts: 2 } }] });
  const events = (more: readonly Partial<ExecutionEvent>[]): ExecutionEvent[] => {
    const base = simulate(revision).ledger.slice(0, 3); // created, started, step_started a 1
    return [...base, ...more.map((event, index) => ({ at: 0, stepPath: "a", attempt: 1, sequence: base.length + index + 1, ...event }))] as ExecutionEvent[];
  };
  const identity = { executionId: "exe_1", tenantId: "acme" };
  const target = { step: revision.definition.stepsByName.get("a") as never, path: "a", attempt: 1 };
  const putOff = (until: number): StepOutcome => ({ kind: "failed", outcome: "failed", failure: failure("BREAKER_OPEN", "open"), postponedUntil: until });

  test("is given back: the next one has its number, however often it happens", () => {
    const state = foldExecution(identity, events([]));
    const [settled] = settleAction({ revision, state, now: 10 }, target, putOff(5_000), 0);
    expect(settled).toMatchObject({ type: "step_retry_scheduled", payload: { nextAttemptAt: 5_000, putBack: true, outcome: "failed" } });
    const back = foldExecution(identity, events([settled as never]));
    expect(back.steps.get("a")).toMatchObject({ status: "retrying", attempt: 0, wakeAt: 5_000, leftUnknown: false });
    expect([...decide(revision, back, new Map(), 5_000)]).toContainEqual(expect.objectContaining({ kind: "act", attempt: 1 }));
  });

  test("is not given back beyond the budget of all attempts, nor when the policy will not wait for it", () => {
    const at = (more: object, now = 10) => {
      const strict = compile({ steps: [{ name: "a", call: {}, ...more }] });
      const state = foldExecution(identity, events([]));
      const step = strict.definition.stepsByName.get("a") as never;
      return settleAction({ revision: strict, state, now }, { ...target, step }, putOff(5_000_000_000_000), 0)[0]?.type;
    };
    expect(at({ timeouts: { schedule_to_close: "10s" } })).toBe("step_failed");
    expect(at({ retry_policy: { non_retryable_errors: ["BREAKER_OPEN"] } })).toBe("step_failed");
    expect(at({ retry_policy: { maximum_attempts: 1 } })).toBe("step_retry_scheduled");
  });

  test("is given back to an undo as well", () => {
    const { ledger } = simulate(
      compile({
        steps: [
          { name: "a", call: {}, compensation: { step: { call: {} } } },
          { name: "b", call: {} },
        ],
      }),
      { script: { b: [fails()] } },
    );
    const until = ledger.findIndex((event) => event.type === "compensation_started") + 1;
    const state = foldExecution(identity, ledger.slice(0, until));
    const [settled] = settleUndo({ revision, state, now: 10 }, target, putOff(5_000), 0);
    expect(settled).toMatchObject({ type: "compensation_retry_scheduled", payload: { putBack: true, nextAttemptAt: 5_000 } });
    const back = foldExecution(identity, [...ledger.slice(0, until), { ...settled, sequence: until + 1 } as ExecutionEvent]);
    expect(back.steps.get("a")?.undo).toMatchObject({ attempt: 0, wakeAt: 5_000 });
  });
});

test("a breaker on a step that calls nobody is refused, not ignored", () => {
  expect(stepFaults({ name: "a", log: { message: "m" }, circuit_breaker: { failure_threshold: 1 } })).toEqual([
    "definition.steps[0].circuit_breaker VALIDATION_FAILED",
  ]);
  expect(stepFaults({ name: "a", http_request: { url: "https://x.example/" }, circuit_breaker: { key: "{{nope}}" } })).toEqual([
    "definition.steps[0].circuit_breaker.key UNKNOWN_VARIABLE",
  ]);
});
