/** What the server's thread and a worker thread say to each other about one task. Everything here survives a structured clone. */
import type { FileTask, FileTaskOutcome } from "./file-job.ts";

/** Bytes that may be under way in one direction of one task, in pieces of at most `pieceBytes`. */
export const windowBytes = 1024 * 1024;
/** Copied in a tenth of a millisecond, so that no event loop is held up. */
export const pieceBytes = 64 * 1024;

/** What a thread is started with. */
export interface ThreadData {
  /** It lets all others go first. */
  readonly isLow: boolean;
}

export type ToThread =
  | (Pick<FileTask, "kind" | "options" | "select"> & { readonly type: "task"; readonly sizeBytes: number })
  /** More of the source; its buffer is handed over. */
  | { readonly type: "piece"; readonly bytes: Uint8Array }
  | { readonly type: "end" }
  /** So much of the result has been taken. */
  | { readonly type: "room"; readonly bytes: number }
  /** The task is over: nothing more will come, nothing more is wanted. */
  | { readonly type: "stop" };

export type FromThread =
  /** So much of the source has been read. */
  | { readonly type: "took"; readonly bytes: number }
  /** The source once more from its beginning; asked for after its end only. */
  | { readonly type: "again" }
  /** A new file begins. */
  | { readonly type: "made"; readonly mediaType: string }
  | { readonly type: "result"; readonly bytes: Uint8Array }
  /** The answer, and the CPU time of this thread so far, in milliseconds. */
  | { readonly type: "done"; readonly outcome: FileTaskOutcome; readonly cpuMs: number };
