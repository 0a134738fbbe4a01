/** Which event ends which wait, and what a wait that nobody ends comes to. */
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import { cancelExecution } from "../../src/domain/control.ts";
import { pauseExecution } from "../../src/domain/control-pause.ts";
import { completeStep, skipStep } from "../../src/domain/control-step.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import type { ExecutionState } from "../../src/domain/execution-state.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import { type WaitKey, waitChanges } from "../../src/domain/wait-rows.ts";
import { receiveSignal, type Signal } from "../../src/domain/waits.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { compile, identity, type Order, type Simulated, type Simulation, simulate, simulationStartAt } from "./simulate.ts";

const key = "{{'order-' + string(trigger.data.order)}}";
const wait = (name: string, anyOf: JsonObject[], more: JsonObject = {}, outer: JsonObject = {}): JsonObject => ({
  name,
  wait_for_event: { any_of: anyOf, ...more },
  ...outer,
});
const paid = wait("paid", [{ event_type: "payment.settled", correlation_key: key }]);
let ids = 0;
const signal = (eventType: string, more: Partial<Signal> = {}): Signal => ({
  signalId: `sig_${++ids}`,
  eventType,
  correlationKey: "order-7",
  data: { amount: 12 },
  dedupId: undefined,
  receivedAt: simulationStartAt + 50,
  expiresAt: simulationStartAt + 86_400_000,
  ...more,
});
const waits =
  (path: string) =>
  (state: ExecutionState): boolean =>
    state.steps.get(path)?.status === "waiting";
const arrives = (when: Order["when"], received: Signal): Order => ({
  when,
  command: (state, revision, now) => receiveSignal({ state, revision, now }, received),
});
const run = (steps: JsonObject[], orders: Order[] = [], more: Simulation = {}): Simulated => simulate(compile({ steps }), { orders, ...more });
const resultOf = ({ state }: Simulated, path: string): unknown => state.steps.get(path)?.result;
const typesOf = ({ ledger }: Simulated, path: string): string[] => ledger.filter(({ stepPath }) => stepPath === path).map(({ type }) => type);

