/**
 * The database of a simulated run: the tables the engine lives from, and its statements as functions that happen at one
 * virtual moment, wholly or not at all. It also watches over what no statement may ever do, whatever its own guards say.
 */
import type { ControlCommand } from "../../src/domain/control-command.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import type { ExecutionRow } from "../../src/domain/projection.ts";
import type { OwnedExecution } from "../../src/store/engine-store.ts";
import type { AppendOutcome, AppendRequest, Fence, StartRow } from "../../src/store/journal.ts";
import type { ClaimedExecution } from "../../src/store/sql/claim-executions.ts";
import { type OutsideGuards, OutsideTables } from "./outside-tables.ts";
import { epochMs, type Scheduler } from "./scheduler.ts";

interface ReplicaRow {
  epoch: number;
  expiresAt: number;
  /** The session that holds the presence lock. */
  present: object | undefined;
  readonly waiting: Set<() => void>;
}

export interface StoredExecution {
  readonly tenantId: string;
  readonly executionId: string;
  readonly start: StartRow;
  row: ExecutionRow;
  owner: string | undefined;
  /** By the database's clock. */
  wakeAt: number | undefined;
  /** Counts the writes of its row. */
  version: number;
  /** Events as JSON texts: what is read is never what was written. */
  readonly ledger: string[];
  /** For each of them its place among all events that were ever written. */
  readonly order: number[];
}

export interface StoredCommand {
  readonly tenantId: string;
  readonly executionId: string;
  readonly commandId: string;
  readonly command: ControlCommand;
  takenBy: string | undefined;
  answer: string | undefined;
}

/** Which of the statements' guards are there; a sabotage takes one away. */
export interface Guards extends OutsideGuards {
  readonly fence: boolean;
  readonly sequence: boolean;
  readonly owner: boolean;
  readonly requestId: boolean;
}

export const leaseMs = 5_000;

export class VirtualDatabase {
  readonly replicas = new Map<string, ReplicaRow>();
  readonly executions = new Map<string, StoredExecution>();
  readonly commands = new Map<string, StoredCommand>();
  readonly outside: OutsideTables;
  readonly violations: string[] = [];
  /** Writes that the fence refused. */
  refusals = 0;
  readonly #scheduler: Scheduler;
  readonly #guards: Guards;

  constructor(scheduler: Scheduler, guards: Guards) {
    this.#scheduler = scheduler;
    this.#guards = guards;
    this.outside = new OutsideTables({
      now: () => this.now,
      isAlive: (replicaId) => (this.replicas.get(replicaId)?.expiresAt ?? 0) > this.now,
      isOpen: (executionId) => this.executions.get(executionId)?.row.endedAt === undefined && this.executions.has(executionId),
      guards,
    });
  }

  get now(): number {
    return epochMs + this.#scheduler.now;
  }

  ledgerOf(executionId: string): ExecutionEvent[] {
    return (this.executions.get(executionId)?.ledger ?? []).map((text) => JSON.parse(text) as ExecutionEvent);
  }

  // ── leases ──

  register(replicaId: string, session: object): { epoch: number; databaseNow: number } {
    const known = this.replicas.get(replicaId);
    const row: ReplicaRow = known ?? { epoch: 0, expiresAt: 0, present: undefined, waiting: new Set() };
    this.replicas.set(replicaId, row);
    row.epoch += 1;
    row.present = session;
    row.expiresAt = this.now + leaseMs;
    this.#free(replicaId);
    return { epoch: row.epoch, databaseNow: this.now };
  }

