/**
 * Wakes what waits for a participant when that answers again (saga.md P7, R8). Executions in memory are told at once, on every replica;
 * those that left memory were noted when they did, and the replica that had the first success takes their rows and tells them.
 *
 * All of it is a hint: the time of the next try stands in the ledger, so what gets lost here (a crash, a message, more notes than fit)
 * costs that time and nothing else.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { DestinationWait, DestinationWaitStore } from "../store/destination-wait-store.ts";

export interface RecoveriesOptions {
  readonly store: DestinationWaitStore;
  readonly control: (caller: Caller, executionId: string, command: ControlCommand) => Promise<unknown>;
  readonly callerOf: (tenantId: string) => Caller;
  /** Tells those that are driven here. */
  readonly tellDriven: (tenantId: string, destination: string) => void;
  /** Tells the other replicas. */
  readonly tellPeers: (tenantId: string, destination: string, answer: "good" | "bad") => void;
  /** Whether its newest answer was good. */
  readonly isWell: (tenantId: string, destination: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** One more execution was told. */
  readonly onWoken?: (executions: number) => void;
}

/** Executions taken at once, and told at once. */
const takenAtOnceMax = 200;
const toldAtOnceMax = 16;
/** Notes that wait to be written; what comes beside them is not noted. */
const notesMax = 10_000;

export class Recoveries {
  readonly #options: RecoveriesOptions;
  #notes: DestinationWait[] = [];
  #writing: Promise<void> | undefined;
  readonly #waking = new Map<string, Promise<void>>();
  #stopped = false;

  constructor(options: RecoveriesOptions) {
    this.#options = options;
  }

  /** The participant failed; peers look at its next success. */
  failing(tenantId: string, destination: string): void {
    this.#options.tellPeers(tenantId, destination, "bad");
  }

  /** Its first success, here. */
  recovered(tenantId: string, destination: string): void {
    this.#options.tellDriven(tenantId, destination);
    this.#options.tellPeers(tenantId, destination, "good");
    this.#wakeParked(tenantId, destination);
  }

  /** A peer had its first success, and wakes those that left memory. */
  heardRecovered(tenantId: string, destination: string): void {
    this.#options.tellDriven(tenantId, destination);
  }

  /** An execution left memory while it waits for these, each until that moment. */
  parked(tenantId: string, executionId: string, destinations: ReadonlyMap<string, number>): void {
    if (this.#stopped || this.#notes.length >= notesMax) return;
    for (const [destination, until] of destinations) this.#notes.push({ tenantId, executionId, destination, until });
    if (this.#notes.length > 0) this.#writing ??= this.#write();
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#writing;
    await Promise.all(this.#waking.values());
  }

  async #write(): Promise<void> {
    while (this.#notes.length > 0) {
      const notes = this.#notes;
      this.#notes = [];
      try {
        await this.#options.store.note(notes);
      } catch (error) {
        this.#options.log.warn({ notes: notes.length, error: messageOf(error) }, "waits for participants could not be noted; each ends by its own time");
        continue;
      }
      // It answered again between the failure and this note.
      for (const { tenantId, destination } of notes) if (this.#options.isWell(tenantId, destination)) this.#wakeParked(tenantId, destination);
    }
    // Here and not when the promise settles: a note that comes in between would stay unwritten.
    this.#writing = undefined;
  }

  #wakeParked(tenantId: string, destination: string): void {
    const key = JSON.stringify([tenantId, destination]);
    if (this.#stopped || this.#waking.has(key)) return;
    const waking = this.#takeAll(tenantId, destination)
      .catch((error: unknown) => this.#options.log.warn({ destination, error: messageOf(error) }, "who waits for a participant could not be read"))
      .finally(() => this.#waking.delete(key));
    this.#waking.set(key, waking);
  }

  async #takeAll(tenantId: string, destination: string): Promise<void> {
    while (!this.#stopped) {
      const taken = await this.#options.store.take(tenantId, destination, takenAtOnceMax);
      const waiting = [...taken];
      const tell = async (): Promise<void> => {
        for (let executionId = waiting.pop(); executionId !== undefined && !this.#stopped; executionId = waiting.pop()) {
          await this.#tell(tenantId, executionId, destination);
        }
      };
      await Promise.all(Array.from({ length: Math.min(toldAtOnceMax, taken.length) }, tell));
      if (taken.length < takenAtOnceMax) return;
    }
  }

  async #tell(tenantId: string, executionId: string, destination: string): Promise<void> {
    const { control, callerOf, log, onWoken } = this.#options;
    try {
      await control(callerOf(tenantId), executionId, { kind: "recovered", destination });
      onWoken?.(1);
    } catch (error) {
      // It is gone, or somebody else is at it: its own time comes.
      if (!(error instanceof AppError)) log.warn({ executionId, error: messageOf(error) }, "an execution could not be told that a participant is back");
    }
  }
}
