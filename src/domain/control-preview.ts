/** What would be undone if the execution turned back now, in which order, and what would stay. */
import type { Definition } from "./definition.ts";
import type { ExecutionState } from "./execution-state.ts";
import { isTerminal } from "./states.ts";
import { standingEffects, undoList } from "./undo.ts";

export interface PlannedCompensation {
  readonly path: string;
  /** From 1; equal numbers run side by side. */
  readonly order: number;
  /** Name of the step that undoes. */
  readonly by: string;
  /** The action's outcome is unknown; there may be nothing to undo. */
  readonly mayNotHaveRun: boolean;
}

export interface CompensationPreview {
  readonly compensations: readonly PlannedCompensation[];
  /** Paths of effects that would stay. */
  readonly standingEffects: readonly string[];
  readonly pastPivot: boolean;
}

/** Of one that has ended: nothing more is undone, and what stands. Of one on its way back: what is left to undo. */
export function previewCompensation(definition: Definition, state: ExecutionState): CompensationPreview {
  if (isTerminal(state.status)) return { compensations: [], standingEffects: state.standingEffects, pastPivot: state.pastPivot };
  const standing = standingEffects(definition, state).paths;
  if (state.pastPivot) return { compensations: [], standingEffects: standing, pastPivot: true };
  const isDone = (status: string | undefined): boolean => status === "succeeded" || status === "nothing_to_undo" || status === "resolved";
  const open = undoList(definition, state).filter(({ run }) => !isDone(run.undo?.status));
  const isAtOnce = definition.undoOrder === "parallel";
  const compensations = open.map(({ step, run }, index) => ({
    path: run.path,
    order: isAtOnce ? 1 : index + 1,
    by: step.compensation?.stepName ?? "",
    mayNotHaveRun: run.action !== "succeeded",
  }));
  const undone = new Set(compensations.map(({ path }) => path));
  return { compensations, standingEffects: standing.filter((path) => !undone.has(path)), pastPivot: false };
}
