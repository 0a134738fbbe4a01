/**
 * Open connections, one for each tenant and target: tenants may be allowed different targets, so none uses what was opened
 * for another. Idle ones are closed, old ones are replaced (names may lead elsewhere by now), and their number is bounded.
 */
import type { ClientHttp2Session } from "node:http2";
import type { Clock } from "../../base/clock.ts";
import { type ConnectionParts, openConnection } from "./grpc-connection.ts";

/** Connections of one process. A sibling needs one; the rest is room for tenants. */
const connectionsMax = 512;
const idleMs = 60_000;
const ageMsMax = 5 * 60_000;

interface Entry {
  readonly opening: Promise<ClientHttp2Session>;
  readonly openedAt: number;
  session: ClientHttp2Session | undefined;
  usedAt: number;
  users: number;
}

export interface Lease {
  readonly session: ClientHttp2Session;
  /** Gives the connection back; `suspect`: it did not answer in time and is not used for new calls. */
  release(suspect?: boolean): void;
}

export class GrpcConnections {
  readonly #parts: Omit<ConnectionParts, "connector">;
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #sweeper: NodeJS.Timeout;
  #closed = false;

  constructor(parts: Omit<ConnectionParts, "connector">, clock: Clock) {
    this.#parts = parts;
    this.#clock = clock;
    this.#sweeper = setInterval(() => this.#sweep(), idleMs / 2).unref();
  }

  /** `judgedBy` names the rules that `connector` goes by. Rejects when no connection can be had; nothing was sent then. */
  async lease(tenantId: string, origin: URL, judgedBy: string, connector: ConnectionParts["connector"]): Promise<Lease> {
    if (this.#closed) throw new Error("the client is closed");
    const key = JSON.stringify([tenantId, origin.protocol, origin.host, judgedBy]);
    const entry = this.#find(key) ?? this.#open(key, origin, connector);
    entry.users++;
    entry.usedAt = this.#clock.monotonic();
    try {
      const session = await entry.opening;
      return { session, release: once((suspect) => this.#release(key, entry, suspect)) };
    } catch (error) {
      this.#drop(key, entry);
      throw error;
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeper);
    for (const [key, entry] of this.#entries) {
      this.#entries.delete(key);
      void entry.opening.then(
        (session) => session.destroy(),
        () => undefined,
      );
    }
  }

  #find(key: string): Entry | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    const isOver = entry.session !== undefined && (entry.session.closed || entry.session.destroyed);
    if (!isOver && this.#clock.monotonic() - entry.openedAt < ageMsMax) return entry;
    this.#drop(key, entry);
    return undefined;
  }

  #open(key: string, origin: URL, connector: ConnectionParts["connector"]): Entry {
    if (this.#entries.size >= connectionsMax) this.#dropIdlest();
    const openedAt = this.#clock.monotonic();
    const entry: Entry = { opening: openConnection({ ...this.#parts, connector }, origin), openedAt, session: undefined, usedAt: openedAt, users: 0 };
    this.#entries.set(key, entry);
    entry.opening.then(
      (session) => {
        entry.session = session;
        session.unref();
        if (this.#closed) session.destroy();
        session.once("close", () => this.#drop(key, entry));
      },
      () => undefined,
    );
    return entry;
  }

  #release(key: string, entry: Entry, suspect: boolean): void {
    entry.users--;
    entry.usedAt = this.#clock.monotonic();
    if (suspect) this.#drop(key, entry);
  }

  /** Calls under way go on; new ones get another connection. */
  #drop(key: string, entry: Entry): void {
    if (this.#entries.get(key) === entry) this.#entries.delete(key);
    if (entry.session && !entry.session.closed) entry.session.close();
  }

  #dropIdlest(): void {
    const idle = [...this.#entries].filter(([, entry]) => entry.users === 0).sort(([, one], [, other]) => one.usedAt - other.usedAt)[0];
    if (!idle) throw new Error(`${connectionsMax} connections are open and in use`);
    this.#drop(...idle);
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const [key, entry] of this.#entries) if (entry.users === 0 && now - entry.usedAt >= idleMs) this.#drop(key, entry);
  }
}

function once(release: (suspect: boolean) => void): (suspect?: boolean) => void {
  let done = false;
  return (suspect = false) => {
    if (!done) release(suspect);
    done = true;
  };
}
