import { describe, expect, test } from "vitest";
import type { Json } from "../../../src/base/json.ts";
import { compileTemplate, hasExpressions } from "../../../src/domain/expressions/compile-template.ts";
import type { Template } from "../../../src/domain/expressions/expression.ts";
import { renderTemplate } from "../../../src/domain/expressions/render-template.ts";

const context = { executionId: "exe_1", stepPath: "a" };
const scope = { trigger: { data: { id: "A-1", n: 3, half: 0.5, list: [1, "b"], none: null, flag: true, hostile: "{{trigger.data.id}}" } } };

function compiled(value: Json): Template {
  const template = compileTemplate(value);
  if (!template.ok) throw new Error(JSON.stringify(template.fault));
  return template.value;
}

function render(value: Json): Json {
  const result = renderTemplate(compiled(value), scope, context);
  if (!result.ok) throw new Error(result.fault.message);
  return result.value;
}

describe("texts", () => {
  test.each<[Json, Json]>([
    ["{{trigger.data.n}}", 3],
    ["{{ trigger.data.list }}", [1, "b"]],
    ["{{trigger.data.none}}", null],
    ["{{trigger.data.flag}}", true],
    [" {{trigger.data.n}}", " 3"],
    ["{{trigger.data.n}}{{trigger.data.n}}", "33"],
    ["id {{trigger.data.id}}!", "id A-1!"],
    ["[{{trigger.data.none}}]", "[]"],
    ["{{trigger.data.half}} {{trigger.data.list}} {{trigger.data.flag}}", '0.5 [1,"b"] true'],
    ["{{2 * 21}} and {{timestamp('2026-01-01T00:00:00Z')}}", "42 and 2026-01-01T00:00:00Z"],
    // Braces.
    ["{{'{{'}}", "{{"],
    ["{{'{{'}} x }}", "{{ x }}"],
    ["{{'}}'}}", "}}"],
    ["a }} b { c }", "a }} b { c }"],
    ["{{ {'a': {'b': trigger.data.n}} }}", { a: { b: 3 } }],
    ["{{ {'a': {'b': {}}}.a.b.size() }}", 0],
    ["{{ \"it's }}\" + '\\'}}' + r'\\' + '''}}'}}''' }}", "it's }}'}}\\}}'}}"],
    // Values from data are never evaluated again.
    ["{{trigger.data.hostile}}", "{{trigger.data.id}}"],
    ["x{{trigger.data.hostile}}", "x{{trigger.data.id}}"],
    [{ "{{key}}": "{{trigger.data.n}}" }, { "{{key}}": 3 }],
    [
      [1, { a: ["{{trigger.data.id}}", null] }],
      [1, { a: ["A-1", null] }],
    ],
  ])("%j", (value, expected) => {
    expect(render(value)).toEqual(expected);
  });

  test("a key __proto__ stays a key", () => {
    const value = render(JSON.parse('{"__proto__": "{{trigger.data.n}}", "constructor": 1}') as Json) as object;
    expect(Object.entries(value)).toEqual([
      ["__proto__", 3],
      ["constructor", 1],
    ]);
  });
});

test("a value without expressions is kept as it is", () => {
  const value = { a: [1, "x}}"], b: null };
  const template = compiled(value);
  expect(hasExpressions(template)).toBe(false);
  expect(template.kind === "constant" && template.value).toBe(value);
  const mixed = compiled({ a: value, b: "{{trigger.data.n}}" });
  expect(hasExpressions(mixed)).toBe(true);
  const rendered = renderTemplate(mixed, scope, context);
  expect(rendered.ok && (rendered.value as { a: Json }).a).toBe(value);
});

test("every fault is reported with its path and place", () => {
  const template = compileTemplate({ url: "https://x/{{a +}}", headers: { "x-id": ["ok", "{{ foo() }}"] }, body: "{{a", fine: "{{a}}" });
  expect(template).toEqual({
    ok: false,
    fault: [
      { path: "url", reason: "EXPRESSION_INVALID", problem: expect.stringContaining("ends where"), position: { offset: 15, line: 1, column: 16 } },
      {
        path: 'headers["x-id"][1]',
        reason: "EXPRESSION_INVALID",
        problem: expect.stringContaining("no function foo"),
        position: { offset: 3, line: 1, column: 4 },
      },
      { path: "body", reason: "EXPRESSION_INVALID", problem: expect.stringContaining("never closed"), position: { offset: 0, line: 1, column: 1 } },
    ],
  });
});

test("the first failing expression names the failure", () => {
  const result = renderTemplate(compiled({ a: "{{trigger.data.n}}", b: ["{{trigger.data.zip}}"] }), scope, context);
  expect(result).toMatchObject({ ok: false, fault: { name: "EXPRESSION", details: { expression: "trigger.data.zip" } } });
});

test("a value nested too deeply is refused at compile time", () => {
  let value: Json = "{{trigger.data.n}}";
  for (let level = 0; level < 40; level++) value = [value];
  expect(compileTemplate(value)).toMatchObject({ ok: false, fault: [{ reason: "LIMIT_EXCEEDED" }] });
});
