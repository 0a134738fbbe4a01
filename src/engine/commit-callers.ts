/** Those who wait for the next commit of a run: a start, commands. */
import type { ExecutionEvent } from "../domain/events.ts";
import type { AppendOutcome } from "../store/journal.ts";

export interface Begun {
  readonly outcome: AppendOutcome;
  /** What was written; the run's own state is ahead of it by the time somebody looks. */
  readonly events: readonly ExecutionEvent[];
}

type Caller = (outcome: AppendOutcome, events: readonly ExecutionEvent[]) => void;

export class CommitCallers {
  #waiting: Caller[] = [];

  add(caller: Caller): void {
    this.#waiting.push(caller);
  }

  /** They hear after the next effects and the next append have left: making their answers takes longer than both. */
  tell(outcome: AppendOutcome, events: readonly ExecutionEvent[]): void {
    const callers = this.#waiting;
    if (callers.length === 0) return;
    this.#waiting = [];
    setImmediate(() => {
      for (const call of callers) call(outcome, events);
    });
  }
}
