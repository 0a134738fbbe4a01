/**
 * The transaction of one change. Nothing is opened before somebody writes in it; then every part joins the same transaction,
 * each behind a savepoint, so that a part which fails takes back only itself. Whoever made the unit commits it, with what
 * must stand in the same commit, or rolls it back. Parts run one after the other: they share a connection.
 *
 * A unit keeps its connection while its call goes on and reads through others, so only so many are open at a time: were all
 * connections held by units, each would wait for one more until the pool gives up.
 */
import type { Pool, PoolClient } from "pg";
import type { Caller } from "../base/caller.ts";
import type { Unit } from "../base/change.ts";
import { AppError, invariant } from "../base/errors.ts";
import { FairGate } from "../base/fair-gate.ts";
import { guarded } from "./database-error.ts";

export interface Units {
  /** Opens nothing yet. Ends by `commit` or `rollback`; `signal` ends only the wait for a place. */
  begin(tenantId: string, signal: AbortSignal): UnitOfWork;
}

const waitingMax = 1_000;

/** `openMax` has to leave connections for everybody else. */
export function createUnits(pool: Pool, openMax: number): Units {
  const gate = new FairGate(openMax, waitingMax);
  return {
    begin(tenantId, signal) {
      const enter = async (): Promise<PoolClient> => {
        if ((await gate.enter(tenantId, signal)) !== "entered")
          throw new AppError("OVERLOADED", "too many changes are under way; try again", { retryAfterMs: 500 });
        try {
          return await pool.connect();
        } catch (error) {
          gate.leave();
          throw error;
        }
      };
      return new UnitOfWork(enter, () => gate.leave());
    },
  };
}

export class UnitOfWork implements Unit {
  readonly #enter: () => Promise<PoolClient>;
  readonly #leave: () => void;
  readonly #behind: (() => unknown)[] = [];
  #client: PoolClient | undefined;
  /** The part that runs, and those behind it. */
  #parts: Promise<unknown> = Promise.resolve();
  #isOver = false;

  constructor(enter: () => Promise<PoolClient>, leave: () => void) {
    this.#enter = enter;
    this.#leave = leave;
  }

  /** Somebody has written in it. */
  get isOpen(): boolean {
    return this.#client !== undefined && !this.#isOver;
  }

  /** One part: all of it stands after the commit, or, when `work` throws, nothing of it. */
  run<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    const part = this.#parts.then(() => this.#part(work));
    this.#parts = part.catch(() => undefined);
    return part;
  }

  async #part<T>(work: (client: PoolClient) => Promise<T>): Promise<T> {
    invariant(!this.#isOver, "a unit of work is joined before its end");
    if (!this.#client) {
      this.#client = await this.#enter();
      await this.#client.query("begin");
    }
    const client = this.#client;
    await client.query("savepoint part");
    try {
      const result = await work(client);
      await client.query("release savepoint part");
      return result;
    } catch (error) {
      // Where that fails too, the connection is lost; the commit says so.
      await client.query("rollback to savepoint part").catch(() => undefined);
      throw error;
    }
  }

  afterCommit(work: () => unknown): void {
    this.#behind.push(work);
  }

  /** Commits what was written, then runs what waits for that. Without a writer only the latter. */
  async commit(): Promise<void> {
    await this.#end("commit");
    for (const work of this.#behind.splice(0)) await work();
  }

  /** Takes everything back. Does nothing behind a commit, whatever became of that. */
  async rollback(): Promise<void> {
    this.#behind.length = 0;
    await this.#end("rollback").catch(() => undefined);
  }

  async #end(how: "commit" | "rollback"): Promise<void> {
    await this.#parts;
    const client = this.#isOver ? undefined : this.#client;
    this.#isOver = true;
    if (!client) return;
    let broken: Error | undefined;
    try {
      await guarded(async () => {
        const { command } = await client.query(how);
        // PostgreSQL answers so when a statement had failed and nobody took it back.
        if (how === "commit" && command === "ROLLBACK") throw new Error("the transaction was aborted before its commit");
      });
    } catch (error) {
      broken = error as Error;
      throw error;
    } finally {
      client.release(broken);
      this.#leave();
    }
  }
}

/** The unit that this caller's writes belong to. */
export function unitOf({ change }: Pick<Caller, "change">): UnitOfWork | undefined {
  return change?.unit instanceof UnitOfWork ? change.unit : undefined;
}
