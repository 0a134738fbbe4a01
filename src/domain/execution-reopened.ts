/**
 * The fold of `execution_reopened`: an ended or stuck execution goes on. What succeeded keeps its result, what failed may be
 * tried again with a fresh budget, and what attempts before may have done to the world stays on record.
 */
import type { EventPayloads } from "./events.ts";
import type { ExecutionState, StepRun, UndoRun } from "./execution-state.ts";

/** Answers with the runs it changed. */
export function applyReopened(state: ExecutionState, payload: EventPayloads["execution_reopened"], at: number): readonly StepRun[] {
  const hadEnded = state.endedAt !== undefined;
  state.endReason = undefined;
  state.endedAt = undefined;
  state.output = undefined;
  state.failure = undefined;
  state.failedStep = undefined;
  state.standingEffects = [];
  // A saga that is stuck on its way back stays on its way back, and proof of a late success sends it there again.
  if (payload.from !== "stuck" && payload.evidence === undefined) state.turn = undefined;
  if (!state.turn) state.cancel = undefined;
  reopenInfo(state, payload, hadEnded);
  // Nothing has run: the start values of the variables may have been what failed, so it starts once more.
  if (state.steps.size === 0) state.startedAt = undefined;
  const isPrepared = state.info?.saga?.prepared === true && payload.from === "stuck" && state.startedAt === undefined;
  state.saga = isPrepared ? "initializing" : state.turn ? "compensating" : state.pastPivot ? "completing" : "running";
  state.status = state.turn ? "compensating" : state.startedAt === undefined ? "pending" : "running";
  for (const { undo, confirm } of state.steps.values()) {
    if (undo?.status === "exhausted") tryAgain(undo, at);
    if (confirm?.status === "exhausted") tryAgain(confirm, at);
  }
  return reopenRuns(state, payload);
}

/** Answers with the runs that are open again. */
export function reopenRuns(state: ExecutionState, { steps = [], blocks = [] }: Pick<EventPayloads["execution_reopened"], "steps" | "blocks">): StepRun[] {
  return [...steps.flatMap((path) => reopenRun(state, path, "pending")), ...blocks.flatMap((path) => reopenRun(state, path, "running"))];
}

/** The key was given back at the end and is not taken again: another execution may have it. */
function reopenInfo(state: ExecutionState, payload: EventPayloads["execution_reopened"], hadEnded: boolean): void {
  if (!state.info) return;
  const { executionKey, ...info } = state.info;
  const { revision, input, timeoutAt } = payload;
  state.info = {
    ...info,
    ...(hadEnded || executionKey === undefined ? {} : { executionKey }),
    ...(revision === undefined ? {} : { revision }),
    ...(input === undefined ? {} : { input }),
    ...(timeoutAt === undefined ? {} : { timeoutAt }),
  };
  state.overrides = { ...state.overrides, ...(revision === undefined ? {} : { revision }), ...(input === undefined ? {} : { input }) };
}

function reopenRun(state: ExecutionState, path: string, status: "pending" | "running"): StepRun[] {
  const before = state.steps.get(path);
  if (!before) return [];
  // A new object under the old place: whoever remembers something of the old run must not find it again.
  const run: StepRun = {
    ...before,
    status,
    attemptsBefore: before.attempt,
    slow: false,
    endedAt: undefined,
    wakeAt: undefined,
    failure: undefined,
    report: undefined,
    handled: false,
    caughtBy: undefined,
    leftUnknown: before.leftUnknown || before.action === "unknown",
  };
  if (status === "pending") {
    run.firstStartedAt = undefined;
    run.startedAt = undefined;
    run.input = undefined;
    run.branch = undefined;
    run.result = undefined;
  } else {
    run.action = "dispatched";
  }
  state.steps.set(path, run);
  return [run];
}

function tryAgain(undo: UndoRun, at: number): void {
  undo.status = "pending";
  undo.attemptsBefore = undo.attempt;
  undo.firstStartedAt = at;
  undo.wakeAt = undefined;
  undo.endedAt = undefined;
}
