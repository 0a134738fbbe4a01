/** Writers of ledgers for the journal's tests: each makes the appends of one execution as its driver would. */
import { randomUUID } from "node:crypto";
import { Client, type Pool } from "pg";
import { systemClock } from "../../src/base/clock.ts";
import { parseId } from "../../src/base/ids.ts";
import { silentLog } from "../../src/base/log.ts";
import type { ExecutionEvent, NewEvent } from "../../src/domain/events.ts";
import { applyEvent } from "../../src/domain/execution.ts";
import { type ExecutionState, emptyExecution } from "../../src/domain/execution-state.ts";
import { executionRow } from "../../src/domain/projection.ts";
import { BatchedJournal, type BatchedJournalOptions } from "../../src/store/batched-journal.ts";
import type { AppendRequest, Fence, Journal, StartRow } from "../../src/store/journal.ts";
import { PlainJournal } from "../../src/store/plain-journal.ts";
import { ReplicaLease } from "../../src/store/replica-lease.ts";
import { createMigratedDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { risingIds } from "./open-store.ts";

export const ids = risingIds();
const at = Date.UTC(2026, 4, 5, 6, 7, 8);

export interface Place extends AsyncDisposable {
  readonly database: TestDatabase;
  /** Looks from outside; never through the parts under test. */
  readonly pool: Pool;
}

export async function openPlace(): Promise<Place> {
  const database = await createMigratedDatabase();
  const pool = openPool(database, { max: 3, application_name: "looks-on" });
  return {
    database,
    pool,
    [Symbol.asyncDispose]: async () => {
      await pool.end();
      await database.drop();
    },
  };
}

export async function connect(place: Place): Promise<Client> {
  const client = new Client({ ...place.database.connection, application_name: "beside" });
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

export interface Replica extends AsyncDisposable {
  readonly lease: ReplicaLease;
  readonly journal: Journal;
  fence: Fence;
  readonly fenced: { times: number };
}

export async function openReplica(
  place: Place,
  options: { leaseMs?: number; plain?: boolean; journal?: Partial<BatchedJournalOptions> } = {},
): Promise<Replica> {
  const connection = place.database.connection;
  const lease = new ReplicaLease({ replicaId: randomUUID(), connection, leaseMs: options.leaseMs ?? 60_000 });
  const { epoch } = await lease.register("test");
  const fenced = { times: 0 };
  const shared = { connection, clock: systemClock, fence: () => replica.fence, onFenced: () => void fenced.times++ };
  const replica: Replica = {
    lease,
    fence: { replicaId: lease.replicaId, epoch },
    fenced,
    journal: options.plain ? new PlainJournal(shared) : new BatchedJournal({ ...shared, log: silentLog, ...options.journal }),
    [Symbol.asyncDispose]: async () => {
      await replica.journal.stop();
      await lease.close();
    },
  };
  return replica;
}

/** One execution's appends, in order. Each call numbers its events, folds them and says what is to be written. */
export class Writer {
  readonly executionId = ids.next("execution");
  readonly state: ExecutionState;
  readonly #tenantId: string;

  constructor(tenantId = "acme") {
    this.#tenantId = tenantId;
    this.state = emptyExecution({ executionId: this.executionId, tenantId });
  }

  get uuid(): string {
    return parseId("execution", this.executionId) ?? "";
  }

  start(fields: Partial<StartRow> = {}): AppendRequest {
    const start: StartRow = {
      workflowId: undefined,
      workflowName: "orders",
      revision: 1,
      executionKey: undefined,
      requestId: undefined,
      requestHash: undefined,
      correlationId: "corr-1",
      labels: {},
      priority: 5,
      traceparent: undefined,
      createdAt: at,
      ...fields,
    };
    const { workflowName, revision, correlationId } = start;
    const created = { workflowId: "wfl_1", workflowName, revision, input: { order: 7 }, correlationId, triggerType: "api" };
    const events = this.#fold([
      { type: "execution_created", at, stepPath: "", attempt: 0, payload: created },
      { type: "execution_started", at, stepPath: "", attempt: 0, payload: {} },
    ]);
    return { ...this.#request(events), start, row: executionRow(this.state) };
  }

  /** A step that is over: the execution's own row is not written. */
  step(name: string, result: unknown = { n: this.state.sequence }): AppendRequest {
    return this.#request(
      this.#fold([{ type: "step_succeeded", at: at + this.state.sequence, stepPath: name, attempt: 1, payload: { result: result as never } }]),
    );
  }

  end(): AppendRequest {
    const events = this.#fold([
      { type: "execution_ended", at: at + 1_000, stepPath: "", attempt: 0, payload: { state: "completed", endReason: "success", output: [1, "two"] } },
    ]);
    return { ...this.#request(events), row: executionRow(this.state), release: true };
  }

  /** Only the row: the execution leaves its replica until `wakeAt`. */
  park(wakeAt?: number): AppendRequest {
    return { ...this.#request([]), row: executionRow(this.state, wakeAt), release: true };
  }

  #fold(events: readonly NewEvent[]): ExecutionEvent[] {
    return events.map((event) => {
      const numbered = { ...event, sequence: this.state.sequence + 1 };
      applyEvent(this.state, numbered);
      return numbered;
    });
  }

  #request(events: readonly ExecutionEvent[]): AppendRequest {
    return { tenantId: this.#tenantId, executionId: this.executionId, events, release: false };
  }
}

/** Numbers of the events that stand in an execution's ledger. */
export async function sequencesOf({ pool }: Place, uuid: string): Promise<number[]> {
  const { rows } = await pool.query<{ sequence: number }>("select sequence from execution_events where execution_id = $1 order by sequence", [uuid]);
  return rows.map(({ sequence }) => sequence);
}

export async function ownerOf({ pool }: Place, uuid: string): Promise<string | null | undefined> {
  const { rows } = await pool.query<{ owner: string | null }>("select owner from workflow_executions where id = $1", [uuid]);
  return rows[0]?.owner;
}

/** Waits until the server says so; asks, because nothing on this side is told. */
export async function until({ pool }: Pick<Place, "pool">, sql: string, values: unknown[] = []): Promise<void> {
  for (const startedAt = performance.now(); performance.now() - startedAt < 60_000; ) {
    const { rows } = await pool.query<{ holds: boolean }>(`select (${sql}) as holds`, values);
    if (rows[0]?.holds) return;
    await systemClock.sleep(5);
  }
  throw new Error(`for a minute it was not so: ${sql}`);
}

/** Holds when some other session of this database waits for a lock. */
export const someoneWaits =
  "exists (select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and pid <> pg_backend_pid())";
