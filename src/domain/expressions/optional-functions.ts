/** Optionals: what `a.?b` gives. `or` and `orValue` are compiled in `compile-node.ts`, since their argument is lazy. */

import { sizeOf } from "./compare.ts";
import type { Frame } from "./expression.ts";
import { type FunctionTable, needList, refuse } from "./function-table.ts";
import { Problem } from "./problem.ts";
import { Duration, isList, kindOf, none, Optional, Uint, type Value } from "./value.ts";

export const optionalFunctions: FunctionTable = {
  "optional.of": { usage: "optional.of(x)", arguments: [1, 1], call: ([value]) => new Optional(value as Value) },
  "optional.none": { usage: "optional.none()", arguments: [0, 0], call: () => none },
  "optional.ofNonZeroValue": {
    usage: "optional.ofNonZeroValue(x)",
    arguments: [1, 1],
    call: ([value]) => (isZero(value as Value) ? none : new Optional(value as Value)),
  },
  "optional.unwrap": { usage: "optional.unwrap(list)", arguments: [1, 1], call: unwrap },
};

export const optionalMethods: FunctionTable = {
  hasValue: { usage: "optional.hasValue()", arguments: [1, 1], call: ([value]) => needOptional(value as Value, "hasValue()").value !== undefined },
  value: {
    usage: "optional.value()",
    arguments: [1, 1],
    call: ([optional]) => {
      const { value } = needOptional(optional as Value, "value()");
      if (value === undefined) throw new Problem("value() of an optional that holds none; use orValue(x)");
      return value;
    },
  },
  unwrapOpt: { usage: "list.unwrapOpt()", arguments: [1, 1], call: unwrap },
};

export function needOptional(value: Value, name: string): Optional {
  if (value instanceof Optional) return value;
  throw refuse(value, name, "an optional such as a.?b");
}

function unwrap(args: readonly Value[], { budget }: Frame): Value {
  const list = needList(args, 0, "optional.unwrap()");
  budget.chargeElements(list.length);
  return list.map((item) => needOptional(item, "optional.unwrap()").value).filter((item) => item !== undefined);
}

function isZero(value: Value): boolean {
  if (value instanceof Uint) return value.value === 0n;
  if (value instanceof Duration) return value.nanos === 0n;
  if (value instanceof Uint8Array || isList(value)) return value.length === 0;
  if (kindOf(value) === "map") return sizeOf(value) === 0;
  return value === null || value === false || value === "" || value === 0 || value === 0n;
}
