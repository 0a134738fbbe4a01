/**
 * Connections whose statements decide who may write, and what was written: the journal's and the lease's. A network that swallows
 * packets, without a word to either side, would leave them waiting for minutes until TCP gives up; so every wait for an answer has
 * a bound, past which the connection counts as broken.
 *
 * What was asked on a broken connection may still be under way, or still arrive: the server's side of it (its session) does not know
 * that nobody listens any more. Before its work is looked for or done again, that session is ended, from a new connection. From then on
 * what it did is either there or never will be.
 */
import { Client, type ClientConfig } from "pg";

interface SessionId {
  readonly pid: number;
  /** Text of the database: numbers of processes are used again. */
  readonly startTime: string;
}

const idText = 'select pid, backend_start::text as "startTime" from pg_stat_get_activity(pg_backend_pid())';
/** Waits for the end; false when it did not come in time. Nothing is found of a session that is gone. */
const endText = `select pg_terminate_backend(pid, $3) as ended from pg_stat_activity where pid = $1 and backend_start = $2::timestamptz`;

/** Wait for what is answered at once: who the session is, that it has ended. */
const quickMs = 5_000;
const goodbyeMs = 1_000;

const ids = new WeakMap<Client, SessionId>();

/** Connects. `config` bounds the connecting itself. */
export async function openSession(config: ClientConfig): Promise<Client> {
  const client = new Client({ ...config, keepAlive: true });
  client.on("error", () => undefined);
  try {
    await client.connect();
    const { rows } = await within(client, quickMs, () => client.query<SessionId>(idText));
    if (rows[0]) ids.set(client, rows[0]);
    return client;
  } catch (error) {
    destroy(client);
    throw error;
  }
}

/** What `ask` answers. When nothing comes for `answerMs`, the connection is broken off, and `ask` fails as on any other broken connection. */
export async function within<Answer>(client: Client, answerMs: number, ask: () => Promise<Answer>): Promise<Answer> {
  const timer = setTimeout(() => destroy(client, new Error(`the database did not answer within ${answerMs} ms`)), answerMs);
  try {
    return await ask();
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Ends what is left of `broken` at the server; when it resolves, nothing of it is under way or will arrive any more.
 * @throws Error when that session does not end in time
 */
export async function endSession(client: Client, broken: Client): Promise<void> {
  const id = ids.get(broken);
  if (!id) return;
  const { rows } = await within(client, 2 * quickMs, () => client.query<{ ended: boolean }>(endText, [id.pid, id.startTime, quickMs]));
  if (rows.some(({ ended }) => !ended)) throw new Error("a broken connection is still at work in the database");
  ids.delete(broken);
}

/** Says goodbye, for as long as that may take. */
export async function closeSession(client: Client): Promise<void> {
  await within(client, goodbyeMs, () => client.end()).catch(() => undefined);
}

/** Of a connection that is broken or in doubt. */
export function destroy(client: Client, why?: Error): void {
  const { stream } = (client as unknown as { connection: { stream: { destroy(error?: Error): void } } }).connection;
  stream.destroy(why);
}
