/**
 * Deletes one million events of ended executions from a ledger of 1.1 million while the service's own journal goes on
 * committing, and says how fast that is, how long the longest transaction was, and what the commits beside it felt.
 */
import { randomUUID } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import pg from "pg";
import { systemClock } from "../src/base/clock.ts";
import { systemIds } from "../src/base/ids.ts";
import { silentLog } from "../src/base/log.ts";
import type { ExecutionEvent } from "../src/domain/events.ts";
import { Retention } from "../src/engine/retention.ts";
import { BatchedJournal } from "../src/store/batched-journal.ts";
import { clientConfig } from "../src/store/connection-config.ts";
import { startEmbeddedPostgres } from "../src/store/embedded/embedded-postgres.ts";
import { migrateDatabase } from "../src/store/migrate.ts";
import { ReplicaLease } from "../src/store/replica-lease.ts";
import { createRetentionStore } from "../src/store/retention-store.ts";
import { median, round, writeResults } from "./measure.ts";

const expiredExecutions = 50_000;
const keptExecutions = 5_000;
const eventsEach = 20;
/** One append after the other, as one busy execution makes them. */
const appendPauseMs = 5;
const calmMs = 5_000;

export async function run(): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), "pawf-retention-"));
  // PostgreSQL refuses to run as root; started by root it runs as another user, who has to reach its folder.
  chmodSync(folder, 0o711);
  const postgres = await startEmbeddedPostgres({ dataDir: path.join(folder, "pg"), durable: true, exclusive: true, log: silentLog });
  const stopLast: (() => Promise<void>)[] = [];
  try {
    await migrateDatabase(postgres.databaseUrl);
    const database = new pg.Client({ connectionString: postgres.databaseUrl });
    await database.connect();
    stopLast.push(() => database.end());
    console.log(`filling: ${(expiredExecutions + keptExecutions) * eventsEach} events of ${expiredExecutions + keptExecutions} executions`);
    await fill(database);
    await measure(database, postgres.databaseUrl);
  } finally {
    for (const stop of stopLast) await stop();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  }
}

async function measure(database: pg.Client, databaseUrl: string): Promise<void> {
  const load = await startLoad(databaseUrl);
  await systemClock.sleep(calmMs);
  const calm = load.take();
  const transactions: { events: number; durationMs: number }[] = [];
  const retention = new Retention({
    store: createRetentionStore(clientConfig(databaseUrl, "bench")),
    clock: systemClock,
    log: silentLog,
    now: () => Date.now(),
    random: () => 0,
    observer: { deleted: (_, events, durationMs) => void transactions.push({ events, durationMs }) },
  });
  const startedAt = performance.now();
  const report = await retention.pass();
  const elapsedMs = performance.now() - startedAt;
  const busy = load.take();
  await load.stop();
  const left = await database.query<{ executions: number }>("select count(*)::int as executions from workflow_executions where end_time is not null");
  if (left.rows[0]?.executions !== keptExecutions) throw new Error(`${left.rows[0]?.executions} ended executions stand, not ${keptExecutions}`);
  const durations = transactions.map(({ durationMs }) => durationMs);
  const results = {
    events_deleted: report.events,
    executions_deleted: report.executions,
    elapsed_s: round(elapsedMs / 1000, 1),
    events_deleted_per_s: Math.round((report.events * 1000) / elapsedMs),
    transactions: transactions.length,
    median_transaction_ms: round(median(durations), 1),
    longest_transaction_ms: round(Math.max(...durations), 1),
    commit_ms_before: round(median(calm)),
    commit_ms_during: round(median(busy)),
    commit_p99_ms_before: round(percentile(calm, 0.99)),
    commit_p99_ms_during: round(percentile(busy, 0.99)),
  };
  console.table(results);
  writeResults("retention", results);
}

/** Rows as the journal writes them, made by the server itself: a third of the table a month too old, tenants and workflows mixed. */
async function fill(database: pg.Client): Promise<void> {
  await database.query("insert into tenants (id) values ('bench'), ('other') on conflict do nothing");
  await database.query(
    `create temporary table made as
     select case when n % 5 = 0 then 'other' else 'bench' end as tenant_id, gen_random_uuid() as id, md5((n % 20)::text)::uuid as workflow_id,
       now() - case when n <= ${expiredExecutions} then interval '40 days' else interval '2 days' end - n * interval '1 second' as end_time
     from generate_series(1, ${expiredExecutions + keptExecutions}) n order by random()`,
  );
  await database.query(
    `insert into workflow_executions (tenant_id, id, workflow_id, workflow_name, revision, state, end_reason, input, correlation_id, last_sequence, create_time, start_time, end_time)
     select tenant_id, id, workflow_id, 'bench', 1, 'completed', 'success', '{"order":42}', id::text, $1, end_time, end_time, end_time from made`,
    [eventsEach],
  );
  await database.query(
    "insert into workflow_instances (tenant_id, id, state, create_time, update_time, end_time) select tenant_id, id, 'completed', end_time, end_time, end_time from made",
  );
  await database.query(
    `insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
     select tenant_id, id, s, 'step_succeeded', 's' || s, 1, end_time, json_build_object('result', json_build_object('message', 'step ' || s || ' of ' || id)) from made, generate_series(1, $1::int) s`,
    [eventsEach],
  );
  await database.query("checkpoint");
}

interface Load {
  /** Latencies since the last call, in milliseconds. */
  take(): number[];
  stop(): Promise<void>;
}

async function startLoad(databaseUrl: string): Promise<Load> {
  const connection = clientConfig(databaseUrl, "bench");
  const lease = new ReplicaLease({ replicaId: randomUUID(), connection, leaseMs: 600_000 });
  const { epoch } = await lease.register("bench");
  const fence = { replicaId: lease.replicaId, epoch };
  const journal = new BatchedJournal({ connection, fence: () => fence, clock: systemClock, log: silentLog, onFenced: () => undefined });
  const stopping = new AbortController();
  const latencies: number[] = [];
  const loop = (async () => {
    const executionId = systemIds.next("execution");
    for (let sequence = 1; !stopping.signal.aborted; sequence++) {
      const event: ExecutionEvent = {
        sequence,
        type: "step_succeeded",
        at: Date.now(),
        stepPath: "s",
        attempt: sequence,
        payload: { result: { n: sequence } },
      };
      const startedAt = performance.now();
      const outcome = await journal.append({ tenantId: "bench", executionId, events: [event], release: false });
      if (outcome.kind !== "committed") throw new Error(`an append was ${outcome.kind}`);
      latencies.push(performance.now() - startedAt);
      await systemClock.sleep(appendPauseMs);
    }
  })();
  return {
    take: () => latencies.splice(0),
    async stop() {
      stopping.abort();
      await loop;
      await journal.stop();
      await lease.release(epoch);
    },
  };
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}
