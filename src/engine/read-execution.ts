/** Reads an execution as its ledger tells it, page by page. */
import type { Caller } from "../base/caller.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import { applyEvent } from "../domain/execution.ts";
import { type ExecutionIdentity, type ExecutionState, emptyExecution } from "../domain/execution-state.ts";

/** Events after a number, in order, at most `rowsMax`; fewer when they are large. Empty at the end. */
export type ListEvents = (caller: Caller, executionId: string, afterSequence: number, rowsMax: number) => Promise<readonly ExecutionEvent[]>;

export const ledgerPageRows = 500;

/** The folded state as of `untilSequence` (or the end), or undefined when there is no such execution. */
export async function readExecution(
  listEvents: ListEvents,
  caller: Caller,
  executionId: string,
  untilSequence: number = Number.MAX_SAFE_INTEGER,
): Promise<ExecutionState | undefined> {
  const read = (after: number) => listEvents(caller, executionId, after, ledgerPageRows);
  return (await readState({ executionId, tenantId: caller.tenantId }, read, untilSequence)).state;
}

/** As `readExecution`; `complete` says that the ledger ended there when it was read. */
export async function readState(
  identity: ExecutionIdentity,
  read: (afterSequence: number) => Promise<readonly ExecutionEvent[]>,
  untilSequence: number,
): Promise<{ readonly state: ExecutionState | undefined; readonly complete: boolean }> {
  const state = emptyExecution(identity);
  let known = false;
  for (;;) {
    const page = await read(state.sequence);
    known ||= page.length > 0;
    for (const event of page) {
      if (event.sequence > untilSequence) return { state, complete: false };
      applyEvent(state, event);
    }
    if (page.length === 0) return { state: known ? state : undefined, complete: true };
  }
}
