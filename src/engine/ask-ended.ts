/** What a command means to an execution that is driven nowhere: asked of its ledger, before anybody claims it. */
import { AppError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { Answered, applyCommand, type ControlCommand } from "../domain/control-command.ts";
import { foldExecution } from "../domain/execution.ts";
import { isTerminal } from "../domain/states.ts";
import type { EngineStore } from "../store/engine-store.ts";
import type { Definitions } from "./definitions.ts";

export interface AskEndedParts {
  readonly store: Pick<EngineStore, "loadLedgers">;
  readonly definitions: Definitions;
  readonly now: () => number;
}

/**
 * Throws when the execution does not exist, or has ended and the command is refused for that. Answers where nothing has to be
 * written for the answer.
 */
export async function askEnded(
  { store, definitions, now }: AskEndedParts,
  tenantId: string,
  executionId: string,
  command: ControlCommand,
): Promise<JsonObject | undefined> {
  const ledger = (await store.loadLedgers(tenantId, [executionId])).get(executionId);
  if (!ledger) throw new AppError("EXECUTION_NOT_FOUND", `execution ${executionId} does not exist`, { metadata: { executionId } });
  const state = foldExecution({ tenantId, executionId }, ledger);
  if (!isTerminal(state.status) || !state.info) return undefined;
  const made = applyCommand({ state, revision: await definitions.of(state), now: now() }, command);
  if (made instanceof AppError) throw made;
  const { events, answer } = made instanceof Answered ? made : { events: made, answer: {} };
  return events.length === 0 ? answer : undefined;
}
