/**
 * Carries out orders over files in a thread of its own, with connections of its own: it reads the source from the storage, feeds the threads
 * that look into it, and stores what they make. The server's thread never has a byte of it in hand. Buffers of a file of 100 MiB cost that thread full
 * garbage collections of 10 to 20 ms, which every execution beside it felt (`npm run bench -- files`).
 */
import { Worker } from "node:worker_threads";
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { fail } from "../base/result.ts";
import { failure } from "../domain/failure.ts";
import { wholeBytesMax } from "../steps/files/file-job.ts";
import type { FileJobs, FileOrder, FileOrderOutcome } from "../steps/files/file-order.ts";
import { signalFailure } from "../steps/signal-failure.ts";
import type { CourierData, FromCourier, ToCourier } from "./courier-messages.ts";

/** Young objects, MiB: what passes through lives shortly. */
const youngMib = 2;
const closeMsMax = 3_000;
/** How often the courier is told whether this thread has other work. */
const lookMs = 200;
/** Part of this thread's time from which on it has: about ten small executions a second. What an order needs of it is far less. */
const busyShare = 0.02;

export interface FileCourierOptions extends CourierData {
  readonly clock: Clock;
  readonly log: Log;
  /** The module that the thread runs; tests give their own. */
  readonly module?: URL;
  /** Part of the time since `before` in which this thread worked, and what to ask the next time; tests give their own. */
  readonly utilization?: typeof performance.eventLoopUtilization;
}

const ownModule = new URL("./courier-main.ts", import.meta.url);

export class FileCourier implements FileJobs, AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #data: CourierData;
  readonly #module: URL;
  /** Undefined until the first order, and after the thread was lost. */
  #worker: Worker | undefined;
  readonly #answers = new Map<number, PromiseWithResolvers<FileOrderOutcome>>();
  readonly #utilization: typeof performance.eventLoopUtilization;
  #isWatching = false;
  #lastId = 0;

  constructor({ clock, log, database, s3, module = ownModule, utilization = performance.eventLoopUtilization }: FileCourierOptions) {
    this.#utilization = utilization;
    this.#clock = clock;
    this.#log = log;
    this.#data = { database, s3 };
    this.#module = module;
  }

  /** A file of that size has been uploaded: orders over it are likely, and the threads for large ones take a moment to start. */
  expect(sizeBytes: number): void {
    if (sizeBytes <= wholeBytesMax) return;
    const worker = (this.#worker ??= this.#start());
    worker.postMessage({ type: "expect", sizeBytes } satisfies ToCourier);
  }

  async run(order: FileOrder, signal: AbortSignal): Promise<FileOrderOutcome> {
    if (signal.aborted) return fail(signalFailure(signal));
    const worker = (this.#worker ??= this.#start());
    const id = ++this.#lastId;
    const answer = Promise.withResolvers<FileOrderOutcome>();
    const tell = (message: ToCourier, memory: ArrayBuffer[] = []): void => worker.postMessage(message, memory);
    const onAbort = (): void => tell({ type: "abort", id, reason: signalFailure(signal) });
    tell({ type: "order", id, order }, order.source.from === "bytes" ? [order.source.bytes.buffer] : []);
    this.#answers.set(id, answer);
    worker.ref();
    void this.#watchOthers();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await answer.promise;
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#answers.delete(id);
      if (this.#answers.size === 0) worker.unref();
    }
  }

  /** Orders that are still under way fail. */
  async [Symbol.asyncDispose](): Promise<void> {
    const worker = this.#worker;
    if (!worker) return;
    const done = new AbortController();
    const ended = new Promise<void>((resolve) => void worker.once("exit", () => resolve())).then(() => done.abort(new Error("the courier has ended")));
    worker.postMessage({ type: "close" } satisfies ToCourier);
    await Promise.race([ended, this.#clock.sleep(closeMsMax, done.signal).catch(() => undefined)]);
    await worker.terminate();
  }

  /** While orders are under way the courier hears whether this thread has other work, so that large files leave room for it. */
  async #watchOthers(): Promise<void> {
    if (this.#isWatching) return;
    this.#isWatching = true;
    for (let before = this.#utilization(); this.#answers.size > 0; before = this.#utilization()) {
      await this.#clock.sleep(lookMs);
      const othersWork = this.#utilization(before).utilization > busyShare;
      this.#worker?.postMessage({ type: "share", othersWork } satisfies ToCourier);
    }
    this.#isWatching = false;
  }

  #start(): Worker {
    const worker = new Worker(this.#module, {
      workerData: this.#data,
      resourceLimits: { maxYoungGenerationSizeMb: youngMib },
    });
    worker.on("message", (message: FromCourier) => {
      const answer = this.#answers.get(message.id);
      if (message.type === "done") answer?.resolve(message.outcome);
      else answer?.reject(new Error(message.message));
    });
    worker.on("error", (error) => this.#log.error({ error }, "the thread that carries files broke"));
    // Comes after an error, too.
    worker.on("exit", () => {
      if (this.#worker === worker) this.#worker = undefined;
      for (const answer of this.#answers.values()) answer.resolve(fail(failure("WORKER.LOST", "the thread that carries files was lost; try again")));
    });
    worker.unref();
    return worker;
  }
}
