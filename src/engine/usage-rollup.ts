/**
 * Keeps the usage of templates counted: every few seconds one replica (the store's lock decides which) adds what executions and
 * workflows did since the last pass. It stays some seconds behind the present, because an execution's row is committed a little
 * after the moment that is written in it; readers add that tail themselves.
 *
 * How late a commit may come is bounded by the replica's lease, but not across an outage of the database: a flush that waited for
 * it brings moments from before. So after a start or a failure nothing is counted until that long has passed in peace.
 *
 * A row that PostgreSQL cannot count (not one is known; a hand in the database can make one) is found by halving its page, told and
 * passed over. A tenant in whom anything else fails is left to the next pass, and the others are not.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { LeftOut, mayPass } from "../base/left-out.ts";
import type { Log } from "../base/log.ts";
import { type UsageRollupPass, type UsageRollupStore, type UsageSource, usagePageRows } from "../store/usage-rollup-store.ts";
import { cutoffsOf, retentionMsMin } from "./retention.ts";

export interface UsageRollupOptions {
  readonly store: UsageRollupStore;
  readonly clock: Clock;
  readonly log: Log;
  /** 0 ≤ random < 1: spreads the passes of replicas that started together. */
  readonly random: () => number;
  readonly leftOut?: LeftOut;
  readonly bounds?: Partial<UsageRollupBounds>;
}

export interface UsageRollupBounds {
  readonly intervalMs: number;
  /** How far a pass stays behind the database's clock: more than the longest time between a moment and its commit. */
  readonly lagMs: number;
}

const boundsDefault: UsageRollupBounds = { intervalMs: 5_000, lagMs: 10_000 };
const hourMs = 3_600_000;

export class UsageRollup {
  readonly #options: UsageRollupOptions;
  readonly #bounds: UsageRollupBounds;
  readonly #leftOut: LeftOut;
  readonly #stopping = new AbortController();
  #loop: Promise<void> | undefined;

  constructor(options: UsageRollupOptions) {
    this.#options = options;
    this.#bounds = { ...boundsDefault, ...options.bounds };
    this.#leftOut = options.leftOut ?? new LeftOut({ work: "usage", log: options.log });
  }

  start(): void {
    this.#loop ??= this.#passForever();
  }

  /** Ends after the transaction under way. May be called twice. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#loop;
  }

  /** One pass over all tenants; false: another replica is at it. Throws when the database cannot be used; what was counted stays counted. */
  async pass(): Promise<boolean> {
    const pass = await this.#options.store.open();
    if (!pass) return false;
    try {
      await this.#count(pass);
      return true;
    } finally {
      await pass.close();
    }
  }

  async #count(pass: UsageRollupPass): Promise<void> {
    const now = await pass.now();
    // An ended execution is kept for a day at least; hours of which some may be gone are not counted anew.
    const intactAfter = Math.ceil((now - retentionMsMin) / hourMs) * hourMs;
    const before = now - this.#bounds.lagMs;
    for (const tenantId of await pass.tenants()) {
      try {
        while (!this.#stopping.signal.aborted && (await this.#page(pass, tenantId, before, intactAfter)));
      } catch (error) {
        if (mayPass(error)) throw error;
        this.#leftOut.tell({ tenantId }, error);
      }
    }
  }

  async #page(pass: UsageRollupPass, tenantId: string, before: number, intactAfter: number): Promise<boolean> {
    try {
      return await pass.advance(tenantId, before, intactAfter);
    } catch (error) {
      if (mayPass(error)) throw error;
      // Without any row it fails as well when no row is to blame.
      await pass.advance(tenantId, before, intactAfter, { started: 0, ended: 0 });
      await this.#aroundBad(pass, tenantId, before, intactAfter, "started");
      await this.#aroundBad(pass, tenantId, before, intactAfter, "ended");
      return true;
    }
  }

  /** Counts the page of one source in smaller and smaller parts up to the first row that cannot be counted, and goes past that. */
  async #aroundBad(pass: UsageRollupPass, tenantId: string, before: number, intactAfter: number, source: UsageSource): Promise<void> {
    let rows = usagePageRows;
    for (let left = usagePageRows; left > 0 && !this.#stopping.signal.aborted; ) {
      try {
        if (!(await pass.advance(tenantId, before, intactAfter, { started: 0, ended: 0, [source]: rows }))) return;
        left -= rows;
      } catch (error) {
        if (mayPass(error)) throw error;
        if (rows > 1) {
          rows = Math.ceil(rows / 2);
          continue;
        }
        const executionId = await pass.passOver(tenantId, source, before);
        // Not a row's fault: the tenant is left to the next pass.
        if (executionId === undefined) throw error;
        this.#leftOut.tell({ tenantId, executionId, of: source }, error);
        return;
      }
    }
  }

  async #passForever(): Promise<void> {
    const { clock, log, random } = this.#options;
    const { signal } = this.#stopping;
    const { intervalMs, lagMs } = this.#bounds;
    let calmAt = clock.monotonic() + lagMs;
    for (;;) {
      await clock.sleep(Math.max(intervalMs * (0.9 + 0.2 * random()), calmAt - clock.monotonic()), signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await this.pass();
      } catch (error) {
        calmAt = clock.monotonic() + lagMs;
        log.warn({ error: messageOf(error) }, "the usage of templates could not be counted; the next pass goes on where this one stopped");
      }
    }
  }
}

/**
 * Counts anew all that the database still has, tenant by tenant, waiting for a pass under way. Hours of which retention may have
 * deleted something keep their counts. Answers the number of cells by tenant.
 */
export async function recomputeUsage(store: UsageRollupStore, retentionMsMax: number | undefined): Promise<ReadonlyMap<string, number>> {
  const pass = await store.open(true);
  if (!pass) throw new Error("the lock of the usage rollup was not given");
  try {
    const counted = new Map<string, number>();
    const now = await pass.now();
    for (const tenantId of await pass.everyTenant()) {
      const policies = [{}, ...(await pass.retentions(tenantId))].map((retention) => cutoffsOf(retention, now, retentionMsMax));
      const intactAfter = Math.max(...policies.flatMap(({ completedBefore, failedBefore }) => [completedBefore, failedBefore]));
      counted.set(tenantId, await pass.recompute(tenantId, intactAfter));
    }
    return counted;
  } finally {
    await pass.close();
  }
}
