/** The fold of `operator_acted`: what an operator changed that is no event of a step. */
import { isJsonObject } from "../base/json.ts";
import type { EventPayloads } from "./events.ts";
import type { ExecutionState } from "./execution-state.ts";
import { decidedByHand, decidesStep } from "./patience.ts";
import { replaceParticipant } from "./saga-address.ts";

export function applyOperator(state: ExecutionState, { action, result, stepPath }: EventPayloads["operator_acted"], at: number): void {
  const decided = decidesStep.test(action) && !state.turn ? state.steps.get(stepPath ?? "") : undefined;
  if (decided) decidedByHand(decided, at);
  if (action !== "replace_participant" || !isJsonObject(result)) return;
  const { from, to } = result;
  if (typeof from !== "string" || typeof to !== "string") return;
  const before = state.enlisted;
  state.enlisted = replaceParticipant(before, from, to);
  // What waits for another try at the old address is tried at the new one at once.
  for (const [index, { name }] of before.entries()) {
    const run = state.steps.get(name);
    if (!run || state.enlisted[index] === before[index]) continue;
    for (const waiting of [run, run.undo, run.confirm]) if (waiting?.wakeAt !== undefined && run.status !== "waiting") waiting.wakeAt = at;
  }
}
