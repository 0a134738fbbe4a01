/**
 * Tells executions what is stored for them: events from outside, and commands of other executions. The stored row is the
 * source; telling only makes whoever drives the execution look, or carries the command out, at least once. A row is marked
 * when all were told. Rows that nobody marks are told again by a sweep: of the teller itself when a message failed, of its
 * peers when it died.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { OutgoingCommand } from "../domain/outgoing-command.ts";
import type { SentCommand, SignalRepository } from "../store/signal-repository.ts";

export interface DeliveriesOptions {
  readonly signals: SignalRepository;
  readonly control: (caller: Caller, executionId: string, command: ControlCommand) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
}

/** Executions told at the same time: each may have to be claimed and read. */
const tellingMax = 16;
const sweepEveryMs = 1_000;
/** An execution that changes hands, or a database that is away for a moment, is asked again before it is left to a sweep. */
const attemptsMax = 3;
const againMs = 300;

/** What becomes of a message to an execution: `failed` ones are tried again by a sweep. */
type Told = "told" | "failed";

interface Job {
  readonly run: () => Promise<Told>;
  readonly done: (told: Told) => void;
}

export class Deliveries {
  readonly #options: DeliveriesOptions;
  readonly #stopping = new AbortController();
  readonly #queue: Job[] = [];
  /** Looks that wait for their turn, by execution: one serves all who ask meanwhile. */
  readonly #looks = new Map<string, Promise<Told>>();
  readonly #under = new Set<Promise<void>>();
  /** What this replica could not tell: others leave that to it for as long as it lives, so its own next sweep tries again. */
  #again: (() => void)[] = [];
  #active = 0;
  #loop: Promise<void> | undefined;
  #sweepNow: () => void = () => undefined;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#sweepForever();
  }

  /** Begins nothing new; ends when what is being told is told. What waits is left to a sweep. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    for (const { done } of this.#queue.splice(0)) done("failed");
    await this.#loop;
    await Promise.allSettled([...this.#under]);
  }

  /** A replica died: what it was telling is looked for now. */
  sweepSoon(): void {
    this.#sweepNow();
  }

  /** Tells the executions that wait for a stored signal; answers how many there are when they are known, not when they are told. */
  async tellSignal(tenantId: string, signalId: string): Promise<number> {
    const { signals } = this.#options;
    const again = (): void => void this.#again.push(() => this.#track(this.tellSignal(tenantId, signalId).then(() => undefined)));
    const executionIds = await signals.match(tenantId, signalId).catch((error: unknown) => {
      again();
      throw error;
    });
    if (executionIds.length > 0) {
      this.#track(
        (async () => {
          const told = await Promise.all(executionIds.map((executionId) => this.#look(tenantId, executionId)));
          if (told.every((one) => one === "told")) await signals.delivered(tenantId, signalId);
          else again();
        })(),
      );
    }
    return executionIds.length;
  }

  /** Carries out commands that are durable in the outbox. */
  tellCommands(tenantId: string, senderId: string, commands: readonly OutgoingCommand[]): void {
    for (const command of commands) this.#tellCommand({ tenantId, senderId, ...command });
  }

  #tellCommand(sent: SentCommand): void {
    const { tenantId, executionId, command } = sent;
    this.#track(
      (async () => {
        const told = await (command.kind === "look" ? this.#look(tenantId, executionId) : this.#ask(() => this.#control(tenantId, executionId, command)));
        if (told === "told") await this.#options.signals.sent(sent);
        else this.#again.push(() => this.#tellCommand(sent));
      })(),
    );
  }

  #look(tenantId: string, executionId: string): Promise<Told> {
    const key = `${tenantId}\n${executionId}`;
    const waiting = this.#looks.get(key);
    if (waiting !== undefined) return waiting;
    const told = this.#ask(() => {
      // Whoever asks from now on has news that this look may not see.
      this.#looks.delete(key);
      return this.#control(tenantId, executionId, { kind: "look" });
    });
    this.#looks.set(key, told);
    void told.then(() => this.#looks.get(key) === told && this.#looks.delete(key));
    return told;
  }

  /** Refusals by the execution's state are answers: nothing is to be told any more. */
  async #control(tenantId: string, executionId: string, command: ControlCommand): Promise<Told> {
    const { control, clock, log } = this.#options;
    const { signal } = this.#stopping;
    const caller = { tenantId, actor: "engine", scopes: new Set<string>(), correlationId: "", requestId: "" };
    for (let attempt = 1; ; attempt++) {
      try {
        await control(caller, executionId, command);
        return "told";
      } catch (error) {
        if (error instanceof AppError && (error.code === "NOT_FOUND" || error.code === "FAILED_PRECONDITION")) return "told";
        if (attempt >= attemptsMax || signal.aborted) {
          log.warn({ executionId, command: command.kind, error: messageOf(error) }, "an execution could not be told; a sweep tries again");
          return "failed";
        }
        await clock.sleep(againMs, signal).catch(() => undefined);
      }
    }
  }

  #ask(run: () => Promise<Told>): Promise<Told> {
    return new Promise((done) => {
      if (this.#stopping.signal.aborted) return done("failed");
      this.#queue.push({ run, done });
      this.#next();
    });
  }

  #next(): void {
    while (this.#active < tellingMax) {
      const job = this.#queue.shift();
      if (!job) return;
      this.#active++;
      void job
        .run()
        .catch((): Told => "failed")
        .then((told) => {
          this.#active--;
          job.done(told);
          this.#next();
        });
    }
  }

  #track(work: Promise<void>): void {
    const tracked = work
      .catch((error: unknown) => this.#options.log.warn({ error: messageOf(error) }, "what was told could not be marked; it is told again"))
      .then(() => void this.#under.delete(tracked));
    this.#under.add(tracked);
  }

  async #sweepForever(): Promise<void> {
    const { signals, clock, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await Promise.race([clock.sleep(sweepEveryMs, signal).catch(() => undefined), new Promise<void>((resolve) => (this.#sweepNow = resolve))]);
      if (signal.aborted) return;
      for (const tell of this.#again.splice(0)) tell();
      try {
        for (const { tenantId, signalId } of await signals.takeUndelivered()) await this.tellSignal(tenantId, signalId);
        for (const sent of await signals.takeOutbox()) this.#tellCommand(sent);
      } catch (error) {
        log.warn({ error: messageOf(error) }, "what is still to be told could not be read; the next sweep reads it");
      }
    }
  }
}
