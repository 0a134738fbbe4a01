/**
 * The participant's barrier (TypeScript): runs a sibling's own database change and the barrier's row in one transaction, so that an
 * operation of a saga takes place once however often it is asked for, an undo without an action does nothing, and an action that
 * comes after its undo is refused. `sdk/barrier/barrier.sql` has the table and the statements, `docs/participant-barrier.md` the rules.
 */
import { readFileSync } from "node:fs";
import { canonicalJson, fingerprintOf } from "./canonical-json.ts";

/** One connection inside a transaction that the caller began; `pg`'s Client and PoolClient fit. */
export interface Transaction {
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly Record<string, unknown>[]; readonly rowCount: number | null }>;
}

/** What a task says of its operation (message Task). */
export interface BarrierTask {
  /** From `x-tenant-id`; empty when a participant serves one tenant. */
  readonly tenant?: string;
  /** `execution_id` */
  readonly saga: string;
  /** `step_path` */
  readonly step: string;
  readonly op: "action" | "compensate" | "confirm";
  /** Of an undo, from 0. */
  readonly generation?: number;
  /** Compared by its canonical JSON: the same operation with another input is a mistake. */
  readonly input?: unknown;
}

export type BarrierOutcome =
  /** `fn` ran; its result is stored and committed with the caller's transaction. */
  | { readonly kind: "APPLIED"; readonly result: unknown }
  /** It was done before; the first result. */
  | { readonly kind: "DUPLICATE"; readonly result: unknown }
  /** An undo that found no action: success. */
  | { readonly kind: "NULL_COMPENSATED"; readonly result: null }
  /** An action after its undo: it must not happen any more. */
  | { readonly kind: "SUSPENDED" }
  /** A twin is at work: answer IN_PROGRESS and be asked again. */
  | { readonly kind: "BUSY"; readonly retryAfterMs: number };

export class BarrierError extends Error {
  override name = "BarrierError";
}

/** Longest wait for a twin's open transaction. */
const twinWaitMs = 150;
const retryAfterMs = 200;
/** A row answers repeats for as long as the service may ask: 7 days. */
export const barrierRetentionSeconds = 7 * 86_400;

const statements = new Map(
  readFileSync(new URL("../barrier/barrier.sql", import.meta.url), "utf8")
    .split(/^-- name: /m)
    .slice(1)
    .map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)] as const),
);
const sql = (name: string): string => statements.get(name) as string;

/** Makes the table, once, at start or in a migration. */
export async function createBarrier(tx: Transaction): Promise<void> {
  await tx.query(sql("create"));
  await tx.query(sql("index"));
}

/** Deletes rows older than `olderThanSeconds`, at least 7 days. */
export async function purgeBarrier(tx: Transaction, olderThanSeconds = barrierRetentionSeconds): Promise<number> {
  if (olderThanSeconds < barrierRetentionSeconds) throw new BarrierError("rows younger than 7 days may still be asked for");
  return (await tx.query(sql("purge"), [olderThanSeconds])).rowCount ?? 0;
}

/**
 * Runs `fn` at most once for the task's operation, inside the caller's transaction: commit it afterwards, whatever the outcome. What `fn`
 * throws is thrown on; roll back then, and the operation may be tried again. @throws BarrierError for another input under the same operation
 */
export async function barrier(tx: Transaction, task: BarrierTask, fn: () => Promise<unknown>): Promise<BarrierOutcome> {
  const { tenant = "", saga, step, op, generation = 0 } = task;
  const fingerprint = fingerprintOf(task.input ?? null);
  const own = [tenant, saga, step, op, op === "action" ? 0 : generation];
  const action = [tenant, saga, step, "action", 0];
  const mark = op === "compensate" ? await claim(tx, action, fingerprint, "compensate") : undefined;
  if (mark === "busy") return { kind: "BUSY", retryAfterMs };
  const claimed = await claim(tx, own, fingerprint, op);
  if (claimed === "busy") return { kind: "BUSY", retryAfterMs };
  if (claimed === "taken") return repeat(tx, own, op, fingerprint);
  if (op === "compensate" && (mark === "new" || (await read(tx, action)).written_by !== "action")) return { kind: "NULL_COMPENSATED", result: null };
  const result = (await fn()) ?? null;
  await tx.query(sql("store"), [...own, JSON.stringify(result)]);
  return { kind: "APPLIED", result };
}

async function repeat(tx: Transaction, own: unknown[], op: string, fingerprint: string): Promise<BarrierOutcome> {
  const row = await read(tx, own);
  if (op === "action" && row.written_by === "compensate") return { kind: "SUSPENDED" };
  if (row.fingerprint !== fingerprint) throw new BarrierError(`operation ${op} of step ${own[2]} in saga ${own[1]} came with another input before`);
  if (row.result === null) return { kind: "NULL_COMPENSATED", result: null };
  return { kind: "DUPLICATE", result: JSON.parse(row.result) as unknown };
}

