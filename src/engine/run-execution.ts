/**
 * Drives one execution in this process, from the moment it is claimed or started until it ends, parks or is lost.
 *
 * One turn is: decide what is due → carry out what only computes, folding each event at once → write all of the turn's
 * events in one append → then, and only then, publish them and send the effects whose intents are now durable → wait for
 * an outcome, a timer or a command → settle it → the next turn. So an effect's `step_started` rides in the same commit as
 * the completion before it, and nothing leaves the process, no watcher sees anything and no caller is answered before the
 * commit.
 *
 * If the process dies before an append commits, nothing of that turn happened anywhere. If it dies after, the ledger says
 * which effects may have been sent, and whoever claims the execution sends them again with the same idempotency key. If the
 * append is refused (fence, sequence), this object forgets everything: its folded state is ahead of the ledger.
 */
import { AppError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { Answered } from "../domain/answered.ts";
import type { Command } from "../domain/command.ts";
import { operationKey } from "../domain/command.ts";
import { destinationsAwaited } from "../domain/control-recovered.ts";
import { reportOutcome } from "../domain/control-report.ts";
import { decide } from "../domain/decide.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import type { ExecutionEvent, NewEvent } from "../domain/events.ts";
import { applyEvent } from "../domain/execution.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { failure } from "../domain/failure.ts";
import { endRefused, type RefusedWrite, refusedWrite } from "../domain/refused-write.ts";
import { type SettleContext, settleAction, settleConfirm, settleUndo } from "../domain/settle.ts";
import { isTerminal } from "../domain/states.ts";
import { receiveSignal } from "../domain/waits.ts";
import type { AppendOutcome, AppendRequest, StartRow } from "../store/journal.ts";
import { appendRequest } from "./append-request.ts";
import type { ChildReport } from "./child-link.ts";
import { type Begun, CommitCallers } from "./commit-callers.ts";
import type { Refusal } from "./letting-go.ts";
import { OutsideLook } from "./outside-look.ts";
import type { RunEnvironment } from "./run-environment.ts";
import { changedHands, neverSent, overTime } from "./run-failures.ts";
import { type Attempt, carryOut } from "./run-step.ts";
import { RunTasks } from "./run-tasks.ts";
import { type DriveTelemetry, silentTelemetry } from "./telemetry.ts";
import { confirmEvents, endEvents, expiryEvents, startEvents, stepEvents, undoEvents } from "./turn.ts";
import { needsCommitFirst } from "./turn-bounds.ts";

/** Why a timer is no longer needed. Without a reason an abort makes an exception with its stack, which costs more than the rest. */
const settled = "settled";

/** Why the drive ended. `parked` and `ended` are durable; after `lost` another replica or a later claim goes on. */
export type RunEnd = "ended" | "parked" | "lost";

/** A caller's command: the events it makes, with an answer where it has one, or why it is refused; it sees the state all earlier events led to. */
export type Control = (state: ExecutionState, revision: CompiledRevision, now: number) => readonly NewEvent[] | Answered | AppError;

const makers = { act: stepEvents, undo: undoEvents, confirm: confirmEvents } as const;
const settlers = { action: settleAction, compensate: settleUndo, confirm: settleConfirm } as const;

interface News {
  readonly take: () => void;
  /** The run ended before it was taken. */
  readonly drop: () => void;
}

export class ExecutionRun {
  readonly #environment: RunEnvironment;
  readonly #base: CompiledRevision;
  readonly #state: ExecutionState;
  readonly #inFlight = new Map<string, AbortController>();
  readonly #tasks: RunTasks;
  /** News that the next turn begins with: outcomes and commands. */
  readonly #inbox: News[] = [];
  #turn: ExecutionEvent[] = [];
  #effects: Attempt[] = [];
  #start: StartRow | undefined;
  readonly #callers = new CommitCallers();
  #wakeUp: () => void = () => undefined;
  #parking = false;
  #forgotten = false;
  #over = false;
  /** The row still says what it said while the execution was parked: the first turn after a claim writes it anew. */
  #isRowOld: boolean;
  /** A former run of it was refused a write. */
  readonly #isCareful: boolean;
  /** Why it was lost, when the database refused what follows from the ledger. */
  refused: RefusedWrite | undefined;
  #telemetry: DriveTelemetry | undefined;
  readonly #outside: OutsideLook;

  /** `before`: what a former run of it could not write. */
  constructor(environment: RunEnvironment, revision: CompiledRevision, state: ExecutionState, before?: Refusal) {
    this.#environment = environment;
    this.#base = revision;
    this.#state = state;
    this.#isRowOld = state.sequence > 0;
    this.#isCareful = before !== undefined;
    if (before?.isFinal) this.#inbox.push({ take: () => this.#fold(endRefused(this.#context(), before.write, environment.random())), drop: () => undefined });
    const { signals, children, services, sleep } = environment;
    this.#outside = new OutsideLook({
      ...{ state, signals, children, log: services.log, sleep },
      definition: () => this.#revision.definition,
      receive: (signals) => this.#fromOutside(signals, (signal) => receiveSignal(this.#context(), signal)),
      report: (reports) => this.#fromOutside(reports, (report) => this.#childEvents(report)),
      // One more turn, so that it is asked again whether the run may leave memory.
      onDone: () => this.#tell(() => undefined),
    });
    this.#tasks = new RunTasks(state);
  }

  /** What it runs: steps may have joined since it was loaded. */
  get #revision(): CompiledRevision {
    return this.#environment.joined?.(this.#base, this.#state) ?? this.#base;
  }

  /** As folded so far; changes while the run goes on. */
  get state(): ExecutionState {
    return this.#state;
  }

  /** Keys of the breakers that it waits for. */
  awaited(now: number): ReadonlyMap<string, number> {
    return destinationsAwaited({ state: this.#state, revision: this.#revision, now });
  }

  get executionId(): string {
    return this.#state.executionId;
  }

  /**
   * Begins a new execution; resolves when its first turn is durable or was refused. `run` must follow. `created` is the first
   * event, and the steps of a saga; `copied` are outcomes of another execution that this one goes on from.
   */
  begin(start: StartRow, created: readonly NewEvent[], copied: readonly NewEvent[] = []): Promise<Begun> {
    this.#start = start;
    this.#fold(created);
    if (copied.length > 0) {
      this.#fold(startEvents(this.#environment, this.#state, this.#revision));
      if (this.#state.status === "running") this.#fold(copied);
    }
    return new Promise((resolve) => this.#callers.add((outcome, events) => resolve({ outcome, events })));
  }

  /**
   * Hands a command in; resolves with its answer when its events are durable, rejects with the refusal. With `looks` the run reads
   * what has come from outside before it leaves memory.
   */
  control(command: Control, looks = false): Promise<JsonObject | undefined> {
    return new Promise((resolve, reject) => {
      const drop = (): void => reject(changedHands());
      if (this.#over) return drop();
      const take = (): void => {
        const made = command(this.#state, this.#revision, this.#environment.now());
        // A refusal, too, is told when what it follows from is durable, and only while this replica is the one to say.
        if (made instanceof AppError) return this.#callers.add((outcome) => (outcome.kind === "committed" ? reject(made) : drop()));
        const { events, answer } = made instanceof Answered ? made : { events: made, answer: undefined };
        if (looks) this.#outside.ask();
        this.#fold(events);
        this.#callers.add((outcome) => (outcome.kind === "committed" ? resolve(answer) : drop()));
      };
      this.#tell(take, drop);
    });
  }

  /** Drops the execution without another write: the lease is gone or the process stops. Attempts in flight are aborted. */
  forget(): void {
    this.#forgotten = true;
    for (const controller of this.#inFlight.values()) controller.abort(failure("CANCELED", "the replica no longer drives this execution"));
    this.#wakeUp();
  }

  /** Begins no further attempt; once those in flight are settled, leaves the execution due at once for any replica. */
  park(): void {
    this.#parking = true;
    this.#wakeUp();
  }

  /** Rejects when a rule of the fold is broken; whoever waits for a commit of this run is told that it was lost. */
  async run(): Promise<RunEnd> {
    try {
      return this.#end(await this.#drive());
    } catch (error) {
      this.#end("lost");
      throw error;
    }
  }

  async #drive(): Promise<RunEnd> {
    this.#telemetry = (this.#environment.telemetry ?? silentTelemetry).drive(this.#state, this.#revision);
    for (;;) {
      this.#telemetry.turn();
      for (const news of this.#inbox.splice(0, this.#isCareful ? 1 : Number.POSITIVE_INFINITY)) news.take();
      const until = this.#decide();
      const release = this.#mayRelease(until);
      if (!(await this.#commit(release, until))) return "lost";
      if (release) return isTerminal(this.#state.status) ? "ended" : "parked";
      if (this.#forgotten) return "lost";
      this.#outside.begin();
      this.#send();
      await this.#news(until);
      if (this.#forgotten) return "lost";
    }
  }

  /** Decides and computes until only effects, waits or nothing is left. Answers when the next timer is due. */
  #decide(): number {
    if (this.#isForeign()) return this.#inFlight.size > 0 ? Number.POSITIVE_INFINITY : this.#environment.now();
    const everyStep = this.#revision.definition.durability === "every_step";
    const bounds = { isParking: this.#parking, isCareful: this.#isCareful, everyStep };
    for (;;) {
      let until = Number.POSITIVE_INFINITY;
      let postponed = false;
      const before = this.#state.sequence;
      for (const command of decide(this.#revision, this.#state, this.#inFlight, this.#environment.now())) {
        if (command.kind === "wait") until = Math.min(until, command.until);
        else if (needsCommitFirst(this.#turn, command, bounds)) postponed = true;
        else this.#carryOut(command);
      }
      // A parking run waits for what is in flight; asking again at once would keep the event loop from hearing of it.
      if (postponed) return this.#parking && this.#inFlight.size > 0 ? Number.POSITIVE_INFINITY : this.#environment.now();
      if (this.#state.sequence === before) return until;
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
        return this.#inFlight.get(operationKey(command.path, "action"))?.abort(command.failure);
      case "expire":
        if (!this.#outside.isReadToEndOf(command.path)) return;
        return this.#fold(expiryEvents(this.#environment, this.#state, this.#revision, command));
      case "recall":
        return this.#state.children.has(command.path) ? this.#outside.callOff(command.path) : this.#tasks.recall(command);
      case "act":
      case "undo":
      case "confirm": {
        const turn = makers[kind](this.#environment, this.#state, this.#revision, command);
        this.#fold(turn.events);
        if (turn.reported) this.#tasks.open(turn.reported, this.#environment.now());
        if (!turn.effect) return;
        this.#effects.push(turn.effect);
        this.#inFlight.set(operationKey(command.path, turn.effect.operation), new AbortController());
        return;
      }
      default:
        kind satisfies never;
    }
  }

  /** Numbers events and folds them; they are written with the next commit. */
  #fold(events: readonly NewEvent[]): void {
    for (const event of events) {
      const numbered = { ...event, sequence: this.#state.sequence + 1 };
      this.#tasks.fold(event, () => applyEvent(this.#state, numbered));
      this.#turn.push(numbered);
    }
  }

  /** A retry changed the revision: it is left due at once, and whoever claims it loads that one. */
  #isForeign(): boolean {
    const { info } = this.#state;
    return info !== undefined && info.revision !== this.#base.revision;
  }

  /** Ended, or nothing happens here for long enough that parking pays. */
  #mayRelease(until: number): boolean {
    if (isTerminal(this.#state.status)) return true;
    if (this.#inFlight.size > 0 || this.#inbox.length > 0 || this.#tasks.isAsking) return false;
    if (this.#parking || this.#isForeign()) return true;
    if (this.#outside.isDue) return false;
    return until - this.#environment.now() > limits.parkAfterMs;
  }

  /** Writes the turn. False: it was not written, and the state in memory is worth nothing any more. */
  async #commit(release: boolean, until: number): Promise<boolean> {
    const events = this.#turn;
    if (events.length === 0 && !release) {
      const isOurs = !this.#forgotten && (this.#environment.holdsLease?.() ?? true);
      this.#callers.tell({ kind: isOurs ? "committed" : "fenced" }, []);
      return isOurs;
    }
    // Left before it looked: whoever takes it up looks at once.
    const wakeAt = this.#outside.isDue ? this.#environment.now() : until;
    const request = appendRequest(this.#revision.definition, this.#state, {
      events,
      start: this.#start,
      isRowOld: this.#isRowOld,
      tasks: this.#tasks.changes,
      release,
      until: wakeAt,
    });
    const outcome = await this.#append(request);
    if (outcome.kind === "refused" && !this.#start) this.refused = refusedWrite(outcome.sqlState, events);
    this.#turn = [];
    this.#start = undefined;
    this.#callers.tell(outcome, events);
    if (outcome.kind !== "committed") return false;
    this.#isRowOld = false;
    this.#telemetry?.committed(events);
    this.#environment.publish(this.#state.executionId, events, this.#state.tenantId);
    if (request.outbox) this.#environment.deliver?.(this.#state.tenantId, this.#state.executionId, request.outbox);
    this.#tasks.committed(this.#environment.tasks);
    return true;
  }

  async #append(request: AppendRequest): Promise<AppendOutcome> {
    try {
      return await this.#environment.journal.append(request);
    } catch (error) {
      this.#environment.services.log.error({ executionId: this.executionId, error }, "an append failed; the execution is left to a later claim");
      return { kind: "fenced" };
    }
  }

  #send(): void {
    for (const attempt of this.#effects.splice(0)) void this.#attempt(attempt);
    this.#tasks.ask(this.#environment, (events) => this.#tell(() => this.#fold(events(this.#context()))));
  }

  async #attempt(attempt: Attempt): Promise<void> {
    const key = operationKey(attempt.path, attempt.operation);
    const controller = this.#inFlight.get(key) ?? new AbortController();
    const done = new AbortController();
    const { sleep, now } = this.#environment;
    void sleep(Math.max(0, attempt.deadlineAt - now()), done.signal).then(() => {
      if (!done.signal.aborted) controller.abort(overTime(attempt));
    });
    const observed = this.#telemetry?.attempt(attempt);
    // A process that was frozen after its commit must not send what may have been undone elsewhere by now.
    const isLate = attempt.deadlineAt <= now();
    const outcome = isLate ? neverSent(attempt) : await carryOut(this.#environment, this.#state, attempt, controller.signal, observed?.traceparent);
    observed?.end(outcome);
    done.abort(settled);
    const take = (): void => {
      this.#inFlight.delete(key);
      const context = { revision: this.#revision, state: this.#state, now: now() };
      const target = { step: attempt.step, path: attempt.path, attempt: attempt.number };
      this.#fold(settlers[attempt.operation](context, target, outcome, this.#environment.random()));
    };
    this.#tell(take);
  }

  /** Folds what was found outside, one after the other; resolves with false when this run is over. */
  #fromOutside<Found>(found: readonly Found[], eventsOf: (one: Found) => readonly NewEvent[]): Promise<boolean> {
    return new Promise((resolve) => {
      if (this.#over) return resolve(false);
      const take = (): void => {
        for (const one of found) this.#fold(eventsOf(one));
        resolve(true);
      };
      this.#tell(take, () => resolve(false));
    });
  }

  #tell(take: () => void, drop: () => void = () => undefined): void {
    this.#inbox.push({ take, drop });
    this.#wakeUp();
  }

  #childEvents({ path, operation, generation, attempt, outcome }: ChildReport): readonly NewEvent[] {
    const answer = reportOutcome(this.#context(), { path, operation, generation, attempt, outcome, random: this.#environment.random() });
    return answer instanceof Answered ? answer.events : [];
  }

  #context(): SettleContext {
    return { revision: this.#revision, state: this.#state, now: this.#environment.now() };
  }

  /** Resolves when something is in the inbox, the timer is due, or the run is forgotten. */
  async #news(until: number): Promise<void> {
    if (this.#inbox.length > 0 || this.#forgotten || until <= this.#environment.now()) return;
    const timer = new AbortController();
    const waits: Promise<void>[] = [new Promise((resolve) => (this.#wakeUp = resolve))];
    if (Number.isFinite(until)) waits.push(this.#environment.sleep(Math.max(0, until - this.#environment.now()), timer.signal));
    await Promise.race(waits);
    timer.abort(settled);
  }

  #end(how: RunEnd): RunEnd {
    this.#over = true;
    this.#outside.stop();
    this.#tasks.stop();
    // Nobody waits for them any more: the execution was ended hard, or it is another replica's.
    for (const controller of this.#inFlight.values()) controller.abort(failure("CANCELED", "the execution is no longer driven here"));
    this.#telemetry?.end(how);
    this.#callers.tell({ kind: "fenced" }, []);
    for (const news of this.#inbox.splice(0)) news.drop();
    return how;
  }
}
