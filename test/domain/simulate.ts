/**
 * The domain's rules driven on a virtual clock: decide, carry out, fold, settle, as the engine does, but without an engine,
 * a database or a real wait. What effects answer is told by a script; the run is its ledger.
 */
import { AppError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import { type Command, type OperationKind, operationKey } from "../../src/domain/command.ts";
import { decide } from "../../src/domain/decide.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import type { EventPayloads, ExecutionEvent, NewEvent } from "../../src/domain/events.ts";
import { applyEvent, foldExecution } from "../../src/domain/execution.ts";
import type { ExecutionState } from "../../src/domain/execution-state.ts";
import { sagaBase, withJoined } from "../../src/domain/saga-definition.ts";
import { settleAction, settleConfirm, settleUndo } from "../../src/domain/settle.ts";
import { isTerminal } from "../../src/domain/states.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import { undoList } from "../../src/domain/undo.ts";
import type { Attempt } from "../../src/engine/run-step.ts";
import { confirmEvents, endEvents, expiryEvents, startEvents, stepEvents, type TurnEnvironment, undoEvents } from "../../src/engine/turn.ts";
import { handlers, replyTo, type Script, stepTypes, unclear } from "./simulated-steps.ts";

export { compile, fails, type Script, succeeds, unclear } from "./simulated-steps.ts";

import { offlineServices } from "../steps/offline-services.ts";

/** When every simulated run begins: 2026-03-01T12:00:00Z. */
export const simulationStartAt = Date.UTC(2026, 2, 1, 12);
export const identity = { executionId: "exe_00000000000000000000000001", tenantId: "acme" };

/** A caller's command, handed in as soon as `when` holds. */
export interface Order {
  readonly when: (state: ExecutionState, now: number) => boolean;
  readonly command: (state: ExecutionState, revision: CompiledRevision, now: number) => readonly NewEvent[] | AppError;
}

/** Each breaks one rule on purpose, to show that the properties notice. */
export type Sabotage = "undo_oldest_first" | "resume_forgets_a_success" | "unknown_counts_as_failed" | "undo_all_at_once" | "retry_undone";

export interface Simulation {
  readonly script?: Script;
  readonly orders?: readonly Order[];
  readonly created?: Partial<EventPayloads["execution_created"]>;
  /** Steps that a saga begins with, as the contract's SagaStep in JSON. */
  readonly enlisted?: readonly JsonObject[];
  /** Goes on from this ledger in a new process: whatever was in flight is unknown to it. */
  readonly resumeFrom?: readonly ExecutionEvent[];
  readonly random?: () => number;
  readonly sabotage?: Sabotage | undefined;
  readonly turnsMax?: number;
}

export interface SentCall {
  readonly path: string;
  readonly operation: OperationKind;
  readonly attempt: number;
  readonly config: JsonObject;
  readonly idempotencyKey: string;
  readonly sentAt: number;
}

export interface Simulated {
  readonly ledger: readonly ExecutionEvent[];
  readonly state: ExecutionState;
  readonly calls: readonly SentCall[];
  readonly refusals: readonly AppError[];
  /** The run waits for a moment that is never coming: only an operator can go on. */
  readonly isParkedForGood: boolean;
  /** Length of the ledger after each commit. */
  readonly commits: readonly number[];
  /** Length of the ledger after each group of events that one rule made together; no crash parts them. */
  readonly groups: readonly number[];
}

interface Flight {
  readonly attempt: Attempt;
  readonly finishAt: number;
  readonly outcome: StepOutcome;
}

export function simulate(revision: CompiledRevision, simulation: Simulation = {}): Simulated {
  return new Simulator(revision, simulation).run();
}

class Simulator {
  readonly #base: CompiledRevision;
  readonly #simulation: Simulation;
  readonly #script: Script;
  readonly #environment: TurnEnvironment;
  readonly #inFlight = new Map<string, Flight>();
  readonly #ledger: ExecutionEvent[] = [];
  readonly #calls: SentCall[] = [];
  readonly #refusals: AppError[] = [];
  readonly #commits: number[] = [];
  readonly #groups: number[] = [];
  readonly #state: ExecutionState;
  #orders: readonly Order[];
  #now: number;

  constructor(revision: CompiledRevision, simulation: Simulation) {
    this.#base = revision;
    this.#simulation = simulation;
    this.#script = simulation.script ?? {};
    this.#orders = simulation.orders ?? [];
    const resumed = simulation.resumeFrom ?? [];
    this.#now = resumed.at(-1)?.at ?? simulationStartAt;
    this.#ledger.push(...resumed);
    this.#state = foldExecution(identity, resumed);
    const random = simulation.random ?? (() => 0);
    const clock = { now: () => this.#now, monotonic: () => 0, sleep: () => Promise.resolve() };
    const http = { request: () => Promise.reject(new Error("no network here")) };
    const grpc = { call: http.request, exchange: http.request };
    const tokens = { get: http.request };
    this.#environment = {
      handlers,
      services: { http, grpc, tokens, ...offlineServices(), clock, log: silentLog },
      now: () => this.#now,
      monotonic: () => 0,
      random,
    };
    if (simulation.sabotage === "resume_forgets_a_success") this.#forgetASuccess();
  }

  /** Steps may have joined since it began. */
  get #revision(): CompiledRevision {
    return withJoined(this.#state.info?.saga ? sagaBase(this.#state) : this.#base, this.#state, stepTypes);
  }

  run(): Simulated {
    if (this.#ledger.length === 0) this.#fold([this.#created(), ...(this.#simulation.enlisted ?? []).map((step) => this.#enlisted(step))]);
    for (let turn = 0; ; turn++) {
      if (turn >= (this.#simulation.turnsMax ?? 2_000))
        throw new Error(`no end after ${turn} turns: ${this.#ledger.slice(-5).map((event) => `${event.type} ${event.stepPath}`)}`);
      this.#obey();
      const until = this.#decide();
      this.#commit();
      if (isTerminal(this.#state.status)) return this.#result(false);
      if (this.#orders.some((order) => order.when(this.#state, this.#now))) continue;
      const next = Math.min(until, ...[...this.#inFlight.values()].map((flight) => flight.finishAt));
      if (!Number.isFinite(next)) return this.#result(true);
      this.#now = Math.max(this.#now, next);
      this.#land();
    }
  }

  #created(): NewEvent {
    const payload = {
      workflowId: "wfl_1",
      workflowName: "orders",
      revision: 1,
      input: { order: 7 },
      correlationId: "corr-1",
      triggerType: "api",
      ...this.#simulation.created,
    };
    return { type: "execution_created", at: this.#now, stepPath: "", attempt: 0, payload };
  }

  #enlisted(step: JsonObject): NewEvent {
    return { type: "step_enlisted", at: this.#now, stepPath: String(step["name"]), attempt: 0, payload: { step } };
  }

  #obey(): void {
    const due = this.#orders.filter((order) => order.when(this.#state, this.#now));
    this.#orders = this.#orders.filter((order) => !due.includes(order));
    for (const order of due) {
      const events = order.command(this.#state, this.#revision, this.#now);
      if (events instanceof AppError) this.#refusals.push(events);
      else this.#fold(events);
    }
  }

  #decide(): number {
    for (let round = 0; round < 5_000; round++) {
      const before = this.#state.sequence;
      let until = Number.POSITIVE_INFINITY;
      for (const command of this.#sabotaged(decide(this.#revision, this.#state, this.#inFlight, this.#now))) {
        if (command.kind === "wait") until = Math.min(until, command.until);
        else this.#carryOut(command);
      }
      if (this.#state.sequence === before) return until;
    }
    throw new Error("decide never comes to rest");
  }

  #carryOut(command: Exclude<Command, { kind: "wait" }>): void {
    switch (command.kind) {
      case "record":
        return this.#fold([command.event]);
      case "start":
        return this.#fold(startEvents(this.#environment, this.#state, this.#revision));
      case "complete":
        return this.#fold(endEvents(this.#environment, this.#state, this.#revision));
      case "abort":
        return this.#abort(command.path);
      case "expire":
        return this.#fold(expiryEvents(this.#environment, this.#state, this.#revision, command));
      case "recall":
        return;
    }
    const make = { act: stepEvents, undo: undoEvents, confirm: confirmEvents }[command.kind];
    const turn = make(this.#environment, this.#state, this.#revision, command);
    this.#fold(turn.events);
    if (turn.effect) this.#send(turn.effect);
  }

  #send(attempt: Attempt): void {
    const { path, operation, number, config, idempotencyKey, deadlineAt } = attempt;
    this.#calls.push({ path, operation, attempt: number, config, idempotencyKey, sentAt: this.#now });
    const reply = replyTo(this.#script, path, operation, number);
    const answeredAt = this.#now + (reply.tookMs ?? 5);
    const isLate = answeredAt > deadlineAt;
    const outcome = isLate ? unclear("TIMEOUT.START_TO_CLOSE").outcome : reply.outcome;
    this.#inFlight.set(operationKey(path, operation), { attempt, finishAt: isLate ? deadlineAt : answeredAt, outcome });
  }

  #abort(path: string): void {
    const key = operationKey(path, "action");
    const flight = this.#inFlight.get(key);
    if (flight && flight.finishAt > this.#now) this.#inFlight.set(key, { ...flight, finishAt: this.#now, outcome: unclear("CANCELED").outcome });
  }

  #land(): void {
    for (const [key, { attempt, finishAt, outcome }] of [...this.#inFlight]) {
      if (finishAt > this.#now) continue;
      this.#inFlight.delete(key);
      const settle = { action: settleAction, compensate: settleUndo, confirm: settleConfirm }[attempt.operation];
      const target = { step: attempt.step, path: attempt.path, attempt: attempt.number };
      this.#fold(settle({ revision: this.#revision, state: this.#state, now: this.#now }, target, this.#told(outcome), this.#environment.random()));
    }
  }

  #fold(events: readonly NewEvent[]): void {
    const numbered = events.map((event, index) => ({ ...event, sequence: this.#state.sequence + 1 + index }));
    for (const event of numbered) applyEvent(this.#state, event);
    this.#ledger.push(...numbered);
    if (numbered.length > 0) this.#groups.push(this.#ledger.length);
  }

  #commit(): void {
    this.#commits.push(this.#ledger.length);
  }

  #result(isParkedForGood: boolean): Simulated {
    const ledger = this.#ledger;
    return {
      ledger,
      state: this.#state,
      calls: this.#calls,
      refusals: this.#refusals,
      isParkedForGood,
      commits: this.#commits,
      groups: this.#groups,
    };
  }

  #sabotaged(commands: readonly Command[]): readonly Command[] {
    const open = undoList(this.#revision.definition, this.#state).filter(({ run }) => run.undo?.status !== "succeeded");
    switch (this.#simulation.sabotage) {
      case "undo_oldest_first":
        return commands.map((command) => {
          const oldest = open.at(-1);
          return command.kind === "undo" && oldest
            ? { ...command, step: oldest.step, path: oldest.run.path, attempt: (oldest.run.undo?.attempt ?? 0) + 1 }
            : command;
        });
      case "undo_all_at_once":
        if (!commands.some((command) => command.kind === "undo")) return commands;
        return open.filter(({ run }) => run.undo === undefined).map(({ step, run }) => ({ kind: "undo", step, path: run.path, attempt: 1 }));
      case "retry_undone": {
        const undone = [...this.#state.steps.values()].find((run) => run.undo?.status === "succeeded" && run.undo.attempt === 1);
        const step = undone && this.#revision.definition.stepsByName.get(undone.name);
        return undone && step && commands.some(({ kind }) => kind === "record") ? [{ kind: "undo", step, path: undone.path, attempt: 2 }] : commands;
      }
      default:
        return commands;
    }
  }

  #told(outcome: StepOutcome): StepOutcome {
    return this.#simulation.sabotage === "unknown_counts_as_failed" && outcome.kind === "failed" ? { ...outcome, outcome: "failed" } : outcome;
  }

  #forgetASuccess(): void {
    const last = [...this.#state.steps.values()].findLast((run) => run.action === "succeeded");
    if (last) this.#state.steps.delete(last.path);
  }
}
