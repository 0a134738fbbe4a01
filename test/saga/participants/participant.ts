/**
 * A participant in TypeScript: plain HTTP, its own PostgreSQL database (PG* variables), the barrier. POST /{step}/{action|compensate}
 * with the amount to book. Prints one JSON line when it serves, on PORT if there is one. `tables.sql` has its tables.
 */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { Pool, type PoolClient } from "pg";
import { type BarrierOutcome, type BarrierTask, createBarrier, withBarrier } from "../../../sdk/typescript/barrier.ts";

interface Booking {
  readonly order: string;
  readonly amount: number;
}

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** The change is not possible: nothing happened. */
class Refused extends Error {}

const pool = new Pool();
// PostgreSQL ends a connection: the pool opens another.
pool.on("error", () => undefined);

async function query(text: string, values: unknown[]): Promise<Record<string, unknown> | undefined> {
  return (await pool.query<Record<string, unknown>>(text, values)).rows[0];
}

async function faultOf({ step, op }: BarrierTask, { order }: Booking): Promise<string> {
  const take = "delete from faults where id = (select min(id) from faults where saga_key = $1 and step = $2 and op = $3) returning fault";
  return String((await query(take, [order, step, op]))?.["fault"] ?? "");
}

/** Resolves when the step's undo was here. */
async function untilUndone({ saga, step }: BarrierTask): Promise<void> {
  const look = "select 1 from calls where saga = $1 and step = $2 and op = 'compensate' and outcome is not null";
  while (!(await query(look, [saga, step]))) await setTimeout(20);
}

function book(task: BarrierTask, { amount }: Booking, fault: string): Promise<BarrierOutcome> {
  return withBarrier<PoolClient>(pool, task, async (tx) => {
    const insert = "insert into ledger (saga, step, op, amount) values ($1, $2, $3, $4) returning id";
    const { rows } = await tx.query<{ id: string }>(insert, [task.saga, task.step, task.op, task.op === "compensate" ? -amount : amount]);
    if (fault === "refuse") throw new Refused("no room");
    return { entry: Number(rows[0]?.id), by: "typescript" };
  });
}

/** How a plain HTTP endpoint says the barrier's outcome; the service's table "How an answer is read". */
const statuses = { APPLIED: 200, DUPLICATE: 200, NULL_COMPENSATED: 410, SUSPENDED: 422, BUSY: 425 };

/** Undefined when the answer is to be lost. */
async function serve(task: BarrierTask, booking: Booking, key: string): Promise<Answer | undefined> {
  const { saga, step, op } = task;
  const call = await query("insert into calls (saga, step, op, key) values ($1, $2, $3, $4) returning id", [saga, step, op, key]);
  const note = (outcome: string): Promise<unknown> => query("update calls set outcome = $2 where id = $1", [call?.["id"], outcome]);
  const fault = await faultOf(task, booking);
  if (fault === "unavailable") return { status: 503, body: {} };
  if (fault === "late") await untilUndone(task);
  if (fault === "dies before") process.kill(process.pid, "SIGKILL");
  try {
    const outcome = await book(task, booking, fault);
    if (fault === "dies after") process.kill(process.pid, "SIGKILL");
    await note(outcome.kind);
    return fault === "lost" ? undefined : { status: statuses[outcome.kind], body: "result" in outcome ? outcome.result : {} };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    await note("REFUSED");
    return { status: 422, body: { error: error.message } };
  }
}

function taskOf({ url = "", headers }: IncomingMessage, input: Booking): { task: BarrierTask; key: string } {
  const [, step = "", op = ""] = url.split("/");
  const header = (name: string): string => String(headers[name] ?? "");
  const key = header("idempotency-key").replaceAll('"', "");
  const generation = Number(key.split("#")[1] ?? 0);
  return { key, task: { tenant: header("x-tenant-id"), saga: header("saga-id"), step, op: op as BarrierTask["op"], generation, input } };
}

const server = createServer(async (request, response) => {
  try {
    const booking = (await json(request)) as Booking;
    const { task, key } = taskOf(request, booking);
    const answer = await serve(task, booking, key);
    if (answer) response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body));
    else response.destroy();
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});

await createBarrier(pool);
await pool.query(readFileSync(new URL("tables.sql", import.meta.url), "utf8"));
server.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () =>
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`),
);
