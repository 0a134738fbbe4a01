/**
 * Lets go of executions that this replica owns and does not drive any more: each becomes due again after a pause, and whoever claims
 * it reads the ledger. What fails again and again waits longer each time, so that one that can never go on does not turn in circles.
 */
import type { Clock } from "../base/clock.ts";
import { messageOf } from "../base/errors.ts";
import { GrowingPauses } from "../base/growing-pauses.ts";
import type { Log } from "../base/log.ts";
import type { RefusedWrite } from "../domain/refused-write.ts";
import type { EngineStore } from "../store/engine-store.ts";

export interface LettingGoOptions {
  readonly store: Pick<EngineStore, "release">;
  readonly holdsLease: () => boolean;
  readonly clock: Clock;
  readonly log: Log;
  /** A row may still be owned here though nobody drives it. */
  readonly onUnreleased: () => void;
}

/** A write of an execution that PostgreSQL refused. */
export interface Refusal {
  readonly write: RefusedWrite;
  /** How often in a row the same was refused. */
  readonly times: number;
  /** Often enough and for a reason in the data: whoever drives it next ends what cannot be written. */
  readonly isFinal: boolean;
}

/** After an execution changed hands. */
const lostPauseMs = 1_000;
const failedPauseMsMax = 300_000;
/** Data that cannot be stored, a constraint, a limit of the database. Any other refusal may end with a mended schema or server. */
const ofTheData = /^(22|23|54)/;
/** Refusals of one event before it is final: behind a refused turn of many, turns of one say which event it is, and more that it stays so. */
const refusalsMax = 4;
/** Executions with a refusal that are remembered. */
const refusedMax = 10_000;

export class LettingGo {
  readonly #options: LettingGoOptions;
  readonly #pauses: GrowingPauses;
  readonly #refusals = new Map<string, Refusal>();

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

  /** What was to be written is refused, and would be again: the turn follows from the ledger. */
  async refused(tenantId: string, executionId: string, write: RefusedWrite): Promise<void> {
    const { failures, pauseMs, released } = this.failed(tenantId, executionId);
    const key = `${tenantId}/${executionId}`;
    const last = this.#refusals.get(key);
    // Not the failures: those that could not even be read, or met another step's event, say nothing of this one.
    const times = last && isSame(last.write, write) ? last.times + 1 : 1;
    const isFinal = times >= refusalsMax && ofTheData.test(write.sqlState);
    const oldest = this.#refusals.keys().next();
    if (this.#refusals.size >= refusedMax && !this.#refusals.has(key) && !oldest.done) this.#refusals.delete(oldest.value);
    this.#refusals.set(key, { write, times, isFinal });
    const then = isFinal ? "it fails with LIMIT.STORAGE" : "it is tried again";
    this.#options.log.error(
      { tenantId, executionId, ...write, failures, pauseMs },
      `the database refuses what an execution has to write; after a pause ${then}`,
    );
    await released;
  }

  /** What whoever drives it next has to know. A final one is told once. */
  refusalOf(tenantId: string, executionId: string): Refusal | undefined {
    const key = `${tenantId}/${executionId}`;
    const refusal = this.#refusals.get(key);
    if (refusal?.isFinal) this.#refusals.set(key, { ...refusal, isFinal: false });
    return refusal;
  }

  /** It left this replica in good order. */
  forget(tenantId: string, executionId: string): void {
    const key = `${tenantId}/${executionId}`;
    this.#pauses.forget(key);
    this.#refusals.delete(key);
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

function isSame(one: RefusedWrite, other: RefusedWrite): boolean {
  return one.stepPath === other.stepPath && one.operation === other.operation && one.sqlState === other.sqlState;
}
