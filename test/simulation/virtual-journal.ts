/**
 * The journal of a simulated replica: batches with at most two flights, each append of a batch told its own outcome. A connection
 * that breaks during a flush is answered as the real one does: look what is committed, write the rest again.
 */
import { AppError } from "../../src/base/errors.ts";
import type { AppendOutcome, AppendRequest, Fence, Journal } from "../../src/store/journal.ts";
import type { VirtualDatabase } from "./database.ts";
import { BrokenConnection, type Link } from "./link.ts";
import type { Random } from "./random.ts";
import type { Sabotage } from "./sabotage.ts";
import type { Scheduler } from "./scheduler.ts";

export interface VirtualJournalOptions {
  readonly database: VirtualDatabase;
  readonly link: Link;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly fence: () => Fence;
  readonly onFenced: () => void;
  readonly sabotage: Sabotage | undefined;
}

interface Waiting {
  readonly request: AppendRequest;
  readonly epoch: number;
  readonly resolve: (outcome: AppendOutcome) => void;
  readonly reject: (error: unknown) => void;
}

const flightsMax = 2;
const batchMax = 4;
/** After it an append fails although it may have been written. */
const attemptsMax = 3;

export class VirtualJournal implements Journal {
  readonly #options: VirtualJournalOptions;
  #waiting: Waiting[] = [];
  readonly #underWay = new Set<string>();
  #flights = 0;
  #isStopped = false;
  #onIdle: (() => void)[] = [];

  constructor(options: VirtualJournalOptions) {
    this.#options = options;
  }

  get backlogRows(): number {
    return this.#waiting.length;
  }

  append(request: AppendRequest): Promise<AppendOutcome> {
    // What is in flight is what was handed over, whatever its owner does with it meanwhile.
    const copy = structuredCloneOf(request);
    return new Promise((resolve, reject) => {
      if (this.#isStopped) return reject(new AppError("SERVER_DRAINING", "the server is stopping; try again on another replica"));
      this.#waiting.push({ request: copy, epoch: this.#options.fence().epoch, resolve, reject });
      this.#schedule();
    });
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#waiting.length > 0 || this.#flights > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  #schedule(): void {
    const { scheduler, link, random } = this.#options;
    scheduler.after(random.between(0, 0.2), link.process, () => {
      while (this.#flights < flightsMax) {
        const batch: Waiting[] = [];
        this.#waiting = this.#waiting.filter((waiting) => {
          const { executionId } = waiting.request;
          if (batch.length >= batchMax || this.#underWay.has(executionId)) return true;
          this.#underWay.add(executionId);
          batch.push(waiting);
          return false;
        });
        if (batch.length === 0) break;
        void this.#fly(batch);
      }
    });
  }

  async #fly(batch: readonly Waiting[]): Promise<void> {
    this.#flights += 1;
    await this.#write(batch, 1);
    this.#flights -= 1;
    for (const { request } of batch) this.#underWay.delete(request.executionId);
    if (this.#waiting.length > 0) this.#schedule();
    else if (this.#flights === 0) for (const tell of this.#onIdle.splice(0)) tell();
  }

  async #write(batch: readonly Waiting[], attempt: number): Promise<void> {
    const { link, database, fence, onFenced } = this.#options;
    const lease = fence();
    const stale = batch.filter(({ epoch }) => epoch !== lease.epoch);
    const current = batch.filter(({ epoch }) => epoch === lease.epoch);
    for (const { resolve } of stale) resolve({ kind: "fenced" });
    if (current.length === 0) return;
    try {
      const outcomes = await link.call("journal flush", () => current.map(({ request }) => database.append(lease, request)));
      if (outcomes.some(({ kind }) => kind === "fenced") && fence().epoch === lease.epoch) onFenced();
      for (const [index, { resolve }] of current.entries()) resolve(outcomes[index] as AppendOutcome);
    } catch (error) {
      if (!(error instanceof BrokenConnection)) throw error;
      await this.#resolveAmbiguous(current, attempt);
    }
  }

  async #resolveAmbiguous(batch: readonly Waiting[], attempt: number): Promise<void> {
    const { link, database, sabotage } = this.#options;
    const unavailable = new AppError("STORAGE_UNAVAILABLE", "the database cannot be reached; try again");
    const fail = (): void => {
      for (const { reject } of batch) reject(unavailable);
    };
    if (attempt >= attemptsMax) return fail();
    try {
      const isCommitted = await link.call("find committed", () =>
        batch.map(({ request }) => sabotage === "lost_ack_is_success" || standsIn(database, request)),
      );
      for (const [index, { resolve }] of batch.entries()) if (isCommitted[index]) resolve({ kind: "committed" });
      await this.#write(
        batch.filter((_, index) => !isCommitted[index]),
        attempt + 1,
      );
    } catch (error) {
      if (!(error instanceof BrokenConnection)) throw error;
      fail();
    }
  }
}

function isSame(a: { type: string; at: number }, b: { type: string; at: number }): boolean {
  return a.type === b.type && a.at === b.at;
}

/** As `find-committed.ts`: the append's last event stands in the ledger under its number. */
function standsIn(database: VirtualDatabase, { executionId, events }: AppendRequest): boolean {
  const last = events.at(-1);
  const text = last && database.executions.get(executionId)?.ledger[last.sequence - 1];
  return last !== undefined && text !== undefined && isSame(JSON.parse(text) as typeof last, last);
}

function structuredCloneOf(request: AppendRequest): AppendRequest {
  return { ...request, events: request.events.map((event) => ({ ...event })) };
}
