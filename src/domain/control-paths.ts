/** Where a step stands: what is around its path, and whether a path can be that of a step at all. */
import type { Definition, Step } from "./definition.ts";
import type { ExecutionState } from "./execution-state.ts";
import { itemsOf, loopsAround } from "./loop-items.ts";

interface Holder {
  readonly step: Step;
  /** `catch`: it is one of the steps that take the holder's failure. */
  readonly as: "part" | "catch";
}

/** A block around a step, or the step whose failure it takes. */
export interface Place {
  readonly path: string;
  readonly as: Holder["as"];
}

/** By step name. Definitions never change, so it is found once. */
const holders = new WeakMap<Definition, ReadonlyMap<string, Holder>>();

function holdersOf(definition: Definition): ReadonlyMap<string, Holder> {
  const known = holders.get(definition);
  if (known) return known;
  const found = new Map<string, Holder>();
  for (const step of definition.stepsByName.values()) {
    for (const { steps } of step.sequences) for (const held of steps) found.set(held.name, { step, as: "part" });
    for (const { steps } of step.catches) for (const held of steps) found.set(held.name, { step, as: "catch" });
  }
  holders.set(definition, found);
  return found;
}

export function stepNameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/** What is around a step, innermost first. */
export function placesAround(definition: Definition, path: string): Place[] {
  const around: Place[] = [];
  let at = path;
  for (;;) {
    const name = stepNameOf(at);
    const holder = holdersOf(definition).get(name);
    if (!holder) return around;
    const prefix = at.slice(0, at.length - name.length);
    const isItem = holder.as === "part" && holder.step.block?.kind === "for_each";
    at = isItem ? (loopsAround(prefix).at(-1)?.path ?? holder.step.name) : prefix + holder.step.name;
    around.push({ path: at, as: holder.as });
  }
}

/** A block around it is over: nothing in it matters to what comes next. */
export function isBehind(state: ExecutionState, definition: Definition, path: string): boolean {
  return placesAround(definition, path).some((place) => {
    const run = state.steps.get(place.path);
    if (!run || place.as === "catch") return false;
    return run.status === "completed" || run.status === "skipped" || (run.status === "failed" && run.handled);
  });
}

/** The branches of parallels that a step is part of, by path of the block. */
export function branchesAround(definition: Definition, path: string): ReadonlyMap<string, string> {
  const branches = new Map<string, string>();
  let inner = stepNameOf(path);
  for (const place of placesAround(definition, path)) {
    const block = definition.stepsByName.get(stepNameOf(place.path));
    if (place.as === "part" && block?.block?.kind === "parallel") {
      const branch = block.sequences.find(({ steps }) => steps.some(({ name }) => name === inner));
      if (branch) branches.set(place.path, branch.name);
    }
    inner = stepNameOf(place.path);
  }
  return branches;
}

/** Name of the top-level step that a path belongs to. */
export function rootNameOf(definition: Definition, path: string): string {
  return stepNameOf(placesAround(definition, path).at(-1)?.path ?? path);
}

/** The step of a path; undefined for a path that no step of this execution can have. */
export function stepAt(definition: Definition, state: ExecutionState, path: string): Step | undefined {
  const step = definition.stepsByName.get(stepNameOf(path));
  if (!step || state.steps.has(path)) return step;
  // Not begun: outside loops its path is its name, inside them each loop must have that item.
  const loops = loopNamesAround(definition, step.name);
  const items = loopsAround(path);
  const stands = items.every((item, depth) => stepNameOf(item.path) === loops[depth] && itemsOf(state.steps.get(item.path))[item.index] !== undefined);
  return stands && items.length === loops.length && path === (items.at(-1)?.prefix ?? "") + step.name ? step : undefined;
}

/** Names of the loops around a step, outermost first. */
function loopNamesAround(definition: Definition, name: string): string[] {
  const names: string[] = [];
  for (let holder = holdersOf(definition).get(name); holder; holder = holdersOf(definition).get(holder.step.name)) {
    if (holder.as === "part" && holder.step.block?.kind === "for_each") names.unshift(holder.step.name);
  }
  return names;
}
