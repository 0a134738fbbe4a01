/**
 * `data_transform`: shapes data. The `input` goes through the operations in order; then `output`, if given, is rendered
 * with `input` = what the operations made of it. In every operation `input` is the value as it stands before that
 * operation and `it` the current element.
 *
 * | operation | value | becomes |
 * |---|---|---|
 * | `filter` ƒ bool | list | elements for which it is true |
 * | `map` τ | list | the rendered template, once per element |
 * | `sort_by` ƒ key | list | ascending and stable; null < false < true < numbers < text (by code unit); a list of keys compares key by key |
 * | `distinct_by` ƒ key | list | the first element of each key |
 * | `group_by` ƒ key | list | object: key → list of its elements, in order of appearance; keys are text, numbers or booleans |
 * | `flatten` | list | lists inside it are opened, one level |
 * | `limit` | list | the first n |
 * | `merge` τ | list + list | both, one after the other |
 * | | list of objects + object | the object is merged into each element; written as an object it is rendered anew for each `it` |
 * | | object + object | merged key by key, objects inside each other too; otherwise the right side wins |
 *
 * A value of another shape fails with SCHEMA, more than 10,000 elements with LIMIT.ITEMS.
 */

import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { failedWith, isSet, listField } from "./config-fields.ts";
import { mergeJson } from "./merge-json.ts";
import type { StepCall, StepHandler } from "./step-handler.ts";
import { distinctByKeys, groupByKeys, isGroupKey, isSortKey, sortByKeys } from "./transform-keys.ts";

/** Elements one operation may take or make. */
const itemsPerOperationMax = 10_000;
const operationsMax = 100;
/** All operations together. Pure steps keep the event loop; 10,000 simple expressions take 10–70 ms (measured). */
const totalMsMax = 500;

const element = ["input", "it"];
const operationNames = ["filter", "map", "sort_by", "distinct_by", "group_by", "flatten", "limit", "merge"] as const;
type OperationName = (typeof operationNames)[number];

export const dataTransform: StepHandler = {
  type: "data_transform",
  nature: "pure",
  fields: {
    input: { as: "template" },
    "operations[].filter": { as: "expression", adds: element, kinds: ["bool"] },
    "operations[].map": { as: "deferred_template", adds: element },
    "operations[].sort_by": { as: "expression", adds: element },
    "operations[].distinct_by": { as: "expression", adds: element },
    "operations[].group_by": { as: "expression", adds: element },
    "operations[].merge": { as: "deferred_template", adds: element },
    output: { as: "deferred_template", adds: ["input"] },
  },
  startToCloseMs: 30_000,
  startToCloseMsMax: 86_400_000,

  check(config, report) {
    const operations = listField(config, "operations");
    if (operations.length > operationsMax) report("operations", "LIMIT_EXCEEDED", `${operations.length} operations; at most ${operationsMax} are possible`);
    for (const [index, operation] of operations.entries()) {
      const name = nameOf(operation);
      if (!name) report(`operations[${index}]`, "VALIDATION_FAILED", `give exactly one of ${operationNames.join(", ")}`);
      const limit = isJsonObject(operation) ? operation["limit"] : undefined;
      if (name === "limit" && !(typeof limit === "number" && limit >= 0))
        report(`operations[${index}].limit`, "VALIDATION_FAILED", "is not a number from 0 on");
    }
  },

  run(call, services) {
    let value: Json = call.config["input"] ?? null;
    const isTimeUp = stopwatch(() => services.clock.monotonic());
    for (const [index, operation] of listField(call.config, "operations").entries()) {
      const name = nameOf(operation);
      if (!name) return failedWith(failure("SCHEMA", `operations[${index}] names no operation`));
      const argument = (operation as JsonObject)[name] as Json;
      const next = operate(name, value, { call, path: `operations[${index}].${name}`, argument, isTimeUp });
      if (!next.ok) return failedWith(next.fault);
      value = next.value;
    }
    if (!isSet(call.config, "output")) return { kind: "succeeded", result: value };
    const output = call.evaluate("output", { input: value });
    return output.ok ? { kind: "succeeded", result: output.value } : failedWith(output.fault);
  },
};

/** Where an operation stands, what it says, and what it needs to evaluate its expressions. */
interface Place {
  readonly call: StepCall;
  readonly path: string;
  readonly argument: Json;
  isTimeUp(): boolean;
}

