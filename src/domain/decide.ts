/**
 * What happens next: given a definition and the folded state, the commands that are due now. Total (every legal state has
 * an answer), free of I/O, and idempotent: asked twice without a new event it answers the same.
 *
 * Forward, the definition is walked from its first step to the frontier: finished steps are passed, the first one that is
 * not finished yields a command, a wait, or nothing while its attempt is in flight. A failure nobody handles climbs
 * through the blocks around it; at the top it turns the saga. Backward, `undo.ts` lists what is to be undone, in order.
 *
 * A step whose `step_started` has no outcome and which is not in flight in this process may have run in one that died:
 * it is sent again with the same idempotency key.
 */
import { cancelRegion } from "./blocks/cancel-region.ts";
import { type Command, type InFlight, operationKey } from "./command.ts";
import type { CompiledRevision, Definition } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { type Failure, failure } from "./failure.ts";
import { decideClosing, isOursToEnd, walkAll } from "./saga-walk.ts";
import { slowRetryOf } from "./slow-retry.ts";
import { isTerminal } from "./states.ts";
import { decideEnd, decideUndo } from "./undo.ts";
import { Walk } from "./walk.ts";

export function decide(revision: CompiledRevision, state: ExecutionState, inFlight: InFlight, now: number): Command[] {
  const { definition } = revision;
  if (isTerminal(state.status)) return [];
  if (state.saga === "compensating" || (state.saga === "stuck" && state.turn)) {
    const commands = decideUndo({ definition, state, inFlight, now });
    return state.paused ? commands.filter(({ kind }) => kind === "record") : commands;
  }
  const timeoutAt = state.info?.timeoutAt;
  if (isUnsubmitted(state) && !state.cancel) return decidePrepared(state, now);
  const walk = new Walk(revision, state, inFlight, now);
  if (state.cancel && !state.pastPivot) {
    return decideTurn(walk, state.cancel.endReason ?? "canceled", failure("CANCELED", state.cancel.reason ?? "canceled by a caller"));
  }
  if (timeoutAt !== undefined && now >= timeoutAt && !state.pastPivot) {
    return decideTurn(walk, "timeout", failure("TIMEOUT.EXECUTION", "the execution's time is over"));
  }
  // Past the point of no return the execution's time no longer ends it.
  if (state.paused) return waitUntil(state.pastPivot ? undefined : timeoutAt);
  if (state.held !== undefined) return waitUntil(timeoutAt);
  const startAt = state.info?.startAt;
  if (state.startedAt === undefined) {
    return startAt !== undefined && now < startAt ? waitUntil(Math.min(startAt, timeoutAt ?? startAt)) : [{ kind: "start" }];
  }
  // Stuck on the undo of a loser or on a confirmation: its slow retry goes on. Otherwise what must succeed is tried on, or an operator decides.
  const isStuckForward =
    state.saga === "stuck" && ![...state.steps.values()].some(({ undo, confirm }) => undo?.status === "exhausted" || confirm?.status === "exhausted");
  if (isStuckForward) {
    const slow = slowRetryOf(definition, state, now);
    if (slow.kind === "none") return [];
    if (slow.kind === "wait") return waitUntil(slow.until);
    if (slow.kind === "again") return slow.events.map((event) => ({ kind: "record", event }));
  }
  const position = walkAll(walk);
  if (position.kind === "failed" && isStuckForward) return walk.commands;
  if (position.kind === "failed") return [...walk.commands, ...decideFailed(definition, state, position.run, now)];
  if (position.kind === "done") {
    const closing = decideClosing(walk);
    if (closing.length > 0) return closing;
  }
  if (timeoutAt !== undefined && !state.pastPivot) walk.commands.push({ kind: "wait", until: timeoutAt });
  return walk.commands;
}

function isUnsubmitted({ saga, startedAt, info }: ExecutionState): boolean {
  return saga === "initializing" || (saga === "stuck" && startedAt === undefined && info?.saga?.prepared === true);
}

