/** The items of a loop that runs, and the loops around a path. */
import { isJsonObject, type Json } from "../base/json.ts";
import type { StepRun } from "./execution-state.ts";

/** Fixed in the event that began the block. */
export function itemsOf(run: StepRun | undefined): readonly Json[] {
  const items = isJsonObject(run?.input) ? run.input["items"] : undefined;
  return Array.isArray(items) ? items : [];
}

export interface LoopPlace {
  /** Path of the loop's own step. */
  readonly path: string;
  readonly index: number;
  /** Where the steps of this item stand: `orders[3]/`. */
  readonly prefix: string;
}

/** The loops around a step path or an item's prefix, outermost first. */
export function loopsAround(path: string): readonly LoopPlace[] {
  const loops: LoopPlace[] = [];
  for (let slash = path.indexOf("/"); slash >= 0; slash = path.indexOf("/", slash + 1)) {
    const open = path.lastIndexOf("[", slash);
    loops.push({ path: path.slice(0, open), index: Number(path.slice(open + 1, slash - 1)), prefix: path.slice(0, slash + 1) });
  }
  return loops;
}
