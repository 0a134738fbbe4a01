import { describe, expect, test } from "vitest";
import { compileExpression } from "../../../src/domain/expressions/compile-expression.ts";

function faultOf(source: string) {
  const compiled = compileExpression(source);
  if (compiled.ok) throw new Error(`${source} compiles`);
  return compiled.fault;
}

describe("a text that is no expression is refused with place and reason", () => {
  test.each<[string, number, string]>([
    ["", 0, "the expression is empty"],
    ["{{ }}", 2, "the expression is empty"],
    ["1 +", 3, "the expression ends where a value is expected"],
    ["a ==", 4, "the expression ends where a value is expected"],
    ["{{ 1 + }}", 6, "the expression ends where a value is expected"],
    ["a = b", 2, "compare with `==`"],
    ["a & b", 2, "use `&&`"],
    ["a | upper", 2, "call the function"],
    ["(1 + 2", 6, "`)` is expected to close the bracket, not the end"],
    ["[1, 2", 5, "`]` is expected to close the list"],
    ["{'a' 1}", 5, "`:` is expected between key and value of the map"],
    ["f(1", 0, ""],
    ["a b", 2, "`b` cannot follow here"],
    ["a.", 2, "a field name is expected after the dot"],
    ["a ? b", 5, "`:` is expected between the two values"],
    ["'abc", 0, "never closed with a quote"],
    ["'a\\qb'", 2, "must begin an escape"],
    ["'\\ud800'", 1, "does not name a character"],
    ["1abc", 1, "a number may not run into"],
    ["99999999999999999999", 0, "too large for int"],
    ["9223372036854775808", 0, "too large for int"],
    ["1e999", 0, "too large for double"],
    ["if", 0, "reserved word"],
    ["$.a", 0, '"$" does not belong'],
    ["has(a)", 0, "has() takes one field"],
    ["a.map(x)", 2, "list.map(x, value)"],
    ["a.map(x.y, 1)", 8, "a plain variable name is expected"],
    ["a.all(x, x, true)", 2, "different names"],
    ["google.protobuf.Timestamp{}", 25, "messages cannot be built"],
    ["foo(1)", 0, "there is no function foo()"],
    ["a.foo(1)", 2, "there is no method foo()"],
    ["constructor.constructor()", 12, "there is no method constructor()"],
    ["a.toString()", 2, "there is no method toString()"],
    ["a.lower()", 2, "did you mean lowerAscii()?"],
    ["json.parse(a)", 5, "there is no function json.parse()"],
    ["contains(a, 'b')", 0, "text.contains(part)"],
    ["sum(a)", 0, "list.sum()"],
    ["a.contains()", 2, "text.contains(part)"],
    ["size(a, b)", 0, "size(x)"],
    ["a.matches('(')", 10, "the pattern is not valid"],
    ["duration('5 minutes')", 9, "is not a duration"],
    ["timestamp('yesterday')", 10, "is not a timestamp"],
    ["{{1}}{{2}}", 0, "exactly one {{ … }}"],
    ["{{1}} or so", 0, "exactly one {{ … }}"],
    ["{{ 1", 0, "`{{` is never closed"],
  ])("%s", (source, offset, problem) => {
    const fault = faultOf(source);
    expect(fault.reason).toBe("EXPRESSION_INVALID");
    expect(fault.problem).toContain(problem);
    if (problem) expect(fault.position.offset).toBe(offset);
  });

  test("lines and columns count from 1", () => {
    expect(faultOf("a &&\n  b +\n  $").position).toEqual({ offset: 13, line: 3, column: 3 });
    expect(faultOf("\r\n{{\r\n foo() }}").position).toEqual({ offset: 7, line: 3, column: 2 });
  });

  test.each([
    ["4,097 characters", `'${"x".repeat(4_095)}'`],
    ["brackets", `${"(".repeat(40)}1${")".repeat(40)}`],
    ["signs", `${"-".repeat(40)}1`],
    ["conditions", `${"a ? b : ".repeat(40)}c`],
    ["macros", `${"a.map(x, ".repeat(40)}x${")".repeat(40)}`],
  ])("too much of %s is LIMIT_EXCEEDED", (_, source) => {
    expect(faultOf(source).reason).toBe("LIMIT_EXCEEDED");
  });

  test("4,096 characters and 32 levels are allowed", () => {
    expect(compileExpression(`'${"x".repeat(4_094)}'`).ok).toBe(true);
    expect(compileExpression(`${"(".repeat(32)}1${")".repeat(32)}`).ok).toBe(true);
  });
});

test("the position of a wrapped expression is that of its first character", () => {
  const compiled = compileExpression(" \n {{\n  a.b }}");
  expect(compiled.ok && compiled.value.position).toEqual({ offset: 8, line: 3, column: 3 });
  expect(compiled.ok && compiled.value.text).toBe("a.b");
});

test("the same source is compiled once, wherever it stands", () => {
  const bare = compileExpression("cached.once + 1");
  const wrapped = compileExpression("{{  cached.once + 1 }}");
  expect(bare.ok && wrapped.ok && wrapped.value.evaluate === bare.value.evaluate).toBe(true);
  expect(wrapped.ok && wrapped.value.position.offset).toBe(4);
});

test("only uuid depends on more than the scope", () => {
  const usesContext = (source: string) => {
    const compiled = compileExpression(source);
    return compiled.ok && compiled.value.usesContext;
  };
  expect(usesContext("[1].map(x, uuid(string(x)))")).toBe(true);
  expect(usesContext("sha256('a')")).toBe(false);
});
