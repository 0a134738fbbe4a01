/**
 * What is looked up by a key is found by it, also by a planner that has no statistics yet: on tables that are empty while the statement is planned (the
 * plan stays until somebody analyses them), and on tables that grew before anybody did.
 */
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Database } from "../../src/store/database.ts";
import { createSignalRepository } from "../../src/store/signal-repository.ts";
import { purgeSignals } from "../../src/store/sql/purge-signals.ts";
import { createTaskStore } from "../../src/store/task-store.ts";
import { ids, openPlace, type Place } from "./journal-fixture.ts";

const tables = ["tasks", "signals", "event_waits", "execution_outbox"];

/** What an index is there for: a scan of it that does not compare this column reads everything of a tenant. */
const purpose: Readonly<Record<string, string>> = {
  tasks_pkey: "id",
  tasks_waiting_idx: "queue",
  tasks_execution_idx: "execution_id",
  signals_pkey: "id",
  signals_execution_idx: "execution_id",
  signals_event_idx: "correlation_key",
  signals_dedup_key: "dedup_id",
  signals_execution_dedup_key: "dedup_id",
  event_waits_pkey: "execution_id",
  event_waits_event_idx: "correlation_key",
  execution_outbox_pkey: "execution_id",
};

/** They count what a tenant has, or all have. */
const counts = new Set(["list_task_queues", "list_workers", "task_totals", "insert_signal"]);

interface PlanNode {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly Plans?: readonly PlanNode[];
}

let place: Place;
/** Texts of the prepared statements, by name. */
const statements = new Map<string, string>();
beforeAll(async () => {
  place = await openPlace();
  for (const table of tables) await place.pool.query(`alter table ${table} set (autovacuum_enabled = false)`);
  await collect();
});
afterAll(() => place[Symbol.asyncDispose]());

/** Every statement of task queues and stored events, as it is sent. */
async function collect(): Promise<void> {
  const query = async (wish: { readonly name: string; readonly text: string }): Promise<unknown> => {
    statements.set(wish.name, wish.text);
    return await place.pool.query(wish);
  };
  const pool = { query } as unknown as Pool;
  const tasks = createTaskStore({ pool } as Database);
  const signals = createSignalRepository({ pool }, randomUUID());
  const [task, execution, signalId] = [ids.next("task"), ids.next("execution"), ids.next("signal")];
  await tasks.take({ tenantId: "acme", queue: "q", taskTypes: [], labels: {}, worker: "w", session: null, countMax: 10 });
  await tasks.extend("acme", [{ taskId: task, hasNews: false }]);
  await tasks.recall("acme", task);
  await tasks.expired(10);
  await tasks.waiting([{ tenantId: "acme", queue: "q" }]);
  await tasks.discard("acme", task);
  await tasks.giveBack("acme", [task], "w");
  await tasks.known("acme", [task]);
  await tasks.canceled("acme", [task]);
  await tasks.ofExecution("acme", execution);
  await tasks.takenPaths("acme", execution);
  await tasks.queues("acme", "", 10);
  await tasks.totals();
  await tasks.workers("acme", "", "", 10);
  const event = { eventType: "t", data: null, dedupId: "d", ttlMs: 1_000, isRepeatable: true };
  const signal = { ...event, signalId, executionId: undefined, correlationKey: "k", sentBy: undefined };
  for (let time = 0; time < 2; time++) await signals.store("acme", signal);
  const sentBy = { actor: "key_test", method: "SignalExecution" };
  await signals.store("acme", { ...event, signalId: ids.next("signal"), executionId: execution, correlationKey: undefined, sentBy });
  await signals.match("acme", signalId);
  await signals.delivered("acme", signalId);
  const events = [{ eventType: "a", correlationKey: "k" }];
  await signals.find({ tenantId: "acme", executionId: execution, events, received: [], since: 0, after: undefined });
  await signals.takeUndelivered();
  await signals.takeOutbox();
  await signals.sent({ tenantId: "acme", executionId: execution, senderId: execution, sequence: 1, command: { kind: "look" } });
  await purgeSignals(pool as unknown as Parameters<typeof purgeSignals>[0], "acme", 10);
}

/** The scans of these statements that read more than they are asked for. */
async function misled(): Promise<string[]> {
  const found: string[] = [];
  for (const [name, text] of statements) {
    const { rows } = await place.pool.query<{ "QUERY PLAN": [{ Plan: PlanNode }] }>(`explain (generic_plan, format json) ${text}`);
    const look = (node: PlanNode): void => {
      const { "Node Type": type, "Relation Name": table = "", "Index Name": index = "", "Index Cond": condition = "" } = node;
      if (type === "Seq Scan" && tables.includes(table)) found.push(`${name} scans ${table}`);
      const column = purpose[index];
      if (column !== undefined && !condition.includes(`(${column} `) && !condition.includes(`${column} =`))
        found.push(`${name} reads ${index} by ${condition}`);
      for (const child of node.Plans ?? []) look(child);
    };
    for (const { Plan } of rows[0]?.["QUERY PLAN"] ?? []) look(Plan);
  }
  return found.filter((what) => !counts.has(what.split(" ")[0] ?? ""));
}

describe("a look-up by key", () => {
  it("is one of many that are looked at", () => {
    expect(statements.size).toBe(24);
  });

  it("goes by the key while the tables are empty", async () => {
    expect(await misled()).toEqual([]);
  });

  it("goes by the key when they grew and nobody has analysed them", async () => {
    await place.pool.query(
      `insert into tasks (tenant_id, id, execution_id, step_path, operation, attempt, queue, task_type, sort_time, idempotency_key, input, close_ms, create_time)
       select 'acme', gen_random_uuid(), gen_random_uuid(), 's', 'action', 1, 'q', 't', now(), 'key', '{}', 1000, now() from generate_series(1, 20000)`,
    );
    await place.pool.query(
      `insert into signals (tenant_id, id, execution_id, event_type, data, attempted_by, expire_time, purge_time)
       select 'acme', gen_random_uuid(), gen_random_uuid(), 't', 'null', gen_random_uuid(), now(), now() from generate_series(1, 20000)`,
    );
    await place.pool.query("insert into event_waits select 'acme', gen_random_uuid(), 's', 1, 0, 't', 'k' || n from generate_series(1, 20000) n");
    await place.pool.query(
      `insert into execution_outbox (tenant_id, execution_id, sender_id, sequence, command, attempted_by)
       select 'acme', gen_random_uuid(), gen_random_uuid(), 1, '{}', gen_random_uuid() from generate_series(1, 20000)`,
    );
    expect(await misled()).toEqual([]);
  });
});
