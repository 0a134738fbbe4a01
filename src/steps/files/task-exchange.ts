/** The server's side of one task: feeds the source to the thread, takes its result, and never holds more of either than a window. */
import type { Worker } from "node:worker_threads";
import { fail, type Result } from "../../base/result.ts";
import type { Failure } from "../../domain/failure.ts";
import { thrownFailure } from "../signal-failure.ts";
import { ByteWindow } from "./byte-window.ts";
import type { FileTask, FileTaskOutcome } from "./file-job.ts";
import { PieceQueue, releasing } from "./piece-queue.ts";
import type { Rests } from "./rests.ts";
import { type FromThread, pieceBytes, type ToThread, windowBytes } from "./thread-messages.ts";

export interface Ended {
  /** Settles when the result is kept, or dropped. Rejects for a mistake of ours. */
  readonly outcome: Promise<FileTaskOutcome>;
  /** Undefined: the thread was lost. */
  readonly cpuMs: number | undefined;
}

export class TaskExchange {
  readonly #worker: Worker;
  readonly #task: FileTask;
  readonly #onBytes: (change: number) => void;
  readonly #rests: Rests | undefined;
  readonly #ended = Promise.withResolvers<Ended>();
  readonly #window = new ByteWindow(windowBytes);
  #isFed = false;
  #isOver = false;
  #arrived = 0;
  #result: PieceQueue | undefined;
  #kept: Promise<Result<unknown, Failure>> | undefined;
  /** Why the task fails, whatever the thread comes to. */
  #fault: { readonly reason: unknown } | undefined;

  /** @param onBytes counts bytes that are under way in either direction. */
  constructor(worker: Worker, task: FileTask, onBytes: (change: number) => void, rests?: Rests) {
    this.#rests = rests;
    this.#worker = worker;
    this.#task = task;
    this.#onBytes = onBytes;
  }

  start(): Promise<Ended> {
    const { kind, options, select, source } = this.#task;
    this.#post({ type: "task", kind, options, sizeBytes: source.sizeBytes, ...(select ? { select } : {}) });
    void this.#feed();
    return this.#ended.promise;
  }

  /** The thread has nothing to do: the source does not come, or nobody takes the result. */
  get isWaiting(): boolean {
    return (!this.#isFed && this.#window.used === 0) || this.#arrived > windowBytes - pieceBytes;
  }

  receive(message: FromThread): void {
    switch (message.type) {
      case "took":
        this.#onBytes(-message.bytes);
        return this.#window.give(message.bytes);
      case "again":
        return void this.#feed();
      case "made":
        return this.#keep(message.mediaType);
      case "result":
        this.#arrived += message.bytes.length;
        this.#onBytes(message.bytes.length);
        return this.#result?.add(message.bytes);
      case "done":
        return this.#end(message.outcome, message.cpuMs);
    }
  }

  /** The thread is lost to this task. */
  lose(reason: Failure): void {
    this.#fault ??= { reason };
    this.#end(fail(reason), undefined);
  }

  async #feed(): Promise<void> {
    this.#isFed = false;
    try {
      const { source } = this.#task;
      let left = source.sizeBytes;
      for await (const bytes of source.read()) {
        left -= bytes.length;
        if (left < 0) throw new Error(`the source is longer than ${source.sizeBytes} bytes`);
        const isWholeBuffer = source.handsOver === true && bytes.length === bytes.buffer.byteLength;
        for (let from = 0; from < bytes.length; from += pieceBytes) {
          const part = bytes.subarray(from, from + pieceBytes);
          await this.#rests?.before(this.#window);
          await this.#window.take(part.length);
          this.#onBytes(part.length);
          this.#post({ type: "piece", bytes: isWholeBuffer && part.length === bytes.length ? bytes : new Uint8Array(part) });
        }
      }
      if (!this.#isOver) this.#post({ type: "end" });
      this.#isFed = true;
    } catch (thrown) {
      if (thrown !== over) this.#stop(thrown);
    }
  }

  #keep(mediaType: string): void {
    const result = new PieceQueue((bytes) => {
      this.#arrived -= bytes;
      this.#onBytes(-bytes);
      if (!this.#isOver) this.#post({ type: "room", bytes });
    });
    this.#result = result;
    if (!this.#task.keep) return this.#stop(new Error(`${this.#task.kind} makes a file, and nobody keeps it`));
    this.#kept = this.#task.keep({ mediaType }, releasing(result));
    this.#kept.then(
      (kept) => {
        if (!kept.ok) this.#stop(kept.fault);
      },
      (thrown: unknown) => this.#stop(thrown),
    );
  }

  /** What came from elsewhere ends the task; the thread is told, and stays. */
  #stop(reason: unknown): void {
    if (this.#isOver || this.#fault) return;
    this.#fault = { reason };
    this.#window.stop(over);
    this.#result?.breakOff(reason);
    this.#post({ type: "stop" });
  }

  #end(outcome: FileTaskOutcome, cpuMs: number | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // What was under way to a thread that is done, or lost, is on its way no more.
    this.#onBytes(-this.#window.used);
    this.#window.stop(over);
    if (!this.#fault && outcome.ok) this.#result?.end();
    else this.#result?.breakOff(this.#fault ? this.#fault.reason : outcome.ok || outcome.fault);
    this.#ended.resolve({ outcome: this.#settled(outcome), cpuMs });
  }

  async #settled(outcome: FileTaskOutcome): Promise<FileTaskOutcome> {
    const kept = await this.#kept?.catch((thrown: unknown) => {
      // The reason that was thrown into it comes out again; anything else is told below.
      if (this.#fault || !outcome.ok) return undefined;
      throw thrown;
    });
    if (this.#fault) return fail(thrownFailure(this.#fault.reason));
    return outcome.ok && kept && !kept.ok ? fail(kept.fault) : outcome;
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message, message.type === "piece" ? [message.bytes.buffer as ArrayBuffer] : []);
  }
}

/** Ends the feeding of a task that is over. */
const over = new Error("the task is over");
