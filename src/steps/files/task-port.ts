/** A task as its worker thread sees it: the source as a stream, the result as a place to write to. */
import type { MessagePort } from "node:worker_threads";
import { ByteWindow } from "./byte-window.ts";
import type { FileTask, TaskSource } from "./file-job.ts";
import { PieceQueue, releasing } from "./piece-queue.ts";
import { type FromThread, pieceBytes, type ToThread, windowBytes } from "./thread-messages.ts";

/** Where a new file goes. */
export interface ResultSink {
  /** To be called once, before anything is written. */
  begin(mediaType: string): void;
  /** Resolves when there is room for more. The bytes must not be changed afterwards. */
  write(bytes: Uint8Array): Promise<void>;
}

export class TaskPort implements ResultSink {
  readonly task: Pick<FileTask, "kind" | "options" | "select">;
  readonly source: TaskSource;
  readonly #port: MessagePort;
  readonly #room = new ByteWindow(windowBytes);
  #arriving: PieceQueue;
  #isRead = false;

  constructor(port: MessagePort, task: Extract<ToThread, { type: "task" }>) {
    this.#port = port;
    this.task = task;
    this.#arriving = this.#newQueue();
    this.source = { sizeBytes: task.sizeBytes, read: () => releasing(this.#read()) };
  }

  receive(message: Exclude<ToThread, { type: "task" }>): void {
    switch (message.type) {
      case "piece":
        return this.#arriving.add(message.bytes);
      case "end":
        return this.#arriving.end();
      case "room":
        return this.#room.give(message.bytes);
      case "stop":
        this.#arriving.breakOff(stopped);
        return this.#room.stop(stopped);
    }
  }

  begin(mediaType: string): void {
    this.#post({ type: "made", mediaType });
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length; from += pieceBytes) {
      const piece = new Uint8Array(bytes.subarray(from, from + pieceBytes));
      await this.#room.take(piece.length);
      this.#post({ type: "result", bytes: piece }, piece);
    }
  }

  #read(): AsyncIterable<Uint8Array> {
    if (this.#isRead) {
      this.#arriving = this.#newQueue();
      this.#post({ type: "again" });
    }
    this.#isRead = true;
    return this.#arriving;
  }

  #newQueue(): PieceQueue {
    return new PieceQueue((bytes) => this.#post({ type: "took", bytes }));
  }

  #post(message: FromThread, handedOver?: Uint8Array<ArrayBuffer>): void {
    this.#port.postMessage(message, handedOver ? [handedOver.buffer] : []);
  }
}

/** Thrown into a task that is over; what it makes of that, nobody hears. */
const stopped = new Error("the task is over");
