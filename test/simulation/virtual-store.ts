/** What a simulated replica has in place of PostgreSQL: the engine's store, the lease, the inbox of commands. */
import type { ControlCommand } from "../../src/domain/control-command.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import type { LeasesOptions } from "../../src/engine/leases.ts";
import type { EngineStore } from "../../src/store/engine-store.ts";
import type { Inbox } from "../../src/store/inbox.ts";
import type { Fence } from "../../src/store/journal.ts";
import type { VirtualDatabase } from "./database.ts";
import type { Faults } from "./faults.ts";
import { BrokenConnection, type Link } from "./link.ts";
import type { Scheduler } from "./scheduler.ts";

export function createVirtualStore(database: VirtualDatabase, link: Link, fence: () => Fence): EngineStore {
  return {
    nextDue: () => link.call("next due", () => database.nextDue()),
    claim(tenantId, rowsMax) {
      const lease = fence();
      return link.call("claim", () => database.claim(lease, tenantId, rowsMax));
    },
    claimOne(_, executionId, ended) {
      const lease = fence();
      return link.call("claim one", () => database.claimOne(lease, executionId, ended));
    },
    release(_, executionId, pauseMs) {
      const lease = fence();
      return link.call("release", () => database.release(lease, executionId, pauseMs));
    },
    findOwned(except) {
      const { replicaId } = fence();
      return link.call("find owned", () => database.findOwned(replicaId, except));
    },
    releaseOrphans(owned) {
      const lease = fence();
      return link.call("release orphans", () => database.releaseOrphans(lease, owned));
    },
    loadLedgers: (_, executionIds) =>
      link.call("load ledgers", () => {
        const ledgers = new Map<string, readonly ExecutionEvent[]>();
        for (const executionId of executionIds) if (database.executions.has(executionId)) ledgers.set(executionId, database.ledgerOf(executionId));
        return ledgers;
      }),
  };
}

type LeaseStore = LeasesOptions["lease"];

/** As `ReplicaLease`: losing its connection loses the presence lock, and the lease is then registered anew. */
export class VirtualLease implements LeaseStore {
  readonly replicaId: string;
  readonly #database: VirtualDatabase;
  readonly #link: Link;
  readonly #scheduler: Scheduler;
  readonly #faults: Faults;
  #session: object | undefined;
  readonly #waits = new Set<() => void>();

  constructor(replicaId: string, database: VirtualDatabase, link: Link, scheduler: Scheduler, faults: Faults) {
    this.replicaId = replicaId;
    this.#database = database;
    this.#link = link;
    this.#scheduler = scheduler;
    this.#faults = faults;
    link.process.onDeath(() => this.#endSession());
  }

  async register(): Promise<{ epoch: number; databaseNow: number }> {
    await this.close();
    const session = {};
    const answer = await this.#link.call("register", () => {
      this.#endSession();
      this.#session = session;
      return this.#database.register(this.replicaId, session);
    });
    return answer;
  }

  async renew(epoch: number): Promise<{ epoch: number; databaseNow: number } | undefined> {
    if (this.#faults.draw(this.#link.process, "lease connection", ["lost"]) === "lost") this.#endSession();
    if (!this.#session) return undefined;
    return await this.#link.call("renew", () => this.#database.renew(this.replicaId, epoch));
  }

  async takeOverDead(): Promise<number> {
    let freed = 0;
    for (const dead of await this.#link.call("find dead", () => this.#database.findDead(this.replicaId))) {
      freed += await this.#link.call("take over", () => this.#database.takeOver(dead));
    }
    return freed;
  }

  async livePeers(): Promise<readonly { replicaId: string; presenceKey: string; expiresInMs: number }[]> {
    const peers = await this.#link.call("live peers", () => this.#database.livePeers(this.replicaId));
    return peers.toSorted((a, b) => (a.replicaId < b.replicaId ? -1 : 1));
  }

  waitForAbsence(peer: { replicaId: string }, durationMs: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const row = this.#database.replicas.get(peer.replicaId);
      if (!row?.present) return resolve(true);
      const over = (tell: () => void): void => {
        callOff();
        row.waiting.delete(gone);
        this.#waits.delete(left);
        tell();
      };
      const gone = (): void => void this.#scheduler.after(1, this.#link.process, () => over(() => resolve(true)));
      const left = (): void => over(() => reject(new BrokenConnection("the replica leaves its peers")));
      const callOff = this.#scheduler.after(durationMs, this.#link.process, () => over(() => resolve(false)));
      row.waiting.add(gone);
      this.#waits.add(left);
    });
  }

  async leavePeers(): Promise<void> {
    for (const leave of [...this.#waits]) leave();
  }

  async release(epoch: number): Promise<void> {
    if (this.#session) await this.#link.call("release lease", () => this.#database.takeOver({ replicaId: this.replicaId, epoch }));
    await this.close();
  }

  async close(): Promise<void> {
    await this.leavePeers();
    this.#endSession();
  }

  #endSession(): void {
    const session = this.#session;
    this.#session = undefined;
    if (session) this.#database.sessionEnded(session);
  }
}

export function createVirtualInbox(database: VirtualDatabase, link: Link, nextId: () => string): Inbox {
  const { commands, executions } = database;
  const answerOf = (text: string | undefined) => (text === undefined ? undefined : JSON.parse(text));
  return {
    post(tenantId, executionId, command) {
      const commandId = nextId();
      return link.call("post command", () => {
        if (executions.get(executionId)?.owner === undefined) return undefined;
        const copy = JSON.parse(JSON.stringify(command)) as ControlCommand;
        commands.set(commandId, { tenantId, executionId, commandId, command: copy, takenBy: undefined, answer: undefined });
        return { tenantId, executionUuid: executionId, commandId };
      });
    },
    look: ({ commandId, executionUuid }) =>
      link.call("look at command", () => {
        const command = commands.get(commandId);
        return (
          command && {
            answer: answerOf(command.answer) ?? null,
            isTaken: command.takenBy !== undefined,
            isDriven: executions.get(executionUuid)?.owner !== undefined,
          }
        );
      }),
    withdraw: ({ commandId }) =>
      link.call("withdraw command", () => {
        const answer = commands.get(commandId)?.answer;
        commands.delete(commandId);
        return answerOf(answer);
      }),
    take: (replicaId) =>
      link.call("take commands", () => {
        const mine = [...commands.values()].filter(
          ({ executionId, answer, takenBy }) => executions.get(executionId)?.owner === replicaId && answer === undefined && takenBy !== replicaId,
        );
        for (const command of mine) command.takenBy = replicaId;
        return mine.map(({ tenantId, executionId, commandId, command }) => ({ tenantId, executionUuid: executionId, executionId, commandId, command }));
      }),
    answer: ({ commandId }, answer) =>
      link.call("answer command", () => {
        const command = commands.get(commandId);
        if (command) command.answer = JSON.stringify(answer);
      }),
    clear: () => Promise.resolve(),
  };
}
