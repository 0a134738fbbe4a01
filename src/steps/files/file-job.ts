/** What a worker thread is asked to do with one file, and what comes back. */
import type { JsonObject } from "../../base/json.ts";
import type { Result } from "../../base/result.ts";
import type { PortableExpression } from "../../domain/expressions/portable-expression.ts";
import type { Failure } from "../../domain/failure.ts";

/** 10 MiB. A larger source is read as a stream where its format allows that, else refused. */
export const wholeBytesMax = 10 * 1024 * 1024;

/** One operation of `file_process` over one source. */
export interface FileTask {
  /** `inspect` is `validate` or `extract`. */
  readonly kind: "convert" | "optimize" | "inspect";
  /** The operation's configuration. */
  readonly options: JsonObject;
  readonly source: TaskSource;
  /** The expression of `extract.select`. */
  readonly select?: PortableExpression;
  /**
   * Stores the file that `convert` and `optimize` make, as it comes. A failure ends the task with it. `bytes` throws a Failure when the
   * task fails half-way: what came so far is to be dropped and the failure thrown on. The task waits for that. Each piece lasts until the next
   * one is asked for.
   */
  readonly keep?: (made: { readonly mediaType: string }, bytes: AsyncIterable<Uint8Array>) => Promise<Result<unknown, Failure>>;
}

export interface TaskSource {
  readonly sizeBytes: number;
  /** The bytes from the beginning, whenever it is called; throws a Failure when they cannot be had. */
  read(): AsyncIterable<Uint8Array>;
  /** Nobody keeps the pieces that were read: their memory may go to another thread as it is [it is copied]. */
  readonly handsOver?: boolean;
}

/** `facts` about the source, of `inspect`; else the new file has been kept. */
export type FileTaskOutcome = Result<{ readonly facts?: JsonObject }, Failure>;

/** A job over a file that is whole in the thread's memory. */
export interface FileJob {
  /** `entries`, `text`, `image`, `document` and `workbook` are parts of `inspect` that are not read as a plain text. */
  readonly kind: FileTask["kind"] | "entries" | "text" | "image" | "document" | "workbook";
  readonly options: JsonObject;
  readonly bytes: Uint8Array;
  readonly select?: PortableExpression | undefined;
}

/** A new file, or facts about the given one. */
export type FileProduct =
  | { readonly kind: "file"; readonly mediaType: string; readonly bytes: Uint8Array }
  | { readonly kind: "facts"; readonly facts: JsonObject };

export type FileJobOutcome = Result<FileProduct, Failure>;

export const fileProduct = (mediaType: string, bytes: Uint8Array): FileProduct => ({ kind: "file", mediaType, bytes });
