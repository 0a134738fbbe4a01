/**
 * A thousand executions in the middle of their steps when their server is killed with -9: how long until the last of them has
 * ended, and what of that is detection, claiming and their own work.
 */
import type pg from "pg";
import type { Service } from "./service.ts";

const executionCount = 1_000;
/** They begin side by side, so at this many events all are in their second or third step of ten. */
const eventsAtKill = 4_000;

export interface Recovery {
  /** Executions that were running when the server died. */
  readonly running: number;
  /** From the kill (of a server with a peer) or from the start of the next server until the last one has ended. */
  readonly totalMs: number;
  /** Until the dead server's executions were free to be claimed. Of a lone server this is its next start. */
  readonly detectionMs: number;
  /** From then until each had a new owner; the first ones run meanwhile. */
  readonly claimsMs: number;
  /** What their remaining events take at `eventsPerSecond`. */
  readonly ownMs: number;
  /** The total without detection and own time. */
  readonly beyondMs: number;
}

/** `by`: whether the same server is started again or a peer that was there takes over. `workflow` has ten steps. */
export async function measureRecovery(service: Service, workflow: string, by: "restart" | "peer", eventsPerSecond: number): Promise<Recovery> {
  const { database } = service;
  if (by === "peer") await service.startPeer();
  const begunAt = Date.now();
  const requests = Array.from({ length: executionCount / 2 }, () => ({ workflow }));
  // Their answers may be lost with the server.
  void Promise.allSettled([1, 2].map(() => service.workflows.batchStartExecutions({ requests })));
  while ((await eventsSince(database, begunAt)) < eventsAtKill) await pause(5);
  const { rows } = await database.query<{ owner: string; running: string }>(
    "select owner, count(*) as running from workflow_executions where owner is not null group by owner order by running desc limit 1",
  );
  const { owner, running } = rows[0] ?? { owner: "", running: "0" };
  if (by === "restart") await service.kill();
  const [killedAt, startedAt] = [Date.now(), performance.now()];
  const done = by === "restart" ? service.restart() : service.kill();
  const detectionMs = await after(startedAt, async () => (await count(database, "bench_owned", owned, [owner])) === 0);
  const claimedMs = await after(startedAt, async () => (await count(database, "bench_unowned", unowned)) === 0);
  const totalMs = await after(startedAt, async () => (await count(database, "bench_driven", driven)) === 0);
  await done;
  const ownMs = ((await eventsSince(database, killedAt)) / eventsPerSecond) * 1_000;
  return { running: Number(running), totalMs, detectionMs, claimsMs: claimedMs - detectionMs, ownMs, beyondMs: totalMs - detectionMs - ownMs };
}

const owned = "select count(*) as n from workflow_executions where owner = $1";
const unowned = "select count(*) as n from workflow_executions where owner is null and wake_at is not null";
const driven = "select count(*) as n from workflow_executions where owner is not null";

async function eventsSince(database: pg.Client, ms: number): Promise<number> {
  return await count(database, "bench_events_since", "select count(*) as n from execution_events where at >= to_timestamp($1::float8 / 1000)", [ms]);
}

async function count(database: pg.Client, name: string, text: string, values: unknown[] = []): Promise<number> {
  const { rows } = await database.query<{ n: string }>({ name, text, values });
  return Number(rows[0]?.n);
}

/** Milliseconds since `startedAt` when `isSo` first answered yes; asked every few milliseconds, from small indexes. */
async function after(startedAt: number, isSo: () => Promise<boolean>): Promise<number> {
  while (!(await isSo())) await pause(5);
  return performance.now() - startedAt;
}

async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}
