/**
 * What work in batches goes past because it fails each time. Whoever repeats a batch until it succeeds would stand for ever before
 * one bad row, and everything behind that row with it. What may pass (the database is away, somebody holds the row) is thrown on, so
 * that the batch is repeated; only when the same row did that again and again, while everything around it could be read, is it left out, too.
 */
import { AppError, messageOf } from "./errors.ts";
import type { Log } from "./log.ts";

/** The works that leave out, as the metric's label `kind` names them. */
export type LeavingWork = "workflow_sweep" | "retention" | "usage" | "deleted_definitions" | "files" | "deliveries" | "tasks";

export interface LeftOutOptions {
  readonly work: LeavingWork;
  readonly log: Log;
  /** Hears of each row once. */
  readonly onLeftOut?: ((work: LeavingWork) => void) | undefined;
}

/** What names a row: only ids, they are logged. */
export type RowName = Readonly<Record<string, string>>;

/** Whether trying again later may help: the trouble is not the row's. */
export function mayPass(error: unknown): boolean {
  return error instanceof AppError && (error.code === "UNAVAILABLE" || error.code === "RESOURCE_EXHAUSTED" || error.code === "DEADLINE_EXCEEDED");
}

/** How often what may pass is thrown on for one row. */
const triesMax = 3;
/** Rows that are remembered; of more the oldest are told again. */
const rememberedMax = 1_000;

export class LeftOut {
  readonly #options: LeftOutOptions;
  /** How often a row failed; infinite: it was told. */
  readonly #failures = new Map<string, number>();

  constructor(options: LeftOutOptions) {
    this.#options = options;
  }

  /** Says that the work goes on behind this row, once in the log and the metric. @throws `error` when the batch is to be repeated */
  goOn(row: RowName, error: unknown): void {
    const key = JSON.stringify(row);
    const failures = (this.#failures.get(key) ?? 0) + 1;
    if (mayPass(error) && failures < triesMax) {
      this.#remember(key, failures);
      throw error;
    }
    this.tell(row, error);
  }

  /** As `goOn`, whatever the error: for work that never repeats a batch. */
  tell(row: RowName, error: unknown): void {
    const { work, log, onLeftOut } = this.#options;
    const key = JSON.stringify(row);
    const isTold = this.#failures.get(key) === Number.POSITIVE_INFINITY;
    this.#remember(key, Number.POSITIVE_INFINITY);
    if (isTold) return;
    log.error(
      { ...row, work, error: messageOf(error) },
      "this fails each time and is left out; the work goes on behind it and tries it again with its next pass",
    );
    onLeftOut?.(work);
  }

  #remember(key: string, failures: number): void {
    const oldest = this.#failures.keys().next();
    if (this.#failures.size >= rememberedMax && !this.#failures.has(key) && !oldest.done) this.#failures.delete(oldest.value);
    this.#failures.set(key, failures);
  }
}
