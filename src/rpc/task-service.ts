/** TaskService: work for programs of any language. */
import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  CompleteTasksResponseSchema,
  HeartbeatTasksResponseSchema,
  ListTaskQueuesResponseSchema,
  ListWorkersResponseSchema,
  PollTasksResponseSchema,
  TaskQueueSchema,
  type TaskService,
  WorkerSchema,
  type WorkerSpec,
  WorkerSpecSchema,
} from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import type { Caller } from "../base/caller.ts";
import { missingField } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import { queueDefault, type TakenTask } from "../domain/task.ts";
import type { WorkerAsk } from "../engine/task-board.ts";
import { handOver } from "./hand-over-tasks.ts";
import { callerOf, drainSignalOf, keyUseOf } from "./interceptors/call.ts";
import type { RpcParts } from "./parts.ts";
import { completeTasks, heartbeatTasks } from "./report-tasks.ts";
import { streamTasks } from "./task-stream.ts";
import { decodePageToken, encodePageToken, listingHash, pageSizeOf } from "./wire/page-token.ts";
import { durationOf, timestampOf } from "./wire/time.ts";

const inFlightDefault = 10;

export function taskRpcs(parts: RpcParts): ServiceImpl<typeof TaskService> {
  return {
    async pollTasks(request, context) {
      const caller = callerOf(context);
      const ask = { ...askOf(caller, request.worker), session: undefined };
      const waitMs = request.wait ? Math.min(durationMs(request.wait), limits.waitMsMax) : 0;
      const key = parts.holdKey(keyUseOf(context));
      const ends = [context.signal, drainSignalOf(context), key.signal];
      const tasks = await poll(parts, ask, request.maxTasks || 1, waitMs, ends).finally(key.release);
      if (tasks.length > 0 && context.signal.aborted) {
        // Nobody hears of them any more: others need not wait for the end of a lease.
        await parts.tasks.giveBack(
          caller.tenantId,
          tasks.map(({ id }) => id),
          ask.worker,
        );
        context.signal.throwIfAborted();
      }
      return create(PollTasksResponseSchema, { tasks: await handOver(parts, ask, tasks) });
    },

    async *streamTasks(request, context) {
      const caller = callerOf(context);
      const leave = parts.taskStreams.enter(caller.tenantId);
      try {
        yield* streamTasks(parts, askOf(caller, request.worker), request.maxInFlight || inFlightDefault, context.signal);
      } finally {
        leave();
      }
    },

    async completeTasks(request, context) {
      return create(CompleteTasksResponseSchema, { statuses: await completeTasks(parts, callerOf(context), request.results) });
    },

    async heartbeatTasks(request, context) {
      return create(HeartbeatTasksResponseSchema, { statuses: await heartbeatTasks(parts, callerOf(context), request.heartbeats) });
    },

    async listWorkers(request, context) {
      const { tenantId } = callerOf(context);
      const scope = { tenantId, method: "TaskService/ListWorkers", filterHash: listingHash(request.taskQueue) };
      const size = pageSizeOf(request.pageSize);
      const after = decodePageToken(parts.pageTokenKey, request.pageToken, scope) ?? "";
      const rows = await parts.tasks.workers(tenantId, after, request.taskQueue, size + 1);
      const page = rows.slice(0, size);
      const workers = page.map(({ worker, queues, taskTypes, labels, alive, startTime, seenTime, taken }) =>
        create(WorkerSchema, {
          spec: create(WorkerSpecSchema, { workerId: worker, taskQueues: [...queues], taskTypes: [...taskTypes], labels }),
          alive,
          startTime: timestampOf(startTime.getTime()),
          lastSeenTime: timestampOf(seenTime.getTime()),
          openTasks: taken,
        }),
      );
      return create(ListWorkersResponseSchema, { workers, nextPageToken: nextToken(parts, scope, rows.length > size, page.at(-1)?.worker) });
    },

    async listTaskQueues(request, context) {
      const { tenantId } = callerOf(context);
      const scope = { tenantId, method: "TaskService/ListTaskQueues", filterHash: listingHash() };
      const size = pageSizeOf(request.pageSize);
      const after = decodePageToken(parts.pageTokenKey, request.pageToken, scope) ?? "";
      const rows = await parts.tasks.queues(tenantId, after, size + 1);
      const page = rows.slice(0, size);
      const taskQueues = page.map(({ queue, waiting, taken, oldestAgeMs, workers }) =>
        create(TaskQueueSchema, {
          name: queue,
          backlog: BigInt(waiting),
          inFlight: BigInt(taken),
          ...(oldestAgeMs === null ? {} : { oldestAge: durationOf(Math.max(0, oldestAgeMs)) }),
          workers,
        }),
      );
      return create(ListTaskQueuesResponseSchema, { taskQueues, nextPageToken: nextToken(parts, scope, rows.length > size, page.at(-1)?.queue) });
    },
  };
}

type Scope = Parameters<typeof decodePageToken>[2];

function nextToken(parts: RpcParts, scope: Scope, hasMore: boolean, after: string | undefined): string {
  return hasMore && after !== undefined ? encodePageToken(parts.pageTokenKey, { ...scope, after }) : "";
}

function askOf({ tenantId }: Caller, spec: WorkerSpec | undefined): Omit<WorkerAsk, "session"> {
  if (!spec) throw missingField("worker");
  const { workerId: worker, taskQueues, taskTypes, labels } = spec;
  return { tenantId, worker, queues: taskQueues.length > 0 ? taskQueues : [queueDefault], taskTypes, labels };
}

/** Takes what waits, or waits for it until the time is over or one of the signals aborts. */
async function poll(parts: RpcParts, ask: WorkerAsk, countMax: number, waitMs: number, signals: readonly AbortSignal[]): Promise<readonly TakenTask[]> {
  parts.taskClock.saw(ask);
  if (waitMs === 0) return await parts.taskBoard.take(ask, countMax);
  const over = new AbortController();
  const stop = (): void => over.abort("over");
  for (const signal of signals) {
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
  }
  void parts.clock.sleep(waitMs, over.signal).then(stop, () => undefined);
  const wait = parts.taskBoard.wait(ask);
  try {
    for (;;) {
      const hint = wait.look();
      const tasks = await parts.taskBoard.take(ask, countMax);
      if (tasks.length > 0 || over.signal.aborted) return tasks;
      wait.pass(hint);
      await wait.until(over.signal);
    }
  } finally {
    wait.leave();
    for (const signal of signals) signal.removeEventListener("abort", stop);
    stop();
  }
}
