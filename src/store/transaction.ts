/** One transaction on a connection of the pool, or a part of the unit of work that its caller has under way. */
import type { EntityManager, MikroORM } from "@mikro-orm/postgresql";
import type { Pool, PoolClient } from "pg";
import type { UnitOfWork } from "./unit-of-work.ts";

export interface TransactionOptions {
  /** What is written belongs to it: it stands when the unit is committed. */
  readonly unit?: UnitOfWork | undefined;
  /** Takes back what `work` did and keeps its answer: what would have happened, with every check the database makes. */
  readonly undo?: boolean | undefined;
}

class Undone extends Error {
  readonly result: unknown;

  constructor(result: unknown) {
    super("what was tried is taken back");
    this.result = result;
  }
}

/** Commits what `work` did, or rolls back and throws what it threw. A connection that cannot even roll back is thrown away. */
export async function inTransaction<Result>(
  pool: Pool,
  work: (client: PoolClient) => Promise<Result>,
  { unit, undo = false }: TransactionOptions = {},
): Promise<Result> {
  const tried = async (client: PoolClient): Promise<Result> => {
    const result = await work(client);
    if (undo) throw new Undone(result);
    return result;
  };
  try {
    return await (unit ? unit.run(tried) : ownTransaction(pool, tried));
  } catch (error) {
    if (error instanceof Undone) return error.result as Result;
    throw error;
  }
}

/** The same through the ORM; what is pending in `em` is flushed at the end of `work`. */
export function withEntities<Result>(
  { orm, pool }: { readonly orm: MikroORM; readonly pool: Pool },
  work: (em: EntityManager) => Promise<Result>,
  options: TransactionOptions = {},
): Promise<Result> {
  const flushed = async (client: PoolClient): Promise<Result> => {
    const em = orm.em.fork();
    em.setTransactionContext(contextOf(client));
    const result = await work(em);
    await em.flush();
    return result;
  };
  return inTransaction(pool, flushed, options);
}

async function ownTransaction<Result>(pool: Pool, work: (client: PoolClient) => Promise<Result>): Promise<Result> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((failure: Error) => (broken = failure));
    throw error;
  } finally {
    client.release(broken);
  }
}

/**
 * What the ORM takes for its own transaction. Beginning and ending it is ours: the query builder below the ORM never gives a
 * connection back whose rollback failed, so each restart of PostgreSQL would cost the pool what was under way.
 */
function contextOf(client: PoolClient) {
  return {
    async executeQuery({ sql, parameters }: { readonly sql: string; readonly parameters: readonly unknown[] }) {
      const { rows, rowCount, command } = await client.query(sql, [...parameters]);
      return { rows, numAffectedRows: command === "SELECT" ? undefined : BigInt(rowCount ?? 0) };
    },
  };
}