/**
 * Marks a PREPARED saga's local change as made, in the transaction that makes it: call it after StartSaga, beside the business rows.
 * @throws BarrierError when the service asked first and was told ROLLED_BACK: roll back, the saga is over
 */
export async function markPrepared(tx: Transaction, saga: string, tenant = ""): Promise<void> {
  const claimed = await claim(tx, [tenant, saga, "", "prepare", 0], "", "prepare");
  if (claimed === "busy" || (claimed === "taken" && (await read(tx, [tenant, saga, "", "prepare", 0])).written_by !== "prepare")) {
    throw new BarrierError(`saga ${saga} was given up before its local change; roll back`);
  }
}

/** What to answer to CheckPrepared. Asking writes the blocking row first, so that after ROLLED_BACK a slow local commit can no longer win. Commit afterwards. */
export async function checkPrepared(tx: Transaction, saga: string, tenant = ""): Promise<"COMMITTED" | "ROLLED_BACK" | "UNKNOWN"> {
  const claimed = await claim(tx, [tenant, saga, "", "prepare", 0], "", "check");
  if (claimed === "busy") return "UNKNOWN";
  if (claimed === "new") return "ROLLED_BACK";
  return (await read(tx, [tenant, saga, "", "prepare", 0])).written_by === "prepare" ? "COMMITTED" : "ROLLED_BACK";
}

/** Inserts a row; "busy" when an open transaction holds the same one. The savepoint keeps the caller's transaction usable. */
async function claim(tx: Transaction, key: unknown[], fingerprint: string, writtenBy: string): Promise<"new" | "taken" | "busy"> {
  const { rows } = await tx.query("select current_setting('lock_timeout') as before");
  await tx.query("savepoint pawf_barrier");
  await tx.query(`set local lock_timeout = ${twinWaitMs}`);
  try {
    const { rowCount } = await tx.query(sql("claim"), [...key, fingerprint, writtenBy]);
    await tx.query("release savepoint pawf_barrier");
    await tx.query("select set_config('lock_timeout', $1, true)", [rows[0]?.["before"]]);
    return rowCount === 1 ? "new" : "taken";
  } catch (error) {
    if ((error as { code?: unknown }).code !== "55P03") throw error;
    await tx.query("rollback to savepoint pawf_barrier");
    return "busy";
  }
}

async function read(tx: Transaction, key: unknown[]): Promise<{ readonly fingerprint: string; readonly written_by: string; readonly result: string | null }> {
  const row = (await tx.query(sql("read"), key)).rows[0];
  // At REPEATABLE READ a row that was committed after this transaction began is not seen: only a new transaction can tell.
  if (!row) throw Object.assign(new BarrierError("the operation changed under this transaction; roll back and run it again"), { code: "40001" });
  return row as unknown as { fingerprint: string; written_by: string; result: string | null };
}

interface Pool {
  connect(): Promise<Transaction & { release(error?: Error | boolean): void }>;
}

const attemptsMax = 5;

/** As `barrier`, in a transaction of its own that is committed here; a serialisation failure is tried again. */
export async function withBarrier<Tx extends Transaction>(pool: Pool, task: BarrierTask, fn: (tx: Tx) => Promise<unknown>): Promise<BarrierOutcome> {
  for (let attempt = 1; ; attempt++) {
    const client = await pool.connect();
    try {
      await client.query("begin");
      const outcome = await barrier(client, task, () => fn(client as unknown as Tx));
      await client.query("commit");
      client.release();
      return outcome;
    } catch (error) {
      const broken = await client.query("rollback").then(
        () => undefined,
        (failure: Error) => failure,
      );
      client.release(broken);
      if (attempt >= attemptsMax || !["40001", "40P01"].includes(String((error as { code?: unknown }).code))) throw error;
    }
  }
}

/** The outcome as a participant or worker reports it (message TaskResult in JSON). */
export function taskResultOf(outcome: BarrierOutcome): Record<string, unknown> {
  switch (outcome.kind) {
    case "APPLIED":
      return { outcome: "OUTCOME_SUCCEEDED", output: outcome.result };
    case "DUPLICATE":
      return { outcome: "OUTCOME_DUPLICATE", output: outcome.result };
    case "NULL_COMPENSATED":
      return { outcome: "OUTCOME_NULL_COMPENSATED" };
    case "SUSPENDED":
      return { outcome: "OUTCOME_SUSPENDED" };
    case "BUSY":
      return { outcome: "OUTCOME_IN_PROGRESS", retryAfter: `${outcome.retryAfterMs / 1000}s` };
    default:
      return outcome satisfies never;
  }
}

export { canonicalJson };
