/** What one turn of a run writes: its events and everything that follows from them. */
import type { Definition } from "../domain/definition.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { outboxOf } from "../domain/outbox.ts";
import { executionRow } from "../domain/projection.ts";
import { isTerminal } from "../domain/states.ts";
import { waitChanges } from "../domain/wait-rows.ts";
import type { AppendRequest, StartRow } from "../store/journal.ts";

/** Events after which the execution's own row says something else. */
const changesRow: ReadonlySet<string> = new Set([
  "execution_created",
  "execution_started",
  "execution_paused",
  "execution_resumed",
  "execution_cancel_requested",
  "execution_ended",
  "execution_reopened",
  "saga_state_changed",
  "variables_set",
  "step_enlisted",
  "operator_acted",
]);

export interface WrittenTurn {
  readonly events: readonly ExecutionEvent[];
  /** Set for the first turn of a new execution. */
  readonly start: StartRow | undefined;
  /** The row has to be written whatever the events say. */
  readonly isRowOld: boolean;
  /** Tasks that begin or end with the events. */
  readonly tasks: Pick<AppendRequest, "tasks">;
  /** The execution leaves memory, until `until` (milliseconds since the epoch; infinity: until something comes from outside). */
  readonly release: boolean;
  readonly until: number;
}

/** `state` is the one after the events. */
export function appendRequest(definition: Definition, state: ExecutionState, { events, start, isRowOld, tasks, release, until }: WrittenTurn): AppendRequest {
  const changed = release || start !== undefined || isRowOld || events.some((event) => changesRow.has(event.type));
  const wakeAt = release && !isTerminal(state.status) && Number.isFinite(until) ? until : undefined;
  const waits = waitChanges(state, events);
  const outbox = outboxOf(definition, state, events);
  return {
    tenantId: state.tenantId,
    executionId: state.executionId,
    events,
    ...(start ? { start } : {}),
    ...(changed ? { row: executionRow(state, wakeAt, release) } : {}),
    ...(waits ? { waits } : {}),
    ...tasks,
    ...(outbox.length > 0 ? { outbox } : {}),
    release,
  };
}
