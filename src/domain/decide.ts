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
import { type Command, type InFlight, operationKey } from "./command.ts";
import type { CompiledRevision, Definition, Sequence, Step } from "./definition.ts";
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution.ts";
import { type Failure, failure } from "./failure.ts";
import { failedEvent } from "./settle.ts";
import { isTerminal } from "./states.ts";
import { decideEnd, decideUndo } from "./undo.ts";

export function decide(revision: CompiledRevision, state: ExecutionState, inFlight: InFlight, now: number): Command[] {
  const { definition } = revision;
  if (isTerminal(state.status)) return [];
  if (state.saga === "compensating" || (state.saga === "stuck" && state.turn)) {
    return decideUndo({ definition, state, inFlight, now });
  }
  const timeoutAt = state.info?.timeoutAt;
  if (state.cancel) return decideTurn(definition, state, inFlight, now, "canceled", failure("CANCELED", state.cancel.reason ?? "canceled by a caller"));
  if (timeoutAt !== undefined && now >= timeoutAt) {
    return decideTurn(definition, state, inFlight, now, "timeout", failure("TIMEOUT.EXECUTION", "the execution's time is over"));
  }
  if (state.paused) return waitUntil(timeoutAt);
  const startAt = state.info?.startAt;
  if (state.startedAt === undefined) {
    return startAt !== undefined && now < startAt ? waitUntil(Math.min(startAt, timeoutAt ?? startAt)) : [{ kind: "start" }];
  }
  if (state.saga === "stuck") return [];
  const walk = new Walk(revision, state, inFlight, now);
  const position = walk.sequence(definition.steps, "");
  if (position.kind === "done") return [{ kind: "complete" }];
  if (position.kind === "failed") return [...walk.commands, ...decideFailed(definition, state, position.run, now)];
  if (timeoutAt !== undefined) walk.commands.push({ kind: "wait", until: timeoutAt });
  return walk.commands;
}

function waitUntil(moment: number | undefined): Command[] {
  return moment === undefined ? [] : [{ kind: "wait", until: moment }];
}

/** A step failed for good and nobody handled it. */
function decideFailed(definition: Definition, state: ExecutionState, run: StepRun, now: number): Command[] {
  const cause = run.failure ?? failure("INTERNAL", "the step failed without a failure");
  return [{ kind: "record", event: failExecution(definition, state, cause, cause.stepPath ?? run.path, now) }];
}

/** What an unhandled failure does: turns the saga, ends it, or, past the pivot or with on_error HALT, leaves it stuck. */
export function failExecution(definition: Definition, state: ExecutionState, cause: Failure, stepPath: string | undefined, now: number): NewEvent {
  const step = stepPath === undefined ? undefined : definition.stepsByName.get(stepPath.slice(stepPath.lastIndexOf("/") + 1));
  if (state.saga === "completing" || step?.onError === "halt") {
    const payload = { state: "stuck" as const, failure: cause, ...(stepPath === undefined ? {} : { stepPath }) };
    return { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload };
  }
  return turn(definition, state, now, "step_failed", cause, stepPath);
}

/** Cancel or timeout: attempts in flight are aborted first, because no undo may start while its action runs. */
function decideTurn(definition: Definition, state: ExecutionState, inFlight: InFlight, now: number, reason: "canceled" | "timeout", cause: Failure): Command[] {
  const aborts: Command[] = [];
  for (const run of state.steps.values()) {
    if (run.status === "running" && inFlight.has(operationKey(run.path, "action"))) aborts.push({ kind: "abort", path: run.path, failure: cause });
  }
  return aborts.length > 0 ? aborts : [{ kind: "record", event: turn(definition, state, now, reason, cause, undefined) }];
}