  renew(replicaId: string, epoch: number): { epoch: number; databaseNow: number } | undefined {
    if (!this.#holds({ replicaId, epoch })) return undefined;
    (this.replicas.get(replicaId) as ReplicaRow).expiresAt = this.now + leaseMs;
    return { epoch, databaseNow: this.now };
  }

  /** The session is gone: its presence lock is free. */
  sessionEnded(session: object): void {
    for (const row of this.replicas.values()) {
      if (row.present !== session) continue;
      row.present = undefined;
      for (const wake of [...row.waiting]) wake();
    }
  }

  findDead(except: string): { replicaId: string; epoch: number }[] {
    return [...this.replicas].flatMap(([replicaId, { epoch, expiresAt, present }]) => {
      const isDead = expiresAt <= this.now || present === undefined;
      const matters = expiresAt > 0 || [...this.executions.values()].some(({ owner }) => owner === replicaId);
      return replicaId !== except && isDead && matters ? [{ replicaId, epoch }] : [];
    });
  }

  takeOver({ replicaId, epoch }: { replicaId: string; epoch: number }): number {
    const row = this.replicas.get(replicaId);
    if (!row || row.epoch !== epoch) return 0;
    row.epoch += 1;
    row.expiresAt = 0;
    return this.#free(replicaId);
  }

  livePeers(except: string): { replicaId: string; presenceKey: string; expiresInMs: number }[] {
    return [...this.replicas].flatMap(([replicaId, { expiresAt }]) =>
      replicaId !== except && expiresAt > this.now ? [{ replicaId, presenceKey: replicaId, expiresInMs: expiresAt - this.now }] : [],
    );
  }

  // ── the engine's statements ──

  nextDue(): { tenantId: string; dueInMs: number; weight: number }[] {
    const first = new Map<string, number>();
    for (const { tenantId, owner, wakeAt } of this.executions.values()) {
      if (owner === undefined && wakeAt !== undefined) first.set(tenantId, Math.min(first.get(tenantId) ?? Number.POSITIVE_INFINITY, wakeAt));
    }
    return [...first].map(([tenantId, wakeAt]) => ({ tenantId, dueInMs: wakeAt - this.now, weight: 1 }));
  }

  claim(fence: Fence, tenantId: string, rowsMax: number): ClaimedExecution[] {
    const due = [...this.executions.values()].filter(
      (execution) => execution.tenantId === tenantId && execution.owner === undefined && (execution.wakeAt ?? Number.POSITIVE_INFINITY) <= this.now,
    );
    if (!this.#passes(fence, "claim", due.length > 0)) return [];
    return due.slice(0, rowsMax).map((execution) => this.#give(execution, fence));
  }

  claimOne(fence: Fence, executionId: string, ended: boolean): ClaimedExecution | undefined {
    const execution = this.executions.get(executionId);
    const isFree = execution !== undefined && (execution.owner === undefined || !this.#guards.owner) && (execution.row.endedAt === undefined || ended);
    return isFree && this.#passes(fence, "claim", true) ? this.#give(execution, fence) : undefined;
  }

  release(fence: Fence, executionId: string, pauseMs: number): void {
    const execution = this.executions.get(executionId);
    if (!execution || execution.owner !== fence.replicaId || !this.#passes(fence, "release", true)) return;
    execution.owner = undefined;
    execution.version++;
    execution.wakeAt = execution.row.endedAt === undefined ? this.now + pauseMs : undefined;
  }

  findOwned(replicaId: string, except: readonly string[]): OwnedExecution[] {
    return [...this.executions.values()]
      .filter(({ owner, executionId }) => owner === replicaId && !except.includes(executionId))
      .map(({ executionId, version }) => ({ executionId, version: String(version) }));
  }

  releaseOrphans(fence: Fence, owned: readonly OwnedExecution[]): number {
    const orphans = owned.filter(({ executionId, version }) => {
      const execution = this.executions.get(executionId);
      return execution?.owner === fence.replicaId && String(execution.version) === version;
    });
    if (!this.#passes(fence, "release", orphans.length > 0)) return 0;
    for (const { executionId } of orphans) this.release(fence, executionId, 0);
    return orphans.length;
  }

  /** One statement of the journal for one append: a batch is fenced as a whole by its caller. */
  append(fence: Fence, request: AppendRequest): AppendOutcome {
    if (!this.#passes(fence, "append", true)) {
      this.refusals += 1;
      return { kind: "fenced" };
    }
    const { executionId, tenantId, start, row, events, release } = request;
    if (start && !this.executions.has(executionId) && this.#isTaken(tenantId, start)) return { kind: "exists" };
    const stored = this.executions.get(executionId);
    if (start && stored) return { kind: "exists" };
    const before = stored?.ledger.length ?? 0;
    if (events[0] && events[0].sequence !== before + 1) {
      if (events[0].sequence > before + 1) this.violations.push(`${executionId}: event ${events[0].sequence} would leave a gap after ${before}`);
      if (this.#guards.sequence) return { kind: "conflict" };
    }
    const execution = stored ?? this.#insert(request);
    if (!execution) throw new Error(`an append to ${executionId}, which does not exist`);
    for (const event of events) {
      execution.ledger.push(JSON.stringify(event));
      execution.order.push(this.#order++);
    }
    this.outside.write(request, fence.replicaId);
    if (row && execution.owner === fence.replicaId) {
      execution.row = JSON.parse(JSON.stringify(row)) as ExecutionRow;
      execution.wakeAt = row.wakeAt;
      execution.version++;
      if (release) execution.owner = undefined;
    }
    return { kind: "committed" };
  }

  /** Who holds the request id, else the open execution with the key. */
  findStart(tenantId: string, requestId: string | undefined, executionKey: string | undefined) {
    const all = [...this.executions.values()].filter((execution) => execution.tenantId === tenantId);
    const byId = all.find(({ start }) => requestId !== undefined && start.requestId === requestId);
    const found = byId ?? all.find(({ start, row }) => executionKey !== undefined && start.executionKey === executionKey && row.endedAt === undefined);
    return found && { executionId: found.executionId, byRequestId: found === byId, requestHash: found.start.requestHash };
  }

  #insert({ tenantId, executionId, start, row, release }: AppendRequest & { tenantId: string }): StoredExecution | undefined {
    if (!start || !row) return undefined;
    const execution: StoredExecution = {
      tenantId,
      executionId,
      start,
      row,
      owner: release ? undefined : this.#writer,
      wakeAt: row.wakeAt,
      version: 0,
      ledger: [],
      order: [],
    };
    this.executions.set(executionId, execution);
    return execution;
  }

  #isTaken(tenantId: string, { requestId, executionKey }: StartRow): boolean {
    return this.#guards.requestId && this.findStart(tenantId, requestId, executionKey) !== undefined;
  }

  #writer: string | undefined;
  #order = 0;

  #holds({ replicaId, epoch }: Fence): boolean {
    const row = this.replicas.get(replicaId);
    return row !== undefined && row.epoch === epoch && row.expiresAt > this.now;
  }

  /** The fence; what passes although the lease is another's now is a violation, whatever let it pass. */
  #passes(fence: Fence, what: string, matters: boolean): boolean {
    const holds = this.#holds(fence);
    this.#writer = fence.replicaId;
    if (holds || this.#guards.fence) return holds;
    if (matters) this.violations.push(`a stale ${what} of ${fence.replicaId} (epoch ${fence.epoch}) changed something`);
    return true;
  }

  #give(execution: StoredExecution, { replicaId }: Fence): ClaimedExecution {
    if (execution.owner !== undefined) this.violations.push(`${execution.executionId} was claimed by ${replicaId} while ${execution.owner} drives it`);
    execution.owner = replicaId;
    execution.version++;
    execution.wakeAt = undefined;
    const { tenantId, executionId, start, row } = execution;
    return { tenantId, executionId, workflowId: start.workflowId, revision: row.revision ?? start.revision };
  }

  #free(replicaId: string): number {
    const owned = [...this.executions.values()].filter(({ owner }) => owner === replicaId);
    for (const execution of owned) {
      execution.owner = undefined;
      execution.version++;
      execution.wakeAt = this.now;
    }
    return owned.length;
  }
}
