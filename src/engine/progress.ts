/** News of executions for whoever watches them in this process, published after commit and never before. */
import type { ExecutionEvent } from "../domain/events.ts";

export type ProgressListener = (events: readonly ExecutionEvent[]) => void;

export class Progress {
  readonly #listeners = new Map<string, Set<ProgressListener>>();

  /** Calls `listener` with each committed batch of that execution's events, in order. Returns how to stop it. */
  subscribe(executionId: string, listener: ProgressListener): () => void {
    const listeners = this.#listeners.get(executionId) ?? new Set();
    this.#listeners.set(executionId, listeners);
    listeners.add(listener);
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(executionId) === listeners) this.#listeners.delete(executionId);
    };
  }

  publish(executionId: string, events: readonly ExecutionEvent[]): void {
    if (events.length === 0) return;
    for (const listener of this.#listeners.get(executionId) ?? []) listener(events);
  }

  /** Listeners in this process, for the metric. */
  get watched(): number {
    return this.#listeners.size;
  }
}
