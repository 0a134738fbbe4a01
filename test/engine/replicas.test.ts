/** Replicas as processes on one database: they hear of each other's work, and take over from each other. Of frozen ones: chaos/kill.test.ts. */
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { limits } from "../../src/base/limits.ts";
import { connect } from "../service/support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "../service/support/definitions.ts";
import { begin, ended, ms } from "../service/support/fixture.ts";
import { type Ledger, startLedger } from "../service/support/ledger.ts";
import { restart, type Server, startServer } from "../service/support/server.ts";
import { collect, range, sequences } from "../service/support/watching.ts";
import { createMigratedDatabase, openPool, type TestDatabase } from "../support/postgres.ts";

let ledger: Ledger;
let database: TestDatabase;
let pool: Pool;
/** Those that live; a test that kills one takes it out. */
const servers: Server[] = [];
beforeAll(async () => {
  ledger = await startLedger();
  database = await createMigratedDatabase();
  pool = openPool(database, { max: 2 });
  servers.push(await startServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] }));
  await three();
  // By then each knows of the others.
  await pause(limits.leaseRenewMs + 500);
});
afterAll(async () => {
  await Promise.all(servers.map((server) => server.kill()));
  await ledger?.close();
  await pool?.end();
  await database?.drop();
});

async function three(): Promise<[Server, Server, Server]> {
  const missing = Array.from({ length: 3 - servers.length }, () => restart(servers[0] as Server));
  servers.push(...(await Promise.all(missing)));
  return servers as [Server, Server, Server];
}

const pause = (durationMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, durationMs));
const quantile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ?? 0;
const rounded = (values: readonly number[]): string => values.map((value) => value.toFixed(0)).join(" ");

describe("a watch of what another replica drives", () => {
  /** Longer than a watch counts as new, so that only messages can make it quick. */
  const steps = Array.from({ length: 30 }, (_, index) => delayStep(`wait${index}`, "0.15s"));

  /** For each event that came in the last half: how long after its moment. */
  async function delays(here: Server, there: Server): Promise<{ delaysMs: number[]; sequences: number[] }> {
    const { id } = await begin(connect(here), steps);
    const arrivals: number[] = [];
    const seen = await collect(connect(there).workflows.watchExecution({ executionId: id, afterSequence: 0n }), (all) => {
      while (arrivals.length < all.events.length) arrivals.push(Date.now());
      return false;
    });
    expect(seen.events.at(-1)?.type).toBe("execution_ended");
    const all = seen.events.map((event, index) => (arrivals[index] ?? 0) - ms(event.time));
    return { delaysMs: all.slice(Math.floor(all.length / 2)), sequences: sequences(seen.events) };
  }

  test("hears of each event when it is committed, by messages and not by asking", async () => {
    const [here, there] = await three();
    const seen = await delays(here, there);
    console.log(`event on another replica: p50 ${quantile(seen.delaysMs, 0.5).toFixed(1)} ms, p99 ${quantile(seen.delaysMs, 0.99).toFixed(1)} ms`);
    expect(seen.sequences).toEqual(range(1, seen.sequences.length));
    // Asking every five seconds would make it 2,500 ms.
    expect(quantile(seen.delaysMs, 0.5)).toBeLessThan(2_000);
  });

  test("misses nothing while the connections for messages are broken again and again", async () => {
    const [here, there] = await three();
    let breaking = true;
    const breaker = (async () => {
      while (breaking) {
        await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pawf-notify' and datname = current_database()");
        await pause(200);
      }
    })();
    const seen = await delays(here, there);
    breaking = false;
    await breaker;
    expect(seen.sequences).toEqual(range(1, seen.sequences.length));
  });
});

