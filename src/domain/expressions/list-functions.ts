/** Methods of lists: ours (sum, avg, min, max) and CEL's lists extension. */
import type { Budget } from "./budget.ts";
import { compare, isEqual } from "./compare.ts";
import { type FunctionTable, needCount, needList, refuse } from "./function-table.ts";
import { applyOperator } from "./operators.ts";
import { LimitProblem, Problem } from "./problem.ts";
import { reverseText } from "./text-functions.ts";
import { Duration, isList, none, Optional, type Value } from "./value.ts";
import { wholeNumber } from "./whole-number.ts";

const rangeMax = 10_000;

export const listMethods: FunctionTable = {
  sum: { usage: "list.sum()", arguments: [1, 1], call: (args, { budget }) => sum(needList(args, 0, "sum()"), budget) },
  avg: {
    usage: "list.avg()",
    arguments: [1, 1],
    call: (args, { budget }) => {
      const list = notEmpty(needList(args, 0, "avg()"), "avg()");
      const total = sum(list, budget);
      if (total instanceof Duration) throw refuse(total, "avg()", "a list of numbers");
      return applyOperator("/", Number(wholeNumber(total) ?? total), list.length, budget);
    },
  },
  min: { usage: "list.min()", arguments: [1, 1], call: (args, { budget }) => outermost(needList(args, 0, "min()"), "min()", -1, budget) },
  max: { usage: "list.max()", arguments: [1, 1], call: (args, { budget }) => outermost(needList(args, 0, "max()"), "max()", 1, budget) },
  slice: {
    usage: "list.slice(start, end)",
    arguments: [3, 3],
    call: (args, { budget }) => {
      const list = needList(args, 0, "slice()");
      const start = needCount(args, 1, "slice()");
      const end = needCount(args, 2, "slice()");
      if (start < 0 || end < start || end > list.length) throw new Problem(`slice(): [${start}, ${end}) is outside the list (${list.length} elements)`);
      budget.chargeElements(end - start);
      return list.slice(start, end);
    },
  },
  flatten: {
    usage: "list.flatten([depth])",
    arguments: [1, 2],
    call: (args, { budget }) => {
      const depth = args.length === 2 ? needCount(args, 1, "flatten()") : 1;
      if (depth < 0) throw new Problem("flatten(): the depth may not be negative");
      return flatten(needList(args, 0, "flatten()"), depth, budget);
    },
  },
  distinct: { usage: "list.distinct()", arguments: [1, 1], call: (args, { budget }) => distinct(needList(args, 0, "distinct()"), budget) },
  sort: {
    usage: "list.sort()",
    arguments: [1, 1],
    call: (args, { budget }) => {
      const list = needList(args, 0, "sort()");
      return sortedBy(list, list, budget);
    },
  },
  reverse: {
    usage: "list.reverse()",
    arguments: [1, 1],
    call: (args, { budget }) => {
      const value = args[0] as Value;
      if (typeof value === "string") return reverseText(value, budget);
      const list = needList(args, 0, "reverse()");
      budget.chargeElements(list.length);
      return [...list].reverse();
    },
  },
  first: { usage: "list.first()", arguments: [1, 1], call: (args) => optionalOf(needList(args, 0, "first()")[0]) },
  last: { usage: "list.last()", arguments: [1, 1], call: (args) => optionalOf(needList(args, 0, "last()").at(-1)) },
};

export const listFunctions: FunctionTable = {
  "lists.range": {
    usage: "lists.range(count)",
    arguments: [1, 1],
    call: (args, { budget }) => {
      const count = needCount(args, 0, "lists.range()");
      if (count > rangeMax) throw new LimitProblem(`makes a list of more than ${rangeMax} elements`);
      budget.chargeElements(Math.max(0, count));
      return Array.from({ length: Math.max(0, count) }, (_, index) => BigInt(index));
    },
  },
};

/** `list` in the order of `keys`; equal keys keep their order. */
export function sortedBy(list: readonly Value[], keys: readonly Value[], budget: Budget): readonly Value[] {
  let steps = 0;
  const order = keys
    .map((_, index) => index)
    .sort((a, b) => {
      if (steps++ % 4 === 0) budget.charge(1);
      return compare(keys[a] as Value, keys[b] as Value, budget) || a - b;
    });
  return order.map((index) => list[index] as Value);
}

function optionalOf(value: Value | undefined): Optional {
  return value === undefined ? none : new Optional(value);
}

function notEmpty(list: readonly Value[], name: string): readonly Value[] {
  if (list.length === 0) throw new Problem(`${name} needs at least one element`);
  return list;
}

function sum(list: readonly Value[], budget: Budget): Value {
  budget.chargeElements(list.length);
  let total: Value | undefined;
  for (const item of list) {
    if (typeof item !== "number" && wholeNumber(item) === undefined && !(item instanceof Duration))
      throw refuse(item, "sum()", "a list of numbers or durations");
    total = total === undefined ? item : applyOperator("+", total, item, budget);
  }
  return total ?? 0n;
}

function outermost(list: readonly Value[], name: string, sign: number, budget: Budget): Value {
  budget.chargeElements(list.length);
  let best = notEmpty(list, name)[0] as Value;
  compare(best, best, budget);
  for (const item of list.slice(1)) if (compare(item, best, budget) * sign > 0) best = item;
  return best;
}

function flatten(list: readonly Value[], depth: number, budget: Budget): readonly Value[] {
  budget.chargeElements(list.length);
  const flat: Value[] = [];
  for (const item of list) {
    if (!isList(item) || depth === 0) flat.push(item);
    else for (const inner of flatten(item, depth - 1, budget)) flat.push(inner);
  }
  return flat;
}

function distinct(list: readonly Value[], budget: Budget): readonly Value[] {
  budget.chargeElements(list.length);
  // Texts and numbers, the usual case, are found by hash; anything else is compared one by one.
  const seen = new Set<string | bigint>();
  const others: Value[] = [];
  return list.filter((item) => {
    const key = typeof item === "string" ? item : wholeNumber(item);
    if (key !== undefined) {
      const isNew = !seen.has(key);
      seen.add(key);
      return isNew;
    }
    const isNew = !others.some((other) => {
      budget.charge(1);
      return isEqual(other, item, budget);
    });
    if (isNew) others.push(item);
    return isNew;
  });
}
