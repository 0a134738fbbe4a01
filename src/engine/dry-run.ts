/**
 * Runs a definition without effects: the rules and turns of the engine over a virtual clock and a ledger in memory. What an
 * effect (and an awaited event) answers comes from fixtures; what only computes is computed. Nothing is stored or sent.
 */
import { AppError, violationsError } from "../base/errors.ts";
import type { Json, JsonObject } from "../base/json.ts";
import { silentLog } from "../base/log.ts";
import { type Command, operationKey } from "../domain/command.ts";
import { decide } from "../domain/decide.ts";
import type { CompiledRevision, Step } from "../domain/definition.ts";
import type { ExecutionEvent, NewEvent } from "../domain/events.ts";
import { applyEvent } from "../domain/execution.ts";
import { type ExecutionState, emptyExecution } from "../domain/execution-state.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { settleAction, settleConfirm, settleUndo } from "../domain/settle.ts";
import { isTerminal } from "../domain/states.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";
import type { StepHandler, StepServices } from "../steps/step-handler.ts";
import type { Attempt } from "./run-step.ts";
import { checkInput } from "./start-execution.ts";
import { confirmEvents, endEvents, expiryEvents, startEvents, stepEvents, type TurnEnvironment, undoEvents } from "./turn.ts";

export interface FixtureAttempt {
  readonly outcome: { readonly result: Json } | { readonly failure: Failure };
  /** On the virtual clock. */
  readonly latencyMs: number;
}

export interface DryRunRequest {
  readonly executionId: string;
  readonly tenantId: string;
  readonly input: JsonObject;
  /**
   * By step path or name; an undo by `<step>.undo`. One per attempt, the last one repeats. An undo without one succeeds at once.
   */
  readonly fixtures: ReadonlyMap<string, readonly FixtureAttempt[]>;
  readonly startAt: number;
}

export interface DryRunEnvironment {
  readonly handlers: ReadonlyMap<string, StepHandler>;
  readonly monotonic: () => number;
}

export interface DryRunResult {
  readonly state: ExecutionState;
  readonly events: readonly ExecutionEvent[];
  /** A bound was met before the end. */
  readonly truncated: boolean;
  /** Steps of the definition that nothing happened to. */
  readonly unreachedSteps: readonly string[];
}

const dryRunEventsMax = 10_000;
const dryRunMsMax = 5_000;
/** Computing at a stretch; then other work gets its turn: nobody's test may hold up the process, its lease least of all. */
const sliceMs = 10;

/** @throws AppError INPUT_SCHEMA_MISMATCH, FIXTURE_MISSING (an effect is reached that has none), VALIDATION_FAILED (a fixture of no step) */
export async function dryRun(environment: DryRunEnvironment, revision: CompiledRevision, request: DryRunRequest): Promise<DryRunResult> {
  checkInput(revision, request.input);
  checkFixtures(revision, request.fixtures);
  return await new DryRun(environment, revision, request).run();
}

interface Flight {
  readonly attempt: Pick<Attempt, "step" | "path" | "operation" | "number">;
  readonly landsAt: number;
  readonly outcome: StepOutcome;
}

class DryRun {
  readonly #revision: CompiledRevision;
  readonly #request: DryRunRequest;
  readonly #environment: TurnEnvironment;
  readonly #inFlight = new Map<string, Flight>();
  readonly #events: ExecutionEvent[] = [];
  readonly #state: ExecutionState;
  /** Paths of steps that began to wait and were not answered yet. */
  readonly #waiting = new Set<string>();
  #now: number;
  /** On the monotonic clock. */
  #sliceEndsAt = 0;

  constructor(environment: DryRunEnvironment, revision: CompiledRevision, request: DryRunRequest) {
    this.#revision = revision;
    this.#request = request;
    this.#now = request.startAt;
    this.#state = emptyExecution({ executionId: request.executionId, tenantId: request.tenantId });
    const refuse = (): never => {
      throw new AppError("INTERNAL_BUG", "a dry run sends nothing");
    };
    const now = (): number => this.#now;
    const clock = { now, monotonic: environment.monotonic, sleep: () => Promise.resolve() };
    const silent = {
      http: { request: refuse },
      grpc: { call: refuse, exchange: refuse },
      tokens: { get: refuse },
      files: { find: refuse, read: refuse, save: refuse, discard: refuse },
      fileJobs: { run: refuse },
      mail: { send: refuse },
      quota: { take: refuse, gone: refuse },
    };
    const services: StepServices = { ...silent, clock, log: silentLog };
    this.#environment = { handlers: environment.handlers, services, now, monotonic: environment.monotonic, random: () => 0 };
  }

