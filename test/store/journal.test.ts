import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { AppendOutcome } from "../../src/store/journal.ts";
import { connect, openPlace, openReplica, type Place, type Replica, until, Writer } from "./journal-fixture.ts";

let place: Place;
let replica: Replica;

beforeAll(async () => {
  place = await openPlace();
  replica = await openReplica(place);
});
afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await place[Symbol.asyncDispose]();
});

const committed: AppendOutcome = { kind: "committed" };
const writers = (count: number): Writer[] => Array.from({ length: count }, () => new Writer());

async function started(count: number, by: Replica = replica): Promise<Writer[]> {
  const all = writers(count);
  for (const outcome of await Promise.all(all.map((writer) => by.journal.append(writer.start())))) expect(outcome).toEqual(committed);
  return all;
}

async function transactionsOf(all: readonly Writer[]): Promise<number> {
  const sql = "select count(distinct xmin::text)::int as n from execution_events where execution_id = any($1::uuid[])";
  const { rows } = await place.pool.query<{ n: number }>(sql, [all.map(({ uuid }) => uuid)]);
  return rows[0]?.n ?? 0;
}

describe("an append", () => {
  it("shares one transaction with all that arrive at the same time", async () => {
    expect(await transactionsOf(await started(40))).toBe(1);
  });

  it("is cut into batches of bounded size", async () => {
    await using small = await openReplica(place, { journal: { rowsMax: 10 } });
    expect(await transactionsOf(await started(20, small))).toBe(4);
  });
});

describe("the plan of the batch statement", () => {
  it("cannot take another index for the key: each that leads with the tenant has a condition", async () => {
    const { rows } = await place.pool.query<{ name: string }>(
      `select i.indexrelid::regclass::text as name from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
       where i.indrelid = any($1::regclass[]) and a.attname = 'tenant_id' and not i.indisprimary and i.indpred is null`,
      [["workflow_executions", "workflow_instances", "execution_events", "event_waits", "signals", "tasks", "execution_outbox"]],
    );
    expect(rows).toEqual([]);
  });

  it("scans no table, neither a fresh one nor one that has grown a hundredfold since it was analysed", async () => {
    await using other = await openPlace();
    const scans = async (): Promise<number> => {
      const { rows } = await other.pool.query<{ n: number }>(
        "select coalesce(sum(seq_scan), 0)::int as n from pg_stat_user_tables where relname in ('workflow_executions', 'execution_events', 'workflow_instances', 'workflow_execution_steps')",
      );
      return rows[0]?.n ?? 0;
    };
    const write = async (): Promise<void> => {
      await using short = await openReplica(other);
      const all = writers(30);
      for (const make of [(w: Writer) => w.start(), (w: Writer) => w.step("a"), (w: Writer) => w.end()]) {
        for (const outcome of await Promise.all(all.map((writer) => short.journal.append(make(writer))))) expect(outcome).toEqual(committed);
      }
    };
    const writeAlone = async (): Promise<void> => {
      await using short = await openReplica(other);
      for (const writer of writers(200)) {
        for (const request of [writer.start(), writer.step("a"), writer.end()]) expect(await short.journal.append(request)).toEqual(committed);
      }
    };
    const gone = (name: string): Promise<void> =>
      until(other, "not exists (select 1 from pg_stat_activity where datname = current_database() and application_name = $1)", [name]);
    const before = await scans();
    await writeAlone();
    await write();
    await other.pool.query("analyze");
    await other.pool.query("insert into execution_events select 'acme', gen_random_uuid(), 1, 'anomaly', '', 0, now(), '{}' from generate_series(1, 20000)");
    await other.pool.query(
      "insert into workflow_executions (tenant_id, id, workflow_name, revision, state, correlation_id, last_sequence, create_time) select 'acme', gen_random_uuid(), 'w', 1, 'running', 'c', 1, now() from generate_series(1, 5000)",
    );
    await write();
    await gone("pawf-journal");
    expect(await scans()).toBe(before);
    const { rows } = await other.pool.query<{ name: string }>(
      "select indexrelname as name from pg_stat_user_indexes where relname = 'workflow_executions' and idx_tup_read > 0 order by 1",
    );
    expect(rows, "a row is found by its key, not among all of its tenant").toEqual([{ name: "workflow_executions_pkey" }]);
    const looker = await connect(other);
    await looker.query("select count(*) from execution_events");
    await looker.end();
    await gone("beside");
    expect(await scans(), "a scan would have been counted").toBeGreaterThan(before);
  });
});
