/**
 * The journal without batches: one append after the other, each in a transaction of its own. Nothing serves with it. It says in
 * sixty lines what a journal promises, and the contract suite holds the batched one against it.
 */
import type { Client, ClientConfig } from "pg";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import { rowsOf } from "./batch-rows.ts";
import type { AppendOutcome, AppendRequest, Fence, Journal } from "./journal.ts";
import { JournalConnections, outcomeOf, reconnectAttemptsMax, refusal, sqlState, unavailable } from "./journal-connections.ts";
import { endSession } from "./session.ts";
import { appendBatch } from "./sql/append-batch.ts";
import { findCommitted, lastEventOf } from "./sql/find-committed.ts";

export interface PlainJournalOptions {
  readonly connection: ClientConfig;
  readonly fence: () => Fence;
  readonly clock: Clock;
  readonly onFenced: () => void;
}

export class PlainJournal implements Journal {
  readonly #options: PlainJournalOptions;
  readonly #connections: JournalConnections;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  #stopped = false;

  constructor(options: PlainJournalOptions) {
    this.#options = options;
    this.#connections = new JournalConnections(options.connection, options.clock);
  }

  get backlogRows(): number {
    return this.#waiting;
  }

  append(request: AppendRequest): Promise<AppendOutcome> {
    if (this.#stopped) return Promise.reject(new AppError("SERVER_DRAINING", "the server is stopping; try again on another replica"));
    const { epoch } = this.#options.fence();
    this.#waiting += Math.max(1, request.events.length);
    const written = this.#last.then(() => this.#write(request, epoch));
    this.#last = written.catch(() => undefined).finally(() => (this.#waiting -= Math.max(1, request.events.length)));
    return written;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#last;
    await this.#connections.close();
  }

  async #write(request: AppendRequest, epoch: number): Promise<AppendOutcome> {
    const fence = this.#options.fence();
    // Appended under a lease that is over: its driver has forgotten it.
    if (fence.epoch !== epoch) return { kind: "fenced" };
    const broken: Client[] = [];
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connections.take();
      try {
        // On a second try it may be there already: the connection broke, and nobody knows whether before or after the commit.
        for (const one of broken) await endSession(client, one);
        const isThere = attempt > 1 && (await findCommitted(client, [lastEventOf(request)])).has(0);
        const answer = isThere ? undefined : await appendBatch(client, fence.replicaId, epoch, rowsOf([withPayloads(request)]));
        this.#connections.giveBack(client);
        if (!answer) return { kind: "committed" };
        if (answer.fenced) this.#options.onFenced();
        return answer.fenced ? { kind: "fenced" } : outcomeOf(request, new Set(answer.started));
      } catch (error) {
        const state = sqlState(error);
        if (state !== undefined) {
          this.#connections.giveBack(client);
          return refusal(state);
        }
        this.#connections.drop(client);
        broken.push(client);
        if (attempt >= reconnectAttemptsMax) throw unavailable(error);
      }
    }
  }
}

function withPayloads(request: AppendRequest): AppendRequest & { readonly payloads: readonly string[] } {
  return { ...request, payloads: request.events.map((event) => JSON.stringify(event.payload)) };
}
