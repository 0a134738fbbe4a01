/** What the process that answers says about itself; `src/telemetry/` and `app.ts` hand it in. Sums that name nobody. */
import type { RedisLook } from "../domain/service-status.ts";

/** Milliseconds; undefined while nothing was measured. */
export interface MeasuredDurations {
  readonly count: number;
  readonly p50: number | undefined;
  readonly p95: number | undefined;
  readonly p99: number | undefined;
}

export interface CacheFigures {
  readonly cache: string;
  readonly hits: number;
  /** Reads that found nothing, or something that was not good. */
  readonly misses: number;
}

/** Of the time since `from`. */
export interface ProcessFigures {
  /** Milliseconds since the epoch: a little before the window that was asked for, or the start of the process. */
  readonly from: number;
  readonly to: number;
  readonly journalCommit: MeasuredDurations;
  readonly sagaCoordination: MeasuredDurations;
  readonly stepOverhead: readonly (MeasuredDurations & { readonly type: string })[];
  readonly eventLoopDelay: MeasuredDurations;
  readonly caches: readonly CacheFigures[];
}

/** As it is at this moment. */
export interface ProcessMoment {
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  readonly poolMax: number;
  readonly poolOpen: number;
  readonly poolIdle: number;
  readonly poolWaiting: number;
}

export interface SelfReport {
  readonly version: string;
  readonly replicaId: string;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** As the server counts, e.g. 180004. */
  readonly postgresVersion: number;
  readonly leaseHeld: () => boolean;
  readonly journalBacklogRows: () => number;
  /** Asks it. */
  readonly redis: () => Promise<RedisLook>;
  /** Of the last `windowMs`, or since the start when that is shorter. */
  readonly figures: (windowMs: number) => ProcessFigures;
  readonly moment: () => ProcessMoment;
}
