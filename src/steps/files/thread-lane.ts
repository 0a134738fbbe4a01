/** Some worker threads and those who wait for one of them, first come, first served. */
import { fail } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import { signalFailure } from "../signal-failure.ts";
import type { FileTask, FileTaskOutcome } from "./file-job.ts";
import type { FileThread } from "./file-thread.ts";
import type { Ended } from "./task-exchange.ts";

export interface LaneOptions {
  /** Threads at most; each is started when it is first needed, and stays. */
  readonly threads: number;
  /** Tasks that may wait. */
  readonly waitingMax: number;
  start(): FileThread;
  /** Counts bytes that are under way between the server's thread and the others. */
  count(change: number): void;
}

export class ThreadLane {
  readonly #options: LaneOptions;
  readonly #idle: FileThread[] = [];
  readonly #all = new Set<FileThread>();
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** The first thread is started ahead of its first task. */
  prepare(): void {
    if (this.#all.size > 0) return;
    const thread = this.#options.start();
    this.#all.add(thread);
    this.#idle.push(thread);
  }

  async run(task: FileTask, signal: AbortSignal): Promise<FileTaskOutcome> {
    const { threads, waitingMax } = this.#options;
    if (this.#running >= threads) {
      if (this.#waiting.length >= waitingMax) return fail(failure("WORKER.BUSY", `${waitingMax} files wait to be read already; try again later`));
      await this.#turn(signal);
    } else this.#running++;
    if (signal.aborted) return fail(signalFailure(signal));
    let ended: Ended;
    try {
      ended = await this.#execute(task, signal);
    } finally {
      // Who waits inherits the place, so that no newcomer slips in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running--;
    }
    // The thread is free already while the result is being stored.
    return await ended.outcome;
  }

  async end(): Promise<void> {
    await Promise.all([...this.#all].map((thread) => thread.end()));
  }

  /** Resolves with a place, or without one when the signal fires. */
  #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const leave = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(start), 1);
      resolve();
    };
    const start = (): void => {
      signal.removeEventListener("abort", leave);
      resolve();
    };
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting.push(start);
    return promise;
  }

  async #execute(task: FileTask, signal: AbortSignal): Promise<Ended> {
    const thread = this.#takeIdle() ?? this.#options.start();
    this.#all.add(thread);
    const ended = await thread.run(task, signal, this.#options.count);
    if (thread.isAlive) this.#idle.push(thread);
    else this.#all.delete(thread);
    return ended;
  }

  #takeIdle(): FileThread | undefined {
    for (;;) {
      const thread = this.#idle.pop();
      if (!thread || thread.isAlive) return thread;
      this.#all.delete(thread);
    }
  }
}
