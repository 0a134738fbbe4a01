import { celEnv, isCelError, isCelList, isCelMap, isCelUint, parse, plan } from "@bufbuild/cel";
import { expect, test } from "vitest";
import { findJsonFault, type Json } from "../../../src/base/json.ts";
import { Budget } from "../../../src/domain/expressions/budget.ts";
import { compileExpression } from "../../../src/domain/expressions/compile-expression.ts";
import { compileTemplate } from "../../../src/domain/expressions/compile-template.ts";
import { evaluateExpression } from "../../../src/domain/expressions/evaluate-expression.ts";
import { inferKind } from "../../../src/domain/expressions/infer-kind.ts";
import { LimitProblem, Problem } from "../../../src/domain/expressions/problem.ts";
import { references } from "../../../src/domain/expressions/references.ts";
import { renderTemplate } from "../../../src/domain/expressions/render-template.ts";
import { kindOf } from "../../../src/domain/expressions/value.ts";
import { fc } from "../../support/property.ts";

const context = { executionId: "exe_1", stepPath: "a" };
const nastyKeys = ["__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", "prototype", "length", "a", "b", "size", "then"] as const;

const key = fc.constantFrom(...nastyKeys);
const json = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom<Json>(null, true, false, 0, -0, 1, 2, 7, 0.5, -3, 1e21, 2 ** 53, "", "a", "😀é", "{{a}}", "__proto__", "2026-01-01T00:00:00Z", "1h"),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string({ maxLength: 8 }),
    fc.array(tie("value"), { maxLength: 4 }),
    // Own keys whatever they are called, as JSON.parse makes them.
    fc.array(fc.tuple(key, tie("value")), { maxLength: 4 }).map((entries) => Object.fromEntries(entries)),
  ),
})).value;

const literal = fc.constantFrom(
  "null",
  "true",
  "false",
  "0",
  "1",
  "2",
  "-3",
  "7u",
  "0.5",
  "1e3",
  "''",
  "'a'",
  "'😀é'",
  "b'ab'",
  "r'\\d'",
  "'__proto__'",
  "[]",
  "{}",
  "duration('1h')",
  "timestamp('2026-01-01T00:00:00Z')",
  "9223372036854775807",
  "optional.none()",
);
const source = fc.letrec<{ node: string }>((tie) => {
  const node = tie("node");
  return {
    node: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      literal,
      fc.constantFrom("x", "y", "s", "missing", ...nastyKeys),
      fc.tuple(node, key).map(([operand, name]) => `${operand}.${name}`),
      fc.tuple(node, key).map(([operand, name]) => `${operand}.?${name}`),
      fc.tuple(node, key).map(([operand, name]) => `has((${operand}).${name})`),
      fc.tuple(node, node).map(([operand, index]) => `(${operand})[${index}]`),
      fc.tuple(node, node).map(([operand, index]) => `(${operand})[?${index}]`),
      fc
        .tuple(node, fc.constantFrom("+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"), node)
        .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
      fc.tuple(fc.constantFrom("!", "-"), node).map(([operator, operand]) => `${operator}(${operand})`),
      fc.tuple(node, node, node).map(([test, then, otherwise]) => `(${test}) ? (${then}) : (${otherwise})`),
      fc.array(node, { maxLength: 3 }).map((items) => `[${items.join(", ")}]`),
      fc.array(fc.tuple(node, node), { maxLength: 3 }).map((entries) => `{${entries.map(([name, value]) => `(${name}): ${value}`).join(", ")}}`),
      fc
        .tuple(node, fc.constantFrom("map", "filter", "all", "exists", "exists_one", "sortBy", "optMap", "optFlatMap"), node)
        .map(([range, macro, body]) => `(${range}).${macro}(x, ${body})`),
      fc.tuple(node, fc.constantFrom("transformMap", "transformList"), node).map(([range, macro, body]) => `(${range}).${macro}(x, y, ${body})`),
      fc
        .tuple(
          fc.constantFrom(
            "size",
            "int",
            "uint",
            "double",
            "string",
            "bytes",
            "bool",
            "type",
            "dyn",
            "timestamp",
            "duration",
            "json.encode",
            "json.decode",
            "base64.encode",
            "base64.decode",
            "sha256",
            "uuid",
            "math.abs",
            "math.ceil",
            "math.greatest",
            "math.sqrt",
            "lists.range",
            "strings.quote",
            "optional.of",
            "optional.ofNonZeroValue",
          ),
          node,
        )
        .map(([name, argument]) => `${name}(${argument})`),
      fc
        .tuple(
          node,
          fc.constantFrom(
            "sum",
            "avg",
            "min",
            "max",
            "distinct",
            "sort",
            "flatten",
            "reverse",
            "first",
            "last",
            "hasValue",
            "value",
            "trim",
            "lowerAscii",
            "size",
            "join",
            "getFullYear",
            "getHours",
          ),
        )
        .map(([target, name]) => `(${target}).${name}()`),
      fc
        .tuple(
          node,
          fc.constantFrom("contains", "startsWith", "matches", "split", "charAt", "indexOf", "substring", "orValue", "or", "format", "join", "getDate"),
          node,
        )
        .map(([target, name, argument]) => `(${target}).${name}(${argument})`),
      fc.tuple(node, node, node).map(([target, start, end]) => `(${target}).slice(${start}, ${end})`),
      fc.tuple(node, node, node).map(([target, old, next]) => `(${target}).replace(${old}, ${next})`),
    ),
  };
}).node;

