/**
 * The statements behind a replica's lease. The row is the fence of all its writes; the session advisory lock
 * (`presence_key`) tells peers within milliseconds that the process died, because PostgreSQL frees it with the session.
 */
import type { ClientBase } from "pg";

export interface LeaseAnswer {
  readonly epoch: number;
  /** The database's clock when it answered, milliseconds since the epoch. */
  readonly databaseNow: number;
}

const leaseAnswer = "epoch::int as epoch, extract(epoch from clock_timestamp()) * 1000 as database_now";

/**
 * Takes the presence lock first, so that a row without its lock always means a dead process. Raises the epoch. A replica
 * that comes back under its own name has forgotten what it drove, so that becomes free for any claim, its own included.
 */
export async function registerReplica(client: ClientBase, replicaId: string, presenceKey: string, leaseMs: number, address: string): Promise<LeaseAnswer> {
  await client.query("select pg_advisory_lock($1::bigint)", [presenceKey]);
  return await inTransaction(client, async () => {
    await waitForFlushes(client, replicaId);
    const { rows } = await client.query<{ epoch: number; database_now: number }>(
      `insert into replicas as r (id, presence_key, address, expire_time)
       values ($1, $2::bigint, $4, clock_timestamp() + $3 * interval '1 millisecond')
       on conflict (id) do update set epoch = r.epoch + 1, presence_key = excluded.presence_key, expire_time = excluded.expire_time
       returning ${leaseAnswer}`,
      [replicaId, presenceKey, leaseMs, address],
    );
    await freeExecutions(client, replicaId);
    await forgetReplicas(client, replicaId);
    return answerOf(rows[0]) as LeaseAnswer;
  });
}

/** Undefined when the lease was taken over or ran out: it is then never renewed, only registered anew. */
export async function renewLease(client: ClientBase, replicaId: string, epoch: number, leaseMs: number): Promise<LeaseAnswer | undefined> {
  const { rows } = await client.query<{ epoch: number; database_now: number }>({
    name: "renew_lease",
    text: `update replicas set expire_time = clock_timestamp() + $3 * interval '1 millisecond'
           where id = $1 and epoch = $2 and expire_time > clock_timestamp() returning ${leaseAnswer}`,
    values: [replicaId, epoch, leaseMs],
  });
  return answerOf(rows[0]);
}

export interface DeadReplica {
  readonly replicaId: string;
  readonly epoch: number;
}

/** Replicas whose lease ran out or whose presence lock is free, and which may still own executions. */
export async function findDeadReplicas(client: ClientBase, replicaId: string): Promise<readonly DeadReplica[]> {
  const { rows } = await client.query<DeadReplica>({
    name: "find_dead_replicas",
    text: `select id as "replicaId", epoch::int as epoch from replicas
           where id <> $1 and (expire_time <= clock_timestamp() or pg_try_advisory_xact_lock(presence_key))
             and (expire_time > '-infinity' or exists (select 1 from workflow_executions e where e.owner = replicas.id))`,
    values: [replicaId],
  });
  return rows;
}

export interface LivePeer {
  readonly replicaId: string;
  readonly presenceKey: string;
  /** Until its lease ends, if it is not renewed before. */
  readonly expiresInMs: number;
}

/** Other replicas whose lease is valid. */
export async function findLivePeers(client: ClientBase, replicaId: string): Promise<readonly LivePeer[]> {
  const { rows } = await client.query<LivePeer>({
    name: "find_live_peers",
    text: `select id as "replicaId", presence_key::text as "presenceKey", (extract(epoch from expire_time - clock_timestamp()) * 1000)::float8 as "expiresInMs"
           from replicas where id <> $1 and expire_time > clock_timestamp()`,
    values: [replicaId],
  });
  return rows;
}

/**
 * Waits until the process that holds the presence lock is gone (true), or for `durationMs` (false). The lock is shared, so
 * that several may wait, and is let go with the statement. A waiting statement keeps VACUUM from cleaning up, hence
 * the bound.
 */
export async function waitForAbsence(client: ClientBase, presenceKey: string, durationMs: number): Promise<boolean> {
  await client.query(`set lock_timeout = ${Math.max(1, Math.round(durationMs))}`);
  try {
    await client.query("select pg_advisory_xact_lock_shared($1::bigint)", [presenceKey]);
    return true;
  } catch (error) {
    if ((error as { code?: unknown }).code === "55P03") return false;
    throw error;
  } finally {
    await client.query("set lock_timeout = 0").catch(() => undefined);
  }
}

/**
 * Ends another replica's right to write and frees its executions. Several statements on purpose: the first one waits for
 * that replica's flushes under way, and only a later snapshot sees everything those wrote. Does nothing when the epoch
 * has moved on: another peer was faster, or the replica registered anew.
 */
export async function takeOver(client: ClientBase, dead: DeadReplica): Promise<number> {
  return await inTransaction(client, async () => {
    await waitForFlushes(client, dead.replicaId);
    const raised = await client.query("update replicas set epoch = epoch + 1, expire_time = '-infinity' where id = $1 and epoch = $2", [
      dead.replicaId,
      dead.epoch,
    ]);
    return raised.rowCount === 1 ? await freeExecutions(client, dead.replicaId) : 0;
  });
}

/** FOR UPDATE, because an update of columns outside the key does not wait for the flushes, which hold the row FOR KEY SHARE. */
async function waitForFlushes(client: ClientBase, replicaId: string): Promise<void> {
  await client.query("select from replicas where id = $1 for update", [replicaId]);
}

/**
 * Every process has a row of its own, so those of dead ones are cleared away by the next that comes: what has been taken over,
 * holds no presence lock, owns nothing and is a day old, which is far longer than any statement of its process can be under way.
 */
async function forgetReplicas(client: ClientBase, replicaId: string): Promise<void> {
  await client.query(
    `delete from replicas r where r.id <> $1 and r.expire_time = '-infinity' and r.start_time < clock_timestamp() - interval '1 day'
       and pg_try_advisory_xact_lock(r.presence_key) and not exists (select 1 from workflow_executions e where e.owner = r.id)`,
    [replicaId],
  );
}

async function freeExecutions(client: ClientBase, replicaId: string): Promise<number> {
  const freed = await client.query("update workflow_executions set owner = null, wake_at = clock_timestamp() where owner = $1", [replicaId]);
  return freed.rowCount ?? 0;
}

async function inTransaction<Answer>(client: ClientBase, run: () => Promise<Answer>): Promise<Answer> {
  await client.query("begin");
  try {
    const answer = await run();
    await client.query("commit");
    return answer;
  } catch (error) {
    await client.query("rollback").catch(() => undefined);
    throw error;
  }
}

function answerOf(row: { epoch: number; database_now: number } | undefined): LeaseAnswer | undefined {
  return row && { epoch: row.epoch, databaseNow: Number(row.database_now) };
}