describe("a command for an execution that another replica drives", () => {
  /** An execution whose only step hangs, driven by `server`. */
  async function hanging(server: Server): Promise<string> {
    const path = `/hang-${crypto.randomUUID()}`;
    ledger.script(path, ["hang"]);
    const { id } = await begin(connect(server), [httpStep("hang", ledger.url + path), logStep("never")]);
    await ledger.called(path);
    return id;
  }

  test("is carried out by its driver and answered, refusals too", async () => {
    const [here, there] = await three();
    const { workflows } = connect(there);
    const tookMs: number[] = [];
    for (let round = 0; round < 2; round++) {
      const executionId = await hanging(here);
      const askedAt = performance.now();
      const { execution } = await workflows.terminateExecution({ executionId, reason: "enough" });
      tookMs.push(performance.now() - askedAt);
      expect(execution?.state).toBe(ExecutionState.TERMINATED);
      const { events } = await workflows.listExecutionEvents({ executionId });
      expect(events.at(-1)?.type).toBe("execution_ended");
    }
    console.log(`terminated through another replica, ms: ${rounded(tookMs)}`);
    const executionId = await hanging(here);
    await workflows.cancelExecution({ executionId, reason: "mind changed", gracePeriod: { seconds: 0n, nanos: 1_000_000 } });
    expect((await ended(connect(here), executionId)).state).toBe(ExecutionState.CANCELED);
    const { rows } = await pool.query("select from execution_commands");
    expect(rows).toHaveLength(0);
  });

  test("that meets another one has one winner, and the loser is told why", async () => {
    const replicas = await three();
    for (let round = 0; round < 2; round++) {
      const executionId = await hanging(replicas[0] as Server);
      const answers = await Promise.allSettled(
        replicas.map((replica) => connect(replica).workflows.terminateExecution({ executionId, reason: `round ${round}` })),
      );
      const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [String(answer.reason)] : []));
      expect(refused).toHaveLength(2);
      for (const refusal of refused) expect(refusal).toMatch(/has ended: TERMINATED/);
      const { events } = await connect(replicas[0] as Server).workflows.listExecutionEvents({ executionId });
      expect(events.filter(({ type }) => type === "execution_ended")).toHaveLength(1);
      expect(events.filter(({ type }) => type === "operator_acted")).toHaveLength(1);
    }
  });

  test("arrives without messages, too, and outlives its driver", async () => {
    const [here, there, third] = await three();
    const first = await hanging(here);
    let breaking = true;
    const breaker = (async () => {
      while (breaking) {
        await pool.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pawf-notify' and datname = current_database()");
        await pause(20);
      }
    })();
    expect((await connect(there).workflows.terminateExecution({ executionId: first, reason: "enough" })).execution?.state).toBe(ExecutionState.TERMINATED);
    breaking = false;
    await breaker;
    const second = await hanging(here);
    here.signal("SIGSTOP");
    const asked = connect(there).workflows.terminateExecution({ executionId: second, reason: "enough" });
    await pause(200);
    await here.kill();
    servers.shift();
    expect((await asked).execution?.state).toBe(ExecutionState.TERMINATED);
    const { events } = await connect(third).workflows.listExecutionEvents({ executionId: second });
    expect(events.filter(({ type }) => type === "execution_ended")).toHaveLength(1);
  });
});

describe("takeover", () => {
  /** A few waits and a call to `path`. */
  async function drive(server: Server, count: number, path: string): Promise<readonly string[]> {
    const { workflows } = connect(server);
    const waits = [1, 2, 3].map((index) => delayStep(`wait${index}`, "0.2s"));
    const workflow = await createWorkflow(connect(server), [...waits, httpStep("call", ledger.url + path), logStep("done")]);
    const { results } = await workflows.batchStartExecutions({ requests: Array.from({ length: count }, () => ({ workflow })) });
    const ids = results.map(({ result }) => (result.case === "execution" ? result.value.id : ""));
    expect(ids.every((id) => id !== "")).toBe(true);
    return ids;
  }

  /** Until every execution that replica `owner` drove belongs to another one. */
  async function untilTaken(owner: string): Promise<void> {
    for (;;) {
      const { rows } = await pool.query<{ left: number }>(
        "select count(*)::int as left from workflow_executions where end_time is null and (owner = $1 or (owner is null and wake_at <= clock_timestamp()))",
        [owner],
      );
      if (rows[0]?.left === 0) return;
      await pause(5);
    }
  }

  async function ownerOfAll(): Promise<string> {
    const { rows } = await pool.query<{ owner: string }>("select distinct owner from workflow_executions where end_time is null and owner is not null");
    expect(rows).toHaveLength(1);
    return rows[0]?.owner ?? "";
  }

  async function expectWhole(server: Server, ids: readonly string[]): Promise<void> {
    const { workflows } = connect(server);
    for (const executionId of ids) {
      const execution = await ended(connect(server), executionId);
      expect(execution.state, executionId).toBe(ExecutionState.COMPLETED);
      const { events } = await workflows.listExecutionEvents({ executionId, pageSize: 1000 });
      expect(sequences(events)).toEqual(range(1, events.length));
      expect(events.filter((event) => event.type === "execution_ended")).toHaveLength(1);
      const keys = ledger.calls.filter((call) => call.headers["saga-id"] === executionId).map(({ key }) => key);
      expect(new Set(keys)).toEqual(new Set([`"${executionId}/call/action"`]));
    }
  }

  test("after SIGKILL happens at once: the presence lock tells, not the end of the lease", async () => {
    const takenMs: number[] = [];
    for (let round = 0; round < 2; round++) {
      const [victim] = await three();
      // Answered only after the takeover, so that no execution ends before it, however slow the machine is.
      const path = `/call${round}`;
      ledger.script(path, ["hang"]);
      const ids = await drive(victim, 10, path);
      // In the middle of the waits, then while all calls are out.
      if (round === 0) await pause(100);
      else await ledger.called(path, 10);
      const owner = await ownerOfAll();
      const killedAt = performance.now();
      await victim.kill();
      servers.shift();
      await untilTaken(owner);
      takenMs.push(performance.now() - killedAt);
      ledger.script(path, [200]);
      ledger.release();
      await expectWhole(servers[0] as Server, ids);
    }
    console.log(`takeover after SIGKILL, ms: ${rounded(takenMs)}; p50 ${quantile(takenMs, 0.5).toFixed(0)}`);
    // The lease of the dead would have told after a minute.
    expect(Math.max(...takenMs)).toBeLessThan(40_000);
  });
});