/** Not submitted: nothing begins. When its time is over nobody knows whether its starter has committed, so nobody guesses. */
function decidePrepared(state: ExecutionState, now: number): Command[] {
  // An operator or its starter has to say.
  if (state.saga === "stuck") return [];
  const timeoutAt = state.info?.timeoutAt;
  if (timeoutAt === undefined || now < timeoutAt) return waitUntil(timeoutAt);
  const cause = failure("TIMEOUT.EXECUTION", "the saga was not submitted in its time; submit or abort it");
  return [{ kind: "record", event: { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload: { state: "stuck", failure: cause } } }];
}

function waitUntil(moment: number | undefined): Command[] {
  return moment === undefined ? [] : [{ kind: "wait", until: moment }];
}

/** A step failed for good and nobody handled it. */
function decideFailed(definition: Definition, state: ExecutionState, run: StepRun, now: number): Command[] {
  const cause = run.failure ?? failure("INTERNAL", "the step failed without a failure");
  const event = failExecution(definition, state, cause, cause.stepPath ?? run.path, now);
  // It is stuck already, on the undo of a loser or a confirmation: to say so again would change nothing, and be due again. What failed is said when that is over.
  if (state.saga === "stuck" && event.type === "saga_state_changed" && event.payload.state === "stuck") return [];
  return [{ kind: "record", event }];
}

/** What an unhandled failure does: turns the saga, ends it, or, past the pivot or with on_error HALT, leaves it stuck. */
export function failExecution(definition: Definition, state: ExecutionState, cause: Failure, stepPath: string | undefined, now: number): NewEvent {
  const step = stepPath === undefined ? undefined : definition.stepsByName.get(stepPath.slice(stepPath.lastIndexOf("/") + 1));
  const pivotUnknown = step?.kind === "pivot" && stepPath !== undefined && state.steps.get(stepPath)?.action === "unknown";
  if (state.pastPivot || pivotUnknown || step?.onError === "halt") {
    const payload = { state: "stuck" as const, failure: cause, ...(stepPath === undefined ? {} : { stepPath }) };
    return { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload };
  }
  return turn(definition, state, now, "step_failed", cause, stepPath);
}

type TurnReason = "canceled" | "timeout" | "aborted" | "checkback_no" | "parent";

/** Cancel or timeout: what runs is ended first, because no undo may start while its action may still run. */
function decideTurn(walk: Walk, reason: TurnReason, cause: Failure): Command[] {
  const { state, now } = walk;
  const graceUntil = reason !== "timeout" ? state.cancel?.graceUntil : undefined;
  if (graceUntil !== undefined && now < graceUntil && [...state.steps.keys()].some((path) => walk.inFlight.has(operationKey(path, "action")))) {
    return waitUntil(graceUntil);
  }
  if (cancelRegion(walk, isOursToEnd(walk), cause.name)) return walk.commands;
  // A point of no return that was reached with an unknown outcome: turning back would be a guess.
  const unknownPivot = [...state.steps.values()].find(
    (run) => run.action === "unknown" && walk.revision.definition.stepsByName.get(run.name)?.kind === "pivot",
  );
  if (!unknownPivot) return [{ kind: "record", event: turn(walk.revision.definition, state, now, reason, cause, undefined) }];
  if (state.saga === "stuck") return [];
  const payload = { state: "stuck" as const, failure: cause, stepPath: unknownPivot.path };
  return [{ kind: "record", event: { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload } }];
}

function turn(
  definition: Definition,
  state: ExecutionState,
  now: number,
  reason: TurnReason | "step_failed",
  cause: Failure,
  stepPath: string | undefined,
): NewEvent {
  const keep = definition.onFailure === "keep_effects" || (reason === "canceled" && state.cancel?.compensate === false);
  if (keep) return decideEnd({ definition, state, now, turn: { reason, failure: cause, stepPath }, undone: false });
  const payload = { state: "compensating" as const, endReason: reason, failure: cause, ...(stepPath === undefined ? {} : { stepPath }) };
  return { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload };
}
