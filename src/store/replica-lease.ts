/**
 * This replica's lease, on a connection of its own: a renewal must never queue behind the journal. Losing the connection
 * loses the presence lock, so the lease counts as lost then and is registered anew with a higher epoch.
 */
import { createHash } from "node:crypto";
import { Client, type ClientConfig } from "pg";
import { findDeadReplicas, type LeaseAnswer, registerReplica, renewLease, takeOver } from "./sql/replica-lease.ts";

export class ReplicaLease {
  readonly replicaId: string;
  readonly #connection: ClientConfig;
  readonly #leaseMs: number;
  #client: Client | undefined;

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
    const client = this.#client;
    if (!client) return 0;
    let freed = 0;
    for (const dead of await findDeadReplicas(client, this.replicaId)) freed += await takeOver(client, dead);
    return freed;
  }

  /** Gives the lease back, so that peers need not wait for its end. What this replica still owned becomes free. */
  async release(epoch: number): Promise<void> {
    if (this.#client) await takeOver(this.#client, { replicaId: this.replicaId, epoch });
    await this.close();
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = undefined;
    await client?.end().catch(() => undefined);
  }
}

/** 64 bits of a hash of the id: advisory locks know only numbers. */
function presenceKeyOf(replicaId: string): string {
  return createHash("sha256").update(`replica ${replicaId}`).digest().readBigInt64BE(0).toString();
}