const polluted = Object.prototype as unknown as Record<string, unknown>;

test("any expression on any data gives JSON or a named failure, and nothing comes from a prototype", () => {
  polluted["leaked"] = "LEAKED";
  try {
    void fc.assert(
      fc.property(source, fc.dictionary(fc.constantFrom("x", "y", "s", ...nastyKeys), json), (text, scope) => {
        const compiled = compileExpression(text.replaceAll(".then", ".leaked"));
        if (!compiled.ok) {
          expect(compiled.fault.reason).toMatch(/^(EXPRESSION_INVALID|LIMIT_EXCEEDED)$/);
          return;
        }
        const result = evaluateExpression(compiled.value, scope, context);
        if (result.ok) {
          expect(findJsonFault(result.value)).toBeUndefined();
          expect(JSON.stringify(result.value)).not.toContain("LEAKED");
        } else {
          expect(result.fault.name).toMatch(/^(LIMIT\.)?EXPRESSION$/);
          expect(result.fault.message).not.toMatch(/TypeError|undefined is|is not a function|\bat .*\.ts:/);
        }
      }),
      { numRuns: 6_000 },
    );
  } finally {
    delete polluted["leaked"];
  }
});

test("the same expression on the same data gives the same value, and leaves the data as it was", () => {
  void fc.assert(
    fc.property(source, fc.dictionary(fc.constantFrom("x", "y", "s", "a", "b"), json), (text, scope) => {
      const compiled = compileExpression(text);
      fc.pre(compiled.ok);
      const before = JSON.stringify(scope);
      const first = evaluateExpression(compiled.value, scope, context);
      expect(evaluateExpression(compiled.value, scope, context)).toEqual(first);
      expect(JSON.stringify(scope)).toBe(before);
    }),
    { numRuns: 2_000 },
  );
});

test("the kind that is inferred is the kind of every value", () => {
  void fc.assert(
    fc.property(source, fc.dictionary(fc.constantFrom("x", "y", "s", "a", "b"), json), (text, scope) => {
      const compiled = compileExpression(text);
      fc.pre(compiled.ok);
      const inferred = inferKind(compiled.value);
      fc.pre(inferred !== undefined);
      try {
        const value = compiled.value.evaluate({ scope, locals: [], budget: new Budget(undefined), context });
        expect(kindOf(value)).toBe(inferred);
      } catch (error) {
        if (!(error instanceof Problem || error instanceof LimitProblem)) throw error;
      }
    }),
    { numRuns: 2_000 },
  );
});

test("what is not referenced does not matter", () => {
  void fc.assert(
    fc.property(source, fc.dictionary(fc.constantFrom("x", "y", "s", ...nastyKeys), json), (text, scope) => {
      const compiled = compileExpression(text);
      fc.pre(compiled.ok);
      const read = new Set(references(compiled.value).map((reference) => reference.root));
      const needed = Object.fromEntries(Object.entries(scope).filter(([name]) => read.has(name)));
      expect(evaluateExpression(compiled.value, needed, context)).toEqual(evaluateExpression(compiled.value, scope, context));
    }),
    { numRuns: 2_000 },
  );
});

