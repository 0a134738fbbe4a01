/**
 * A worker: takes tasks from queues over one stream with credit, runs a handler per task type, sends heartbeats while it works,
 * and reports in batches until each report is taken. It comes back by itself after a broken stream or a restarted server.
 *
 * A handler may be called twice for the same `idempotencyKey` (a lost report, a crash, a lease that ran out): it acts once per
 * key and gives the first result again.
 */
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { durationMs, ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Client, createClient } from "@connectrpc/connect";
import { Operation, Outcome, type Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { WorkflowApiError } from "./api-error.ts";
import { pauseMsAfter } from "./call-retry.ts";
import { type Connection, type ConnectionOptions, openConnection } from "./connection.ts";
import { ReportQueue, type ResultInit } from "./report-queue.ts";
import { nothingToUndo, TaskFailure } from "./task-failure.ts";

export { nothingToUndo, TaskFailure } from "./task-failure.ts";

/** What a handler may do besides returning. */
export interface TaskContext {
  /** Aborts when the task is not wanted any more or its time is over: stop, and return or throw what came of it. */
  readonly signal: AbortSignal;
  /** Shown to whoever watches the execution; sent with the next heartbeat. */
  progress(percent: number, message?: string): void;
  log(line: string): void;
}

export type TaskHandler = (task: Task, context: TaskContext) => Promise<JsonValue | typeof nothingToUndo>;

/** URL and key as for `createWorkflowClient`; the key needs the scope `tasks:work`. */
export interface WorkerOptions extends ConnectionOptions {
  /** By task type. An undo comes with the task type that the definition gives it. */
  readonly handlers: Readonly<Record<string, TaskHandler>>;
  /** [host, process id and a random part] */
  readonly workerId?: string;
  /** ["default"] */
  readonly taskQueues?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  /** Tasks at once. [10] */
  readonly maxInFlight?: number;
  /** Pause between two heartbeats of tasks that name no shorter one, in milliseconds. [5,000] */
  readonly heartbeatMs?: number;
  /** Hears of broken streams and handlers that threw something unexpected. */
  readonly onError?: (error: unknown) => void;
}

export interface RunningWorker {
  /** Takes nothing new, lets handlers finish for up to `graceMs`, reports, and closes. [30,000] */
  stop(graceMs?: number): Promise<void>;
}

interface Job {
  readonly task: Task;
  readonly abort: AbortController;
  percent: number | undefined;
  message: string;
  logs: string[];
  beatAt: number;
}

/** After a stream that the service ended, and the longest after failures. */
const reconnectMs = 100;
const reconnectMsMax = 5_000;
const lookMs = 100;
const logsMax = 100;
const lineCharactersMax = 1_024;

export function startWorker(options: WorkerOptions): RunningWorker {
  const worker = new Worker(openConnection(options), options);
  worker.start();
  return worker;
}

class Worker implements RunningWorker {
  readonly #connection: Connection;
  readonly #client: Client<typeof TaskService>;
  readonly #options: WorkerOptions;
  readonly #reports: ReportQueue;
  readonly #jobs = new Map<string, Job>();
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #over = new AbortController();
  #loops: Promise<unknown> | undefined;

  constructor(connection: Connection, options: WorkerOptions) {
    this.#connection = connection;
    this.#client = createClient(TaskService, connection.transport);
    this.#options = options;
    this.#reports = new ReportQueue(this.#client, (error) => options.onError?.(error));
  }

  start(): void {
    this.#loops = Promise.all([this.#takeForever(), this.#beatForever()]);
  }

  async stop(graceMs = 30_000): Promise<void> {
    const stopped = new Error("the worker stops");
    this.#stopping.abort(stopped);
    const timer = new AbortController();
    await Promise.race([Promise.all([...this.#running]), sleep(graceMs, undefined, { signal: timer.signal }).catch(() => undefined)]);
    timer.abort("everything is done");
    for (const { abort } of this.#jobs.values()) abort.abort(stopped);
    await this.#reports.stop();
    this.#over.abort(stopped);
    await this.#loops;
    this.#connection.close();
  }

  async #takeForever(): Promise<void> {
    const { signal } = this.#stopping;
    for (let failures = 0; !signal.aborted; ) {
      let pauseMs = reconnectMs;
      try {
        for await (const { item } of this.#client.streamTasks(this.#request(), { signal })) {
          failures = 0;
          if (item.case === "tasks") for (const task of item.value.tasks) this.#begin(task);
          if (item.case === "cancel") for (const taskId of item.value.taskIds) this.#jobs.get(taskId)?.abort.abort(calledOff());
        }
      } catch (error) {
        if (signal.aborted) return;
        this.#options.onError?.(error);
        pauseMs = pauseMsAfter(++failures, error instanceof WorkflowApiError ? error : {}, reconnectMsMax);
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #request() {
    const { workerId = defaultId, taskQueues = ["default"], labels = {}, handlers, maxInFlight = 10 } = this.#options;
    // What is at work still counts after a reconnect.
    const room = Math.max(1, maxInFlight - this.#jobs.size);
    return { worker: { workerId, taskQueues: [...taskQueues], taskTypes: Object.keys(handlers), labels }, maxInFlight: room };
  }

  #begin(task: Task): void {
    const job: Job = { task, abort: new AbortController(), percent: undefined, message: "", logs: [], beatAt: Date.now() };
    this.#jobs.set(task.id, job);
    const running = this.#carryOut(job).finally(() => {
      this.#jobs.delete(task.id);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  async #carryOut(job: Job): Promise<void> {
    const { task, abort } = job;
    const result = await this.#resultOf(job);
    await this.#reports.add(task, result);
    abort.abort("it is reported");
  }

  async #resultOf(job: Job): Promise<ResultInit> {
    const { task } = job;
    const handler = this.#options.handlers[task.taskType];
    if (!handler) return { outcome: Outcome.FAILED_NO_EFFECT, error: "no_handler", message: `this worker has no handler for ${task.taskType}` };
    const context: TaskContext = {
      signal: job.abort.signal,
      progress: (percent, message = job.message) => Object.assign(job, { percent, message }),
      log: (line) => void (job.logs.length < logsMax && job.logs.push(line.slice(0, lineCharactersMax))),
    };
    try {
      const output = await handler(task, context);
      if (output === nothingToUndo && task.operation === Operation.COMPENSATE) return { outcome: Outcome.NULL_COMPENSATED };
      return { outcome: Outcome.SUCCEEDED, output: fromJson(ValueSchema, output === nothingToUndo ? null : output) };
    } catch (error) {
      return this.#failureOf(error);
    }
  }

  #failureOf(error: unknown): ResultInit {
    if (error instanceof TaskFailure) {
      const { effect, message, retryAfterMs } = error;
      const retryAfter =
        retryAfterMs === undefined ? {} : { retryAfter: { seconds: BigInt(Math.floor(retryAfterMs / 1000)), nanos: Math.floor(retryAfterMs % 1000) * 1e6 } };
      return { outcome: effect === "none" ? Outcome.FAILED_NO_EFFECT : Outcome.FAILED, error: error.error, message, ...retryAfter };
    }
    this.#options.onError?.(error);
    return { outcome: Outcome.FAILED, error: "unexpected", message: error instanceof Error ? error.message : String(error) };
  }

  /** Tells of all tasks that are due for it in one call. */
  async #beatForever(): Promise<void> {
    const { signal } = this.#over;
    while (!signal.aborted) {
      await sleep(lookMs, undefined, { signal }).catch(() => undefined);
      const now = Date.now();
      const due = [...this.#jobs.values()].filter((job) => now - job.beatAt >= this.#beatMs(job)).slice(0, 500);
      if (due.length === 0) continue;
      const heartbeats = due.map(({ task, percent, message, logs }) => ({
        taskId: task.id,
        token: task.token,
        message,
        logs,
        ...(percent === undefined ? {} : { percent }),
      }));
      for (const job of due) {
        job.beatAt = now;
        job.logs = [];
      }
      try {
        const { statuses } = await this.#client.heartbeatTasks({ heartbeats }, { signal });
        for (const { taskId, cancel } of statuses) if (cancel) this.#jobs.get(taskId)?.abort.abort(calledOff());
      } catch (error) {
        if (!signal.aborted) this.#options.onError?.(error);
      }
    }
  }

  #beatMs({ task }: Job): number {
    const { heartbeatMs = 5_000 } = this.#options;
    return task.heartbeatTimeout ? Math.min(heartbeatMs, durationMs(task.heartbeatTimeout) / 3) : heartbeatMs;
  }
}

const defaultId = `${hostname().replaceAll(/[^A-Za-z0-9.-]/g, "-")}:${process.pid}:${randomUUID().slice(0, 8)}`.slice(0, 128);

/** What a handler finds as the reason of its signal. */
function calledOff(): Error {
  return new Error("the service asked to stop this task");
}
