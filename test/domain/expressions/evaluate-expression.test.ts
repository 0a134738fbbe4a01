import { describe, expect, test } from "vitest";
import type { Json } from "../../../src/base/json.ts";
import { compileExpression } from "../../../src/domain/expressions/compile-expression.ts";
import { evaluateExpression } from "../../../src/domain/expressions/evaluate-expression.ts";
import type { Scope } from "../../../src/domain/expressions/expression.ts";

const context = { executionId: "exe_1", stepPath: "orders[3]/charge" };
const scope: Scope = {
  trigger: {
    type: "api",
    time: "2026-03-01T08:30:00Z",
    data: { n: 7, half: 0.5, text: "Grüße 😀", empty: null, flag: true, tags: ["b", "a", "b"], order: { id: "A-1", "content-type": "json" } },
  },
  steps: {
    fetch: {
      result: {
        items: [
          { sku: "x", price: 2, qty: 3 },
          { sku: "y", price: 1.5, qty: 2 },
        ],
        total: 9,
      },
    },
    skipped: null,
  },
  now: "2026-03-01T09:00:00Z",
  variables: JSON.parse('{"__proto__": "own", "constructor": "Acme"}') as Json,
};

function evaluate(source: string, over: Scope = scope): Json | { readonly failure: string; readonly message: string; readonly details: Json | undefined } {
  const compiled = compileExpression(source);
  if (!compiled.ok) throw new Error(`${source}: ${compiled.fault.problem}`);
  const result = evaluateExpression(compiled.value, over, context);
  return result.ok ? result.value : { failure: result.fault.name, message: result.fault.message, details: result.fault.details };
}

