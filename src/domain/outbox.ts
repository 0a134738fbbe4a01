/** What an execution has to tell others when it ends: its parent that it did, its children that they are not wanted any more. */
import { closePolicyOf, isDetached } from "./children.ts";
import type { Definition } from "./definition.ts";
import type { ExecutionEvent } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import type { OutgoingCommand } from "./outgoing-command.ts";

/** Commands that follow from a batch of events; the state is the one after them. */
export function outboxOf(definition: Definition, state: ExecutionState, events: readonly ExecutionEvent[]): OutgoingCommand[] {
  return events.flatMap((event) => {
    if (event.type !== "execution_ended") return [];
    const { sequence } = event;
    const { parentExecutionId, detached } = state.info ?? {};
    const look: OutgoingCommand[] =
      parentExecutionId === undefined || detached ? [] : [{ executionId: parentExecutionId, sequence, command: { kind: "look" } }];
    const cancel = { kind: "cancel", actor: state.executionId, reason: "its parent has ended", endReason: "parent" } as const;
    return [...look, ...unwanted(definition, state).map((executionId) => ({ executionId, sequence, command: cancel }))];
  });
}

/** Children that may be open and do not go on alone: those that were waited for, and detached ones, of which nothing is known. */
function unwanted(definition: Definition, state: ExecutionState): string[] {
  const ids: string[] = [];
  for (const run of state.steps.values()) {
    if (run.childId === undefined) continue;
    const step = definition.stepsByName.get(run.name);
    if (!step || closePolicyOf(step) !== "cancel") continue;
    if (run.report?.childId !== undefined || (isDetached(step) && run.action === "succeeded")) ids.push(run.childId);
  }
  return ids;
}
