import { expect, test } from "vitest";
import { compileExpression } from "../../../src/domain/expressions/compile-expression.ts";
import { compileTemplate } from "../../../src/domain/expressions/compile-template.ts";
import { references } from "../../../src/domain/expressions/references.ts";

function read(source: string): string[] {
  const compiled = compileExpression(source);
  if (!compiled.ok) throw new Error(compiled.fault.problem);
  return references(compiled.value).map(({ root, path, optionalFrom }) =>
    [root, ...path.slice(0, optionalFrom), ...path.slice(optionalFrom).map((key) => `?${key}`)].join("."),
  );
}

test.each<[string, string[]]>([
  ["steps.charge.result.id", ["steps.charge.result.id"]],
  ['steps["charge"].result.items[0].x', ["steps.charge.result.items.0.x"]],
  ["has(steps.a.result.id)", ["steps.a.result.?id"]],
  ["steps.a.?result.id.orValue(params.x)", ["steps.a.?result.?id", "params.x"]],
  ["steps.a.result[trigger.data.i].x", ["steps.a.result", "trigger.data.i"]],
  ["items.map(x, x.price * rate)", ["items", "rate"]],
  ["items.map(x, items.exists(y, y == x && z))", ["items", "items", "z"]],
  ["x.map(x, x.a)", ["x"]],
  ["a.transformList(i, v, i + v + w)", ["a", "w"]],
  ["cel.bind(x, a.b, x.c + y)", ["a.b", "y"]],
  ["type(a) == int && json.encode(b) == '' && timestamp(c) > d", ["a", "b", "c", "d"]],
  ["type(a) == google.protobuf.Timestamp", ["a"]],
  ["json.value + math.abs(x)", ["json.value", "x"]],
  ["{'k': a, b: [c, ?d.?e]}", ["a", "b", "c", "d.?e"]],
  ["a ? -b : !c", ["a", "b", "c"]],
  ["(a.b).c.contains(d)", ["a.b.c", "d"]],
  ["f.first().value().g", ["f"]],
  ["'no variables'", []],
])("%s", (source, expected) => {
  expect(read(source)).toEqual(expected);
});

test("inside a template each reference has the path of its text and the place in it", () => {
  const template = compileTemplate({ url: "x/{{ a.b }}/\n{{1 +\n c}}", list: ["{{d}}"] });
  expect(template.ok && references(template.value)).toEqual([
    { root: "a", path: ["b"], optionalFrom: 1, position: { offset: 5, line: 1, column: 6 }, at: "url" },
    { root: "c", path: [], optionalFrom: 0, position: { offset: 20, line: 3, column: 2 }, at: "url" },
    { root: "d", path: [], optionalFrom: 0, position: { offset: 2, line: 1, column: 3 }, at: "list[0]" },
  ]);
});
