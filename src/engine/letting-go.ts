/**
 * Lets go of executions that this replica owns and does not drive any more: each becomes due again after a pause, and whoever claims
 * it reads the ledger. What fails again and again waits longer each time, so that one that can never go on does not turn in circles.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { GrowingPauses } from "../base/growing-pauses.ts";
import type { Log } from "../base/log.ts";
import type { EngineStore } from "../store/engine-store.ts";

export interface LettingGoOptions {
  readonly store: Pick<EngineStore, "release">;
  readonly holdsLease: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** A row may still be owned here though nobody drives it. */
  readonly onUnreleased: () => void;
}

/** After an execution changed hands. */
const lostPauseMs = 1_000;
const failedPauseMsMax = 300_000;

export class LettingGo {
  readonly #options: LettingGoOptions;
  readonly #pauses: GrowingPauses;

  constructor(options: LettingGoOptions) {
    this.#options = options;
    this.#pauses = new GrowingPauses({ firstMs: lostPauseMs, maxMs: failedPauseMsMax, now: () => options.clock.monotonic() });
  }

  /** It is another owner's, or goes on at once: nothing is wrong with it. */
  lost(tenantId: string, executionId: string): Promise<void> {
    return this.#release(tenantId, executionId, lostPauseMs);
  }

  /** It could not go on here, for the `failures`th time in a row. */
  failed(tenantId: string, executionId: string): { readonly failures: number; readonly pauseMs: number; readonly released: Promise<void> } {
    const { failures, pauseMs } = this.#pauses.failed(`${tenantId}/${executionId}`);
    return { failures, pauseMs, released: this.#release(tenantId, executionId, pauseMs) };
  }

  /** It left this replica in good order. */
  forget(tenantId: string, executionId: string): void {
    this.#pauses.forget(`${tenantId}/${executionId}`);
  }

  async #release(tenantId: string, executionId: string, pauseMs: number): Promise<void> {
    const { store, holdsLease, log, onUnreleased } = this.#options;
    if (!holdsLease()) return;
    await store.release(tenantId, executionId, pauseMs).catch((error: unknown) => {
      onUnreleased();
      log.warn({ executionId, error: messageOf(error) }, "a lost execution could not be released; that is tried again");
    });
  }
}
