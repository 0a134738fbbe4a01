/**
 * Stored events, registered waits, commands between executions and task queues of a simulated run: the tables that the journal writes
 * with the events they follow from, and their statements, each at one virtual moment.
 */
import type { NewTask, TakenTask } from "../../src/domain/task.ts";
import type { Signal } from "../../src/domain/waits.ts";
import type { AppendRequest } from "../../src/store/journal.ts";
import { type NewSignal, type SentCommand, type SignalPage, type SignalWish, type StoredAs, signalPageRows } from "../../src/store/signal-repository.ts";
import type { ExpiredTask } from "../../src/store/task-store.ts";

/** Who tells it, and since when. */
interface Told {
  attemptedBy: string;
  attemptedAt: number;
}

export interface StoredSignal extends Signal, Told {
  readonly tenantId: string;
  readonly executionId: string | undefined;
  delivered: boolean;
  /** The one execution that it is for has received it. */
  taken: boolean;
  matched: number;
}

interface StoredWait {
  readonly executionId: string;
  readonly path: string;
  readonly attempt: number;
  readonly eventType: string;
  readonly correlationKey: string | undefined;
}

export interface StoredTask extends NewTask {
  readonly tenantId: string;
  readonly executionId: string;
  held: { readonly worker: string; readonly takenAt: number; readonly deadlineAt: number } | undefined;
  /** When it is given up. */
  expiresAt: number | undefined;
  cancelRequested: boolean;
}

/** Which of their guards are there; a sabotage takes one away. */
export interface OutsideGuards {
  readonly dedup: boolean;
  readonly waitsWritten: boolean;
  readonly outboxWritten: boolean;
  readonly takenMarked: boolean;
  readonly lookedAtEnd: boolean;
}

export interface OutsideGround {
  readonly now: () => number;
  readonly isAlive: (replicaId: string) => boolean;
  readonly isOpen: (executionId: string) => boolean;
  readonly guards: OutsideGuards;
}

/** As in `signal-repository.ts`. */
const staleMs = 30_000;

export class OutsideTables {
  readonly signals = new Map<string, StoredSignal>();
  readonly outbox = new Map<string, SentCommand & Told>();
  readonly tasks = new Map<string, StoredTask>();
  /** Calls for whoever takes tasks. */
  onTask: (task: StoredTask) => void = () => undefined;
  readonly #ground: OutsideGround;
  #waits: StoredWait[] = [];

  constructor(ground: OutsideGround) {
    this.#ground = ground;
  }

  /** Part of the statement that writes these events. */
  write({ tenantId, executionId, waits, outbox = [], tasks }: AppendRequest, replicaId: string): void {
    const { guards, now } = this.#ground;
    for (const { path, attempt, events } of guards.waitsWritten ? (waits?.opened ?? []) : []) {
      for (const { eventType, correlationKey } of events) this.#waits.push({ executionId, path, attempt, eventType, correlationKey });
    }
    for (const { path, attempt } of waits?.closed ?? []) {
      this.#waits = this.#waits.filter((wait) => wait.executionId !== executionId || wait.path !== path || wait.attempt !== attempt);
    }
    for (const signalId of waits?.taken ?? []) {
      const signal = this.signals.get(signalId);
      if (signal?.executionId === executionId && guards.takenMarked) signal.taken = true;
    }
    for (const { executionId: to, sequence, command } of guards.outboxWritten ? outbox : []) {
      const copy = JSON.parse(JSON.stringify(command)) as SentCommand["command"];
      const row = { tenantId, senderId: executionId, executionId: to, sequence, command: copy, attemptedBy: replicaId, attemptedAt: now() };
      this.outbox.set(keyOf(row), row);
    }
    for (const task of tasks?.opened ?? []) {
      const row: StoredTask = { ...task, tenantId, executionId, held: undefined, expiresAt: task.startBy, cancelRequested: false };
      this.tasks.set(task.id, row);
      this.onTask(row);
    }
    for (const taskId of tasks?.closed ?? []) this.tasks.delete(taskId);
  }

  // ── events ──

  storeSignal(tenantId: string, { signalId, executionId, eventType, correlationKey, data, dedupId, ttlMs }: NewSignal, replicaId: string): StoredAs {
    const { now, guards, isOpen } = this.#ground;
    const twin = [...this.signals.values()].find((known) => known.dedupId !== undefined && known.dedupId === dedupId && known.executionId === executionId);
    if (twin && guards.dedup) return { kind: "duplicate", signalId: twin.signalId, matched: twin.matched };
    if (executionId !== undefined && !isOpen(executionId)) return { kind: "refused" };
    const receivedAt = Math.floor(now());
    const times = { receivedAt, expiresAt: receivedAt + ttlMs, attemptedBy: replicaId, attemptedAt: now() };
    this.signals.set(signalId, {
      tenantId,
      signalId,
      executionId,
      eventType,
      correlationKey,
      data,
      dedupId,
      ...times,
      delivered: false,
      taken: false,
      matched: 0,
    });
    return { kind: "stored" };
  }