function turn(
  definition: Definition,
  state: ExecutionState,
  now: number,
  reason: "step_failed" | "canceled" | "timeout",
  cause: Failure,
  stepPath: string | undefined,
): NewEvent {
  const keep = definition.onFailure === "keep_effects" || (reason === "canceled" && state.cancel?.compensate === false);
  if (keep) return decideEnd({ definition, state, now, turn: { reason, failure: cause, stepPath }, undone: false });
  const payload = { state: "compensating" as const, endReason: reason, failure: cause, ...(stepPath === undefined ? {} : { stepPath }) };
  return { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload };
}

type Position = { readonly kind: "done" } | { readonly kind: "blocked" } | { readonly kind: "failed"; readonly run: StepRun };
const done: Position = { kind: "done" };
const blocked: Position = { kind: "blocked" };

class Walk {
  readonly commands: Command[] = [];
  readonly #revision: CompiledRevision;
  readonly #state: ExecutionState;
  readonly #inFlight: InFlight;
  readonly #now: number;

  constructor(revision: CompiledRevision, state: ExecutionState, inFlight: InFlight, now: number) {
    this.#revision = revision;
    this.#state = state;
    this.#inFlight = inFlight;
    this.#now = now;
  }

  sequence(steps: readonly Step[], prefix: string): Position {
    for (const step of steps) {
      const position = this.#step(step, prefix + step.name, prefix);
      if (position.kind !== "done") return position;
    }
    return done;
  }

  #step(step: Step, path: string, prefix: string): Position {
    const run = this.#state.steps.get(path);
    if (!run) return this.#act(step, path, 1);
    switch (run.status) {
      case "completed":
      case "skipped":
      case "canceled":
        return done;
      case "failed":
        if (!run.handled) return { kind: "failed", run };
        return run.caughtBy === undefined ? done : this.sequence(step.catches[run.caughtBy]?.steps ?? [], prefix);
      case "running":
        if (step.nature === "block") return this.#block(step, run, prefix);
        return this.#inFlight.has(operationKey(path, "action")) ? blocked : this.#act(step, path, run.attempt + 1);
      case "retrying":
        return this.#due(run.wakeAt) ? this.#act(step, path, run.attempt + 1) : blocked;
      case "waiting":
        if (this.#due(run.wakeAt)) {
          const result = { wake_time: new Date(run.wakeAt ?? this.#now).toISOString() };
          this.#record({ type: "step_succeeded", at: this.#now, stepPath: path, attempt: run.attempt, payload: { result } });
        }
        return blocked;
      case "pending":
      case "queued":
        return this.#act(step, path, run.attempt + 1);
      case "compensating":
      case "compensated":
      case "compensation_failed":
        return blocked;
      default:
        return run.status satisfies never;
    }
  }

  /** A conditional whose case is chosen: its steps, then its own end. */
  #block(step: Step, run: StepRun, prefix: string): Position {
    const chosen: Sequence | undefined = step.sequences.find((sequence) => sequence.name === run.branch);
    const position = this.sequence(chosen?.steps ?? [], prefix);
    if (position.kind === "blocked") return blocked;
    if (position.kind === "done") {
      this.#record({ type: "step_succeeded", at: this.#now, stepPath: run.path, attempt: run.attempt, payload: { result: { matched: run.branch ?? null } } });
      return blocked;
    }
    const cause = position.run.failure ?? failure("INTERNAL", "a step failed without a failure");
    const failed = { ...cause, stepPath: cause.stepPath ?? position.run.path };
    this.#record(
      failedEvent({ revision: this.#revision, state: this.#state, now: this.#now }, { step, path: run.path, attempt: run.attempt }, failed, "failed"),
    );
    return blocked;
  }

  #act(step: Step, path: string, attempt: number): Position {
    this.commands.push({ kind: "act", step, path, attempt });
    return blocked;
  }

  #record(event: NewEvent): void {
    this.commands.push({ kind: "record", event });
  }

  #due(moment: number | undefined): boolean {
    if (moment === undefined || moment <= this.#now) return true;
    this.commands.push({ kind: "wait", until: moment });
    return false;
  }
}
