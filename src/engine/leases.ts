/**
 * This replica's right to drive executions, kept alive.
 *
 * The lease is one row, valid for `leaseMs` by the database's clock and renewed every `leaseRenewMs`. The replica trusts
 * it only until (start of its last successful renewal) + lease − margin on its own monotonic clock, which cannot jump:
 * a process that was frozen or cannot reach the database stops driving before anybody else may begin. Every write carries
 * (replica, epoch) besides, so even a replica that trusts itself wrongly changes nothing.
 *
 * A renewal also tells the database's time; `now()` is that clock, so that timers mean the same on every replica.
 *
 * Peers watch each other in a ring: each waits for the presence lock of the next one by id, which PostgreSQL frees the
 * moment that process dies, and then frees the executions of all dead ones. Every `leaseRenewMs`, and when a peer's lease is
 * about to end, it looks at all of them besides: for frozen peers, and for two neighbours that died together.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { Fence } from "../store/journal.ts";
import type { ReplicaLease } from "../store/replica-lease.ts";

export interface LeasesOptions {
  readonly lease: Pick<ReplicaLease, keyof ReplicaLease>;
  /** Validity of that lease. */
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly address: string;
  /** The lease is gone: everything this replica drives must be forgotten now. */
  readonly onLost: () => void;
  /** Executions of dead replicas were freed. */
  readonly onFreed: (executions: number) => void;
}

export class Leases {
  readonly #options: LeasesOptions;
  readonly #stopping = new AbortController();
  #epoch = 0;
  #trustedUntil = 0;
  #databaseOffsetMs = 0;
  #loop: Promise<unknown> | undefined;
  #peers = 0;
  readonly #listeners = new Set<() => void>();

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  /** Registers the replica and frees what dead ones left behind. */
  async start(): Promise<void> {
    await this.#register();
    await this.#takeOverDead();
    this.#loop = Promise.all([this.#keep(), this.#watchPeers()]);
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#options.lease.leavePeers();
    await this.#loop;
    this.#trustedUntil = 0;
    await this.#options.lease.release(this.#epoch).catch((error: unknown) => {
      this.#options.log.warn({ error: messageOf(error) }, "the lease could not be given back; it runs out by itself");
    });
  }

  get fence(): Fence {
    return { replicaId: this.#options.lease.replicaId, epoch: this.#epoch };
  }

  /** Other replicas that are alive, as far as the last look told. */
  get peers(): number {
    return this.#peers;
  }

  /** Whether this replica may drive executions at this moment. */
  get held(): boolean {
    return this.#options.clock.monotonic() < this.#trustedUntil;
  }

  /** Milliseconds since the epoch by the database's clock, as far as the last renewal told. */
  now(): number {
    return Math.round(this.#options.clock.now() + this.#databaseOffsetMs);
  }

  /** Calls `listener` when the lease was lost or is held again. Returns how to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A write was refused by the fence: another replica has taken over. */
  lost(): void {
    if (this.#trustedUntil === 0) return;
    this.#trustedUntil = 0;
    this.#options.log.warn({ epoch: this.#epoch }, "the lease was lost; everything driven here is forgotten and left to other replicas");
    this.#options.onLost();
    for (const listener of this.#listeners) listener();
  }

  async #keep(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.sleep(limits.leaseRenewMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        if (this.#trustedUntil > 0) await this.#renew();
        else await this.#register();
      } catch (error) {
        log.warn({ error: messageOf(error) }, "the lease could not be renewed");
      }
      if (this.#trustedUntil > 0 && !this.held) this.lost();
    }
  }

  async #watchPeers(): Promise<void> {
    const { clock, lease, log } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        const peers = await lease.livePeers();
        this.#peers = peers.length;
        const next = peers.find(({ replicaId }) => replicaId > lease.replicaId) ?? peers[0];
        const firstEndMs = Math.min(...peers.map(({ expiresInMs }) => expiresInMs + afterEndMs));
        const durationMs = Math.max(afterEndMs, Math.min(limits.leaseRenewMs, firstEndMs));
        if (next) await lease.waitForAbsence(next, durationMs);
        else await clock.sleep(durationMs, signal).catch(() => undefined);
        if (!signal.aborted) await this.#takeOverDead();
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: messageOf(error) }, "the other replicas could not be looked at");
        await clock.sleep(limits.leaseRenewMs, signal).catch(() => undefined);
      }
    }
  }

  async #register(): Promise<void> {
    const startedAt = this.#options.clock.monotonic();
    const answer = await this.#options.lease.register(this.#options.address);
    this.#epoch = answer.epoch;
    this.#trust(startedAt, answer.databaseNow);
    for (const listener of this.#listeners) listener();
  }

  async #renew(): Promise<void> {
    const startedAt = this.#options.clock.monotonic();
    const answer = await this.#options.lease.renew(this.#epoch);
    if (answer) this.#trust(startedAt, answer.databaseNow);
    else this.lost();
  }

  #trust(startedAt: number, databaseNow: number): void {
    const { clock } = this.#options;
    this.#trustedUntil = startedAt + this.#options.leaseMs - limits.leaseMarginMs;
    // The answer was made somewhere between the question and now; the middle halves the error.
    this.#databaseOffsetMs = databaseNow - (clock.now() - (clock.monotonic() - startedAt) / 2);
  }

  async #takeOverDead(): Promise<void> {
    const freed = await this.#options.lease.takeOverDead();
    if (freed > 0) this.#options.onFreed(freed);
  }
}

/** A lease that has ended is looked at this much later. */
const afterEndMs = 20;
