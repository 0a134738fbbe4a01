/** The tenant's stored files, as steps use them. */
import type { Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";

/** A stored file as steps see it. */
export interface StepFile {
  /** `blb_…` */
  readonly id: string;
  readonly name: string;
  /** As declared by who made it; what it is, its bytes say. */
  readonly mediaType: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

export interface NewStepFile {
  readonly name: string;
  readonly mediaType: string;
  readonly ttlMs?: number;
  readonly bytesMax?: number;
}

/** The tenant's files. Steps hand them on by id; bytes go in and out as streams, 100 MiB at most. */
export interface StepFiles {
  /** FILE.NOT_FOUND (not retried) when there is none, or its time is over; NETWORK while the storage is in trouble. */
  find(tenantId: string, id: string): Promise<Result<StepFile, Failure>>;
  /** The bytes of a found file, in pieces that are the reader's. Throws a Failure when the storage breaks off. */
  read(tenantId: string, id: string): AsyncIterable<Uint8Array>;
  /**
   * Stores a new file, kept for `ttlMs` [7 days]. LIMIT.BODY above `bytesMax` [100 MiB], LIMIT.FILES at the tenant's quota, NETWORK while the storage is in
   * trouble. What `source` throws is thrown on, and nothing is kept then. A piece is not used any more when the next one is asked for.
   */
  save(tenantId: string, file: NewStepFile, source: AsyncIterable<Uint8Array>): Promise<Result<StepFile, Failure>>;
  /** Takes back a file that the attempt saved and nobody was told of. While the storage is in trouble it stays until its time is over. */
  discard(tenantId: string, id: string): Promise<void>;
}