test("any text compiles or is refused with a place inside it", () => {
  const pieces = fc.array(
    fc.constantFrom(
      "{{",
      "}}",
      "{",
      "}",
      "'",
      '"',
      "\\",
      "a",
      ".",
      "?",
      "[",
      "]",
      "(",
      ")",
      " ",
      "\n",
      "1",
      "+",
      "//",
      "r'",
      "has(",
      ".map(x,",
      "😀",
      "\ud800",
    ),
    { maxLength: 30 },
  );
  void fc.assert(
    fc.property(
      fc.oneof(
        pieces.map((parts) => parts.join("")),
        fc.string({ unit: "binary" }),
      ),
      (text) => {
        for (const compiled of [compileExpression(text), compileTemplate({ a: [text] })]) {
          if (compiled.ok) continue;
          const [fault] = Array.isArray(compiled.fault) ? compiled.fault : [compiled.fault];
          expect(fault?.position.offset).toBeLessThanOrEqual(text.length);
          expect(fault?.problem).not.toBe("");
        }
      },
    ),
    { numRuns: 5_000 },
  );
});

test("text without braces is its own template", () => {
  void fc.assert(
    fc.property(json, (value) => {
      fc.pre(!JSON.stringify(value).includes("{{"));
      const compiled = compileTemplate(value);
      expect(compiled.ok && renderTemplate(compiled.value, {}, context)).toEqual({ ok: true, value });
    }),
  );
});

/** The other implementation's value in our JSON, or undefined when it fails. */
function oracle(text: string, scope: Record<string, Json>): Json | undefined {
  const value = plan(celEnv(), parse(text).expr)(scope as never) as unknown;
  return isCelError(value) ? undefined : plainOf(value);
}

function plainOf(value: unknown): Json {
  if (isCelUint(value)) return Number(value.value);
  if (typeof value === "bigint") return Number(value);
  if (isCelList(value)) return [...value].map(plainOf);
  if (isCelMap(value)) return Object.fromEntries([...value].map(([name, member]) => [String(name), plainOf(member)]));
  return value as Json;
}

test("where another CEL implementation gives a value, ours gives the same", () => {
  const plainLiteral = fc.constantFrom("null", "true", "false", "0", "1", "2", "-3", "0.5", "''", "'a'", "'ab'", "[]", "{}", "x", "y", "s.a");
  const common = fc.letrec<{ node: string }>((tie) => {
    const node = tie("node");
    return {
      node: fc.oneof(
        { maxDepth: 4 },
        plainLiteral,
        fc
          .tuple(node, fc.constantFrom("+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||"), node)
          .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
        fc.tuple(fc.constantFrom("!", "-"), node).map(([operator, operand]) => `${operator}(${operand})`),
        fc.tuple(node, node, node).map(([test, then, otherwise]) => `(${test}) ? (${then}) : (${otherwise})`),
        fc.array(node, { maxLength: 3 }).map((items) => `[${items.join(", ")}]`),
        fc.tuple(node, node).map(([first, second]) => `{'k': ${first}, 'l': ${second}}`),
        fc.tuple(node, fc.constantFrom("map", "filter", "all", "exists", "exists_one"), node).map(([range, macro, body]) => `(${range}).${macro}(x, ${body})`),
        fc.tuple(fc.constantFrom("size", "string"), node).map(([name, argument]) => `${name}(${argument})`),
        fc.tuple(node, fc.constantFrom("a", "k")).map(([operand, name]) => `(${operand}).${name}`),
        fc.tuple(node, fc.constantFrom("0", "1", "1.0", "'k'")).map(([operand, index]) => `(${operand})[${index}]`),
      ),
    };
  }).node;
  const data = fc.record({
    x: fc.constantFrom<Json>(1, 2.5, "ab", [1, 2], { a: 1 }, null, true),
    y: fc.constantFrom<Json>(2, "b", [], ["ab"], { k: [] }),
    s: fc.constant<Json>({ a: 3 }),
  });
  let agreed = 0;
  void fc.assert(
    fc.property(common, data, (text, scope) => {
      let theirs: Json | undefined;
      try {
        theirs = oracle(text, scope);
      } catch {
        return;
      }
      // JSON has no -0. The other takes two signs for none, whatever stands behind them.
      if (theirs === undefined || findJsonFault(theirs) || /!\(!|-\(-/.test(text)) return;
      const compiled = compileExpression(text);
      if (!compiled.ok) throw new Error(`${text}: ${compiled.fault.problem}`);
      const ours = evaluateExpression(compiled.value, scope, context);
      expect(ours.ok ? ours.value : ours.fault).toEqual(JSON.parse(JSON.stringify(theirs)));
      agreed++;
    }),
    { numRuns: 3_000 },
  );
  expect(agreed).toBeGreaterThan(300);
});
