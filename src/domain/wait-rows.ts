/** The registrations of open waits that follow from a batch of events: written in the same statement, so they never disagree. */
import type { AwaitedEvent, ExecutionEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { isTerminal } from "./states.ts";

export interface WaitKey {
  readonly path: string;
  readonly attempt: number;
}

export interface OpenedWait extends WaitKey {
  readonly events: readonly AwaitedEvent[];
}

export interface WaitChanges {
  readonly opened: readonly OpenedWait[];
  readonly closed: readonly WaitKey[];
  /** Signals to this very execution that it received: nobody else will. */
  readonly taken: readonly string[];
}

const endsWait: ReadonlySet<string> = new Set(["step_succeeded", "step_failed", "step_skipped", "step_canceled", "step_retry_scheduled"]);

/** Undefined when nothing changes. The state is the one after the events. A wait that began and ended in them leaves no trace. */
export function waitChanges(state: ExecutionState, events: readonly ExecutionEvent[]): WaitChanges | undefined {
  const opened = new Map<string, OpenedWait>();
  const closed = new Map<string, WaitKey>();
  const taken: string[] = [];
  const close = (path: string, attempt: number): void => {
    const key = `${path}#${attempt}`;
    if (!opened.delete(key)) closed.set(key, { path, attempt });
  };
  for (const event of events) {
    const { stepPath: path, attempt } = event;
    if (event.type === "step_waiting" && event.payload.events) opened.set(`${path}#${attempt}`, { path, attempt, events: event.payload.events });
    else if (event.type === "event_received" && event.payload.signalId !== undefined && event.payload.correlationKey === undefined)
      taken.push(event.payload.signalId);
    else if (endsWait.has(event.type) && state.steps.get(path)?.hasWaited) close(path, attempt);
  }
  if (isTerminal(state.status) && events.some(({ type }) => type === "execution_ended")) {
    for (const path of state.waits) close(path, state.steps.get(path)?.attempt ?? 0);
  }
  if (opened.size === 0 && closed.size === 0 && taken.length === 0) return undefined;
  return { opened: [...opened.values()], closed: [...closed.values()], taken };
}