  async run(): Promise<DryRunResult> {
    const endsAt = this.#environment.monotonic() + dryRunMsMax;
    this.#fold([this.#created()]);
    for (;;) {
      const until = await this.#decide(endsAt);
      // A stuck saga waits for an operator; its slow retries would go on for ever.
      if (isTerminal(this.#state.status) || this.#state.saga === "stuck") return this.#result(false);
      if (this.#events.length >= dryRunEventsMax || this.#environment.monotonic() >= endsAt) return this.#result(true);
      const next = Math.min(until, ...[...this.#inFlight.values()].map(({ landsAt }) => landsAt));
      if (!Number.isFinite(next)) return this.#result(false);
      this.#now = Math.max(this.#now, next);
      this.#land();
    }
  }

  #created(): NewEvent {
    const { workflowId, workflowName, revision, definition } = this.#revision;
    const payload = {
      workflowId,
      workflowName,
      revision,
      input: this.#request.input,
      correlationId: "test",
      triggerType: "test",
      timeoutAt: this.#now + definition.executionTimeoutMs,
    };
    return { type: "execution_created", at: this.#now, stepPath: "", attempt: 0, payload };
  }

  async #giveTurn(): Promise<void> {
    if (this.#environment.monotonic() < this.#sliceEndsAt) return;
    await new Promise((resolve) => setImmediate(resolve));
    this.#sliceEndsAt = this.#environment.monotonic() + sliceMs;
  }

  /** Until only effects and waits are left, the ledger is full or the time is over. Answers when the next timer is due. */
  async #decide(endsAt: number): Promise<number> {
    for (;;) {
      await this.#giveTurn();
      const before = this.#state.sequence;
      let until = Number.POSITIVE_INFINITY;
      for (const command of decide(this.#revision, this.#state, this.#inFlight, this.#now)) {
        if (command.kind === "wait") until = Math.min(until, command.until);
        else this.#carryOut(command);
      }
      this.#arrive();
      const isOver = this.#events.length >= dryRunEventsMax || this.#environment.monotonic() >= endsAt;
      if (this.#state.sequence === before || isOver || isTerminal(this.#state.status)) return until;
    }
  }

  #carryOut(command: Exclude<Command, { kind: "wait" }>): void {
    const { kind } = command;
    switch (kind) {
      case "record":
        return this.#fold([command.event]);
      case "start":
        return this.#fold(startEvents(this.#environment, this.#state, this.#revision));
      case "complete":
        return this.#fold(endEvents(this.#environment, this.#state, this.#revision));
      case "abort":
        return this.#abort(command.path, command.failure);
      case "expire":
        return this.#fold(expiryEvents(this.#environment, this.#state, this.#revision, command));
      case "recall":
        return;
      case "act":
      case "undo":
      case "confirm": {
        const make = { act: stepEvents, undo: undoEvents, confirm: confirmEvents }[kind];
        const turn = make(this.#environment, this.#state, this.#revision, command);
        this.#fold(turn.events);
        const attempt = turn.effect ?? turn.reported;
        if (attempt) this.#send(attempt);
        return;
      }
      default:
        kind satisfies never;
    }
  }

  #send(attempt: Attempt): void {
    const { step, path, operation, number, deadlineAt } = attempt;
    const answer = this.#answerOf(path, operation, number);
    if (!answer) throw fixtureMissing(path, step);
    const isLate = this.#now + answer.latencyMs > deadlineAt;
    const timeout = failure("TIMEOUT.START_TO_CLOSE", `step ${path} did not finish in its time`);
    this.#inFlight.set(operationKey(path, operation), {
      attempt: { step, path, operation, number },
      landsAt: isLate ? deadlineAt : this.#now + answer.latencyMs,
      outcome: isLate ? { kind: "failed", failure: timeout, outcome: "unknown" } : outcomeOf(answer),
    });
  }

  #answerOf(path: string, operation: Attempt["operation"], number: number): FixtureAttempt | undefined {
    const suffix = operation === "action" ? "" : operation === "compensate" ? ".undo" : ".confirm";
    const { fixtures } = this.#request;
    const attempts = fixtures.get(path + suffix) ?? fixtures.get(nameOf(path) + suffix);
    if (attempts) return attempts[Math.min(number, attempts.length) - 1];
    return operation === "action" ? undefined : { outcome: { result: null }, latencyMs: 0 };
  }

  /** Steps that wait for something from outside get it, where a fixture says what; the others wait for their time. */
  #arrive(): void {
    for (const path of this.#waiting) {
      this.#waiting.delete(path);
      const key = operationKey(path, "action");
      const run = this.#state.steps.get(path);
      if (run?.status !== "waiting" || this.#inFlight.has(key)) continue;
      const step = this.#revision.definition.stepsByName.get(run.name);
      const answer = this.#answerOf(path, "action", run.attempt || 1);
      if (!step || !answer) continue;
      const attempt = { step, path, operation: "action" as const, number: run.attempt };
      this.#inFlight.set(key, { attempt, landsAt: this.#now + answer.latencyMs, outcome: outcomeOf(answer) });
    }
  }

  #abort(path: string, cause: Failure): void {
    const key = operationKey(path, "action");
    const flight = this.#inFlight.get(key);
    if (flight) this.#inFlight.set(key, { ...flight, landsAt: this.#now, outcome: { kind: "failed", failure: cause, outcome: "unknown" } });
  }

  #land(): void {
    for (const [key, { attempt, landsAt, outcome }] of [...this.#inFlight]) {
      if (landsAt > this.#now) continue;
      this.#inFlight.delete(key);
      if (isTerminal(this.#state.status)) continue;
      const settle = { action: settleAction, compensate: settleUndo, confirm: settleConfirm }[attempt.operation];
      const context = { revision: this.#revision, state: this.#state, now: this.#now };
      this.#fold(settle(context, { step: attempt.step, path: attempt.path, attempt: attempt.number }, outcome, 0));
    }
  }

  #fold(events: readonly NewEvent[]): void {
    for (const event of events) {
      const numbered = { ...event, sequence: this.#state.sequence + 1 };
      applyEvent(this.#state, numbered);
      this.#events.push(numbered);
      if (event.type === "step_waiting") this.#waiting.add(event.stepPath);
    }
  }

  #result(truncated: boolean): DryRunResult {
    const reached = new Set([...this.#state.steps.values()].map(({ name }) => name));
    const unreachedSteps = [...this.#revision.definition.stepsByName.keys()].filter((name) => !reached.has(name));
    return {
      state: this.#state,
      events: this.#events.slice(0, dryRunEventsMax),
      truncated: truncated || this.#events.length > dryRunEventsMax,
      unreachedSteps,
    };
  }
}

/** What is not named as certainly without effect by its name leaves the outcome open, as it would in a real run. */
function outcomeOf({ outcome }: FixtureAttempt): StepOutcome {
  if ("result" in outcome) return { kind: "succeeded", result: outcome.result };
  const isOpen = /^(TIMEOUT\.|NETWORK$|GRPC\.(DEADLINE_EXCEEDED|UNAVAILABLE|UNKNOWN|INTERNAL)$|HTTP\.5)/.test(outcome.failure.name);
  return { kind: "failed", failure: outcome.failure, outcome: isOpen ? "unknown" : "failed" };
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function fixtureMissing(path: string, step: Step): AppError {
  const description = `step ${path} (${step.type}) is reached and has an effect: give it a fixture under "${step.name}", or under its path`;
  return violationsError([{ field: "fixtures", reason: "FIXTURE_MISSING", description }]);
}

/** A fixture that belongs to nothing is a slip of the pen. */
function checkFixtures({ definition }: CompiledRevision, fixtures: DryRunRequest["fixtures"]): void {
  const unknown = [...fixtures.keys()].filter((key) => {
    const name = nameOf(key).replace(/\.(undo|confirm)$/, "");
    return !definition.stepsByName.has(name);
  });
  if (unknown.length === 0) return;
  throw violationsError(
    unknown.slice(0, 20).map((key) => ({ field: `fixtures["${key}"]`, reason: "VALIDATION_FAILED" as const, description: "is no step of this definition" })),
  );
}
