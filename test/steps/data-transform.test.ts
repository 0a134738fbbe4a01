import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { Json, JsonObject } from "../../src/base/json.ts";

import { dataTransform } from "../../src/steps/data-transform.ts";
import { mergeJson } from "../../src/steps/merge-json.ts";
import { attemptOf, callOf, failureIn, problemsOf, resultIn, servicesOf } from "./step-call.ts";

async function transform(input: Json, operations: JsonObject[], output?: Json): Promise<Json> {
  const call = attemptOf(dataTransform, { input: "{{data}}", operations, ...(output === undefined ? {} : { output }) }, { data: input, variables: { low: 2 } });
  const outcome = await dataTransform.run(call, servicesOf());
  return outcome.kind === "failed" ? `${outcome.failure.name}: ${outcome.failure.message}` : resultIn(outcome);
}

const orders = [
  { id: 1, city: "Bonn", total: 5 },
  { id: 2, city: "Köln", total: 3 },
  { id: 3, city: "Bonn", total: 9 },
];

test("operations go in order and the output sees what they made", async () => {
  const result = await transform(
    orders,
    [{ filter: "it.total > variables.low + 1" }, { map: { n: "{{it.id}}", label: "#{{it.id}} {{it.city}}" } }, { sort_by: "-it.n" }],
    { best: "{{input[0].label}}", count: "{{size(input)}}" },
  );
  expect(result).toEqual({ best: "#3 Bonn", count: 2 });
});

test.each<[string, Json, JsonObject[], Json]>([
  ["no operation gives the input", { a: 1 }, [], { a: 1 }],
  ["filter sees the whole list as input", [1, 2, 3], [{ filter: "it < double(size(input))" }], [1, 2]],
  ["map may use a single expression", [1, 2], [{ map: "{{it * 2.0}}" }], [2, 4]],
  ["sort_by is stable and orders kinds", ["b", 2, null, true, "a", 1, false], [{ sort_by: "it" }], [null, false, true, 1, 2, "a", "b"]],
  ["sort_by takes several keys", orders, [{ sort_by: "[it.city, -it.total]" }, { map: "{{it.id}}" }], [3, 1, 2]],
  ["sort_by compares text by code unit", ["ä", "Z", "a"], [{ sort_by: "it" }], ["Z", "a", "ä"]],
  ["distinct_by keeps the first", orders, [{ distinct_by: "it.city" }, { map: "{{it.id}}" }], [1, 2]],
  [
    "distinct_by compares objects by value",
    [
      { a: 1, b: 2 },
      { b: 2, a: 1 },
    ],
    [{ distinct_by: "it" }],
    [{ a: 1, b: 2 }],
  ],
  ["group_by gives lists by key", orders, [{ group_by: "it.city" }, { merge: {} }], { Bonn: [orders[0], orders[2]] as Json, Köln: [orders[1]] as Json }],
  ["flatten opens one level", [[1, [2]], 3, []], [{ flatten: true }], [1, [2], 3]],
  ["limit takes the first", [1, 2, 3], [{ limit: 2 }], [1, 2]],
  ["limit 0 takes none", [1, 2, 3], [{ limit: 0 }], []],
  ["merge appends lists", [1], [{ merge: ["{{size(input)}}", 3] }], [1, 1, 3]],
  [
    "merge enriches each element",
    [{ a: 1 }, { a: 2 }],
    [{ merge: { b: "{{it.a + 10.0}}" } }],
    [
      { a: 1, b: 11 },
      { a: 2, b: 12 },
    ],
  ],
  ["merge spreads one object over all", [{ a: 1 }, {}], [{ merge: "{{ {'z': 0.0} }}" }], [{ a: 1, z: 0 }, { z: 0 }]],
  ["merge goes into objects", { a: { x: 1, y: 2 }, b: [1] }, [{ merge: { a: { y: 3 }, b: [2] } }], { a: { x: 1, y: 3 }, b: [2] }],
])("%s", async (_, input, operations, expected) => {
  expect(await transform(input, operations)).toEqual(expected);
});

