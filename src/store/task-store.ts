/** Task queues as the engine and the rpcs see them. Opening and ending a task is the journal's business. */
import { formatId, parseId } from "../base/ids.ts";
import type { TaskFact } from "../domain/explain-tasks.ts";
import type { ReportRequest } from "../domain/reported-outcome.ts";
import type { TakenTask } from "../domain/task.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import { discardTask, type ExpiredRow, expiredTasks, extendTasks, recallTask } from "./sql/hold-tasks.ts";
import { type TakenRow, type TakeRequest, takeTasks } from "./sql/take-tasks.ts";
import {
  canceledTasks,
  giveTasksBack,
  knownTasks,
  listQueues,
  type QueueRow,
  takenPathsOf,
  tasksOfExecution,
  taskTotals,
  waitingQueues,
} from "./sql/task-queues.ts";
import { forgetWorkers, listWorkers, noteWorkers, type SeenWorker, type WorkerRow } from "./sql/task-workers.ts";

export type { TakeRequest } from "./sql/take-tasks.ts";
export type { QueueRow } from "./sql/task-queues.ts";
export type { SeenWorker, WorkerRow } from "./sql/task-workers.ts";

export interface TaskBeat {
  readonly taskId: string;
  readonly hasNews: boolean;
  /** From now on silence may last so long. */
  readonly heartbeatMs?: number;
}

export interface HeldTask {
  readonly cancelRequested: boolean;
  /** What it tells shall be written to the ledger now. */
  readonly tell: boolean;
  readonly expiresAt: number;
}

/** An attempt that is given up, as its execution is told. */
export interface ExpiredTask extends Omit<ReportRequest, "random"> {
  readonly tenantId: string;
  readonly executionId: string;
}

export interface TaskStore {
  take(request: TakeRequest): Promise<readonly TakenTask[]>;
  /** By task id; those that are missing are not held any more. */
  extend(tenantId: string, beats: readonly TaskBeat[]): Promise<ReadonlyMap<string, HeldTask>>;
  recall(tenantId: string, taskId: string): Promise<boolean>;
  /** Attempts whose time is over, longest first, without those tasks. */
  expired(rowsMax: number, exceptIds?: readonly string[]): Promise<readonly ExpiredTask[]>;
  waiting(queues: readonly { readonly tenantId: string; readonly queue: string }[]): Promise<readonly { readonly tenantId: string; readonly queue: string }[]>;
  /** Removes a task whose attempt is over according to the ledger. */
  discard(tenantId: string, taskId: string): Promise<void>;
  giveBack(tenantId: string, taskIds: readonly string[], worker: string): Promise<void>;
  known(tenantId: string, taskIds: readonly string[]): Promise<ReadonlySet<string>>;
  canceled(tenantId: string, taskIds: readonly string[]): Promise<readonly string[]>;
  ofExecution(tenantId: string, executionId: string): Promise<readonly TaskFact[]>;
  /** Paths of the steps of an execution whose action somebody has taken. */
  takenPaths(tenantId: string, executionId: string): Promise<ReadonlySet<string>>;
  queues(tenantId: string, after: string, rowsMax: number): Promise<readonly QueueRow[]>;
  totals(): Promise<{ readonly waiting: number; readonly taken: number; readonly oldestSeconds: number }>;
  note(workers: readonly SeenWorker[]): Promise<void>;
  forgetWorkers(): Promise<void>;
  workers(tenantId: string, after: string, queue: string, rowsMax: number): Promise<readonly WorkerRow[]>;
}

/** Progress of one task is written to the ledger at most so often. */
const tellEveryMs = 2_000;
/** A worker that has not polled for so long is not counted on. */
const aliveMs = 60_000;

