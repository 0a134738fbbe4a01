/**
 * The engine over gRPC: executions of ten `log` steps, each durable before the next, at 64 concurrent and at one, with the
 * raw commit and the journal alone measured in the same run on the same disk.
 */
import { randomUUID } from "node:crypto";
import type pg from "pg";
import { parseId } from "../src/base/ids.ts";
import { measureJournal } from "./journal-ceiling.ts";
import { measureRawCommitMs, median, readCounters, round, writeResults } from "./measure.ts";
import { measureRecovery, type Recovery } from "./recovery.ts";
import { type Service, startService } from "./service.ts";

const stepCount = 10;
/** Created, started, ended, and one for each step. */
const eventsPerExecution = stepCount + 3;
const concurrent = 64;
const batchSize = 16;
/** Executions of one measurement; three measurements, the median counts. */
const executionCount = 3_000;

export async function run(): Promise<void> {
  const service = await startService();
  try {
    // The client asks small indexes all the time, and would read whole tables while their statistics are young.
    await service.database.query("set enable_seqscan = off");
    await createWorkflow(service, "bench", 2);
    const rawCommitMs = await measureRawCommitMs(service.database);
    console.log(`one raw commit          ${rawCommitMs.toFixed(3)} ms (median of 200)`);
    await measureBatches(service, 1_000);

    const before = { counters: await readCounters(service.database), cpuMs: await service.cpuMs() };
    const batched: number[] = [];
    for (let n = 0; n < 3; n++) batched.push(await measureBatches(service, executionCount));
    const after = { counters: await readCounters(service.database), cpuMs: await service.cpuMs() };
    const steps = 3 * executionCount * stepCount;
    const writeTx = (after.counters.transactions - before.counters.transactions) / steps;
    const walBytes = (after.counters.walBytes - before.counters.walBytes) / steps;
    const cpuUs = ((after.cpuMs - before.cpuMs) * 1000) / steps;
    console.log(
      `64 concurrent, batches  ${Math.round(median(batched))} steps/s   ${writeTx.toFixed(4)} write transactions, ${walBytes.toFixed(0)} WAL bytes, ${cpuUs.toFixed(1)} µs Node CPU a step`,
    );

    const unary: number[] = [];
    for (let n = 0; n < 3; n++) unary.push(await measureUnary(service, executionCount));
    console.log(`64 concurrent, unary    ${Math.round(median(unary))} steps/s`);

    const one = await measureOne(service, 200);
    const rawBeside = await measureRawCommitMs(service.database);
    console.log(`1 concurrent            ${one.stepMs.toFixed(3)} ms a step = ${(one.stepMs / rawBeside).toFixed(2)} raw commits (${rawBeside.toFixed(3)} ms)`);
    console.log(`start → first step done ${one.startMs.toFixed(2)} ms = ${(one.startMs / rawBeside).toFixed(2)} raw commits`);

    const eventsPerSecond = (median(batched) * eventsPerExecution) / stepCount;
    const recovery = await measureRecovery(service, "bench", "restart", eventsPerSecond);
    console.log(`kill -9, started again  ${described(recovery)}`);
    const takeover = await measureRecovery(service, "bench", "peer", eventsPerSecond);
    console.log(`kill -9, peer takes over ${described(takeover)}`);

    const ceiling = await measureJournal(service.databaseUrl);
    console.log(`journal alone           ${Math.round(ceiling)} steps/s`);
    writeResults("engine", {
      w1_64_steps_per_s: Math.round(median(batched)),
      w1_64_unary_steps_per_s: Math.round(median(unary)),
      w1_1_step_ms: round(one.stepMs, 3),
      start_to_first_step_ms: round(one.startMs, 3),
      write_tx_per_step: round(writeTx, 4),
      wal_bytes_per_step: Math.round(walBytes),
      node_cpu_us_per_step: round(cpuUs, 1),
      recovery_1000_ms: Math.round(recovery.totalMs),
      recovery_1000_detection_ms: Math.round(recovery.detectionMs),
      recovery_1000_claims_ms: Math.round(recovery.claimsMs),
      recovery_1000_own_ms: Math.round(recovery.ownMs),
      recovery_1000_beyond_ms: Math.round(recovery.beyondMs),
      takeover_1000_ms: Math.round(takeover.totalMs),
      takeover_1000_detection_ms: Math.round(takeover.detectionMs),
      takeover_1000_beyond_ms: Math.round(takeover.beyondMs),
      raw_commit_ms: round(rawBeside, 3),
      journal_ceiling_steps_per_s: Math.round(ceiling),
    });
  } finally {
    await service.stop();
  }
}

