import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { inferredTypes, kindsOfData } from "../../src/domain/inferred-types.ts";
import { unreachableSteps } from "../../src/domain/unreachable-steps.ts";
import { line, parse, post } from "./parsed.ts";

const definitionOf = (definition: JsonObject) => {
  const parsed = parse(definition);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  return parsed.value.definition;
};
const unreachable = (...steps: JsonObject[]): string[] => unreachableSteps(definitionOf({ steps }));
const stop = (name: string, more: JsonObject = {}): JsonObject => ({ name, fail: { error: "Stop" }, ...more });
const branch = (name: string, cases: JsonObject[], otherwise: JsonObject[] = []): JsonObject => ({ name, conditional: { cases, else_steps: otherwise } });

describe("a step can never run", () => {
  it("behind one that always fails, unless its failure is handled or it may be left out", () => {
    expect(unreachable(stop("a"), line("b"), branch("c", [{ when: "trigger.data.x", steps: [line("d")] }]))).toEqual(["b", "c", "d"]);
    expect(unreachable(stop("a", { run_if: "trigger.data.x" }), line("b"))).toEqual([]);
    expect(unreachable(stop("a", { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }), line("b"))).toEqual([]);
    expect(unreachable(stop("a", { on_error: { catches: [{ steps: [line("c")] }] } }), line("b"))).toEqual([]);
    expect(unreachable(stop("a", { on_error: { catches: [{ steps: [stop("c")] }] } }), line("b"))).toEqual(["b"]);
  });

  it("under a condition that is never true, and after a case that always is", () => {
    expect(unreachable(line("a", "x", { run_if: "false" }), line("b"))).toEqual(["a"]);
    expect(
      unreachable(
        branch(
          "which",
          [
            { name: "no", when: "false", steps: [line("a")] },
            { name: "yes", when: "true", steps: [line("b")] },
            { name: "late", when: "trigger.data.x", steps: [line("c")] },
          ],
          [line("d")],
        ),
      ),
    ).toEqual(["a", "c", "d"]);
  });

  it("behind a block all of whose ways fail, and not behind one that has a way through", () => {
    const ways = (second: JsonObject[]): JsonObject => branch("which", [{ when: "trigger.data.x", steps: [stop("a")] }], second);
    expect(unreachable(ways([stop("b")]), line("after"))).toEqual(["after"]);
    expect(unreachable(ways([line("b")]), line("after"))).toEqual([]);
    expect(unreachable(ways([]), line("after"))).toEqual([]);
    const both = (join: string): JsonObject => ({
      name: "both",
      parallel: {
        join,
        branches: [
          { name: "l", steps: [stop("a")] },
          { name: "r", steps: [line("b")] },
        ],
      },
    });
    expect(unreachable(both("JOIN_MODE_ALL"), line("after"))).toEqual(["after"]);
    expect(unreachable(both("JOIN_MODE_ANY"), line("after"))).toEqual([]);
  });

  it("is a warning, since it may be meant for the moment", () => {
    expect(parse({ steps: [stop("a"), line("b")] })).toMatchObject({ ok: true, value: { warnings: [{ field: "definition.steps[1]" }] } });
  });
});

it("types of expressions come from their texts and from the schemas of what they read", () => {
  const definition = definitionOf({
    input_schema: { type: "object", properties: { total: { type: "number" }, tags: { type: "array" } } },
    steps: [
      post("call", { result_schema: { type: "object" }, export: { big: "trigger.data.total > 10.0" } }),
      { name: "each", for_each: { items: "trigger.data.tags", steps: [line("one", "{{params.who}}")] } },
    ],
    outputs: { status: "{{steps.call.result.status}}" },
  });
  expect(inferredTypes(definition, kindsOfData(definition, { type: "object", properties: { who: { type: "string" } } }))).toEqual([
    { path: "definition.steps[0].export.big", type: "bool" },
    { path: "steps.call.result", type: "map(dyn, dyn)" },
    { path: "definition.steps[1].for_each.items", type: "list(dyn)" },
    { path: "definition.steps[1].for_each.steps[0].log.message", type: "string" },
    { path: "definition.outputs.status", type: "dyn" },
  ]);
});