describe("a wait", () => {
  it("ends with the event of its type and key, whose data is its result", () => {
    const simulated = run([paid], [arrives(waits("paid"), signal("payment.settled"))]);
    expect(resultOf(simulated, "paid")).toEqual({
      event_type: "payment.settled",
      data: { amount: 12 },
      received_time: new Date(simulationStartAt + 50).toISOString(),
    });
    expect(typesOf(simulated, "paid")).toEqual(["step_waiting", "event_received", "step_succeeded"]);
    expect(simulated.ledger.find(({ type }) => type === "step_waiting")?.payload).toMatchObject({
      awaiting: "payment.settled",
      wakeAt: simulationStartAt + 86_400_000,
      events: [{ eventType: "payment.settled", correlationKey: "order-7" }],
    });
  });

  it.each([
    ["another type", signal("payment.refused")],
    ["another key", signal("payment.settled", { correlationKey: "order-8" })],
    ["an event whose time was over when the wait began", signal("payment.settled", { receivedAt: simulationStartAt - 10, expiresAt: simulationStartAt - 1 })],
  ])("is not ended by %s", (_, other) => {
    const simulated = run([paid], [arrives(waits("paid"), other)]);
    expect(simulated.state.failure).toMatchObject({ name: "TIMEOUT.EVENT" });
  });

  it("takes an event that came while it waited, even when the event's own time is over by then", () => {
    const short = signal("payment.settled", { receivedAt: simulationStartAt, expiresAt: simulationStartAt });
    expect(run([paid], [arrives(waits("paid"), short)]).state.status).toBe("completed");
  });

  it("is ended by a signal to this execution whatever its key, and without a key only by such a one", () => {
    expect(run([paid], [arrives(waits("paid"), signal("payment.settled", { correlationKey: undefined }))]).state.status).toBe("completed");
    const direct = wait("go", [{ event_type: "go" }]);
    expect(run([direct], [arrives(waits("go"), signal("go"))]).state.failure).toMatchObject({ name: "TIMEOUT.EVENT" });
    expect(run([direct], [arrives(waits("go"), signal("go", { correlationKey: undefined }))]).state.status).toBe("completed");
  });

  it("asks its filter, which sees the event and the execution; one that cannot be evaluated does not hold", () => {
    const filtered = wait("paid", [
      { event_type: "p", correlation_key: "k", filter: "event.data.amount >= trigger.data.order && event.correlation_key == 'k'" },
    ]);
    const events = [
      signal("p", { correlationKey: "k", data: { amount: 6 } }),
      signal("p", { correlationKey: "k", data: null }),
      signal("p", { correlationKey: "k", data: { amount: 7 } }),
    ];
    const simulated = run(
      [filtered],
      events.map((event) => arrives(waits("paid"), event)),
    );
    expect(simulated.state.steps.get("paid")?.result).toMatchObject({ data: { amount: 7 } });
    expect(typesOf(simulated, "paid")).toEqual(["step_waiting", "event_received", "step_succeeded"]);
  });

  it("of several events ends with whichever comes", () => {
    const either = wait("answer", [
      { event_type: "yes", correlation_key: "k" },
      { event_type: "no", correlation_key: "k", filter: "event.data.final" },
    ]);
    const no = signal("no", { correlationKey: "k", data: { final: true } });
    expect(resultOf(run([either], [arrives(waits("answer"), no)]), "answer")).toMatchObject({ event_type: "no", data: { final: true } });
  });

  it("is not ended by an event that came when its time was over, though nobody had looked yet", () => {
    const short = wait("w", [{ event_type: "e", correlation_key: "k" }], { timeout: "60s" });
    const came = (afterMs: number): Simulated =>
      run([short], [arrives(waits("w"), signal("e", { correlationKey: "k", receivedAt: simulationStartAt + afterMs }))]);
    expect(came(60_000).state.status).toBe("completed");
    expect(came(60_001).state.failure).toMatchObject({ name: "TIMEOUT.EVENT" });
  });

  it("takes an event that lived when it began, although the look came after the event's time", () => {
    const alive = signal("payment.settled", { receivedAt: simulationStartAt - 10, expiresAt: simulationStartAt + 1 });
    const late: Order = { when: waits("paid"), command: (state, revision, now) => receiveSignal({ state, revision, now: now + 1_000 }, alive) };
    expect(run([paid], [late]).state.status).toBe("completed");
  });

  it("fails when its time is over, as TIMEOUT.EVENT, which a catch takes; or goes on without a result", () => {
    const short = { timeout: "60s" };
    const failed = run([
      wait("w", [{ event_type: "e" }], short, { on_error: { catches: [{ errors: ["TIMEOUT.EVENT"], steps: [{ name: "late", log: {} }] }] } }),
    ]);
    expect(failed.state).toMatchObject({ status: "completed", endedAt: simulationStartAt + 60_000 });
    expect(failed.state.steps.get("late")?.status).toBe("completed");
    const goesOn = run([wait("w", [{ event_type: "e" }], { ...short, on_timeout: "TIMEOUT_ACTION_CONTINUE" })]);
    expect([goesOn.state.status, resultOf(goesOn, "w")]).toEqual(["completed", null]);
  });

  it("begins anew when its policy retries the timeout", () => {
    const again = wait(
      "w",
      [{ event_type: "e" }],
      { timeout: "60s" },
      { retry_policy: { retryable_errors: ["TIMEOUT.EVENT"], maximum_attempts: 2, jitter: 0 } },
    );
    const simulated = run([again], [arrives((state) => waits("w")(state) && state.steps.get("w")?.attempt === 2, signal("e", { correlationKey: undefined }))]);
    expect(typesOf(simulated, "w")).toEqual(["step_waiting", "step_retry_scheduled", "step_waiting", "event_received", "step_succeeded"]);
  });

  it("fails at once when its key cannot be made or is no key", () => {
    for (const bad of ["{{trigger.data.nothing}}", "{{''}}", "{{null}}", `{{"${"x".repeat(257)}"}}`]) {
      expect(run([wait("w", [{ event_type: "e", correlation_key: bad }])]).state.failure, bad).toMatchObject({ name: "EXPRESSION" });
    }
  });

  it("takes the digits of a number as its key", () => {
    const simulated = run(
      [wait("w", [{ event_type: "e", correlation_key: "{{trigger.data.order}}" }])],
      [arrives(waits("w"), signal("e", { correlationKey: "7" }))],
    );
    expect(simulated.state.status).toBe("completed");
  });
});

