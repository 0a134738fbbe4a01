/** When a wait may end without an event: after a look that the database's clock says was made at its end or later, and covered it. */
import { expect, it } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import type { ExecutionEvent, NewEvent } from "../../src/domain/events.ts";
import { applyEvent, foldExecution } from "../../src/domain/execution.ts";
import { OutsideLook } from "../../src/engine/outside-look.ts";
import type { SignalPage } from "../../src/store/signal-repository.ts";

const endsAt = 60_000;
const waiting = (stepPath: string, wakeAt = endsAt): NewEvent => ({
  ...{ type: "step_waiting", at: 0, stepPath, attempt: 1 },
  payload: { awaiting: "paid", wakeAt, startedAt: 0, events: [{ eventType: "paid" }] },
});

/** An execution with one wait, and what the look of its run reads: each page is given by the test. */
function open(source = true) {
  const created = { workflowId: "wfl_1", workflowName: "w", revision: 1, input: {}, correlationId: "corr", triggerType: "api" };
  const first: readonly NewEvent[] = [
    { type: "execution_created", at: 0, stepPath: "", attempt: 0, payload: created },
    { type: "execution_started", at: 0, stepPath: "", attempt: 0, payload: {} },
    waiting("w"),
  ];
  const ledger = first.map((event, index): ExecutionEvent => ({ ...event, sequence: index + 1 }));
  const state = foldExecution({ executionId: "exe_1", tenantId: "acme" }, ledger);
  const reads: ((page: SignalPage) => void)[] = [];
  const sleeps: number[] = [];
  let done = 0;
  const look = new OutsideLook({
    state,
    definition: () => {
      throw new Error("no children here");
    },
    signals: source ? { find: () => new Promise((resolve) => void reads.push(resolve)) } : undefined,
    children: undefined,
    log: silentLog,
    receive: async () => true,
    report: async () => true,
    onDone: () => void done++,
    sleep: async (durationMs) => void sleeps.push(durationMs),
  });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const readAt = async (at: number): Promise<void> => {
    reads.shift()?.({ signals: [], readAt: at });
    await turn();
  };
  return { state, look, readAt, sleeps, reads, done: () => done };
}

it("a look from before the end does not count, nor one whose clock was ahead of the database's; the next one is made when it is time", async () => {
  const { look, readAt, sleeps, done } = open();
  look.begin();
  await readAt(1_000);
  expect([done(), look.isDue]).toEqual([1, false]);
  expect(look.isReadToEndOf("w")).toBe(false);
  expect(look.isDue).toBe(true);
  look.begin();
  await readAt(endsAt - 30);
  expect([done(), sleeps]).toEqual([1, [30]]);
  expect(look.isReadToEndOf("w")).toBe(false);
  await readAt(endsAt);
  expect([done(), look.isReadToEndOf("w")]).toEqual([2, true]);
});

it("a look counts for the waits that it was for", async () => {
  const { state, look, readAt } = open();
  look.begin();
  applyEvent(state, { ...waiting("late", endsAt - 10_000), sequence: 4 });
  await readAt(endsAt);
  expect([look.isReadToEndOf("w"), look.isReadToEndOf("late")]).toEqual([true, false]);
});

it("what no event can end needs no look", () => {
  const { state, look } = open();
  expect(look.isReadToEndOf("another step")).toBe(true);
  applyEvent(state, { type: "execution_cancel_requested", at: 1, stepPath: "", attempt: 0, sequence: 4, payload: { actor: "key_1", reason: "" } });
  expect(look.isReadToEndOf("w")).toBe(true);
  expect(open(false).look.isReadToEndOf("w")).toBe(true);
});
