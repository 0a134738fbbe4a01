/**
 * A participant answers again (saga.md P7, R8): what waits for another try at it is due now instead of at the end of its backoff, also what
 * the saga is stuck on. Changes nothing else: no attempt is counted, no budget is reset. What somebody else waits for is left alone, and so
 * is what the other side itself asked to be tried later.
 */
import type { CommandContext } from "./command-context.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun, UndoRun } from "./execution-state.ts";
import { slowRetryOf, triedOn } from "./slow-retry.ts";
import { isTerminal } from "./states.ts";

export interface RecoveredRequest {
  /** Key of the breaker. */
  readonly destination: string;
}

export function recoverDestination({ state, revision, now: at }: CommandContext, { destination }: RecoveredRequest): NewEvent[] {
  if (isTerminal(state.status)) return [];
  const events: NewEvent[] = [];
  for (const run of state.steps.values()) {
    const { path: stepPath, undo, confirm } = run;
    if (run.status === "retrying" && waits(run, destination, at) && run.failure) {
      events.push({ type: "step_retry_scheduled", at, stepPath, attempt: run.attempt, payload: recovered(run, at, destination) });
    }
    if (undo && waits(undo, destination, at)) {
      events.push({ type: "compensation_retry_scheduled", at, stepPath, attempt: undo.attempt, payload: recovered(undo, at, destination) });
    }
    if (confirm && waits(confirm, destination, at)) {
      events.push({ type: "confirmation_retry_scheduled", at, stepPath, attempt: confirm.attempt, payload: recovered(confirm, at, destination) });
    }
  }
  return [...events, ...stuckOn({ state, revision, now: at }, destination)];
}

/** What the saga is stuck on, going forward, is tried on. */
function stuckOn({ state, revision, now }: CommandContext, destination: string): NewEvent[] {
  if (state.saga !== "stuck" || state.turn) return [];
  const slow = slowRetryOf(revision.definition, state, now);
  return slow.kind === "wait" && slow.unit.runs.some((run) => run.waitsFor === destination) ? triedOn(slow.unit, now) : [];
}

type Waiting = Pick<StepRun | UndoRun, "waitsFor" | "wakeAt">;

function waits({ waitsFor, wakeAt }: Waiting, destination: string, now: number): boolean {
  return waitsFor === destination && wakeAt !== undefined && wakeAt > now;
}

function recovered(run: Pick<StepRun, "action" | "failure"> | UndoRun, at: number, waitsFor: string) {
  const status = "action" in run ? run.action : run.status;
  const failure = run.failure ?? { name: "NETWORK", message: "it could not be reached" };
  return { failure, outcome: status === "unknown" ? status : ("failed" as const), nextAttemptAt: at, recovered: true, waitsFor };
}

/** Keys of the breakers that something of this execution waits for, each with the moment until which it would. */
export function destinationsAwaited({ state, revision, now }: CommandContext): ReadonlyMap<string, number> {
  const awaited = new Map<string, number>();
  const note = (key: string | undefined, until: number | undefined): void => {
    if (key !== undefined && until !== undefined && until > now) awaited.set(key, Math.max(until, awaited.get(key) ?? 0));
  };
  for (const run of state.steps.values()) {
    if (run.status === "retrying") note(run.waitsFor, run.wakeAt);
    for (const operation of [run.undo, run.confirm]) note(operation?.waitsFor, operation?.wakeAt);
  }
  const slow = isStuckForward(state) ? slowRetryOf(revision.definition, state, now) : undefined;
  if (slow?.kind === "wait") for (const run of slow.unit.runs) note(run.waitsFor, slow.until);
  return awaited;
}

function isStuckForward({ saga, turn }: ExecutionState): boolean {
  return saga === "stuck" && !turn;
}
