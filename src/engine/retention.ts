/**
 * Deletes ended executions when their time of keeping is over: 30 days after COMPLETED and 90 after any other end, unless
 * their definition says otherwise (`retention`) or the service sets an upper bound.
 *
 * Once an hour one replica makes a pass (the store's lock decides which). It works in small transactions and rests between
 * them for as long as the last one took, so that it never has more than half of what the disk can do, and makes them smaller
 * when one takes long. An execution vanishes whole; one with a huge ledger goes alone. Nothing here is urgent: whatever fails
 * is tried again with the next pass. What PostgreSQL refuses to delete is found by halving its batch and left out; a tenant in whom
 * something else fails is left to the next pass, and the others are not.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { formatId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import { LeftOut, mayPass } from "../base/left-out.ts";
import type { Log } from "../base/log.ts";
import { durationOf } from "../domain/parse-policy.ts";
import type { Cutoffs, Deleted, ExpiredExecution, RetentionPass, RetentionStore, RevisionCutoffs } from "../store/retention-store.ts";

export interface RetentionOptions {
  readonly store: RetentionStore;
  readonly clock: Clock;
  readonly log: Log;
  /** Milliseconds since the epoch, by the database's clock. */
  readonly now: () => number;
  /** 0 ≤ random < 1: spreads the passes of replicas that started together. */
  readonly random: () => number;
  /** Upper bound of every policy, in milliseconds; undefined: none. */
  readonly retentionMsMax?: number | undefined;
  readonly observer?: RetentionObserver | undefined;
  readonly leftOut?: LeftOut;
  readonly bounds?: Partial<RetentionBounds>;
}

export interface RetentionObserver {
  /** One transaction is durable. */
  deleted(executions: number, events: number, durationMs: number): void;
}

export interface RetentionBounds {
  /** Time between two passes. */
  readonly intervalMs: number;
  /** Bounds of one transaction. An execution with more events goes alone. */
  readonly executionsMax: number;
  readonly eventsMax: number;
  /** Transactions that take longer are made smaller. */
  readonly transactionMs: number;
  /** Shortest rest between two of them. */
  readonly pauseMsMin: number;
}

export interface RetentionReport {
  /** False: another replica is at it. */
  readonly ran: boolean;
  readonly executions: number;
  readonly events: number;
}

const dayMs = 86_400_000;
const rowsPerPurge = 500;
const completedMsDefault = 30 * dayMs;
const failedMsDefault = 90 * dayMs;
/** The row answers repeats of its request_id, which are promised for a day. */
export const retentionMsMin = dayMs;

const boundsDefault: RetentionBounds = { intervalMs: 3_600_000, executionsMax: 200, eventsMax: 20_000, transactionMs: 100, pauseMsMin: 20 };
/** The first transaction finds out how fast the disk is; the bound then follows it, never below the smallest. */
const eventsFirst = 1_000;
const eventsMin = 500;
const pageRows = 1_000;