test.each<[string, Json, JsonObject[], RegExp]>([
  ["a value that is no list", { a: 1 }, [{ filter: "true" }], /^SCHEMA: operations\[0\]\.filter needs a list, not an object/],
  ["a filter that is not boolean", [1], [{ filter: "it" }], /^EXPRESSION: operations\[0\]\.filter gives a number for element 0, not a boolean/],
  ["a missing key, with the element", [{ a: 1 }, {}], [{ map: "{{it.a}}" }], /^EXPRESSION: operations\[0\]\.map, element 1: /],
  ["an object as sort key", [{}], [{ sort_by: "it" }], /^EXPRESSION: .* gives an object/],
  ["null as group key", [null], [{ group_by: "it" }], /^EXPRESSION: .* gives null/],
  ["an object merged with a list", { a: 1 }, [{ merge: [1] }], /^SCHEMA: /],
  ["elements that are no objects", [1], [{ merge: { a: 1 } }], /^SCHEMA: .*element 0 is a number/],
  ["more than 10,000 elements", Array.from({ length: 10_001 }, () => 0), [{ limit: 1 }], /^LIMIT\.ITEMS: .*10001/],
  ["a flatten beyond 10,000", Array.from({ length: 101 }, () => Array.from({ length: 100 }, () => 0)), [{ flatten: true }], /^LIMIT\.ITEMS: .*10100/],
  ["a merge beyond 10,000", Array.from({ length: 10_000 }, () => 0), [{ merge: [1] }], /^LIMIT\.ITEMS: .*10001/],
])("fails for %s", async (_, input, operations, expected) => {
  expect(await transform(input, operations)).toMatch(expected);
});

test("keys of the prototype are data: grouped, merged and kept as own keys", async () => {
  const hostile = JSON.parse('{"__proto__":{"admin":true},"constructor":1}') as JsonObject;
  const merged = mergeJson({ a: 1 }, hostile);
  expect(Object.keys(merged)).toEqual(["a", "__proto__", "constructor"]);
  expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
  expect((merged as { admin?: unknown }).admin).toBeUndefined();
  const grouped = (await transform(["__proto__", "x"], [{ group_by: "it" }])) as JsonObject;
  expect(Object.keys(grouped)).toEqual(["__proto__", "x"]);
  expect(JSON.stringify(grouped)).toBe('{"__proto__":["__proto__"],"x":["x"]}');
  expect(({} as { admin?: unknown }).admin).toBeUndefined();
});

test("the input itself is never changed", async () => {
  const input = [
    { b: 2, n: { x: 1 } },
    { b: 1, n: { x: 2 } },
  ];
  const before = structuredClone(input);
  await transform(input, [{ sort_by: "it.b" }, { merge: { n: { y: 1 } } }, { limit: 1 }]);
  expect(input).toEqual(before);
});

test("answers at once, and 10,000 elements are no trouble", () => {
  const data = Array.from({ length: 10_000 }, (_, n) => n);
  const call = attemptOf(dataTransform, { input: "{{data}}", operations: [{ filter: "it % 2.0 == 0.0" }, { sort_by: "-it" }] }, { data });
  // Time is not what is looked at here: a busy machine may take any.
  const outcome = dataTransform.run(call, { ...servicesOf(), clock: { ...systemClock, monotonic: () => 0 } });
  if (outcome instanceof Promise) throw new Error("a pure step must not wait");
  const result = resultIn(outcome) as Json[];
  expect(result.length).toBe(5_000);
  expect(result[0]).toBe(9_998);
});

test("a machine that stands still in between ends no step", async () => {
  let nowMs = 0;
  const evaluate = () => {
    nowMs += nowMs === 0 ? 3_600_000 : 0.01;
    return { ok: true as const, value: true };
  };
  const call = callOf({ config: { input: Array.from({ length: 10_000 }, () => 0), operations: [{ filter: "true" }] }, evaluate });
  const services = { ...servicesOf(), clock: { ...systemClock, monotonic: () => nowMs } };
  expect(resultIn(await dataTransform.run(call, services))).toHaveLength(10_000);
});

test("gives up when the expressions take too long together", async () => {
  let nowMs = 0;
  let calls = 0;
  const evaluate = () => {
    calls++;
    nowMs += 1;
    return { ok: true as const, value: true };
  };
  const call = callOf({ config: { input: Array.from({ length: 10_000 }, () => 0), operations: [{ filter: "true" }] }, evaluate });
  const services = { ...servicesOf(), clock: { ...systemClock, monotonic: () => nowMs } };
  expect(failureIn(await dataTransform.run(call, services)).failure.name).toBe("LIMIT.EXPRESSION");
  expect(calls).toBeLessThan(600);
});

test("refuses operations that name nothing or two things", () => {
  expect(problemsOf(dataTransform, { operations: [{}, { filter: "true", limit: 1 }, { limit: -1 }] })).toEqual([
    "operations[0]: VALIDATION_FAILED",
    "operations[1]: VALIDATION_FAILED",
    "operations[2].limit: VALIDATION_FAILED",
  ]);
});