  matchSignal(signalId: string): string[] {
    const signal = this.signals.get(signalId);
    if (!signal) return [];
    const isFor = ({ executionId, eventType, correlationKey }: StoredWait): boolean =>
      eventType === signal.eventType &&
      (signal.executionId === undefined ? correlationKey !== undefined && correlationKey === signal.correlationKey : executionId === signal.executionId);
    const found = [...new Set(this.#waits.filter(isFor).map(({ executionId }) => executionId))];
    signal.matched = Math.max(signal.matched, found.length);
    signal.delivered = found.length === 0;
    return found;
  }

  findSignals({ executionId, events, received, since, after }: SignalWish): SignalPage {
    const { now, guards } = this.#ground;
    const without = new Set(received);
    const signals = [...this.signals.values()]
      .filter((signal) => {
        const isFor = (awaited: { eventType: string; correlationKey?: string | undefined }): boolean =>
          awaited.eventType === signal.eventType &&
          (signal.executionId === undefined
            ? awaited.correlationKey !== undefined && awaited.correlationKey === signal.correlationKey
            : signal.executionId === executionId && !signal.taken);
        const isLive = signal.expiresAt > since || signal.receivedAt >= since;
        return isLive && !without.has(signal.signalId) && events.some(isFor) && (after === undefined || comesAfter(signal, after));
      })
      .sort((a, b) => (comesAfter(a, b) ? 1 : -1))
      .slice(0, signalPageRows)
      .map(({ signalId, eventType, correlationKey, data, dedupId, receivedAt, expiresAt }) => ({
        ...{ signalId, eventType, correlationKey, dedupId, receivedAt, expiresAt },
        data: JSON.parse(JSON.stringify(data)),
      }));
    return { signals, readAt: guards.lookedAtEnd ? Math.floor(now()) : Number.POSITIVE_INFINITY };
  }

  takeUndelivered(replicaId: string): { tenantId: string; signalId: string }[] {
    return this.#take(
      replicaId,
      [...this.signals.values()].filter(({ delivered }) => !delivered),
    ).map(({ tenantId, signalId }) => ({ tenantId, signalId }));
  }

  takeOutbox(replicaId: string): SentCommand[] {
    return this.#take(replicaId, [...this.outbox.values()]).map(({ attemptedBy: _, attemptedAt: __, ...sent }) => sent);
  }

  sent(command: SentCommand): void {
    this.outbox.delete(keyOf(command));
  }

  /** What nobody is telling. */
  #take<Row extends Told>(replicaId: string, rows: readonly Row[]): Row[] {
    const { now, isAlive } = this.#ground;
    const left = rows.filter(({ attemptedBy, attemptedAt }) => !isAlive(attemptedBy) || attemptedAt < now() - staleMs);
    for (const row of left) Object.assign(row, { attemptedBy: replicaId, attemptedAt: now() });
    return left;
  }

  // ── tasks ──

  takeTasks(queue: string, worker: string, countMax: number): TakenTask[] {
    const now = this.#ground.now();
    const waiting = [...this.tasks.values()].filter((task) => task.queue === queue && !task.held && (task.expiresAt ?? Number.POSITIVE_INFINITY) > now);
    return waiting.slice(0, countMax).map((task) => {
      const held = { worker, takenAt: now, deadlineAt: now + task.closeMs };
      task.held = held;
      task.expiresAt = now + Math.min(task.closeMs, task.heartbeatMs ?? task.closeMs);
      return { ...(JSON.parse(JSON.stringify(task)) as StoredTask), actionOutput: task.actionOutput, heartbeatMs: task.heartbeatMs, ...held };
    });
  }

  extendTask(taskId: string): void {
    const task = this.tasks.get(taskId);
    const now = this.#ground.now();
    if (task?.held && (task.expiresAt ?? 0) > now) task.expiresAt = Math.min(task.held.deadlineAt, now + (task.heartbeatMs ?? task.closeMs));
  }

  takeBack(taskId: string): boolean {
    return this.tasks.get(taskId)?.held === undefined && this.tasks.delete(taskId);
  }

  /** Whether a worker has it, who is told. */
  askBack(taskId: string): boolean {
    const task = this.tasks.get(taskId);
    if (!task?.held) return false;
    task.cancelRequested = true;
    return true;
  }

  expiredTasks(): ExpiredTask[] {
    const now = this.#ground.now();
    return [...this.tasks.values()].flatMap(({ tenantId, executionId, path, operation, generation, attempt, closeMs, held, expiresAt }) => {
      if (expiresAt === undefined || expiresAt > now) return [];
      const name = !held ? "TIMEOUT.SCHEDULE_TO_START" : expiresAt < held.deadlineAt ? "TIMEOUT.HEARTBEAT" : "TIMEOUT.START_TO_CLOSE";
      const outcome = { kind: "expired" as const, name: name as "TIMEOUT.HEARTBEAT", deadlineAt: Math.floor(held?.deadlineAt ?? 0), closeMs };
      return [{ tenantId, executionId, path, operation, generation, attempt, outcome }];
    });
  }
}

function comesAfter(one: Signal, other: Signal): boolean {
  return one.receivedAt > other.receivedAt || (one.receivedAt === other.receivedAt && one.signalId > other.signalId);
}

function keyOf({ executionId, senderId, sequence }: SentCommand): string {
  return `${executionId} ${senderId} ${sequence}`;
}
