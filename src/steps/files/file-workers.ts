/**
 * A small pool of worker threads for files. A thread that exceeds its memory or its time is ended and replaced; the job it had
 * fails for good, since it would do the same again, and the other jobs never notice.
 */
import { Worker } from "node:worker_threads";
import type { Clock } from "../../base/clock.ts";
import { messageOf } from "../../base/errors.ts";
import { fail } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import { signalFailure } from "../signal-failure.ts";
import type { FileJob, FileJobOutcome, FileJobs } from "./file-job.ts";

export interface FileWorkersOptions {
  readonly clock: Clock;
  /** Threads at most; each is started when it is first needed [2]. */
  readonly threads?: number;
  /** Heap of one thread, MiB [256]. */
  readonly memoryMib?: number;
  /** Time of one job, ms [30 s]. */
  readonly jobMs?: number;
  /** Jobs that may wait for a thread [32]; each holds a source of at most 10 MiB. */
  readonly waitingMax?: number;
  /** The module that a thread runs; tests give their own. */
  readonly module?: URL;
}

interface Waiting {
  readonly job: FileJob;
  readonly signal: AbortSignal;
  start(): void;
}

const closeMsMax = 2_000;
const ownModule = new URL("./worker-main.ts", import.meta.url);

export class FileWorkers implements FileJobs, AsyncDisposable {
  readonly #options: Required<FileWorkersOptions>;
  readonly #idle: Worker[] = [];
  readonly #all = new Set<Worker>();
  readonly #waiting: Waiting[] = [];
  #running = 0;

  constructor(options: FileWorkersOptions) {
    this.#options = { threads: 2, memoryMib: 256, jobMs: 30_000, waitingMax: 32, module: ownModule, ...options };
  }

  async run(job: FileJob, signal: AbortSignal): Promise<FileJobOutcome> {
    if (signal.aborted) return fail(signalFailure(signal));
    const { threads, waitingMax } = this.#options;
    if (this.#running >= threads) {
      if (this.#waiting.length >= waitingMax) return fail(failure("WORKER.BUSY", `${waitingMax} files wait to be read already; try again later`));
      if (!(await this.#turn(job, signal))) return fail(signalFailure(signal));
    } else this.#running++;
    try {
      return await this.#execute(job, signal);
    } finally {
      // A waiting job inherits the place, so that no newcomer slips in between.
      const next = this.#waiting.shift();
      if (next) next.start();
      else this.#running--;
    }
  }

  /** Ends every thread; jobs that still run fail. One inside of native code is waited for a moment only. */
  async [Symbol.asyncDispose](): Promise<void> {
    const done = new AbortController();
    const ended = Promise.all([...this.#all].map((worker) => worker.terminate())).then(() => done.abort());
    await Promise.race([ended, this.#options.clock.sleep(closeMsMax, done.signal).catch(() => undefined)]);
  }

  /** Resolves to false when the job was called off while it waited. */
  #turn(job: FileJob, signal: AbortSignal): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const leave = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(waiting), 1);
      resolve(false);
    };
    const start = (): void => {
      signal.removeEventListener("abort", leave);
      resolve(true);
    };
    const waiting: Waiting = { job, signal, start };
    signal.addEventListener("abort", leave, { once: true });
    this.#waiting.push(waiting);
    return promise;
  }

  async #execute(job: FileJob, signal: AbortSignal): Promise<FileJobOutcome> {
    if (signal.aborted) return fail(signalFailure(signal));
    const { clock, jobMs, memoryMib } = this.#options;
    const worker = this.#idle.pop() ?? this.#spawn();
    const over = new AbortController();
    const { promise, resolve } = Promise.withResolvers<{ readonly outcome: FileJobOutcome; readonly isAlive: boolean }>();
    const lost = (outcome: FileJobOutcome): void => resolve({ outcome, isAlive: false });
    const onMessage = (outcome: FileJobOutcome): void => resolve({ outcome, isAlive: true });
    const onError = (error: unknown): void => {
      const isMemory = error instanceof Error && "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
      lost(fail(failure("LIMIT.FILE", isMemory ? `the file needs more than ${memoryMib} MiB to be read` : `reading the file broke off: ${messageOf(error)}`)));
    };
    const onExit = (): void => lost(fail(failure("LIMIT.FILE", "reading the file broke off")));
    const onAbort = (): void => lost(fail(signalFailure(signal)));
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
    signal.addEventListener("abort", onAbort, { once: true });
    const isLate = clock.sleep(jobMs, over.signal).then(
      () => lost(fail(failure("LIMIT.FILE", `reading the file takes more than ${jobMs / 1000} s`))),
      () => undefined,
    );
    worker.ref();
    const bytes = Uint8Array.from(job.bytes);
    worker.postMessage({ ...job, bytes }, [bytes.buffer]);
    const { outcome, isAlive } = await promise;
    over.abort();
    await isLate;
    worker.off("message", onMessage).off("error", onError).off("exit", onExit);
    signal.removeEventListener("abort", onAbort);
    worker.unref();
    if (isAlive && this.#all.has(worker)) this.#idle.push(worker);
    // Not waited for: a thread inside of native code ends when that returns.
    else void worker.terminate();
    return outcome;
  }

  #spawn(): Worker {
    const { memoryMib, module } = this.#options;
    // No environment: a file's bytes are handled where no secret of the server is.
    const worker = new Worker(module, {
      execArgv: [],
      env: {},
      resourceLimits: { maxOldGenerationSizeMb: memoryMib, maxYoungGenerationSizeMb: 32 },
      stdout: true,
      stderr: true,
    });
    this.#all.add(worker);
    const forget = (): void => {
      this.#all.delete(worker);
      const index = this.#idle.indexOf(worker);
      if (index >= 0) this.#idle.splice(index, 1);
    };
    return worker.on("error", forget).on("exit", forget);
  }
}
