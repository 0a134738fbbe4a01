/**
 * What has to be looked at from time to time for task queues: attempts whose time is over (told to their executions like any
 * other report), queues where a message was lost, and who polls. Every replica does all of it; twice is as good as once.
 */
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import { GrowingPauses } from "../base/growing-pauses.ts";
import { LeftOut, mayPass } from "../base/left-out.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import { taskIdOf } from "../domain/task-token.ts";
import type { ExpiredTask, SeenWorker, TaskStore } from "../store/task-store.ts";
import type { TaskBoard } from "./task-board.ts";

export interface TaskClockOptions {
  readonly store: Pick<TaskStore, "expired" | "waiting" | "discard" | "note" | "forgetWorkers">;
  readonly board: TaskBoard;
  /** Hands a report to the execution, wherever it is driven. */
  readonly report: (tenantId: string, executionId: string, command: ControlCommand) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
  readonly leftOut?: LeftOut;
  readonly random: () => number;
  /** Counts attempts that were given up, by what was exceeded. */
  readonly onExpired?: (name: string) => void;
}

const lookMs = 500;
const expiredRowsMax = 200;
const failedPauseMsMax = 60_000;
/** Reports under way at once. */
const reportsMax = 16;
/** How often the tables are asked for what no message told. */
const floorMs = 2_000;
const noteMs = 10_000;
const forgetMs = 3_600_000;
/** Workers that are remembered as written. */
const knownMax = 10_000;

export class TaskClock {
  readonly #options: TaskClockOptions;
  readonly #stopping = new AbortController();
  readonly #seen = new Map<string, SeenWorker>();
  /** Workers that were written at least once. */
  readonly #known = new Set<string>();
  /** Tasks whose executions could not be told: those behind them have their turn meanwhile. */
  readonly #pauses: GrowingPauses;
  readonly #leftOut: LeftOut;
  #loop: Promise<void> | undefined;

  constructor(options: TaskClockOptions) {
    this.#options = options;
    this.#pauses = new GrowingPauses({ firstMs: lookMs, maxMs: failedPauseMsMax, now: () => options.clock.monotonic() });
    this.#leftOut = options.leftOut ?? new LeftOut({ work: "tasks", log: options.log });
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#loop;
  }

  /** A worker polls; it is written down within ten seconds, a new one at once: who looks wants to find it. */
  saw(worker: SeenWorker): void {
    const key = `${worker.tenantId}\n${worker.worker}`;
    this.#seen.set(key, worker);
    if (this.#known.has(key) || this.#stopping.signal.aborted) return;
    if (this.#known.size >= knownMax) this.#known.clear();
    this.#known.add(key);
    void this.#note().catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    const { signal } = this.#stopping;
    const duties = [
      { everyMs: lookMs, run: () => this.#giveUp(), at: 0 },
      { everyMs: floorMs, run: () => this.#look(), at: 0 },
      { everyMs: noteMs, run: () => this.#note(), at: 0 },
      { everyMs: forgetMs, run: () => this.#options.store.forgetWorkers(), at: 0 },
    ];
    while (!signal.aborted) {
      for (const duty of duties) {
        const now = clock.monotonic();
        if (now - duty.at < duty.everyMs) continue;
        duty.at = now;
        await duty.run().catch((error: unknown) => log.warn({ error: messageOf(error) }, "task queues could not be looked after; it is tried again"));
      }
      await clock.sleep(lookMs, signal).catch(() => undefined);
    }
  }

  async #giveUp(): Promise<void> {
    const expired = [...(await this.#options.store.expired(expiredRowsMax, this.#pauses.paused()))];
    const work = async (): Promise<void> => {
      for (let task = expired.pop(); task && !this.#stopping.signal.aborted; task = expired.pop()) await this.#expire(task);
    };
    await Promise.all(Array.from({ length: Math.min(reportsMax, expired.length) }, work));
  }

  async #expire(task: ExpiredTask): Promise<void> {
    const { store, report, log, random, onExpired } = this.#options;
    const { tenantId, executionId, ...request } = task;
    const taskId = taskIdOf({ executionId, ...request });
    try {
      await report(tenantId, executionId, { kind: "report", ...request, random: random() });
      this.#pauses.forget(taskId);
      onExpired?.(request.outcome.kind === "expired" ? request.outcome.name : "");
    } catch (error) {
      if (!(error instanceof AppError) || error.code === "UNAVAILABLE" || error.code === "INTERNAL") {
        this.#pauses.failed(taskId);
        if (!mayPass(error)) this.#leftOut.tell({ tenantId, executionId, taskId }, error);
        else log.warn({ executionId, error: messageOf(error) }, "an execution could not be told that a task was given up; it is tried again");
        return;
      }
      // Its ledger says that this attempt is over: nobody waits for it.
      await store.discard(tenantId, taskId);
    }
  }

  async #look(): Promise<void> {
    const { store, board } = this.#options;
    board.tidy();
    const { awaited } = board;
    if (awaited.length === 0) return;
    for (const { tenantId, queue } of await store.waiting(awaited)) board.heardOf(tenantId, queue, 1);
  }

  async #note(): Promise<void> {
    if (this.#seen.size === 0) return;
    const workers = [...this.#seen.values()];
    this.#seen.clear();
    await this.#options.store.note(workers);
  }
}
