/**
 * Tells executions what is stored for them: events from outside, and commands of other executions. The stored row is the
 * source; telling only makes whoever drives the execution look, or carries the command out, at least once. A row is marked
 * when all were told. Rows that nobody marks are told again by a sweep: of the teller itself when a message failed, of its
 * peers when it died.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import { GrowingPauses } from "../base/growing-pauses.ts";
import { LeftOut, mayPass } from "../base/left-out.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { OutgoingCommand } from "../domain/outgoing-command.ts";
import type { SentCommand, SignalRepository } from "../store/signal-repository.ts";

export interface DeliveriesOptions {
  readonly signals: SignalRepository;
  readonly control: (caller: Caller, executionId: string, command: ControlCommand) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
  readonly leftOut?: LeftOut;
}

/** Executions told at the same time: each may have to be claimed and read. */
const tellingMax = 16;
const sweepEveryMs = 1_000;
/** An execution that changes hands, or a database that is away for a moment, is asked again before it is left to a sweep. */
const attemptsMax = 3;
const againMs = 300;
/** What cannot be told is left to a sweep, to a later one each time; what may go well in a moment is not left alone for long. */
const againMsMax = { failed: 8_000, bad: 300_000 };

/** What becomes of a message to an execution: `failed` ones are tried again by a sweep, `bad` ones, which fail for a reason of their own, more and more seldom. */
type Told = "told" | Failed;
type Failed = "failed" | "bad";

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
  /** What this replica could not tell: others leave that to it for as long as it lives, so a sweep of its own tries again. */
  readonly #again = new Map<string, { readonly at: number; readonly tell: () => void }>();
  readonly #pauses: GrowingPauses;
  readonly #leftOut: LeftOut;
  #active = 0;
  #loop: Promise<void> | undefined;
  #sweepNow: () => void = () => undefined;

  constructor(options: DeliveriesOptions) {
    this.#options = options;
    this.#pauses = new GrowingPauses({ firstMs: sweepEveryMs, maxMs: againMsMax.bad, now: () => options.clock.monotonic() });
    this.#leftOut = options.leftOut ?? new LeftOut({ work: "deliveries", log: options.log });
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
    const again = (told: Failed): void => this.#later(signalId, told, () => this.#track(this.tellSignal(tenantId, signalId).then(() => undefined)));
    const executionIds = await signals.match(tenantId, signalId).catch((error: unknown) => {
      again(mayPass(error) ? "failed" : "bad");
      throw error;
    });
    if (executionIds.length > 0) {
      this.#track(
        (async () => {
          const told = await Promise.all(executionIds.map((executionId) => this.#look(tenantId, executionId)));
          const failed = told.includes("bad") ? "bad" : told.includes("failed") ? "failed" : undefined;
          if (failed) return again(failed);
          this.#forget(signalId);
          await signals.delivered(tenantId, signalId);
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
        const key = `${sent.senderId}/${sent.sequence}/${executionId}`;
        if (told !== "told") return this.#later(key, told, () => this.#tellCommand(sent));
        this.#forget(key);
        await this.#options.signals.sent(sent);
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
        if (!mayPass(error)) {
          this.#leftOut.tell({ tenantId, executionId, command: command.kind }, error);
          return "bad";
        }
        if (attempt >= attemptsMax || signal.aborted) {
          log.warn({ executionId, command: command.kind, error: messageOf(error) }, "an execution could not be told; a sweep tries again");
          return "failed";
        }
        await clock.sleep(againMs, signal).catch(() => undefined);
      }
    }
  }

  #later(key: string, told: Failed, tell: () => void): void {
    const pauseMs = Math.min(this.#pauses.failed(key).pauseMs, againMsMax[told]);
    // The next sweep comes a second from now. A row that was read again meanwhile has one next try, not two.
    this.#again.set(key, { at: this.#options.clock.monotonic() + pauseMs - sweepEveryMs, tell });
  }

  #forget(key: string): void {
    this.#pauses.forget(key);
    this.#again.delete(key);
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
      const now = clock.monotonic();
      for (const [key, { at, tell }] of [...this.#again]) {
        if (at > now) continue;
        this.#again.delete(key);
        tell();
      }
      try {
        for (const { tenantId, signalId } of await signals.takeUndelivered()) {
          // One that cannot be matched is tried again by itself; those behind it are not held up.
          await this.tellSignal(tenantId, signalId).catch((error: unknown) => this.#leftOut.goOn({ tenantId, signalId }, error));
        }
        for (const sent of await signals.takeOutbox()) this.#tellCommand(sent);
      } catch (error) {
        log.warn({ error: messageOf(error) }, "what is still to be told could not be read; the next sweep reads it");
      }
    }
  }
}
