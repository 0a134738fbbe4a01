/**
 * The journal of one replica: all its executions share each commit.
 *
 * An append joins the open batch; while one batch is written the next one fills, two flights at most, each on its own
 * connection. Appends of one execution keep their order. What a failure means:
 *
 * - the fence answers "stale": the whole flush wrote nothing; every append of it is told `fenced`.
 * - PostgreSQL refuses the statement (a value it cannot store, a duplicate number): the batch is cut in halves until the
 *   guilty append stands alone; the others commit.
 * - the connection breaks during the commit, or no answer comes for ten seconds: nobody knows whether it happened. From a new connection
 *   what is left of the old one at the server is ended, then the ledger is read: an append whose last event stands there was
 *   committed, the others are written again.
 */
import type { Client, ClientConfig } from "pg";
import { Batcher } from "../base/batcher.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { rowsOf } from "./batch-rows.ts";
import type { AppendOutcome, AppendRequest, Fence, Journal } from "./journal.ts";
import { answerMsDefault, JournalConnections, outcomeOf, reconnectAttemptsMax, refusal, sqlState, unavailable } from "./journal-connections.ts";
import { endSession, within } from "./session.ts";
import { appendBatch } from "./sql/append-batch.ts";
import { findCommitted, lastEventOf } from "./sql/find-committed.ts";

export interface BatchedJournalOptions {
  readonly connection: ClientConfig;
  /** The lease of this replica as it stands now. */
  readonly fence: () => Fence;
  readonly clock: Clock;
  readonly log: Log;
  /** The fence refused a flush: the lease was taken over. */
  readonly onFenced: () => void;
  /** Hears of every statement that was answered, for metrics. */
  readonly observer?: JournalObserver;
  readonly flightsMax?: number;
  readonly rowsMax?: number;
  /** Wait for the answer to one write. */
  readonly answerMs?: number;
}

export interface JournalObserver {
  /** Events of one statement, and milliseconds from sending it to knowing that it is durable. */
  written(events: number, durationMs: number): void;
  /** Appends that the fence refused together. */
  refused(appends: number): void;
}

/** Two flights overlap one batch's fsync with the next one's work; a third only makes batches smaller. */
const flightsMaxDefault = 2;

interface Item extends AppendRequest {
  readonly key: string;
  readonly rows: number;
  readonly bytes: number;
  /** Of the lease under which it was appended: after a loss its driver has forgotten it, and so does the journal. */
  readonly epoch: number;
  /** Columns are made once, also when a batch is cut in halves. */
  readonly payloads: readonly string[];
}

export class BatchedJournal implements Journal {
  readonly #options: BatchedJournalOptions;
  readonly #batcher: Batcher<Item, AppendOutcome>;
  readonly #connections: JournalConnections;
  readonly #answerMs: number;

  constructor(options: BatchedJournalOptions) {
    this.#options = options;
    this.#connections = new JournalConnections(options.connection, options.clock);
    this.#answerMs = options.answerMs ?? answerMsDefault;
    this.#batcher = new Batcher({
      flush: (items) => this.#flush(items),
      flightsMax: options.flightsMax ?? flightsMaxDefault,
      rowsMax: options.rowsMax ?? limits.batchRowsMax,
      bytesMax: limits.batchBytesMax,
    });
  }

  get backlogRows(): number {
    return this.#batcher.backlogRows;
  }

  append(request: AppendRequest): Promise<AppendOutcome> {
    const payloads = request.events.map((event) => JSON.stringify(event.payload));
    const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0);
    return this.#batcher.add({
      ...request,
      payloads,
      key: request.executionId,
      rows: Math.max(1, request.events.length),
      bytes,
      epoch: this.#options.fence().epoch,
    });
  }

  async stop(): Promise<void> {
    await this.#batcher.stop();
    await this.#connections.close();
  }

  async #flush(items: readonly Item[]): Promise<readonly AppendOutcome[]> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connections.take();
      try {
        const outcomes = await this.#write(client, items);
        this.#connections.giveBack(client);
        return outcomes;
      } catch (error) {
        this.#connections.drop(client);
        if (error instanceof AppError) throw error;
        if (attempt >= reconnectAttemptsMax) throw unavailable(error);
        this.#options.log.warn({ attempt, error: messageOf(error) }, "the journal lost its connection during a write; it looks what was committed");
        const rest = await this.#uncommitted(items, client);
        if (rest.length < items.length) return this.#merge(items, rest);
      }
    }
  }

  /** Outcomes when some items turned out to be committed: the others are written again. */
  async #merge(items: readonly Item[], rest: readonly Item[]): Promise<readonly AppendOutcome[]> {
    const again = rest.length > 0 ? await this.#flush(rest) : [];
    return items.map((item) => {
      const index = rest.indexOf(item);
      return index < 0 ? { kind: "committed" } : (again[index] as AppendOutcome);
    });
  }

  async #write(client: Client, items: readonly Item[]): Promise<readonly AppendOutcome[]> {
    const { replicaId, epoch } = this.#options.fence();
    if (items.some((item) => item.epoch !== epoch)) return this.#writeCurrent(client, items, epoch);
    const rows = rowsOf(items);
    try {
      const sentAt = this.#options.clock.monotonic();
      const answer = await within(client, this.#answerMs, () => appendBatch(client, replicaId, epoch, rows));
      if (answer.fenced) {
        this.#options.observer?.refused(items.length);
        if (this.#options.fence().epoch === epoch) this.#options.onFenced();
        return items.map(() => ({ kind: "fenced" }));
      }
      this.#options.observer?.written(
        items.reduce((sum, item) => sum + item.events.length, 0),
        this.#options.clock.monotonic() - sentAt,
      );
      const started = new Set(answer.started);
      return items.map((item) => outcomeOf(item, started));
    } catch (error) {
      const state = sqlState(error);
      if (state === undefined) throw error;
      if (items.length === 1) return [refusal(state)];
      const middle = Math.ceil(items.length / 2);
      return [...(await this.#write(client, items.slice(0, middle))), ...(await this.#write(client, items.slice(middle)))];
    }
  }

  async #writeCurrent(client: Client, items: readonly Item[], epoch: number): Promise<readonly AppendOutcome[]> {
    const current = items.filter((item) => item.epoch === epoch);
    const outcomes = current.length > 0 ? await this.#write(client, current) : [];
    return items.map((item) => outcomes[current.indexOf(item)] ?? { kind: "fenced" });
  }

  /** Items of a flush with unknown outcome that are surely not in the ledger. The question's own connection may break, too. */
  async #uncommitted(items: readonly Item[], broken: Client): Promise<readonly Item[]> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connections.take();
      try {
        await endSession(client, broken);
        const committed = await within(client, this.#answerMs, () => findCommitted(client, items.map(lastEventOf)));
        this.#connections.giveBack(client);
        return items.filter((_, index) => !committed.has(index));
      } catch (error) {
        this.#connections.drop(client);
        if (attempt >= reconnectAttemptsMax || sqlState(error) !== undefined) throw unavailable(error);
      }
    }
  }
}
