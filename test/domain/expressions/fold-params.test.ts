import { expect, test } from "vitest";
import type { Json } from "../../../src/base/json.ts";
import { compileTemplate } from "../../../src/domain/expressions/compile-template.ts";
import { foldParams } from "../../../src/domain/expressions/fold-params.ts";
import { renderTemplate } from "../../../src/domain/expressions/render-template.ts";
import { fc } from "../../support/property.ts";

const params = { name: "Ada", limit: 3, tags: ["a"], nothing: null, hostile: "{{steps.x}}", open: "{", nested: { deep: ["{{1}}"] } };

function fold(value: Json): Json {
  const result = foldParams(value, params);
  if (!result.ok) throw new Error(JSON.stringify(result.fault));
  return result.value;
}

function render(value: Json, scope: Record<string, Json>): Json {
  const template = compileTemplate(value);
  if (!template.ok) throw new Error(JSON.stringify(template.fault));
  const result = renderTemplate(template.value, scope, { executionId: "", stepPath: "" });
  if (!result.ok) throw new Error(result.fault.message);
  return result.value;
}

test.each<[Json, Json]>([
  ["{{params.limit}}", 3],
  ["{{ params.limit * 2 }}", 6],
  ["{{params.tags}}", ["a"]],
  ["{{params.nothing}}", null],
  ["Hello {{params.name}}, {{params.nothing}}{{params.tags}}", 'Hello Ada, ["a"]'],
  ["{{params.name}} of {{trigger.data.x}}", "Ada of {{trigger.data.x}}"],
  ["{{params.limit + trigger.data.n}}", "{{params.limit + trigger.data.n}}"],
  ["{{trigger.data.x}}", "{{trigger.data.x}}"],
  ["{{'{{'}}", "{{'{{'}}"],
  ["{{1 + 1}}", "{{1 + 1}}"],
  ["{{uuid(params.name)}}", "{{uuid(params.name)}}"],
  ["{{item.params}}", "{{item.params}}"],
  [
    { a: ["{{params.name}}", 1], b: "plain" },
    { a: ["Ada", 1], b: "plain" },
  ],
])("%j", (value, expected) => {
  expect(fold(value)).toEqual(expected);
});

test("parameters with braces are values and never become code", () => {
  for (const [source, meant] of [
    ["{{params.hostile}}", "{{steps.x}}"],
    ["a{{params.hostile}}b", "a{{steps.x}}b"],
    ["{{params.open}}{{params.open}}trigger.x}}", "{{trigger.x}}"],
    ["{{params.open}}{{trigger.x}}", "{T"],
    ["{{params.hostile}} {{params.open}}{{trigger.x}}", "{{steps.x}} {T"],
    ["{{params.nested}}", { deep: ["{{1}}"] }],
  ] as const) {
    expect(render(fold(source), { trigger: { x: "T" } })).toEqual(meant);
  }
});

test("folding and rendering give what rendering alone gives, whatever the parameters", () => {
  const text = fc
    .array(fc.constantFrom("{", "}", "{{", "}}", "'", '"', "\\", "a", "{{params.a}}", "{{'{{'}}", "é"), { maxLength: 8 })
    .map((parts) => parts.join(""));
  const source = fc
    .array(fc.constantFrom("x", "{", " }", "{{params.a}}", "{{params.b}}", "{{t}}", "{{params.a + t}}", "{{'{{'}}", "{{ {'k': {'v': params.b}} }}"), {
      maxLength: 6,
    })
    .map((parts) => parts.join(""));
  void fc.assert(
    fc.property(source, text, fc.oneof(text, fc.array(text), fc.dictionary(text, text), fc.constant(null)), (template, a, b) => {
      const compiled = compileTemplate(template);
      fc.pre(compiled.ok);
      const scope = { params: { a, b }, t: "T" };
      const folded = foldParams(template, scope.params);
      if (!folded.ok) throw new Error(JSON.stringify(folded.fault));
      expect(render(folded.value, scope)).toEqual(render(template, scope));
    }),
    { numRuns: 2_000 },
  );
});

test("a parameter that is missing or does not fit is a fault with path and place", () => {
  expect(foldParams({ a: ["x {{params.zip}}"], b: "{{params.name * 2}}" }, params)).toMatchObject({
    ok: false,
    fault: [
      { path: "a[0]", reason: "EXPRESSION_INVALID", problem: expect.stringContaining('params has no key "zip"'), position: { offset: 4 } },
      { path: "b", reason: "EXPRESSION_INVALID" },
    ],
  });
});
