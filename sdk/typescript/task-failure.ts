/** How a handler says that its task failed, and what it knows of the effect. Anything else it throws counts as unknown. */
export interface FailureDetails {
  /** For people. */
  readonly message?: string;
  /** `none`: surely nothing happened; `unknown`: perhaps something did, so the service repeats or undoes it. [none] */
  readonly effect?: "none" | "unknown";
  /** Wait at least so long before the next attempt. */
  readonly retryAfterMs?: number;
}

export class TaskFailure extends Error {
  /** `card_declined` becomes `WORKER.card_declined`; `HTTP.402` and the like stay as they are. */
  readonly error: string;
  readonly effect: "none" | "unknown";
  readonly retryAfterMs: number | undefined;

  constructor(error: string, { message = error, effect = "none", retryAfterMs }: FailureDetails = {}) {
    super(message);
    this.name = "TaskFailure";
    this.error = error;
    this.effect = effect;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What an undo returns that found nothing to undo. */
export const nothingToUndo: unique symbol = Symbol("nothing to undo");
