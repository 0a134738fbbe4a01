/**
 * `parallel`: branches side by side. It succeeds when as many branches are through as its join needs and fails when that
 * has become impossible. Winners are the first ones through, by the sequence of their last event, so that every replay
 * names the same. Losers are canceled and what they had done is undone before the block ends, unless it keeps them: then
 * it waits for them and takes their failures as they come.
 */
import type { JsonObject } from "../../base/json.ts";
import type { ParallelBlock, Sequence, Step } from "../definition.ts";
import type { StepRun } from "../execution-state.ts";
import { nextUndo, undoList } from "../undo.ts";
import type { BlockWalk, Position } from "./block-walk.ts";
import { cancelRegion } from "./cancel-region.ts";

const blocked: Position = { kind: "blocked" };

export function walkParallel(walk: BlockWalk, step: Step, block: ParallelBlock, run: StepRun, prefix: string): Position {
  const branches = step.sequences.map((sequence) => ({ sequence, ...walk.fork(sequence.steps, prefix) }));
  const through = branches.filter((branch) => branch.position.kind === "done");
  if (through.length >= block.need) {
    through.sort((a, b) => lastSequence(walk, a.sequence, prefix) - lastSequence(walk, b.sequence, prefix));
    const winners = block.keepLosers ? through : through.slice(0, block.need);
    const losers = branches.filter((branch) => !winners.includes(branch));
    if (block.keepLosers) {
      const open = losers.filter((branch) => branch.position.kind === "blocked");
      for (const branch of open) walk.commands.push(...branch.commands);
      if (open.length > 0) return blocked;
    } else if (
      clearLosers(
        walk,
        losers.map((branch) => branch.sequence),
        prefix,
      )
    ) {
      return blocked;
    }
    return walk.finish(
      step,
      run,
      resultOf(
        walk,
        winners.map((branch) => branch.sequence),
        prefix,
      ),
    );
  }
  const failed = branches.flatMap((branch) => (branch.position.kind === "failed" ? branch.position.run : []));
  if (branches.length - failed.length < block.need) {
    const all = regionOf(step.sequences, prefix);
    if (cancelRegion(walk, all, "another branch failed")) return blocked;
    return walk.fail(
      step,
      run,
      failed.reduce((first, other) => (other.outcomeSequence < first.outcomeSequence ? other : first)),
    );
  }
  for (const branch of branches) walk.commands.push(...branch.commands);
  return blocked;
}

/** True while losers are being canceled or undone. */
function clearLosers(walk: BlockWalk, losers: readonly Sequence[], prefix: string): boolean {
  const belongs = regionOf(losers, prefix);
  if (cancelRegion(walk, belongs, "another branch was faster")) return true;
  const list = undoList(walk.revision.definition, walk.state).filter(({ run }) => belongs(run.path));
  const undo = nextUndo(walk.revision.definition, list, walk.inFlight, walk.now);
  walk.commands.push(...undo.commands);
  return undo.open;
}

/** Whether a path belongs to one of the sequences: it or the loop around it is one of their steps. */
function regionOf(sequences: readonly Sequence[], prefix: string): (path: string) => boolean {
  const names = new Set<string>();
  const collect = (steps: readonly Step[]): void => {
    for (const step of steps) {
      names.add(step.name);
      for (const candidate of step.catches) collect(candidate.steps);
      // A loop's own steps stand below its path; those of other blocks stand beside it.
      if (step.block?.kind !== "for_each") for (const sequence of step.sequences) collect(sequence.steps);
    }
  };
  for (const sequence of sequences) collect(sequence.steps);
  return (path) => path.startsWith(prefix) && names.has(path.slice(prefix.length).split(/[[/]/, 1)[0] as string);
}

function lastSequence(walk: BlockWalk, sequence: Sequence, prefix: string): number {
  const last = sequence.steps.at(-1);
  return (last && walk.state.steps.get(prefix + last.name)?.outcomeSequence) ?? 0;
}

function resultOf(walk: BlockWalk, sequences: readonly Sequence[], prefix: string): JsonObject {
  const result: JsonObject = {};
  for (const { name, steps } of sequences) {
    const last = steps.at(-1);
    result[name] = (last && walk.state.steps.get(prefix + last.name)?.result) ?? null;
  }
  return result;
}
