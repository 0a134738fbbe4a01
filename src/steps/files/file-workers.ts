/**
 * A small pool of worker threads for files: some for most of them, and one of lower priority for large ones, so that small files never
 * wait for those. A task that exceeds its memory or its time ends its thread, which is replaced; that task fails for good, since it would
 * do the same again, and the others never notice.
 */
import type { Clock } from "../../base/clock.ts";
import { fail } from "../../base/result.ts";
import { signalFailure } from "../signal-failure.ts";
import { type FileTask, type FileTaskOutcome, wholeBytesMax } from "./file-job.ts";
import { FileThread, type ThreadCaps } from "./file-thread.ts";
import { Rests } from "./rests.ts";
import { ThreadLane } from "./thread-lane.ts";

export interface FileWorkersOptions extends Partial<ThreadCaps> {
  readonly clock: Clock;
  /** Threads for sources up to 10 MiB [2]; there is one more for larger ones. */
  readonly threads?: number;
  /** Something else is to go on here: while it is so, large files rest in between [never]. */
  readonly othersWork?: () => boolean;
  /** Tasks that may wait for a thread of each kind [1,000]; a source that waits is not in memory, unless it was short or a text of the definition. */
  readonly waitingMax?: number;
  /** The module that a thread runs; tests give their own. */
  readonly module?: URL;
}

const largeThreads = 1;
const closeMsMax = 2_000;
const ownModule = new URL("./worker-main.ts", import.meta.url);

export class FileWorkers implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #usual: ThreadLane;
  readonly #large: ThreadLane;
  #bytesUnderWay = 0;
  #bytesUnderWayPeak = 0;

  constructor(options: FileWorkersOptions) {
    const { clock, threads = 2, memoryMib = 256, cpuMs = 30_000, busyMs = 600_000, waitingMax = 1_000, module = ownModule } = options;
    this.#clock = clock;
    const caps = { memoryMib, cpuMs, busyMs };
    const count = (change: number): void => {
      this.#bytesUnderWay += change;
      this.#bytesUnderWayPeak = Math.max(this.#bytesUnderWayPeak, this.#bytesUnderWay);
    };
    const lane = (threadsMax: number, own: { readonly rests?: Rests } = {}): ThreadLane =>
      new ThreadLane({ threads: threadsMax, waitingMax, count, start: () => new FileThread({ module, caps, clock, ...own }) });
    this.#usual = lane(threads);
    this.#large = lane(largeThreads, { rests: new Rests(clock, options.othersWork ?? (() => false)) });
  }

  /** Bytes of sources and results that are between this thread and the others now. */
  get bytesUnderWay(): number {
    return this.#bytesUnderWay;
  }

  /** The most there ever were at one moment. */
  get bytesUnderWayPeak(): number {
    return this.#bytesUnderWayPeak;
  }

  /** A thread for a file of that size gets ready. */
  expect(sizeBytes: number): void {
    this.#laneOf(sizeBytes).prepare();
  }

  /** As `FileJobs.run`. */
  async run(task: FileTask, signal: AbortSignal): Promise<FileTaskOutcome> {
    if (signal.aborted) return fail(signalFailure(signal));
    return await this.#laneOf(task.source.sizeBytes).run(task, signal);
  }

  #laneOf(sizeBytes: number): ThreadLane {
    return sizeBytes > wholeBytesMax ? this.#large : this.#usual;
  }

  /** Ends every thread; tasks that still run fail. One inside of native code is waited for a moment only. */
  async [Symbol.asyncDispose](): Promise<void> {
    const done = new AbortController();
    const ended = Promise.all([this.#usual.end(), this.#large.end()]).then(() => done.abort("every thread has ended"));
    await Promise.race([ended, this.#clock.sleep(closeMsMax, done.signal).catch(() => undefined)]);
  }
}
