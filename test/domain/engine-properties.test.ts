import { describe, expect, it } from "vitest";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { executionRow } from "../../src/domain/projection.ts";
import { isTerminal } from "../../src/domain/states.ts";
import { fc } from "../support/property.ts";
import { identity, type Sabotage, type Simulated } from "./simulate.ts";
import { type Case, cases, run } from "./simulated-cases.ts";
import { compile, replyTo } from "./simulated-steps.ts";

/** A run has ended, with one terminal event as the last; only HALT may leave it stuck for an operator. */
function expectLegalEnd({ ledger, state, isParkedForGood }: Simulated, { halt }: Case): void {
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  const ends = ledger.filter(({ type }) => type === "execution_ended");
  if (isParkedForGood) {
    expect({ status: state.status, halt, ends: ends.length }).toEqual({ status: "stuck", halt: true, ends: 0 });
    return;
  }
  expect(isTerminal(state.status)).toBe(true);
  expect(ends).toHaveLength(1);
  expect(ledger.at(-1)?.type).toBe("execution_ended");
}

const attemptsOf = (ledger: readonly ExecutionEvent[], type: string, path: string): ExecutionEvent[] =>
  ledger.filter((event) => event.type === type && event.stepPath === path);

/** What the world knows: by the script, an attempt changed it if it succeeded, or if nobody knows and it did. */
function mayHaveHappened(ledger: readonly ExecutionEvent[], path: string): boolean {
  const attempts = attemptsOf(ledger, "step_started", path);
  const sureFailures = ledger.filter(
    (event) => event.stepPath === path && (event.type === "step_retry_scheduled" || event.type === "step_failed") && event.payload.outcome === "failed",
  );
  return attempts.length > sureFailures.length;
}

function happened(simulated: Simulated, { script }: Case, path: string): boolean {
  return attemptsOf(simulated.ledger, "step_started", path).some(({ attempt }) => {
    const { outcome, happened } = replyTo(script, path, "action", attempt);
    return outcome.kind === "succeeded" || happened === true;
  });
}

function expectHonestUndo(simulated: Simulated, played: Case): void {
  const { ledger, state } = simulated;
  const { stepsByName } = compile(played.definition).definition;
  for (const run of state.steps.values()) {
    const step = stepsByName.get(run.name);
    expect(attemptsOf(ledger, "step_succeeded", run.path).length, `${run.path} succeeds once`).toBeLessThanOrEqual(1);
    expect(attemptsOf(ledger, "compensation_succeeded", run.path).length, `${run.path} is undone once`).toBeLessThanOrEqual(1);
    const isUndone = attemptsOf(ledger, "compensation_started", run.path).length > 0;
    const wantsUndo = mayHaveHappened(ledger, run.path) || step?.compensation?.compensateOnFailure === true;
    if (isUndone) expect(wantsUndo, `${run.path} is undone though it surely did nothing`).toBe(true);
    if (state.turn && isTerminal(state.status) && step?.compensation?.step && happened(simulated, played, run.path)) {
      expect(run.undo?.status, `${run.path} did something and is not undone`).toBe("succeeded");
    }
  }
}

/** Each undo ends before the next one starts, and steps known to be done are undone last first. */
function expectReverseOrder({ ledger }: Simulated): void {
  let open: string | undefined;
  const undone: number[] = [];
  for (const event of ledger) {
    if (event.type === "compensation_started") {
      expect(open ?? event.stepPath, "one undo at a time").toBe(event.stepPath);
      open = event.stepPath;
    } else if (event.type === "compensation_succeeded") {
      open = undefined;
      const completed = ledger.find(({ type, stepPath }) => type === "step_succeeded" && stepPath === event.stepPath);
      if (completed) undone.push(completed.sequence);
    }
  }
  expect(undone).toEqual([...undone].sort((a, b) => b - a));
}

function expectEqualRows({ ledger, state }: Simulated): void {
  const again = foldExecution(identity, ledger);
  expect(again).toEqual(state);
  expect(executionRow(again)).toEqual(executionRow(state));
}

function expectAll(simulated: Simulated, played: Case): void {
  expectLegalEnd(simulated, played);
  expectHonestUndo(simulated, played);
  expectReverseOrder(simulated);
  expectEqualRows(simulated);
}

const runs = (numRuns: number): fc.Parameters<unknown> => ({ numRuns, interruptAfterTimeLimit: 15_000 });

describe("any definition, whatever its effects answer", () => {
  it("ends once, undoes honestly and in reverse, and leaves rows that equal its ledger", () => {
    fc.assert(
      fc.property(cases, (played) => expectAll(run(played), played)),
      runs(300),
    );
  });

  it("ends as honestly when it is resumed from its ledger cut after any event", () => {
    fc.assert(
      fc.property(cases, (played) => {
        const whole = run(played);
        for (const length of whole.groups) expectAll(run(played, { resumeFrom: whole.ledger.slice(0, length) }), played);
      }),
      runs(60),
    );
  });

  it("ends when every process dies right after its first commit", () => {
    fc.assert(
      fc.property(cases, (played) => {
        let ledger: readonly ExecutionEvent[] = [];
        for (let process = 0; ; process++) {
          expect(process).toBeLessThan(200);
          const lived = run(played, { resumeFrom: ledger });
          // Progress needs an outcome now and then: every second process lives until the commit after its first one.
          const length = lived.commits[process % 2] ?? lived.ledger.length;
          ledger = lived.ledger.slice(0, length);
          if (length === lived.ledger.length) return expectAll(lived, played);
        }
      }),
      runs(60),
    );
  });
});

describe("the properties notice when", () => {
  const notices = (sabotage: Sabotage, cut = false): void => {
    const broken = fc.property(cases, (played) => {
      const whole = run(played, cut ? {} : { sabotage });
      if (cut) for (const length of whole.groups) expectAll(run(played, { resumeFrom: whole.ledger.slice(0, length), sabotage }), played);
      else expectAll(whole, played);
    });
    expect(fc.check(broken, { ...runs(500), endOnFailure: true }).failed).toBe(true);
  };

  it("the oldest step is undone first", () => notices("undo_oldest_first"));
  it("all undos start at once", () => notices("undo_all_at_once"));
  it("a step is undone again", () => notices("retry_undone"));
  it("an unknown outcome counts as no effect", () => notices("unknown_counts_as_failed"));
  it("a resumed run forgets a success", () => notices("resume_forgets_a_success", true));
});
