/** `conditional`: the case that was chosen when it began, then its own end. */
import type { Step } from "../definition.ts";
import type { StepRun } from "../execution-state.ts";
import type { BlockWalk, Position } from "./block-walk.ts";

export function walkConditional(walk: BlockWalk, step: Step, run: StepRun, prefix: string): Position {
  const chosen = step.sequences.find((sequence) => sequence.name === run.branch);
  const position = walk.sequence(chosen?.steps ?? [], prefix);
  if (position.kind === "blocked") return position;
  return position.kind === "done" ? walk.finish(step, run, { matched: run.branch ?? null }) : walk.fail(step, run, position.run);
}
