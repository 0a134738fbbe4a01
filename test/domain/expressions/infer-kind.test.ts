import { expect, test } from "vitest";
import { compileExpression } from "../../../src/domain/expressions/compile-expression.ts";
import { inferKind } from "../../../src/domain/expressions/infer-kind.ts";

test.each<[string, string | undefined]>([
  ["a", undefined],
  ["a.b[0]", undefined],
  ["a.?b", "optional"],
  ["a > 1 && b", "bool"],
  ["!a", "bool"],
  ["has(a.b)", "bool"],
  ["a in b", "bool"],
  ["a + 1", undefined],
  ["1 + 2", "int"],
  ["1 + 2.0", "double"],
  ["'a' + string(b)", "string"],
  ["timestamp(now) - timestamp(a)", "duration"],
  ["timestamp(now) + duration(a)", "timestamp"],
  ["duration('1h')", "duration"],
  ["a ? 'x' : 'y'", "string"],
  ["a ? 'x' : 1", undefined],
  ["a.map(x, x)", "list"],
  ["a.exists(x, x)", "bool"],
  ["[a]", "list"],
  ["{'a': b}", "map"],
  ["a.orValue('x')", undefined],
  ["json.encode(a)", "string"],
  ["json.decode(a)", undefined],
  ["a.size()", "int"],
  ["cel.bind(x, a, x == 1)", "bool"],
])("%s is %s", (source, kind) => {
  const compiled = compileExpression(source);
  expect(compiled.ok && inferKind(compiled.value)).toBe(kind);
});