describe("values", () => {
  test.each<[string, Json]>([
    ["trigger.data.order.id", "A-1"],
    ["{{ trigger.data.order.id }}", "A-1"],
    ["  {{trigger.data.order.id}}  ", "A-1"],
    ['trigger.data.order["content-type"]', "json"],
    ["trigger.data.order.`content-type`", "json"],
    ["steps.fetch.result.items[1].sku", "y"],
    ["trigger.data.empty", null],
    ["variables.__proto__", "own"],
    ["variables.constructor", "Acme"],
    // JSON numbers are doubles; with ints they calculate and compare as one.
    ["trigger.data.n + 1", 8],
    ["1 + trigger.data.n", 8],
    ["trigger.data.n / 2", 3.5],
    ["7 / 2", 3],
    ["trigger.data.n % 4", 3],
    ["trigger.data.n * trigger.data.half", 3.5],
    ["trigger.data.n == 7 && 7 == trigger.data.n && trigger.data.n == 7.0", true],
    ["trigger.data.n > 6 && 6 < trigger.data.n", true],
    ["trigger.data.n in [6, 7]", true],
    ["steps.fetch.result.items[trigger.data.n - 6].sku", "y"],
    ["string(trigger.data.n)", "7"],
    ["size(trigger.data.tags) == 3 && trigger.data.tags.size() > trigger.data.half", true],
    ["-trigger.data.n", -7],
    ["0 * -1.0", 0],
    // Text counts characters.
    ["trigger.data.text.size()", 7],
    ["trigger.data.text.substring(6)", "😀"],
    ["trigger.data.text.indexOf('😀')", 6],
    ["trigger.data.text.charAt(6)", "😀"],
    ["'a,b,c'.split(',')", ["a", "b", "c"]],
    ["'a,b,c'.split(',', 2)", ["a", "b,c"]],
    ["'abc'.replace('', '-')", "-a-b-c-"],
    ["['a', 'b'].join('-')", "a-b"],
    ["' x '.trim() + 'AB'.lowerAscii()", "xab"],
    ["'%s costs %.2f (%d)'.format(['tea', 2.5, 3])", "tea costs 2.50 (3)"],
    ["'order-17'.matches('^[a-z]+-[0-9]+$')", true],
    // Lists and maps.
    ["steps.fetch.result.items.map(i, i.price * i.qty)", [6, 3]],
    ["steps.fetch.result.items.map(i, i.qty > 2, i.sku)", ["x"]],
    ["steps.fetch.result.items.filter(i, i.price < 2)", [{ sku: "y", price: 1.5, qty: 2 }]],
    ["steps.fetch.result.items.exists(i, i.sku == 'x') && !steps.fetch.result.items.all(i, i.sku == 'x')", true],
    ["steps.fetch.result.items.map(i, i.price * i.qty).sum() == steps.fetch.result.total", true],
    ["[1, 2, 3].sum()", 6],
    ["[].sum()", 0],
    ["[1, 2].avg()", 1.5],
    ["[3, 1.5, 2].min()", 1.5],
    ["['b', 'a'].max()", "b"],
    ["trigger.data.tags.distinct()", ["b", "a"]],
    ["trigger.data.tags.sort()", ["a", "b", "b"]],
    ["steps.fetch.result.items.sortBy(i, i.price)[0].sku", "y"],
    ["[[1, [2]], [3]].flatten()", [1, [2], 3]],
    ["[1, 2, 3].slice(1, 3).reverse()", [3, 2]],
    ["lists.range(3)", [0, 1, 2]],
    ["[1, 2] + [3]", [1, 2, 3]],
    ["{'a': 1, 'b': [true, null]}", { a: 1, b: [true, null] }],
    ["{1: 'int', true: 'bool'}", { "1": "int", true: "bool" }],
    ["{'__proto__': 1}.map(k, k)", ["__proto__"]],
    ["['x', 'y'].transformMap(i, v, v + string(i))", { "0": "x0", "1": "y1" }],
    ["'id' in trigger.data.order && !('constructor' in trigger.data.order)", true],
    ["[3, 1].first().value() + [].last().orValue(4)", 7],
    ["math.greatest(1, 2.5) + math.round(2.5) + math.abs(-1)", 6.5],
    // What may be missing.
    ["has(trigger.data.order.id) && !has(trigger.data.order.zip)", true],
    ["has(trigger.data.order.toString) || has(trigger.data.order.__proto__)", false],
    ["has(steps.skipped.result)", false],
    ["trigger.data.?zip.orValue('none')", "none"],
    ["trigger.?data.order.?id.orValue('none')", "A-1"],
    ["steps.skipped.?result.?id.orValue('none')", "none"],
    ["trigger.data.tags[?9].orValue('none')", "none"],
    ["trigger.data.?order.optMap(o, o.id + '!').orValue('')", "A-1!"],
    ["trigger.data.?zip", null],
    ["trigger.data.?order", { id: "A-1", "content-type": "json" }],
    ["[?trigger.data.?zip, ?trigger.data.?n]", [7]],
    ["{?'zip': trigger.data.?zip, ?'n': trigger.data.?n}", { n: 7 }],
    ["trigger.data.?zip.or(trigger.data.?n).value()", 7],
    ["trigger.data.zip == 1 || true", true],
    ["false && trigger.data.zip == 1", false],
    ["cel.bind(o, trigger.data.order, o.id + o.id)", "A-1A-1"],
    // Durations and timestamps are CEL's own.
    ["timestamp(now) - timestamp(trigger.time)", "1800s"],
    ["timestamp(now) + duration('1h30m')", "2026-03-01T10:30:00Z"],
    ["timestamp(now) > timestamp(trigger.time)", true],
    ["duration('1.5s')", "1.5s"],
    ["duration(trigger.data.half)", "0.5s"],
    ["timestamp('2026-03-01T23:30:00-05:00').getDate('America/New_York')", 1],
    ["timestamp('2026-03-01T23:30:00-05:00').getDate()", 2],
    ["timestamp('2026-07-01T12:00:00Z').getHours('Europe/Berlin')", 14],
    ["timestamp('2026-07-01T12:00:00Z').getHours('+05:30')", 17],
    ["duration('90m').getHours()", 1],
    ["int(timestamp('1970-01-01T00:01:00Z'))", 60],
    // Codecs.
    ["json.encode({'a': [1, 2.5, null]})", '{"a":[1,2.5,null]}'],
    ['json.decode(\'{"a": {"b": 1}}\').a.b', 1],
    ["base64.encode('hé')", "aMOp"],
    ["string(base64.decode('aMOp'))", "hé"],
    ["base64.decode('aMOp')", "aMOp"],
    ["sha256('abc')", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
    ["type(1) == int && type(trigger.data.n) == double && type(null) == null_type", true],
    ["int('42') + int(3.9) + int(true ? 1 : 2)", 46],
    ["9007199254740991", Number.MAX_SAFE_INTEGER],
    ["'{{trigger.data.n}}'", "{{trigger.data.n}}"],
  ])("%s", (source, expected) => {
    expect(evaluate(source)).toEqual(expected);
  });

  test("an own key __proto__ of a result is a key like any other", () => {
    const value = evaluate("{'__proto__': {'polluted': true}}") as object;
    expect(Object.keys(value)).toEqual(["__proto__"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect((value as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test("data that is returned whole is the same object, not a copy", () => {
    expect(evaluate("trigger.data.order")).toBe((scope["trigger"] as { data: { order: object } }).data.order);
    expect(evaluate("true ? trigger.data.order : null")).toBe((scope["trigger"] as { data: { order: object } }).data.order);
  });

  test("uuid is a version 5 that only execution, step and name decide", () => {
    const compiled = compileExpression("uuid('charge')");
    if (!compiled.ok) throw new Error(compiled.fault.problem);
    const of = (executionId: string, stepPath: string) => evaluateExpression(compiled.value, {}, { executionId, stepPath });
    expect(of("exe_1", "a")).toEqual(of("exe_1", "a"));
    expect(of("exe_1", "a")).not.toEqual(of("exe_2", "a"));
    expect(of("exe_1", "a")).not.toEqual(of("exe_1", "b"));
    expect(of("exe_1a", "")).not.toEqual(of("exe_1", "a"));
    expect(evaluate("uuid('charge')")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(evaluate("uuid('charge') == uuid('refund')")).toBe(false);
  });
});

describe("failures are named EXPRESSION and say what is wrong", () => {
  test.each<[string, string | RegExp]>([
    ["trigger.data.order.zip", '{{ trigger.data.order.zip }}: trigger.data.order has no key "zip"'],
    ["trigger.data.zip.code", 'trigger.data has no key "zip"'],
    ["trigger.data.empty.x", 'trigger.data.empty is null, so it has no key "x"'],
    ["trigger.data.n.x", 'trigger.data.n is a double, so it has no key "x"'],
    ["trigger.data.tags[3]", "trigger.data.tags has 3 elements, so there is no [3]"],
    ["trigger.data.tags[-1]", "there is no [-1]"],
    ["trigger.data.tags[0.5]", /has no|there is no/],
    ["trigger.data.tags.length", 'trigger.data.tags is a list, which has no key "length"'],
    ["trigger.data.text.length", 'trigger.data.text is a string, so it has no key "length"'],
    ["trigger.data.order.toString", 'has no key "toString"'],
    ["trigger.data.order.__proto__.polluted", 'has no key "__proto__"'],
    ["trigger.data.order['constructor']", 'has no key "constructor"'],
    ["toString", 'there is no variable "toString" here'],
    ["constructor.name", 'there is no variable "constructor" here'],
    ["nothing.at.all", 'there is no variable "nothing" here'],
    ["trigger.data.tags.map(x, x.y)", 'x is a string, so it has no key "y"'],
    ["'a' + 1", "`+` does not take a string and a int; convert with string(x)"],
    ["trigger.data.n && true", "each side of `&&` must be true or false, not double"],
    ["trigger.data.n ? 1 : 2", "the condition before `?` must be true or false, not double"],
    ["1 / 0", "division by zero"],
    ["trigger.data.n / 0", "the result is Infinity, which JSON cannot hold"],
    ["0.0 / 0.0", "the result is NaN"],
    ["9223372036854775807 + 1", "does not fit into an int of 64 bits"],
    ["9007199254740993", "the result holds the integer 9007199254740993, beyond 2^53"],
    ["9007199254740993 + trigger.data.half", "9007199254740993 cannot be calculated with a decimal number exactly"],
    ["[1, 'a'].sort()", "have no order"],
    ["[].avg()", "avg() needs at least one element"],
    ["trigger.data.?zip.value()", "value() of an optional that holds none"],
    ["json.decode('{')", "the text is not valid JSON"],
    ["json.decode('[12345678901234567890]')", "lies beyond 2^53"],
    ["json.decode('\"\\\\u0000\"')", "contains a NUL character"],
    ["'a\\u0000b'", "the result holds a NUL character"],
    ["int('0x10')", "is not an integer"],
    ["double('abc')", '"abc" is not a number'],
    ["timestamp(trigger.data.text)", "is not a timestamp"],
    ["timestamp(string(2025) + '-02-30T00:00:00Z')", "is not a moment of the calendar"],
    ["timestamp(now).getHours('Mars/Base')", "is not a time zone"],
    ["{'a': 1, 'a': 2}", 'the map has the key "a" twice'],
    ["{1: 'a', '1': 'b'}", "two keys that JSON writes as"],
    ["{trigger.data.order: 1}", "a map cannot be the key of a map"],
    ["'x'.matches(trigger.data.order.id + '(')", "the pattern is not valid"],
    ["base64.decode('a*b')", "the text is not base64"],
  ])("%s", (source, message) => {
    const result = evaluate(source) as { failure: string; message: string };
    expect(result.failure).toBe("EXPRESSION");
    expect(result.message).toMatch(typeof message === "string" ? new RegExp(message.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")) : message);
  });

  test("a missing key names its path for programs", () => {
    expect(evaluate("trigger.data.order.zip")).toMatchObject({ details: { path: "trigger.data.order.zip", expression: "trigger.data.order.zip" } });
  });

  test("a long expression is cut in the message, and the message never holds a value", () => {
    const result = evaluate(`trigger.data.text + trigger.data.zip + '${"x".repeat(1_000)}'`) as { message: string };
    expect(result.message.length).toBeLessThan(500);
    expect(result.message).not.toContain("Grüße");
  });
});

test("a scope may hold any name, and its values may be called as functions are", () => {
  expect(evaluate("item.size() + size", { item: [1, 2], size: 3 })).toBe(5);
  expect(evaluate("it.map(it, it * 2)", { it: [1, 2] })).toEqual([2, 4]);
  expect(evaluate("event.json", { event: { json: 1 } })).toBe(1);
});

test("without an own key even a scope with a prototype gives nothing away", () => {
  const inherited = Object.create({ secret: 1 }) as Scope;
  expect(evaluate("secret", inherited)).toMatchObject({ failure: "EXPRESSION" });
  expect(evaluate("a.secret", { a: inherited as Json })).toMatchObject({ failure: "EXPRESSION" });
});

test("a plain path and the same path as part of an expression read and fail alike", () => {
  for (const path of [
    "trigger.data.order.id",
    "trigger.data.order.zip",
    "trigger.data.empty.x",
    "trigger.data.tags[1]",
    "trigger.data.tags[7]",
    "trigger.data.tags.a",
    "nothing",
    'trigger["data"]["n"]',
  ]) {
    const plain = evaluate(path);
    const computed = evaluate(`true ? ${path} : null`);
    const essence = (value: typeof plain) =>
      JSON.stringify(value)
        .replaceAll(`true ? ${path} : null`, path)
        .replaceAll(JSON.stringify(`true ? ${path} : null`).slice(1, -1), JSON.stringify(path).slice(1, -1));
    expect(essence(computed)).toBe(essence(plain));
  }
});
