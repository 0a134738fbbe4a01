import { describe, expect, it } from "vitest";
import { canonicalJson, type JsonObject } from "../../src/base/json.ts";
import { diffDefinitions, diffObjects } from "../../src/domain/definition-diff.ts";
import { definitionOf, treeOf } from "../../src/domain/definition-tree.ts";
import { diffSchema } from "../../src/domain/schema-diff.ts";
import { fc } from "../support/property.ts";
import { definitions } from "./definition-arbitrary.ts";
import { choice, line, post } from "./parsed.ts";

/** Each change as `kind path`, breaking ones with a bang. */
const told = (before: JsonObject, after: JsonObject): string[] =>
  diffDefinitions(before, after).map(({ kind, path, breaking }) => `${kind} ${path}${breaking ? " !" : ""}`);

describe("the difference of two definitions", () => {
  it("names the smallest part that changed, steps by their names wherever they stand", () => {
    const before = { steps: [post("charge"), choice("big", [line("alert", "a lot")])] };
    const after = { steps: [post("charge", { retry_policy: { maximum_attempts: 5 } }), choice("big", [line("alert", "far too much")])] };
    expect(diffDefinitions(before, after)).toEqual([
      { path: "steps[charge].retry_policy", kind: "added", after: { maximum_attempts: 5 }, breaking: false },
      { path: "steps[alert].log.message", kind: "changed", before: "a lot", after: "far too much", breaking: false },
    ]);
  });

  it("tells an added block once, and of what it holds only what was there before", () => {
    const before = { steps: [line("a"), line("b")] };
    const after = { steps: [line("a"), choice("block", [line("b"), line("c")])] };
    expect(told(before, after)).toEqual(["added steps[block]", "moved steps[b]"]);
    expect(told(after, before)).toEqual(["removed steps[block] !", "moved steps[b]"]);
  });

  it("finds the one step that moved, not the ones it passed", () => {
    const names = ["a", "b", "c", "d"];
    const steps = (order: readonly string[]): JsonObject => ({ steps: order.map((name) => line(name)) });
    expect(told(steps(names), steps(["b", "c", "d", "a"]))).toEqual(["moved steps[a]"]);
    expect(diffDefinitions(steps(names), steps(["d", "a", "b", "c"]))).toEqual([
      { path: "steps[d]", kind: "moved", before: { container: "steps", index: 3 }, after: { container: "steps", index: 0 }, breaking: false },
    ]);
  });

  it("shows what is gone where it was", () => {
    expect(told({ steps: [line("a"), line("b"), line("c")] }, { steps: [line("a"), line("c", "other")] })).toEqual([
      "removed steps[b] !",
      "changed steps[c].log.message",
    ]);
  });

  it("calls a change of type a removal and an addition", () => {
    expect(told({ steps: [line("a")] }, { steps: [post("a")] })).toEqual(["added steps[a].http_request", "removed steps[a].log"].reverse());
  });

  it("compares cases and branches by name and says when their order changed", () => {
    const cases = (...names: string[]): JsonObject => ({
      steps: [{ name: "which", conditional: { cases: names.map((name) => ({ name, when: `trigger.data.kind == "${name}"`, steps: [line(`in_${name}`)] })) } }],
    });
    expect(told(cases("a", "b"), cases("b", "a"))).toEqual(["moved steps[which].conditional.cases"]);
    expect(told(cases("a"), cases("a", "b"))).toEqual(["added steps[which].conditional.cases[b]", "added steps[in_b]"]);
  });

  it("calls lost outputs, newly required input and newly needed secrets breaking", () => {
    const before: JsonObject = {
      input_schema: { properties: { total: { type: "number" } } },
      outputs: { id: "{{1}}" },
      secret_slots: [{ name: "key", optional: true }],
    };
    const after: JsonObject = {
      input_schema: { properties: { total: { type: "number" } }, required: ["total"] },
      secret_slots: [{ name: "key" }, { name: "other" }],
    };
    expect(told(before, after)).toEqual([
      "added input_schema.required[total] !",
      "removed outputs !",
      "removed secret_slots[key].optional !",
      "added secret_slots[other] !",
    ]);
    expect(told(after, before).filter((change) => change.endsWith("!"))).toEqual([]);
  });

  it("reads keys that are no words in quotes", () => {
    const headers = (value: string): JsonObject => ({ steps: [{ name: "call", http_request: { url: "https://a.test", headers: { "X-Kind": value } } }] });
    expect(told(headers("a"), headers("b"))).toEqual(['changed steps[call].http_request.headers["X-Kind"]']);
  });

  it("is empty exactly for definitions that say the same", () => {
    fc.assert(
      fc.property(definitions, definitions, (one, other) => {
        expect(diffDefinitions(one, structuredClone(one))).toEqual([]);
        expect(diffDefinitions(one, other).length === 0).toBe(canonicalJson(one) === canonicalJson(other));
      }),
      { numRuns: 200 },
    );
  });

  it("rests on a tree from which the definition comes back whole", () => {
    fc.assert(
      fc.property(definitions, (definition) => {
        expect(definitionOf(treeOf(definition))).toEqual(definition);
      }),
      { numRuns: 200 },
    );
  });
});

