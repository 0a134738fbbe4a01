/**
 * One simulated run: whole replicas of the real engine on a virtual clock, over a database and participants that are made of
 * chance. The same seed is the same run, whatever else the machine does.
 */
import { Clients } from "./clients.ts";
import { faultsOf } from "./invariants.ts";
import { OutsideClients } from "./outside-clients.ts";
import { outsideFaults } from "./outside-invariants.ts";
import type { Sabotage } from "./sabotage.ts";
import { epochMs } from "./scheduler.ts";
import { World } from "./world.ts";

export interface SeedReport {
  readonly seed: number;
  /** Empty: everything held. */
  readonly violations: readonly string[];
  readonly executions: number;
  readonly faults: readonly string[];
  readonly steps: number;
  readonly virtualMs: number;
  readonly repeats: number;
  readonly refusals: number;
  /** Events received, executions that others started, reports of workers. */
  readonly events: number;
  readonly children: number;
  readonly taskReports: number;
  /** What happened to each execution, and what it ran, for people. */
  readonly ledgers: readonly string[];
}

/** `plain`: workflows that only call. `outside`: also events, children, worker tasks and standalone sagas. */
export type WorldKind = "plain" | "outside";

/** Long after the last fault everything must have come to an end. */
const virtualMsMax = 240_000;
const lookAfterEveryMs = 15_000;

export async function simulateSeed(seed: number, sabotage?: Sabotage, kind: WorldKind = "plain"): Promise<SeedReport> {
  const world = new World(seed, sabotage, kind === "outside");
  const clients = new Clients(world);
  const outside = world.hasOutside ? new OutsideClients(world, clients) : undefined;
  clients.begin();
  outside?.begin();
  const { scheduler, database, faults, participants } = world;
  const isSettled = (): boolean => {
    if (world.faultsSeen.length > 0) return true;
    if (clients.open > 0) return false;
    return [...database.executions.values()].every(({ row }) => row.endedAt !== undefined);
  };
  for (let round = 1; ; round++) {
    if (await scheduler.run(isSettled, round * lookAfterEveryMs)) break;
    if (round * lookAfterEveryMs >= virtualMsMax) break;
    if (faults.over) for (const executionId of database.executions.keys()) clients.lookAfter(executionId, round);
  }
  world.end();
  // What participants still have to do, they do.
  await scheduler.run(() => false, Number.POSITIVE_INFINITY);
  const violations = [...world.faultsSeen];
  if (violations.length === 0) {
    for (const executionId of clients.acknowledged) if (!database.executions.has(executionId)) violations.push(`${executionId} is lost`);
    if (clients.open > 0) violations.push(`${clients.open} calls or watches never ended`);
    const requests = [...database.executions.values()].flatMap(({ start }) => start.requestId ?? []);
    if (new Set(requests).size < requests.length) violations.push("one request started two executions");
    for (const stored of database.executions.values()) {
      const definition = world.definitions.get(stored.start.workflowId ?? "") ?? {};
      violations.push(...faultsOf({ stored, ledger: database.ledgerOf(stored.executionId), definition, participants }));
    }
  }
  if (violations.length === 0 && outside) violations.push(...outsideFaults(world, outside.sent));
  return {
    seed,
    violations,
    executions: database.executions.size,
    faults: faults.happened,
    steps: scheduler.steps,
    virtualMs: scheduler.now,
    repeats: participants.repeats,
    refusals: database.refusals,
    events: countOf(world, "event_received"),
    children: [...database.executions.values()].filter(({ row }) => row.parentExecutionId !== undefined).length,
    taskReports: outside?.reports ?? 0,
    ledgers: violations.length === 0 ? [] : [...database.executions.keys()].flatMap((executionId) => ledgerLines(world, executionId)),
  };
}

function countOf({ database }: World, type: string): number {
  return [...database.executions.values()].reduce((sum, { ledger }) => sum + ledger.filter((text) => text.includes(`"type":"${type}"`)).length, 0);
}

function ledgerLines({ database, definitions }: World, executionId: string): string[] {
  const workflowId = database.executions.get(executionId)?.start.workflowId ?? "";
  const lines = database.ledgerOf(executionId).map(({ sequence, at, type, stepPath, attempt, payload }) => {
    const told = JSON.stringify(payload).slice(0, 160);
    return `${sequence} +${at - epochMs} ${type} ${stepPath} ${attempt} ${told}`;
  });
  return [`${executionId} ${workflowId} ${JSON.stringify(definitions.get(workflowId))}`, ...lines];
}
