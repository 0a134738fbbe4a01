/** What one turn may hold before it is written. */
import type { Command } from "../domain/command.ts";
import type { ExecutionEvent } from "../domain/events.ts";

/** Events of one turn: bounds the time the event loop is kept and the size of an append. */
const eventsPerTurnMax = 100;

const endsStep: ReadonlySet<string> = new Set(["step_succeeded", "step_failed", "step_skipped", "step_canceled"]);

export interface TurnBounds {
  readonly isParking: boolean;
  /** An append of it was refused: each turn holds one event of one step, so that the refusal says which one it is. */
  readonly isCareful: boolean;
  readonly everyStep: boolean;
}

/** A parking run begins nothing; with durability EVERY_STEP no step computes before the previous one is durable; otherwise only long turns are cut. */
export function needsCommitFirst(turn: readonly ExecutionEvent[], command: Command, { isParking, isCareful, everyStep }: TurnBounds): boolean {
  if (isParking) return command.kind === "act" || command.kind === "undo" || command.kind === "confirm";
  if (isCareful) return turn.length > 0;
  if (command.kind !== "act" || command.step.nature === "effect") return false;
  if (turn.length >= eventsPerTurnMax) return true;
  return everyStep && turn.some((event) => endsStep.has(event.type));
}