export function createTaskStore({ pool }: Pick<Database, "pool">): TaskStore {
  return {
    take: async (request) => (await guarded(() => takeTasks(pool, request))).map(taskOf),
    async extend(tenantId, beats) {
      const known = beats.flatMap(({ taskId, hasNews, heartbeatMs }) => {
        const taskUuid = parseId("task", taskId);
        return taskUuid === undefined ? [] : [{ taskUuid, hasNews, heartbeatMs }];
      });
      const held = known.length === 0 ? [] : await guarded(() => extendTasks(pool, tenantId, known, tellEveryMs));
      return new Map(
        held.map((row) => [formatId("task", row.id), { cancelRequested: row.cancel_requested, tell: row.tell === true, expiresAt: row.expire_time.getTime() }]),
      );
    },
    recall: (tenantId, taskId) => guarded(() => recallTask(pool, tenantId, parseId("task", taskId) ?? "")),
    expired: async (rowsMax, exceptIds = []) => (await guarded(() => expiredTasks(pool, rowsMax, uuidsOf(exceptIds)))).map(expiryOf),
    waiting: (queues) => guarded(() => waitingQueues(pool, queues)),
    discard: (tenantId, taskId) => guarded(() => discardTask(pool, tenantId, parseId("task", taskId) ?? "")),
    giveBack: (tenantId, taskIds, worker) => guarded(() => giveTasksBack(pool, tenantId, uuidsOf(taskIds), worker)),
    known: async (tenantId, taskIds) => new Set((await guarded(() => knownTasks(pool, tenantId, uuidsOf(taskIds)))).map((id) => formatId("task", id))),
    canceled: async (tenantId, taskIds) => (await guarded(() => canceledTasks(pool, tenantId, uuidsOf(taskIds)))).map((id) => formatId("task", id)),
    async takenPaths(tenantId, executionId) {
      const uuid = parseId("execution", executionId);
      return new Set(uuid === undefined ? [] : await guarded(() => takenPathsOf(pool, tenantId, uuid)));
    },
    async ofExecution(tenantId, executionId) {
      const uuid = parseId("execution", executionId);
      if (uuid === undefined) return [];
      const rows = await guarded(() => tasksOfExecution(pool, tenantId, uuid, aliveMs));
      return rows.map(({ id, worker, expireTime, createTime, ...row }) => ({
        ...row,
        id: formatId("task", id),
        worker: worker ?? undefined,
        expiresAt: expireTime?.getTime(),
        createdAt: createTime.getTime(),
      }));
    },
    queues: (tenantId, after, rowsMax) => guarded(() => listQueues(pool, tenantId, aliveMs, after, rowsMax)),
    totals: () => guarded(() => taskTotals(pool)),
    note: (workers) => guarded(() => noteWorkers(pool, workers)),
    forgetWorkers: () => guarded(() => forgetWorkers(pool)),
    workers: (tenantId, after, queue, rowsMax) => guarded(() => listWorkers(pool, tenantId, aliveMs, after, queue, rowsMax)),
  };
}

function uuidsOf(taskIds: readonly string[]): string[] {
  return taskIds.flatMap((id) => parseId("task", id) ?? []);
}

function taskOf(row: TakenRow): TakenTask {
  return {
    id: formatId("task", row.id),
    executionId: formatId("execution", row.execution_id),
    path: row.step_path,
    operation: row.operation,
    generation: row.generation,
    attempt: row.attempt,
    queue: row.queue,
    taskType: row.task_type,
    idempotencyKey: row.idempotency_key,
    input: row.input,
    actionOutput: row.has_output ? row.action_output : undefined,
    mayNotHaveRun: row.may_not_have_run,
    correlationId: row.correlation_id,
    traceparent: row.traceparent,
    tracestate: row.tracestate ?? undefined,
    baggage: row.baggage ?? undefined,
    closeMs: row.close_ms,
    heartbeatMs: row.heartbeat_ms ?? undefined,
    createdAt: row.create_time.getTime(),
    takenAt: row.take_time.getTime(),
    deadlineAt: row.deadline_time.getTime(),
  };
}

function expiryOf(row: ExpiredRow): ExpiredTask {
  const name = !row.taken ? "TIMEOUT.SCHEDULE_TO_START" : row.silent ? "TIMEOUT.HEARTBEAT" : "TIMEOUT.START_TO_CLOSE";
  return {
    tenantId: row.tenant_id,
    executionId: formatId("execution", row.execution_id),
    path: row.step_path,
    operation: row.operation,
    generation: row.generation,
    attempt: row.attempt,
    outcome: { kind: "expired", name, deadlineAt: row.deadline_time?.getTime() ?? 0, closeMs: row.close_ms },
  };
}
