/**
 * The journal of one replica: all its executions share each commit.
 *
 * An append joins the open batch; while one batch is written the next one fills, two flights at most, each on its own
 * connection. Appends of one execution keep their order. What a failure means:
 *
 * - the fence answers "stale": the whole flush wrote nothing; every append of it is told `fenced`.
 * - PostgreSQL refuses the statement (a value it cannot store, a duplicate number): the batch is cut in halves until the
 *   guilty append stands alone; the others commit.
 * - the connection breaks during the commit: nobody knows whether it happened. The ledger is read on a new connection: an
 *   append whose last event stands there was committed, the others are written again.
 */
import { Client, type ClientConfig } from "pg";
import { Batcher } from "../base/batcher.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { rowsOf } from "./batch-rows.ts";
import type { AppendOutcome, AppendRequest, Fence, Journal } from "./journal.ts";
import { appendBatch } from "./sql/append-batch.ts";
import { findCommitted } from "./sql/find-committed.ts";

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
}

export interface JournalObserver {
  /** Events of one statement, and milliseconds from sending it to knowing that it is durable. */
  written(events: number, durationMs: number): void;
  /** Appends that the fence refused together. */
  refused(appends: number): void;
}

/** Two flights overlap one batch's fsync with the next one's work; a third only makes batches smaller. */
const flightsMaxDefault = 2;
const reconnectPauseMs = 100;
/** After it an append that cannot reach the database fails instead of waiting on. */
const reconnectAttemptsMax = 100;

/**
 * The planner, left to itself, scans the big tables while their statistics are young (measured: 43,000 → 2,000 steps/s),
 * and plans anew on every call. On the writer's connections only.
 */
const planGuard = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan";

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
  readonly #idle: Client[] = [];

  constructor(options: BatchedJournalOptions) {
    this.#options = options;
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
    await Promise.all(this.#idle.splice(0).map((client) => client.end()));
  }

  async #flush(items: readonly Item[]): Promise<readonly AppendOutcome[]> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connect();
      try {
        const outcomes = await this.#write(client, items);
        this.#idle.push(client);
        return outcomes;
      } catch (error) {
        void client.end().catch(() => undefined);
        if (error instanceof AppError) throw error;
        if (attempt >= reconnectAttemptsMax) throw unavailable(error);
        this.#options.log.warn({ attempt, error: messageOf(error) }, "the journal lost its connection during a write; it looks what was committed");
        const rest = await this.#uncommitted(items);
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
      const answer = await appendBatch(client, replicaId, epoch, rows);
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
      return items.map((item) => (item.start && !started.has(parseId("execution", item.executionId) ?? "") ? { kind: "exists" } : { kind: "committed" }));
    } catch (error) {
      const state = sqlState(error);
      if (state === undefined) throw error;
      if (items.length === 1) return [refusal(state, error)];
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
  async #uncommitted(items: readonly Item[]): Promise<readonly Item[]> {
    for (let attempt = 1; ; attempt++) {
      const client = await this.#connect();
      try {
        const committed = await findCommitted(client, items.map(lastEventOf));
        this.#idle.push(client);
        return items.filter((_, index) => !committed.has(index));
      } catch (error) {
        void client.end().catch(() => undefined);
        if (attempt >= reconnectAttemptsMax || sqlState(error) !== undefined) throw unavailable(error);
      }
    }
  }

  async #connect(): Promise<Client> {
    const idle = this.#idle.pop();
    if (idle) return idle;
    for (let attempt = 1; ; attempt++) {
      const client = new Client({ ...this.#options.connection, options: planGuard, application_name: "pawf-journal", keepAlive: true });
      // A connection that breaks while idle emits an error; the next write finds out and connects again.
      client.on("error", () => {
        const index = this.#idle.indexOf(client);
        if (index >= 0) this.#idle.splice(index, 1);
      });
      try {
        await client.connect();
        return client;
      } catch (error) {
        void client.end().catch(() => undefined);
        if (attempt >= reconnectAttemptsMax) throw unavailable(error);
        await this.#options.clock.sleep(reconnectPauseMs);
      }
    }
  }
}

function lastEventOf(item: Item): { tenantId: string; executionId: string; sequence: number; type: string } {
  const last = item.events.at(-1);
  return { tenantId: item.tenantId, executionId: item.executionId, sequence: last?.sequence ?? 0, type: last?.type ?? "" };
}

/** The SQLSTATE of an error that left the connection usable; undefined for broken connections and shutdowns. */
function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string" || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  const broken = code.startsWith("08") || code.startsWith("57P") || code.startsWith("53") || code.startsWith("58");
  return broken ? undefined : code;
}

function refusal(state: string, error: unknown): AppendOutcome {
  if (state === "23505") return { kind: "conflict" };
  return { kind: "refused", message: `PostgreSQL refuses a value (${state}): ${messageOf(error)}` };
}

function unavailable(cause: unknown): AppError {
  return new AppError("STORAGE_UNAVAILABLE", "the database cannot be reached; try again", { retryAfterMs: 1_000, cause });
}
