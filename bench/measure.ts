/** Small tools that benchmarks share. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import type pg from "pg";

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

export interface DatabaseCounters {
  readonly transactions: number;
  readonly walBytes: number;
}

/** Write transactions (those that got an id) and WAL written by the whole server so far. */
export async function readCounters(database: pg.Client): Promise<DatabaseCounters> {
  const { rows } = await database.query<{ tx: string; wal: string }>(
    "select pg_snapshot_xmax(pg_current_snapshot())::text as tx, (pg_current_wal_insert_lsn() - '0/0')::text as wal",
  );
  return { transactions: Number(rows[0]?.tx), walBytes: Number(rows[0]?.wal) };
}

/** Median time of one small durable transaction on this disk at this moment. */
export async function measureRawCommitMs(database: pg.Client, times = 200): Promise<number> {
  await database.query("create table if not exists bench_commit (id int primary key, n int)");
  await database.query("insert into bench_commit values (1, 0) on conflict do nothing");
  const samples: number[] = [];
  for (let n = 0; n < times; n++) {
    const startedAt = performance.now();
    await commitOnce(database, n);
    samples.push(performance.now() - startedAt);
  }
  return median(samples);
}

/** One small durable transaction; `measureRawCommitMs` has made its table. */
export async function commitOnce(database: pg.Client, n: number): Promise<void> {
  await database.query({ name: "bench_commit", text: "update bench_commit set n = $1 where id = 1", values: [n] });
}

export function writeResults(name: string, results: Readonly<Record<string, number | string>>): void {
  const folder = path.join(import.meta.dirname, "results");
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${name}.json`), `${JSON.stringify(results, null, 2)}\n`);
}

export function round(value: number, digits = 2): number {
  return Number(value.toFixed(digits));
}
