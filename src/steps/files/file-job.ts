/** What a worker thread is asked to do with one file, and what comes back. Everything here survives a structured clone. */
import type { JsonObject } from "../../base/json.ts";
import type { Result } from "../../base/result.ts";
import type { Failure } from "../../domain/failure.ts";

export interface FileJob {
  /** `inspect` is `validate` or `extract`; `entries`, `text`, `image`, `document` and `workbook` are parts of it that are not read as a plain text. */
  readonly kind: "convert" | "optimize" | "inspect" | "entries" | "text" | "image" | "document" | "workbook";
  /** The operation's configuration. */
  readonly options: JsonObject;
  readonly bytes: Uint8Array;
}

/** A new file, or facts about the given one. */
export type FileProduct =
  | { readonly kind: "file"; readonly mediaType: string; readonly bytes: Uint8Array }
  | { readonly kind: "facts"; readonly facts: JsonObject };

export type FileJobOutcome = Result<FileProduct, Failure>;

/** The threads that read files, so that the server's own thread never does. */
export interface FileJobs {
  /**
   * The bytes are copied. Permanent: LIMIT.FILE for a job that needs more memory or time than it may have, and what the job finds wrong
   * with the file. WORKER.BUSY (retried) while too many jobs wait. An abort gives the signal's failure and frees the thread.
   */
  run(job: FileJob, signal: AbortSignal): Promise<FileJobOutcome>;
}

export const fileProduct = (mediaType: string, bytes: Uint8Array): FileProduct => ({ kind: "file", mediaType, bytes });
