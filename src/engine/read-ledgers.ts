/** The ledgers of a claimed batch: read at once, and one by one when that fails, so that one that cannot be read holds up no other. */
import { mayPass } from "../base/left-out.ts";
import type { ExecutionEvent } from "../domain/events.ts";
import type { EngineStore } from "../store/engine-store.ts";

/** Why a ledger cannot be read. */
export class Unreadable {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

/** By execution id; an execution without events is absent. @throws what the database throws when it cannot be used at all */
export async function readLedgers(
  store: Pick<EngineStore, "loadLedgers">,
  tenantId: string,
  executionIds: readonly string[],
): Promise<ReadonlyMap<string, readonly ExecutionEvent[] | Unreadable>> {
  try {
    return await store.loadLedgers(tenantId, executionIds);
  } catch (error) {
    if (mayPass(error)) throw error;
    const ledgers = new Map<string, readonly ExecutionEvent[] | Unreadable>();
    for (const executionId of executionIds) {
      try {
        const ledger = (await store.loadLedgers(tenantId, [executionId])).get(executionId);
        if (ledger) ledgers.set(executionId, ledger);
      } catch (cause) {
        if (mayPass(cause)) throw cause;
        ledgers.set(executionId, new Unreadable(cause));
      }
    }
    return ledgers;
  }
}
