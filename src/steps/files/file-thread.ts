/** One worker thread. A task that takes too much memory or time costs it its life; whatever else goes wrong with a task, it lives on. */
import { Worker } from "node:worker_threads";
import type { Clock } from "../../base/clock.ts";
import { compileCacheVariables } from "../../base/compile-cache.ts";
import { messageOf } from "../../base/errors.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { signalFailure } from "../signal-failure.ts";
import type { FileTask } from "./file-job.ts";
import type { Rests } from "./rests.ts";
import { type Ended, TaskExchange } from "./task-exchange.ts";
import type { FromThread, ThreadData } from "./thread-messages.ts";
import { ThreadMeter } from "./thread-meter.ts";

export interface ThreadCaps {
  /** Heap, MiB, and half of it again of buffers. Memory of native code (images, compression) is bounded by the limits of pixels and bytes instead. */
  readonly memoryMib: number;
  /** CPU time of one task, ms. */
  readonly cpuMs: number;
  /** Time of one task in which it waits neither for its source nor for room for its result, ms. Meets what is busy outside of the thread, too. */
  readonly busyMs: number;
}

/** How often the caps are looked at, ms. */
const watchMs = 100;
/** Young objects, MiB. A stream makes garbage only: a small space for it keeps the process small. */
const youngMib = { usual: 16, low: 3 } as const;

export class FileThread {
  readonly #worker: Worker;
  readonly #caps: ThreadCaps;
  readonly #clock: Clock;
  readonly #meter: ThreadMeter;
  readonly #rests: Rests | undefined;
  #isAlive = true;

  /** @param rests makes it one for large files, which let everything else go first: the operating system prefers every other thread to it. */
  constructor({ module, caps, clock, rests }: { readonly module: URL; readonly caps: ThreadCaps; readonly clock: Clock; readonly rests?: Rests }) {
    const isLow = rests !== undefined;
    this.#rests = rests;
    this.#caps = caps;
    this.#clock = clock;
    // No environment of the server: a file's bytes are handled where no secret of it is.
    this.#worker = new Worker(module, {
      execArgv: [],
      env: compileCacheVariables(),
      workerData: { isLow } satisfies ThreadData,
      resourceLimits: { maxOldGenerationSizeMb: caps.memoryMib, maxYoungGenerationSizeMb: isLow ? youngMib.low : youngMib.usual },
      stdout: true,
      stderr: true,
    });
    this.#meter = new ThreadMeter(this.#worker);
    const die = (): void => {
      this.#isAlive = false;
    };
    this.#worker.on("error", die).on("exit", die);
  }

  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Resolves when the thread is free again, or lost. */
  async run(task: FileTask, signal: AbortSignal, onBytes: (change: number) => void): Promise<Ended> {
    const worker = this.#worker;
    const exchange = new TaskExchange(worker, task, onBytes, this.#rests);
    const onMessage = (message: FromThread): void => exchange.receive(message);
    const onError = (error: unknown): void => {
      const isMemory = error instanceof Error && "code" in error && error.code === "ERR_WORKER_OUT_OF_MEMORY";
      exchange.lose(isMemory ? this.#tooMuchMemory() : failure("LIMIT.FILE", `reading the file broke off: ${messageOf(error)}`));
    };
    const onExit = (): void => exchange.lose(failure("LIMIT.FILE", "reading the file broke off"));
    const onAbort = (): void => exchange.lose(signalFailure(signal));
    worker.on("message", onMessage).on("error", onError).on("exit", onExit);
    signal.addEventListener("abort", onAbort, { once: true });
    worker.ref();
    const ended = new AbortController();
    void this.#watch(exchange, ended.signal);
    const result = await exchange.start();
    ended.abort("the task has ended");
    worker.off("message", onMessage).off("error", onError).off("exit", onExit);
    signal.removeEventListener("abort", onAbort);
    worker.unref();
    if (result.cpuMs === undefined) void this.end();
    else this.#meter.restart(result.cpuMs);
    return result;
  }

  /** A thread inside of one long native call ends when that returns. */
  async end(): Promise<void> {
    this.#isAlive = false;
    await this.#worker.terminate();
  }

  #tooMuchMemory(): Failure {
    return failure("LIMIT.FILE", `the file needs more than ${this.#caps.memoryMib} MiB to be read`);
  }

  async #watch(exchange: TaskExchange, ended: AbortSignal): Promise<void> {
    const { memoryMib, cpuMs, busyMs } = this.#caps;
    let busy = 0;
    for (let last = this.#clock.monotonic(); ; ) {
      await this.#clock.sleep(watchMs, ended).catch(() => undefined);
      if (ended.aborted) return;
      const now = this.#clock.monotonic();
      if (!exchange.isWaiting) busy += now - last;
      last = now;
      const used = this.#meter.look();
      if (used.bufferMib > memoryMib / 2) exchange.lose(this.#tooMuchMemory());
      else if (used.cpuMs > cpuMs) exchange.lose(failure("LIMIT.FILE", `reading the file takes more than ${cpuMs / 1_000} s of CPU time`));
      else if (busy > busyMs) exchange.lose(failure("LIMIT.FILE", `reading the file takes more than ${busyMs / 1_000} s`));
    }
  }
}