describe("the difference of two schemas", () => {
  const object = (properties: JsonObject, required: string[] = [], more: JsonObject = {}): JsonObject => ({ type: "object", properties, required, ...more });
  const breaking = (before: JsonObject | undefined, after: JsonObject | undefined, use: "input" | "parameters" | "output"): string[] =>
    diffSchema("s", before, after, use)
      .filter((change) => change.breaking)
      .map(({ path }) => path);

  it("asks nothing new of callers when a needed parameter has a default", () => {
    const before = object({});
    expect(breaking(before, object({ a: { type: "string" } }, ["a"]), "parameters")).toEqual(["s.properties.a"]);
    expect(breaking(before, object({ a: { type: "string", default: "x" } }, ["a"]), "parameters")).toEqual([]);
    expect(breaking(before, object({ a: { type: "string", default: "x" } }, ["a"]), "input")).toEqual(["s.properties.a"]);
  });

  it("tells narrower from wider keywords, and turns that round for outputs", () => {
    const before = object({ a: { type: "integer", minimum: 1, enum: [1, 2] } });
    const narrower = object({ a: { type: "integer", minimum: 2, enum: [2] } });
    const wider = object({ a: { type: "number", minimum: 0, enum: [1, 2, 3] } });
    expect(breaking(before, narrower, "input")).toEqual(["s.properties.a.minimum", "s.properties.a.enum"]);
    expect(breaking(before, wider, "input")).toEqual([]);
    expect(breaking(before, wider, "output")).toEqual(["s.properties.a.type", "s.properties.a.minimum", "s.properties.a.enum"]);
    expect(breaking(before, object({ a: { type: "integer", minimum: 1, enum: [1, 2], description: "new words" } }), "input")).toEqual([]);
  });

  it("counts a property that may no longer be sent, and an output that is gone", () => {
    const before = object({ a: {} });
    expect(breaking(before, object({}), "input")).toEqual([]);
    expect(breaking(before, object({}, [], { additionalProperties: false }), "input")).toEqual(["s.properties.a", "s.additionalProperties"]);
    expect(breaking(before, object({}), "output")).toEqual(["s.properties.a"]);
    expect(breaking(undefined, object({ a: { type: "string" } }, ["a"]), "input")).toEqual(["s"]);
    expect(breaking(undefined, { type: "object" }, "input")).toEqual([]);
  });
});

it("plain objects are compared member by member", () => {
  expect(diffObjects("labels", { a: "1", b: "2" }, { b: "3", c: "4" })).toEqual([
    { path: "labels.a", kind: "removed", before: "1", breaking: false },
    { path: "labels.b", kind: "changed", before: "2", after: "3", breaking: false },
    { path: "labels.c", kind: "added", after: "4", breaking: false },
  ]);
});
