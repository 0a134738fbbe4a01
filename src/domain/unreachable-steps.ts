/** Steps that can never run, as far as the text of the definition alone says: behind a step that always fails, or under a condition that is never true. */
import type { Definition, Step } from "./definition.ts";
import type { Expression } from "./expressions/expression.ts";

/** Names in the order of the definition; what an unreachable block holds is named too. */
export function unreachableSteps(definition: Definition): string[] {
  const unreachable: string[] = [];
  markSequence(definition.steps, true, unreachable);
  return unreachable;
}

/** Whether what follows the sequence can be reached. */
function markSequence(steps: readonly Step[], reachable: boolean, unreachable: string[]): boolean {
  let goesOn = reachable;
  for (const step of steps) goesOn = markStep(step, goesOn, unreachable);
  return goesOn;
}

function markStep(step: Step, reachable: boolean, unreachable: string[]): boolean {
  const runs = reachable && literal(step.runIf) !== false;
  if (!runs) unreachable.push(step.name);
  const passes = markBlock(step, runs, unreachable);
  let handled = step.onError === "continue";
  for (const { errors, when, steps } of step.catches) {
    const catches = literal(when) !== false;
    const goesOn = markSequence(steps, runs && catches, unreachable);
    handled ||= catches && goesOn;
    if (catches && errors.length === 0 && when === undefined && !goesOn) break;
  }
  // A step that is left out lets the next one run.
  if (!runs || step.runIf !== undefined) return reachable;
  return handled || (step.type !== "fail" && passes);
}

/** Whether the block itself can succeed. */
function markBlock(step: Step, runs: boolean, unreachable: string[]): boolean {
  const { block, sequences } = step;
  switch (block?.kind) {
    case "conditional": {
      let open = runs;
      let passes = false;
      for (const { when, steps } of sequences) {
        const taken = when === undefined ? undefined : literal(when);
        const goesOn = markSequence(steps, open && taken !== false, unreachable);
        if (open && taken !== false) passes ||= goesOn;
        if (taken === true) open = false;
      }
      return passes;
    }
    case "parallel": {
      const through = sequences.filter(({ steps }) => markSequence(steps, runs, unreachable)).length;
      return through >= block.need;
    }
    case "for_each":
      for (const { steps } of sequences) markSequence(steps, runs, unreachable);
      return true;
    case undefined:
      return true;
    default:
      return block satisfies never;
  }
}

/** Value of a condition that is written out. */
function literal(expression: Expression | undefined): boolean | undefined {
  const { syntax } = expression ?? {};
  return syntax?.kind === "literal" && typeof syntax.value === "boolean" ? syntax.value : undefined;
}
