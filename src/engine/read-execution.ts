/** Reads an execution as its ledger tells it, page by page. */
import type { Caller } from "../base/caller.ts";
import { applyEvent } from "../domain/execution.ts";
import { type ExecutionIdentity, type ExecutionState, emptyExecution } from "../domain/execution-state.ts";
import type { LedgerPage } from "../store/execution-repository.ts";

/** Events after a number, in order, at most `rowsMax`; fewer when they are large. */
export type ListEvents = (caller: Caller, executionId: string, afterSequence: number, rowsMax: number) => Promise<LedgerPage>;

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
  read: (afterSequence: number) => Promise<LedgerPage>,
  untilSequence: number,
): Promise<{ readonly state: ExecutionState | undefined; readonly complete: boolean }> {
  const state = emptyExecution(identity);
  let known = false;
  for (;;) {
    const { events, isLast } = await read(state.sequence);
    known ||= events.length > 0;
    for (const event of events) {
      if (event.sequence > untilSequence) return { state, complete: false };
      applyEvent(state, event);
    }
    if (isLast || events.length === 0) return { state: known ? state : undefined, complete: true };
  }
}