function operate(name: OperationName, value: Json, place: Place): Result<Json, Failure> {
  if (name === "merge" && isJsonObject(value)) return mergeObject(value, place);
  if (!Array.isArray(value)) return fail(failure("SCHEMA", `${place.path} needs a list, not ${kindOf(value)}`));
  if (value.length > itemsPerOperationMax) return fail(tooMany(place, value.length));
  switch (name) {
    case "filter":
      return byKeys(
        value,
        place,
        "a boolean",
        (key) => typeof key === "boolean",
        (keys) => value.filter((_, index) => keys[index] === true),
      );
    case "map":
      return evaluateEach(value, place);
    case "sort_by":
      return byKeys(value, place, "text, a number, a boolean, null or a list of these", isSortKey, (keys) => sortByKeys(value, keys));
    case "distinct_by":
      return byKeys(
        value,
        place,
        "",
        () => true,
        (keys) => distinctByKeys(value, keys),
      );
    case "group_by":
      return byKeys(value, place, "text, a number or a boolean", isGroupKey, (keys) => groupByKeys(value, keys));
    case "flatten":
      return place.argument === true ? bounded(value.flat(1) as Json[], place) : ok(value);
    case "limit":
      return ok(value.slice(0, Number(place.argument)));
    case "merge":
      return mergeList(value, place);
    default:
      return name satisfies never;
  }
}

/** Asked after each evaluation. One takes no longer than its own limit: what is above that is a pause of the machine, which ends no step. */
function stopwatch(monotonic: () => number): () => boolean {
  let spentMs = 0;
  let lookedAtMs = monotonic();
  return () => {
    const nowMs = monotonic();
    spentMs += Math.min(limits.expressionMsMax, nowMs - lookedAtMs);
    lookedAtMs = nowMs;
    return spentMs > totalMsMax;
  };
}

function byKeys(list: Json[], place: Place, expected: string, isKey: (key: Json) => boolean, use: (keys: readonly Json[]) => Json): Result<Json, Failure> {
  const keys = evaluateEach(list, place);
  if (!keys.ok) return keys;
  const wrong = keys.value.findIndex((key) => !isKey(key));
  if (wrong < 0) return ok(use(keys.value));
  return fail(failure("EXPRESSION", `${place.path} gives ${kindOf(keys.value[wrong] as Json)} for element ${wrong}, not ${expected}`));
}

/** One evaluation per element. */
function evaluateEach(list: Json[], { call, path, isTimeUp }: Place): Result<Json[], Failure> {
  const results: Json[] = [];
  for (const it of list) {
    const evaluated = call.evaluate(path, { input: list, it });
    if (!evaluated.ok) return fail({ ...evaluated.fault, message: `${path}, element ${results.length}: ${evaluated.fault.message}` });
    results.push(evaluated.value);
    if (isTimeUp()) {
      return fail(failure("LIMIT.EXPRESSION", `${path} makes the step take more than ${totalMsMax} ms; use fewer elements or simpler expressions`));
    }
  }
  return ok(results);
}

function mergeObject(value: JsonObject, { call, path }: Place): Result<Json, Failure> {
  const other = call.evaluate(path, { input: value, it: value });
  if (!other.ok) return other;
  if (!isJsonObject(other.value)) return fail(failure("SCHEMA", `${path} gives ${kindOf(other.value)}; an object merges with an object only`));
  return ok(mergeJson(value, other.value));
}

function mergeList(list: Json[], place: Place): Result<Json, Failure> {
  const perElement = isJsonObject(place.argument);
  const once = perElement ? undefined : place.call.evaluate(place.path, { input: list, it: null });
  if (once && !once.ok) return once;
  if (once && Array.isArray(once.value)) return bounded([...list, ...once.value], place);
  const others = once ? ok(list.map(() => once.value)) : evaluateEach(list, place);
  if (!others.ok) return others;
  const merged: Json[] = [];
  for (const [index, it] of list.entries()) {
    const other = others.value[index] as Json;
    if (!isJsonObject(other)) return fail(failure("SCHEMA", `${place.path} gives ${kindOf(other)}; a list merges with a list or an object`));
    if (!isJsonObject(it)) return fail(failure("SCHEMA", `${place.path}: element ${index} is ${kindOf(it)}, not an object`));
    merged.push(mergeJson(it, other));
  }
  return ok(merged);
}

function bounded(list: Json[], place: Place): Result<Json, Failure> {
  return list.length > itemsPerOperationMax ? fail(tooMany(place, list.length)) : ok(list);
}

function tooMany({ path }: Place, count: number): Failure {
  return failure("LIMIT.ITEMS", `${path} has to do with ${count} elements; the limit is ${itemsPerOperationMax}`);
}

function nameOf(operation: Json | undefined): OperationName | undefined {
  if (!isJsonObject(operation)) return undefined;
  const named = operationNames.filter((name) => isSet(operation, name));
  return named.length === 1 ? named[0] : undefined;
}

function kindOf(value: Json): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return { object: "an object", string: "text", number: "a number", boolean: "a boolean" }[typeof value as "object"];
}
