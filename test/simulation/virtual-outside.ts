/** What a simulated replica has in place of PostgreSQL for events, children and tasks. */
import type { Json } from "../../src/base/json.ts";
import type { ChildFacts } from "../../src/domain/children.ts";
import type { TaskClockOptions } from "../../src/engine/task-clock.ts";
import type { ChildFinder } from "../../src/store/child-finder.ts";
import type { SignalRepository } from "../../src/store/signal-repository.ts";
import type { TaskStore } from "../../src/store/task-store.ts";
import type { VirtualDatabase } from "./database.ts";
import type { Link } from "./link.ts";
import type { OutsideTables } from "./outside-tables.ts";
import type { Sabotage } from "./sabotage.ts";

export function createVirtualSignals(tables: OutsideTables, link: Link, replicaId: string): SignalRepository {
  return {
    store: (tenantId, signal) => link.call("store signal", () => tables.storeSignal(tenantId, signal, replicaId)),
    match: (_, signalId) => link.call("match signal", () => tables.matchSignal(signalId)),
    delivered: (_, signalId) =>
      link.call("signal delivered", () => {
        const signal = tables.signals.get(signalId);
        if (signal) signal.delivered = true;
      }),
    find: (wish) => {
      // What the run received until now, not until the statement runs.
      const received = [...wish.received];
      return link.call("find signals", () => tables.findSignals({ ...wish, received }));
    },
    takeUndelivered: () => link.call("take signals", () => tables.takeUndelivered(replicaId)),
    takeOutbox: () => link.call("take outbox", () => tables.takeOutbox(replicaId)),
    sent: (command) => link.call("outbox done", () => tables.sent(command)),
  };
}

export function createVirtualChildFinder(database: VirtualDatabase, link: Link, sabotage: Sabotage | undefined): ChildFinder {
  const factsOf = (executionId: string): [string, ChildFacts][] => {
    const stored = database.executions.get(executionId);
    if (!stored) return [];
    const end = database.ledgerOf(executionId).findLast(({ type }) => type === "execution_ended");
    const output: Json = end?.type === "execution_ended" ? (end.payload.output ?? null) : null;
    const { status, saga, failure } = stored.row;
    const isEnded = stored.row.endedAt !== undefined;
    return [[executionId, { status, saga: sabotage === "child_undone_unseen" && isEnded ? "compensated" : saga, output, failure }]];
  };
  return (_, executionIds) => link.call("find children", () => new Map(executionIds.flatMap(factsOf)));
}

/** The part of the task store that replicas need. */
export type VirtualTasks = Pick<TaskStore, "take" | "recall" | "extend"> & TaskClockOptions["store"];

export function createVirtualTasks(tables: OutsideTables, link: Link, sabotage: Sabotage | undefined): VirtualTasks {
  return {
    take: ({ queue, worker, countMax }) => link.call("take tasks", () => tables.takeTasks(queue, worker, countMax)),
    extend: (_, beats) =>
      link.call("extend tasks", () => {
        for (const { taskId } of beats) tables.extendTask(taskId);
        return new Map();
      }),
    recall: async (_, taskId) => {
      if (await link.call("recall task", () => tables.takeBack(taskId))) return true;
      const isHeld = await link.call("ask task back", () => tables.askBack(taskId));
      return !isHeld || sabotage === "recall_from_worker";
    },
    expired: () => link.call("expired tasks", () => tables.expiredTasks()),
    waiting: () => Promise.resolve([]),
    discard: (_, taskId) => link.call("discard task", () => void tables.tasks.delete(taskId)),
    note: () => Promise.resolve(),
    forgetWorkers: () => Promise.resolve(),
  };
}
