/** One operation of `file_process` as plain data, so that any thread can carry it out: the file is named, not handed over. */
import type { JsonObject } from "../../base/json.ts";
import type { Result } from "../../base/result.ts";
import type { Failure } from "../../domain/failure.ts";
import type { StepFile } from "../step-files.ts";
import type { FileTask } from "./file-job.ts";

export interface FileOrder extends Pick<FileTask, "kind" | "options" | "select"> {
  readonly tenantId: string;
  readonly source: OrderSource;
  /** The source's, if it has one: what is made of it is called after it. */
  readonly name?: string | undefined;
}

/** A stored file of the tenant, or bytes, whose memory goes to another thread. */
export type OrderSource =
  | { readonly from: "stored"; readonly blobId: string; readonly sizeBytes: number }
  | { readonly from: "bytes"; readonly bytes: Uint8Array<ArrayBuffer> };

export function sizeOf(source: OrderSource): number {
  return source.from === "stored" ? source.sizeBytes : source.bytes.length;
}

/** `facts` about the source, of `inspect`; else the new file. */
export type FileOrderOutcome = Result<FileFacts | MadeFile, Failure>;

export interface FileFacts {
  readonly kind: "facts";
  readonly facts: JsonObject;
}

export interface MadeFile {
  readonly kind: "made";
  readonly file: StepFile;
}

/** The threads that read files, so that the server's own thread never does. */
export interface FileJobs {
  /**
   * Permanent: LIMIT.FILE for an order that needs more memory or time than it may have, and what is wrong with the file. Retried: WORKER.BUSY
   * while too many wait, NETWORK while the storage is in trouble. An abort gives the signal's failure and frees the thread.
   */
  run(order: FileOrder, signal: AbortSignal): Promise<FileOrderOutcome>;
}
