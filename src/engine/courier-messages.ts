/** What the server's thread and the courier's say to each other. Everything here survives a structured clone. */
import type { Failure } from "../domain/failure.ts";
import type { FileOrder, FileOrderOutcome } from "../steps/files/file-order.ts";
import type { DatabaseTarget } from "../store/connection-config.ts";
import type { S3Options } from "../store/object-storage.ts";

/** What the thread is started with. */
export interface CourierData {
  readonly database: DatabaseTarget;
  readonly s3: S3Options | undefined;
}

export type ToCourier =
  | { readonly type: "order"; readonly id: number; readonly order: FileOrder }
  /** Whoever ordered it does not want it any more. */
  | { readonly type: "abort"; readonly id: number; readonly reason: Failure }
  /** Orders over files of that size are likely soon. */
  | { readonly type: "expect"; readonly sizeBytes: number }
  /** Whether the server's thread has other work. */
  | { readonly type: "share"; readonly othersWork: boolean }
  | { readonly type: "close" };

export type FromCourier =
  | { readonly type: "done"; readonly id: number; readonly outcome: FileOrderOutcome }
  /** A mistake of ours. */
  | { readonly type: "broken"; readonly id: number; readonly message: string };
