/**
 * `for_each`: the same steps for every item of a list that was fixed when the block began. Items begin in order, at most
 * `maxParallel` at once; step paths carry the item's index (`orders[3]/charge`). Failed items are tolerated up to a bound;
 * beyond it the other items are canceled and the block fails. The result is a list in item order, null for failed items.
 */
import type { Json } from "../../base/json.ts";
import type { Command } from "../command.ts";
import type { ForEachBlock, Step } from "../definition.ts";
import type { StepRun } from "../execution-state.ts";
import { evaluateExpression } from "../expressions/evaluate-expression.ts";
import { itemsOf } from "../loop-items.ts";
import { scopeOf } from "../scope.ts";
import { failedEvent } from "../settle.ts";
import type { BlockWalk, Position } from "./block-walk.ts";
import { cancelRegion } from "./cancel-region.ts";

const blocked: Position = { kind: "blocked" };

/**
 * Items from the first on that are through, by block run: without it every decision would walk all finished items of a
 * long loop again. Only a memory of what the state says; a run that is loaded anew begins at 0.
 */
const throughCounts = new WeakMap<StepRun, number>();

export function walkForEach(walk: BlockWalk, step: Step, block: ForEachBlock, run: StepRun): Position {
  const items = itemsOf(run);
  const body = step.sequences[0]?.steps ?? [];
  const failed: StepRun[] = [];
  const begun = new Map<number, Position>();
  const due: Command[] = [];
  let active = 0;
  let first = throughCounts.get(run) ?? 0;
  let next = first;
  for (; next < items.length && active < block.maxParallel; next++) {
    const { position, commands } = walk.fork(body, itemPrefix(run, next));
    begun.set(next, position);
    if (position.kind === "failed") failed.push(position.run);
    if (position.kind === "blocked") active++;
    due.push(...commands);
    if (position.kind === "done" && next === first) first++;
  }
  throughCounts.set(run, first);
  if (failed.length > toleratedOf(block, items.length)) {
    if (cancelRegion(walk, (path) => path.startsWith(`${run.path}[`), "another item failed")) return blocked;
    return walk.fail(step, run, failed[0] as StepRun);
  }
  walk.commands.push(...due);
  if (active > 0 || next < items.length) return blocked;
  return finish(walk, step, block, run, begun);
}

function finish(walk: BlockWalk, step: Step, block: ForEachBlock, run: StepRun, begun: ReadonlyMap<number, Position>): Position {
  const body = step.sequences[0]?.steps ?? [];
  const last = body.at(-1);
  const results: Json[] = [];
  for (let index = 0; index < itemsOf(run).length; index++) {
    const prefix = itemPrefix(run, index);
    if (begun.get(index)?.kind === "failed") {
      results.push(null);
    } else if (block.collect) {
      const context = { executionId: walk.state.executionId, stepPath: run.path };
      const value = evaluateExpression(block.collect, scopeOf(walk.state, walk.revision, prefix), context);
      if (!value.ok) {
        walk.record(failedEvent(walk, { step, path: run.path, attempt: run.attempt }, value.fault, "failed"));
        return blocked;
      }
      results.push(value.value);
    } else {
      results.push((last && walk.state.steps.get(prefix + last.name)?.result) ?? null);
    }
  }
  return walk.finish(step, run, results);
}

function itemPrefix(run: StepRun, index: number): string {
  return `${run.path}[${index}]/`;
}

function toleratedOf(block: ForEachBlock, items: number): number {
  return Math.max(block.toleratedFailures, Math.floor((items * block.toleratedPercentage) / 100));
}
