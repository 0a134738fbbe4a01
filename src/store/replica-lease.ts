/**
 * This replica's lease, on a connection of its own: a renewal must never queue behind the journal. Losing the connection
 * loses the presence lock, so the lease counts as lost then and is registered anew with a higher epoch.
 *
 * Peers are watched on a second connection, because that waits: for the presence lock of a peer, or, in a takeover, for the
 * flushes that a dead replica has under way.
 */
import { createHash } from "node:crypto";
import { Client, type ClientConfig } from "pg";
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

export class ReplicaLease {
  readonly replicaId: string;
  readonly #connection: ClientConfig;
  readonly #leaseMs: number;
  #client: Client | undefined;
  #peerClient: Promise<Client> | undefined;

  constructor(options: { readonly replicaId: string; readonly connection: ClientConfig; readonly leaseMs: number }) {
    this.replicaId = options.replicaId;
    this.#connection = options.connection;
    this.#leaseMs = options.leaseMs;
  }

  /** Connects, takes the presence lock and the next epoch. Every epoch before it is fenced off. */
  async register(address: string): Promise<LeaseAnswer> {
    await this.close();
    const client = new Client({ ...this.#connection, application_name: "pawf-lease", keepAlive: true });
    client.on("error", () => {
      if (this.#client === client) this.#client = undefined;
    });
    await client.connect();
    this.#client = client;
    return await registerReplica(client, this.replicaId, presenceKeyOf(this.replicaId), this.#leaseMs, address);
  }

  /** Undefined when the lease is lost; throws when the database cannot be asked. */
  async renew(epoch: number): Promise<LeaseAnswer | undefined> {
    return this.#client && (await renewLease(this.#client, this.replicaId, epoch, this.#leaseMs));
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
    return this.#onPeers((client) => waitForAbsence(client, peer.presenceKey, durationMs));
  }

  /** Ends a wait under way; whoever waits gets an error. */
  async leavePeers(): Promise<void> {
    const connecting = this.#peerClient;
    this.#peerClient = undefined;
    const client = await connecting?.catch(() => undefined);
    await client?.end().catch(() => undefined);
  }

  /** Gives the lease back, so that peers need not wait for its end. What this replica still owned becomes free. */
  async release(epoch: number): Promise<void> {
    if (this.#client) await takeOver(this.#client, { replicaId: this.replicaId, epoch });
    await this.close();
  }

  async close(): Promise<void> {
    await this.leavePeers();
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }

  /** Runs on the second connection, which is made anew after any failure. */
  async #onPeers<Answer>(run: (client: Client) => Promise<Answer>): Promise<Answer> {
    this.#peerClient ??= this.#connectPeers();
    const connecting = this.#peerClient;
    try {
      return await run(await connecting);
    } catch (error) {
      if (this.#peerClient === connecting) await this.leavePeers();
      throw error;
    }
  }

  async #connectPeers(): Promise<Client> {
    const client = new Client({ ...this.#connection, application_name: "pawf-peers", keepAlive: true });
    client.on("error", () => undefined);
    await client.connect();
    return client;
  }
}

/** 64 bits of a hash of the id: advisory locks know only numbers. */
function presenceKeyOf(replicaId: string): string {
  return createHash("sha256").update(`replica ${replicaId}`).digest().readBigInt64BE(0).toString();
}
