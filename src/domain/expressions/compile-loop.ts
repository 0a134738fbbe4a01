/** The macros as native loops. CEL defines `map` as a fold that copies the list at each turn; the result is the same. */
import { keysOf } from "./compare.ts";
import type { Evaluate, Frame } from "./expression.ts";
import { sortedBy } from "./list-functions.ts";
import { type Compile, type Findings, type Locals, nextSlot } from "./locals.ts";
import { addEntry } from "./map-entry.ts";
import { needBool } from "./need-bool.ts";
import { needOptional } from "./optional-functions.ts";
import { Problem } from "./problem.ts";
import { readKey } from "./read-key.ts";
import type { LoopNode } from "./syntax.ts";
import { isList, kindOf, type MapKey, Optional, type Value } from "./value.ts";

/** A loop that is ready to run: gives each turn's element to `turn`, until that returns false. */
interface Loop {
  readonly run: (frame: Frame, turn: (element: Value) => boolean) => void;
  readonly test: (frame: Frame) => boolean;
  readonly body: Evaluate;
}

export function compileLoop(node: LoopNode, locals: Locals | undefined, findings: Findings, compile: Compile): Evaluate {
  if (node.macro === "optMap" || node.macro === "optFlatMap") return compileOptional(node, locals, findings, compile);
  const loop = prepare(node, locals, findings, compile);
  switch (node.macro) {
    case "all":
      return (frame) => !decide(loop, frame, false);
    case "exists":
      return (frame) => decide(loop, frame, true);
    case "existsOne":
      return (frame) => {
        let count = 0;
        loop.run(frame, () => {
          if (loop.test(frame)) count++;
          return true;
        });
        return count === 1;
      };
    case "transformMap":
      return (frame) => transformMap(loop, frame, nextSlot(locals));
    case "sortBy":
      return (frame) => {
        const list: Value[] = [];
        const keys = collect(loop, frame, (element) => {
          list.push(element);
          return loop.body(frame);
        });
        return sortedBy(list, keys, frame.budget);
      };
    case "filter":
      return (frame) => collect(loop, frame, (element) => element);
    case "map":
    case "transformList":
      return (frame) => collect(loop, frame, () => loop.body(frame));
  }
}

function prepare(node: LoopNode, locals: Locals | undefined, findings: Findings, compile: Compile): Loop {
  const slot = nextSlot(locals);
  const range = compile(node.range, locals, findings);
  let inner: Locals | undefined = locals;
  for (const name of node.variables) inner = { name, slot: nextSlot(inner), outer: inner };
  const test = node.test && compile(node.test, inner, findings);
  const body = node.body && compile(node.body, inner, findings);
  const pairs = node.variables.length === 2;
  const run = (frame: Frame, turn: (element: Value) => boolean) => {
    const elements = range(frame);
    const isMap = !isList(elements);
    if (isMap && kindOf(elements) !== "map") throw new Problem(`${node.macro}() needs a list or a map, not a ${kindOf(elements)}`);
    const keys = isMap ? keysOf(elements) : elements;
    if (isMap) frame.budget.chargeElements(keys.length);
    for (let index = 0; index < keys.length; index++) {
      frame.budget.charge(1);
      const key = keys[index] as Value;
      // One variable sees elements of a list and keys of a map; two see (index, element) and (key, value).
      frame.locals[slot] = pairs && !isMap ? BigInt(index) : key;
      if (pairs) frame.locals[slot + 1] = isMap ? (readKey(elements, key) as Value) : key;
      if (!turn(key)) return;
    }
  };
  return {
    run,
    test: test ? (frame) => needBool(test(frame), `the condition of ${node.macro}()`) : () => true,
    body: body ?? (() => null),
  };
}

/** Whether some turn's test gives `wanted`. A turn that fails only matters when no other decides. */
function decide(loop: Loop, frame: Frame, wanted: boolean): boolean {
  let problem: Problem | undefined;
  let decided = false;
  loop.run(frame, () => {
    try {
      decided = loop.test(frame) === wanted;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      problem ??= error;
    }
    return !decided;
  });
  if (!decided && problem) throw problem;
  return decided;
}

function collect(loop: Loop, frame: Frame, pick: (element: Value) => Value): Value[] {
  const values: Value[] = [];
  loop.run(frame, (element) => {
    if (loop.test(frame)) values.push(pick(element));
    return true;
  });
  return values;
}

function transformMap(loop: Loop, frame: Frame, slot: number): Value {
  const map = new Map<MapKey, Value>();
  loop.run(frame, () => {
    if (loop.test(frame)) addEntry(map, frame.locals[slot] as Value, loop.body(frame));
    return true;
  });
  return map;
}

function compileOptional(node: LoopNode, locals: Locals | undefined, findings: Findings, compile: Compile): Evaluate {
  const slot = nextSlot(locals);
  const range = compile(node.range, locals, findings);
  const body = compile(node.body as NonNullable<typeof node.body>, { name: node.variables[0] as string, slot, outer: locals }, findings);
  return (frame) => {
    frame.budget.charge(1);
    const optional = needOptional(range(frame), `${node.macro}()`);
    if (optional.value === undefined) return optional;
    frame.locals[slot] = optional.value;
    return node.macro === "optMap" ? new Optional(body(frame)) : needOptional(body(frame), "the value of optFlatMap()");
  };
}
