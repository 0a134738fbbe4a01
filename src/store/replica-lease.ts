/**
 * This replica's lease, on a connection of its own: a renewal must never queue behind the journal. Losing the connection
 * loses the presence lock, so the lease counts as lost then and is registered anew with a higher epoch.
 *
 * A network that swallows packets breaks neither connection, so an answer that comes too late to be worth anything counts as a broken
 * one (`session.ts`), and the session that is left of it at the server is ended before the next one takes its place: it holds the
 * presence lock, or locks of a takeover.
 *
 * Peers are watched on a second connection, because that waits: for the presence lock of a peer, or, in a takeover, for the
 * flushes that a dead replica has under way.
 */
import { createHash } from "node:crypto";
import type { Client, ClientConfig } from "pg";
import { limits } from "../base/limits.ts";
import { closeSession, destroy, endSession, openSession, within } from "./session.ts";
import {
  findDeadReplicas,
  findLivePeers,
  type LeaseAnswer,
  type LivePeer,
  registerReplica,
  renewLease,
  takeOver,
  waitForAbsence,
} from "./sql/replica-lease.ts";

export interface ReplicaLeaseOptions {
  readonly replicaId: string;
  readonly connection: ClientConfig;
  readonly leaseMs: number;
  /** Longest wait for an answer. A takeover waits for the flushes of the dead replica, whose own bound is the same. */
  readonly answerMs?: number;
}

const answerMsDefault = 15_000;

export class ReplicaLease {
  readonly replicaId: string;
  readonly #connection: ClientConfig;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #answerMs: number;
  #client: Client | undefined;
  #peerClient: Promise<Client> | undefined;
  /** Connections that broke, whose sessions may be left at the server. */
  #broken: Client | undefined;
  #brokenPeer: Client | undefined;

  constructor(options: ReplicaLeaseOptions) {
    this.replicaId = options.replicaId;
    this.#connection = options.connection;
    this.#leaseMs = options.leaseMs;
    this.#answerMs = options.answerMs ?? answerMsDefault;
    // Later the lease that it was to renew is over.
    this.#renewMs = Math.min(this.#answerMs, Math.max(limits.leaseRenewMs, options.leaseMs - limits.leaseRenewMs));
  }

  /** Connects, takes the presence lock and the next epoch. Every epoch before it is fenced off. */
  async register(address: string): Promise<LeaseAnswer> {
    await this.close();
    const client = await openSession({ ...this.#connection, application_name: "pawf-lease" });
    client.on("error", () => {
      if (this.#client === client) this.#client = undefined;
    });
    try {
      if (this.#broken) await endSession(client, this.#broken);
      this.#broken = client;
      const answer = await within(client, this.#answerMs, () => registerReplica(client, this.replicaId, presenceKeyOf(this.replicaId), this.#leaseMs, address));
      this.#client = client;
      return answer;
    } catch (error) {
      destroy(client);
      throw error;
    }
  }

  /** Undefined when the lease is lost; throws when the database cannot be asked. */
  async renew(epoch: number): Promise<LeaseAnswer | undefined> {
    const client = this.#client;
    return client && (await within(client, this.#renewMs, () => renewLease(client, this.replicaId, epoch, this.#leaseMs)));
  }

  /** Ends the leases of dead peers and frees what they drove; answers how many executions that were. */
  async takeOverDead(): Promise<number> {
    return await this.#onPeers(async (client) => {
      let freed = 0;
      for (const dead of await findDeadReplicas(client, this.replicaId)) freed += await takeOver(client, dead);
      return freed;
    });
  }

  /** Other replicas that are alive, in the order of their ids. */
  async livePeers(): Promise<readonly LivePeer[]> {
    const peers = await this.#onPeers((client) => findLivePeers(client, this.replicaId));
    return peers.toSorted((a, b) => (a.replicaId < b.replicaId ? -1 : 1));
  }

  /** True as soon as that peer's process is gone, false when it is still there after `durationMs`. */
  waitForAbsence(peer: LivePeer, durationMs: number): Promise<boolean> {
    return this.#onPeers((client) => waitForAbsence(client, peer.presenceKey, durationMs), this.#answerMs + durationMs);
  }

  /** Ends a wait under way; whoever waits gets an error. */
  async leavePeers(): Promise<void> {
    const connecting = this.#peerClient;
    this.#peerClient = undefined;
    const client = await connecting?.catch(() => undefined);
    if (client) await closeSession(client);
  }

  /** Gives the lease back, so that peers need not wait for its end. What this replica still owned becomes free. */
  async release(epoch: number): Promise<void> {
    const client = this.#client;
    if (client) await within(client, this.#answerMs, () => takeOver(client, { replicaId: this.replicaId, epoch }));
    await this.close();
  }

  async close(): Promise<void> {
    await this.leavePeers();
    const client = this.#client;
    this.#client = undefined;
    if (client) await closeSession(client);
  }

  /** Runs on the second connection, which is made anew after any failure. */
  async #onPeers<Answer>(run: (client: Client) => Promise<Answer>, answerMs = this.#answerMs): Promise<Answer> {
    this.#peerClient ??= this.#connectPeers();
    const connecting = this.#peerClient;
    try {
      const client = await connecting;
      return await within(client, answerMs, () => run(client));
    } catch (error) {
      if (this.#peerClient === connecting) await this.leavePeers();
      throw error;
    }
  }

  async #connectPeers(): Promise<Client> {
    const client = await openSession({ ...this.#connection, application_name: "pawf-peers" });
    try {
      if (this.#brokenPeer) await endSession(client, this.#brokenPeer);
    } catch (error) {
      destroy(client);
      throw error;
    }
    this.#brokenPeer = client;
    return client;
  }
}

/** 64 bits of a hash of the id: advisory locks know only numbers. */
function presenceKeyOf(replicaId: string): string {
  return createHash("sha256").update(`replica ${replicaId}`).digest().readBigInt64BE(0).toString();
}