function described({ running, totalMs, detectionMs, claimsMs, ownMs, beyondMs }: Recovery): string {
  const whole = `${Math.round(totalMs)} ms until the last of ${running} running ones ended: ${Math.round(detectionMs)} until they were free`;
  return `${whole}, ${Math.round(claimsMs)} until all were claimed; ${Math.round(beyondMs)} beyond that and their own ${Math.round(ownMs)}`;
}

/** Ten log steps, each a barrier of its own. */
async function createWorkflow(service: Service, name: string, durability: number): Promise<void> {
  const log = (index: number): object => ({ name: `s${index}`, kind: { case: "log", value: { message: "step of {{execution_id}}" } } });
  const steps = Array.from({ length: stepCount }, (_, index) => log(index));
  await service.workflows.createWorkflow({ workflow: { name, definition: { durability, steps } } } as never);
}

/** Keeps `concurrent` executions open, started in batches; steps per second. */
async function measureBatches(service: Service, count: number): Promise<number> {
  const requests = Array.from({ length: batchSize }, () => ({ workflow: "bench" }));
  return await closedLoop(service, count, batchSize, async () => {
    const { results } = await service.workflows.batchStartExecutions({ requests });
    for (const { result } of results) if (result.case !== "execution") throw new Error(`a start was refused: ${result.value?.message}`);
    return results.map(({ result }) => (result.case === "execution" ? result.value.id : ""));
  });
}

async function measureUnary(service: Service, count: number): Promise<number> {
  return await closedLoop(service, count, 1, async () => {
    const { execution } = await service.workflows.startExecution({ workflow: "bench", requestId: randomUUID() });
    return [execution?.id ?? ""];
  });
}

/** Starts while there is room, asks the database which have ended: the client's share stays small and the same for all. */
async function closedLoop(service: Service, count: number, size: number, start: () => Promise<string[]>): Promise<number> {
  const startedAt = performance.now();
  let started = 0;
  let starting = 0;
  let open = 0;
  for (;;) {
    while (started < count && open + starting + size <= concurrent) {
      started += size;
      starting += size;
      void start().finally(() => (starting -= size));
    }
    const startingBefore = starting;
    open = await countDriven(service.database);
    if (started >= count && startingBefore === 0 && open === 0) return (count * stepCount * 1000) / (performance.now() - startedAt);
    await new Promise((resolve) => setTimeout(resolve, 3));
  }
}

/** Executions that a replica drives at this moment: read from a small partial index, so that asking costs little. */
async function countDriven(database: pg.Client): Promise<number> {
  const { rows } = await database.query<{ n: string }>({ name: "bench_driven", text: "select count(*) as n from workflow_executions where owner is not null" });
  return Number(rows[0]?.n);
}

/**
 * One execution after the other, with nobody watching: time per step between the ledger's own first and last moment, and the
 * unary call that answers when the first step is durable.
 */
async function measureOne(service: Service, count: number): Promise<{ stepMs: number; startMs: number }> {
  let ranMs = 0;
  const startMs: number[] = [];
  for (let n = 0; n < count; n++) {
    const calledAt = performance.now();
    const { execution } = await service.workflows.startExecution({ workflow: "bench" });
    startMs.push(performance.now() - calledAt);
    const { rows } = await untilEnded(service.database, execution?.id ?? "");
    ranMs += rows[0]?.ms ?? 0;
  }
  return { stepMs: ranMs / count / (stepCount - 1), startMs: median(startMs) };
}

/** From the first step's event to the last one's, by the engine's clock; the mean over many evens out its whole milliseconds. */
async function untilEnded(database: pg.Client, executionId: string): Promise<pg.QueryResult<{ ms: number }>> {
  for (;;) {
    // Asked seldom: the answer is the ledger's own time, and each question takes some from what is measured.
    await new Promise((resolve) => setTimeout(resolve, 5));
    const answer = await database.query<{ ms: number }>({
      name: "bench_ran",
      text: `select extract(epoch from max(at) - min(at)) * 1000 as ms from execution_events
             where tenant_id = 'default' and execution_id = $1 and type = 'step_succeeded' having count(*) = $2`,
      values: [uuidOf(executionId), stepCount],
    });
    if (answer.rows.length > 0) return { ...answer, rows: answer.rows.map((row) => ({ ms: Number(row.ms) })) };
  }
}

function uuidOf(executionId: string): string {
  return parseId("execution", executionId) ?? "";
}