describe("an execution", () => {
  it("receives an event once, and its oldest wait takes it", () => {
    const branches = ["a", "b"].map((name) => ({ name, steps: [wait(name, [{ event_type: "e", correlation_key: "k" }], { timeout: "60s" })] }));
    const event = signal("e", { correlationKey: "k" });
    const both: Order["when"] = (state) => state.waits.size === 2;
    const twice: Order["when"] = (state) => state.received.has(event.signalId);
    const once = run([{ name: "both", parallel: { branches } }], [arrives(both, event), arrives(twice, event)]);
    expect(once.state).toMatchObject({ failedStep: "b", failure: { name: "TIMEOUT.EVENT" } });
    expect(resultOf(once, "a")).toMatchObject({ event_type: "e" });
    const another = run([{ name: "both", parallel: { branches } }], [arrives(both, event), arrives(twice, signal("e", { correlationKey: "k" }))]);
    expect(another.state.status).toBe("completed");
  });

  it("does not receive what a former wait of its own received", () => {
    const event = signal("e", { correlationKey: undefined });
    const steps = [wait("first", [{ event_type: "e" }]), wait("second", [{ event_type: "e" }], { timeout: "60s" })];
    const simulated = run(steps, [arrives(waits("first"), event), arrives(waits("second"), event)]);
    expect(simulated.state).toMatchObject({ failedStep: "second" });
  });

  it("that is paused receives, and goes on when it is resumed", () => {
    const orders: Order[] = [
      { when: waits("paid"), command: (state, _, now) => pauseExecution(state, now, { actor: "key_1", reason: "" }) },
      arrives((state) => state.paused, signal("payment.settled")),
    ];
    const simulated = run([paid, { name: "after", log: {} }], orders);
    expect(simulated.state.steps.get("paid")?.status).toBe("completed");
    expect(simulated.state.steps.has("after")).toBe(false);
  });

  it("that is canceled, or whose operator decides the step, waits no longer", () => {
    const cancel: Order = { when: waits("paid"), command: (state, _, now) => cancelExecution(state, now, { actor: "key_1", reason: "" }) };
    const late = arrives((state) => state.cancel !== undefined, signal("payment.settled"));
    const canceled = run([paid], [cancel, late]);
    expect([canceled.state.status, typesOf(canceled, "paid")]).toEqual(["canceled", ["step_waiting", "step_canceled"]]);
    const decided = { actor: "key_1", reason: "by phone", path: "paid" };
    const skip: Order = { when: waits("paid"), command: (state, revision, now) => skipStep({ state, revision, now }, decided) };
    expect(run([paid], [skip]).state.status).toBe("completed");
    const complete: Order = {
      when: waits("paid"),
      command: (state, revision, now) => completeStep({ state, revision, now }, { ...decided, result: { data: 1 } }),
    };
    expect(resultOf(run([paid], [complete]), "paid")).toEqual({ data: 1 });
  });

  it("cancels the wait of a branch that lost", () => {
    const branches = [
      { name: "slow", steps: [wait("w", [{ event_type: "e" }])] },
      { name: "fast", steps: [{ name: "d", delay: { duration: "5s" } }] },
    ];
    const simulated = run([{ name: "race", parallel: { branches, join: "JOIN_MODE_ANY" } }]);
    expect([simulated.state.status, simulated.state.steps.get("w")?.status]).toEqual(["completed", "canceled"]);
  });

  it("waits for each item of a loop under the item's own key", () => {
    const loop = {
      name: "each",
      for_each: { items: "['a', 'b']", max_parallel: 2, steps: [wait("w", [{ event_type: "e", correlation_key: "{{item}}" }])] },
    };
    const orders = ["b", "a"].map((item) =>
      arrives((state) => state.waits.size > 0 && state.steps.size > 2, signal("e", { correlationKey: item, data: item })),
    );
    expect(resultOf(run([loop], orders), "each")).toMatchObject([{ data: "a" }, { data: "b" }]);
  });
});