export class Retention {
  readonly #options: RetentionOptions;
  readonly #bounds: RetentionBounds;
  readonly #leftOut: LeftOut;
  readonly #stopping = new AbortController();
  #eventsMax: number;
  #loop: Promise<void> | undefined;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#bounds = { ...boundsDefault, ...options.bounds };
    this.#leftOut = options.leftOut ?? new LeftOut({ work: "retention", log: options.log });
    this.#eventsMax = Math.min(eventsFirst, this.#bounds.eventsMax);
  }

  start(): void {
    this.#loop ??= this.#passForever();
  }

  /** Ends after the transaction under way. May be called twice. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#loop;
  }

  /** One pass over all tenants. Throws when the database cannot be used; what was deleted before stays deleted. */
  async pass(): Promise<RetentionReport> {
    const pass = await this.#options.store.open();
    if (!pass) return { ran: false, executions: 0, events: 0 };
    const total = { ran: true, executions: 0, events: 0 };
    try {
      for (const { id: tenantId, retentionMsMax } of await pass.tenants()) {
        await this.#apart({ tenantId, of: "signals" }, () => this.#purge((rowsMax) => pass.purgeSignals(tenantId, rowsMax)));
        await this.#apart({ tenantId, of: "notifications" }, () => this.#purge((rowsMax) => pass.purgeNotifications(tenantId, rowsMax)));
        await this.#apart({ tenantId, of: "audit lines" }, () => this.#purge((rowsMax) => pass.purgeAuditLines(tenantId, rowsMax)));
        await this.#apart({ tenantId, of: "executions" }, () => this.#tenant(pass, tenantId, retentionMsMax, total));
      }
      return total;
    } finally {
      await pass.close();
    }
  }

  async #passForever(): Promise<void> {
    const { clock, log, random } = this.#options;
    const { signal } = this.#stopping;
    // The first pass waits too: a start has better things to do.
    let pauseMs = this.#bounds.intervalMs * random() * 0.1;
    for (;;) {
      await clock.sleep(pauseMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const { executions, events } = await this.pass();
        if (executions > 0) log.info({ executions, events }, "ended executions were deleted after their time of keeping");
      } catch (error) {
        log.warn({ error: messageOf(error) }, "ended executions could not be deleted; the next pass tries again");
      }
      pauseMs = this.#bounds.intervalMs * (0.9 + 0.2 * random());
    }
  }

  /** What fails here, and is not the database itself, fails for this tenant alone. */
  async #apart(what: { readonly tenantId: string; readonly of: string }, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (mayPass(error)) throw error;
      this.#leftOut.tell(what, error);
    }
  }

  async #tenant(pass: RetentionPass, tenantId: string, ownMsMax: number | undefined, total: { executions: number; events: number }): Promise<void> {
    const { now } = this.#options;
    // The stricter of the two bounds.
    const retentionMsMax = Math.min(this.#options.retentionMsMax ?? Number.POSITIVE_INFINITY, ownMsMax ?? Number.POSITIVE_INFINITY);
    const { signal } = this.#stopping;
    const defaults = cutoffsOf({}, now(), retentionMsMax);
    const policies = signal.aborted ? [] : await pass.policies(tenantId);
    const revisions: RevisionCutoffs[] = policies.map(({ workflowUuid, revision, retention }) => {
      return { workflowUuid, revision, ...cutoffsOf(retention, now(), retentionMsMax) };
    });
    let after: ExpiredExecution | undefined;
    while (!signal.aborted) {
      const found = await pass.findExpired({ tenantId, defaults, revisions, after, rowsMax: pageRows });
      after = found.at(-1);
      for (let rest: readonly ExpiredExecution[] = found; rest.length > 0 && !signal.aborted; ) {
        const batch = this.#cut(rest);
        rest = rest.slice(batch.length);
        const deleted = await this.#delete(pass, tenantId, batch);
        total.executions += deleted.executions;
        total.events += deleted.events;
      }
      if (found.length < pageRows) break;
    }
  }

  /** Small rows whose time is over, in the same small steps. */
  async #purge(some: (rowsMax: number) => Promise<number>): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted && (await some(rowsPerPurge)) === rowsPerPurge) {
      await clock.sleep(this.#bounds.pauseMsMin, signal).catch(() => undefined);
    }
  }

  /** The longest prefix within the bounds, one execution at least. */
  #cut(found: readonly ExpiredExecution[]): readonly ExpiredExecution[] {
    let events = 0;
    let length = 0;
    for (const execution of found) {
      events += execution.events;
      if (length > 0 && (events > this.#eventsMax || length >= this.#bounds.executionsMax)) break;
      length++;
    }
    return found.slice(0, length);
  }

  /** PostgreSQL refused: the statement changed nothing, and the one that it refuses is in one of the halves. */
  async #halves(pass: RetentionPass, tenantId: string, batch: readonly ExpiredExecution[], error: unknown): Promise<Deleted> {
    if (mayPass(error)) throw error;
    if (batch.length <= 1) {
      for (const { uuid } of batch) this.#leftOut.tell({ tenantId, executionId: formatId("execution", uuid) }, error);
      return { executions: 0, events: 0 };
    }
    const middle = Math.ceil(batch.length / 2);
    const first = await this.#delete(pass, tenantId, batch.slice(0, middle));
    const second = await this.#delete(pass, tenantId, batch.slice(middle));
    return { executions: first.executions + second.executions, events: first.events + second.events };
  }

  async #delete(pass: RetentionPass, tenantId: string, batch: readonly ExpiredExecution[]): Promise<Deleted> {
    const { clock, observer } = this.#options;
    const { transactionMs, pauseMsMin } = this.#bounds;
    const startedAt = clock.monotonic();
    const uuids = batch.map(({ uuid }) => uuid);
    let deleted: Deleted;
    try {
      deleted = await pass.deleteExpired(tenantId, uuids);
    } catch (error) {
      return await this.#halves(pass, tenantId, batch, error);
    }
    const durationMs = clock.monotonic() - startedAt;
    observer?.deleted(deleted.executions, deleted.events, durationMs);
    this.#eventsMax =
      durationMs > transactionMs
        ? Math.max(Math.min(eventsMin, this.#bounds.eventsMax), this.#eventsMax / 2)
        : Math.min(this.#bounds.eventsMax, this.#eventsMax * 1.2);
    await clock.sleep(Math.max(pauseMsMin, durationMs), this.#stopping.signal).catch(() => undefined);
    return deleted;
  }
}

/** What a definition asks for, held between a day and the service's bound, as moments before which an execution must have ended. */
export function cutoffsOf(retention: JsonObject, now: number, retentionMsMax = Number.POSITIVE_INFINITY): Cutoffs {
  const bounded = (wishMs: number | undefined, otherwiseMs: number): number => now - Math.max(retentionMsMin, Math.min(wishMs ?? otherwiseMs, retentionMsMax));
  return {
    completedBefore: bounded(durationOf(retention["completed"]), completedMsDefault),
    failedBefore: bounded(durationOf(retention["failed"]), failedMsDefault),
  };
}