describe("registrations", () => {
  /** Those that stand after each event, as the journal would write them batch by batch. */
  function registered({ ledger, commits }: Simulated): string[][] {
    const open = new Set<string>();
    const keyOf = ({ path, attempt }: WaitKey): string => `${path}#${attempt}`;
    return commits.map((end, index) => {
      const events = ledger.slice(commits[index - 1] ?? 0, end);
      const changes = waitChanges(foldExecution(identity, ledger.slice(0, end)), events);
      for (const wait of changes?.opened ?? []) open.add(keyOf(wait));
      for (const wait of changes?.closed ?? []) if (!open.delete(keyOf(wait))) throw new Error(`${keyOf(wait)} is closed and was not open`);
      return [...open];
    });
  }

  it("stand exactly while their step waits, however the wait ends", () => {
    const again = { retry_policy: { retryable_errors: ["TIMEOUT.EVENT"], maximum_attempts: 2, jitter: 0 } };
    const cases: Simulated[] = [
      run([paid], [arrives(waits("paid"), signal("payment.settled"))]),
      run([paid]),
      run([wait("w", [{ event_type: "e" }], { timeout: "60s" }, again)]),
      run([paid], [{ when: waits("paid"), command: (state, _, now) => cancelExecution(state, now, { actor: "key_1", reason: "" }) }]),
    ];
    for (const simulated of cases) {
      const stages = registered(simulated);
      expect(stages.some((stage) => stage.length === 1)).toBe(true);
      expect(stages.at(-1)).toEqual([]);
    }
  });
});

describe("at save", () => {
  const violations = (step: JsonObject): string[] => {
    const parsed = parseDefinition({ steps: [step] }, new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]));
    return parsed.ok ? [] : parsed.fault.violations.map(({ field, reason }) => `${field} ${reason}`);
  };

  it("a wait for nothing, for too much, too long, by an unknown name or as an undo is refused", () => {
    const at = "definition.steps[0].wait_for_event";
    expect(violations(wait("w", []))).toEqual([`${at}.any_of VALIDATION_FAILED`]);
    expect(
      violations(
        wait(
          "w",
          Array.from({ length: 9 }, () => ({ event_type: "e" })),
        ),
      ),
    ).toEqual([`${at}.any_of LIMIT_EXCEEDED`]);
    expect(violations(wait("w", [{ event_type: "e" }], { timeout: "31708800s" }))).toEqual([`${at}.timeout LIMIT_EXCEEDED`]);
    expect(violations(wait("w", [{ event_type: "e", filter: "events.data" }]))).toEqual([`${at}.any_of[0].filter UNKNOWN_VARIABLE`]);
    expect(violations(wait("w", [{ event_type: "e", correlation_key: "{{event.data}}" }]))).toEqual([`${at}.any_of[0].correlation_key UNKNOWN_VARIABLE`]);
    expect(violations({ name: "l", log: {}, compensation: { step: wait("w", [{ event_type: "e" }]) } })).toEqual([
      "definition.steps[0].compensation.step COMPENSATION_INVALID",
    ]);
  });
});
