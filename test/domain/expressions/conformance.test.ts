/**
 * The conformance suite of the language (cel-spec, as published with @bufbuild/cel-spec) against our parser and
 * evaluator. Messages of protobuf are left out, since an expression here sees JSON only; every other difference is
 * listed below with its reason, and a test that begins to agree must leave the list.
 */
import { tests as suite } from "@bufbuild/cel-spec/testdata/conformance.js";
import type { SerializedIncrementalTest, SerializedIncrementalTestSuite } from "@bufbuild/cel-spec/testdata/tests.js";
import { expect, test } from "vitest";
import { Budget } from "../../../src/domain/expressions/budget.ts";
import { isEqual } from "../../../src/domain/expressions/compare.ts";
import { compileExpression } from "../../../src/domain/expressions/compile-expression.ts";
import { LimitProblem, Problem } from "../../../src/domain/expressions/problem.ts";
import { parseDuration, parseTimestamp } from "../../../src/domain/expressions/time.ts";
import { kindOf, type MapKey, TypeName, Uint, type Value } from "../../../src/domain/expressions/value.ts";

/** Path prefix or expression fragment → why we differ. */
const differences = new Map([
  ["/basic/functions/unbound", "unknown functions are found at save"],
  ["/parse/receiver_function_names", "unknown functions are found at save"],
  ["/type_deductions/functions/function_result_type", "unknown functions are found at save"],
  ["/type_deductions/type_parameters/multiple_parameters", "functions of the suite's own environment"],
  ["/type_deductions/flexible_type_parameter_assignment/unconstrained_type_var_as_dyn", "only checked, never run"],
  ["/block_ext/", "cel.block is what optimisers write, not people"],
  ["/fields/qualified_identifier_resolution/", "variables have no dots in their names"],
  ["/namespace/", "variables have no dots in their names"],
  ["/comparisons/lt_literal/not_lt_dyn_int_big_lossy_double", "int and double compare exactly"],
  ["/comparisons/gt_literal/not_gt_dyn_big_double_int", "int and double compare exactly"],
  ["/comparisons/lte_literal/lte_dyn_big_double_int", "int and double compare exactly"],
  ["/comparisons/gte_literal/gte_dyn_int_big_lossy_double", "int and double compare exactly"],
  ["/fp_math/fp_math/mod_not_support", "JSON numbers have a remainder"],
  ["/math_ext/ceil/dyn_error", "rounding takes ints as they are"],
  ["/math_ext/floor/dyn_error", "rounding takes ints as they are"],
  ["/math_ext/round/dyn_error", "rounding takes ints as they are"],
  ["/math_ext/trunc/dyn_error", "rounding takes ints as they are"],
  ["/optionals/optionals/map_null_entry_no_such_key", "`.?` on null is nothing, as a step not taken reads as null"],
  ["/string_ext/format/format_%f_halfway_truncate_to_nearest_even", "format rounds halves away from zero"],
]);

interface Case {
  readonly path: string;
  readonly case: SerializedIncrementalTest["original"];
}

function casesOf(group: SerializedIncrementalTestSuite, path: string): Case[] {
  const own = (group.tests ?? []).map((entry) => ({ path: `${path}/${entry.original.name}`, case: entry.original }));
  return [...(group.suites ?? []).flatMap((child) => casesOf(child, `${path}/${child.name}`)), ...own];
}

type Wire = Record<string, unknown>;

/** The suite's value as ours, or undefined for messages and enums of protobuf. */
function fromWire(wire: Wire): Value | undefined {
  const [kind, content] = Object.entries(wire)[0] as [string, unknown];
  switch (kind) {
    case "int64Value":
      return BigInt(content as string);
    case "uint64Value":
      return new Uint(BigInt(content as string));
    case "doubleValue":
      return Number(content);
    case "nullValue":
      return null;
    case "stringValue":
    case "boolValue":
      return content as Value;
    case "bytesValue":
      return Buffer.from(content as string, "base64");
    case "typeValue":
      return new TypeName(content as string);
    case "listValue": {
      const items = ((content as { values?: Wire[] }).values ?? []).map(fromWire);
      return items.every((item) => item !== undefined) ? items : undefined;
    }
    case "mapValue": {
      const entries = ((content as { entries?: { key: Wire; value: Wire }[] }).entries ?? []).map(
        ({ key, value }) => [fromWire(key), fromWire(value)] as const,
      );
      if (entries.some(([, value]) => value === undefined)) return undefined;
      return new Map(entries.map(([key, value]) => [(key instanceof Uint ? key.value : key) as MapKey, value as Value]));
    }
    case "objectValue": {
      const message = content as { "@type": string; value: string };
      if (message["@type"].endsWith("/google.protobuf.Duration")) return parseDuration(message.value);
      return message["@type"].endsWith("/google.protobuf.Timestamp") ? parseTimestamp(message.value) : undefined;
    }
    default:
      return undefined;
  }
}

/** True when we agree, undefined when the case needs protobuf messages. */
function agrees(entry: Case["case"]): boolean | undefined {
  if (entry["container"] !== undefined || /TestAllTypes|google\.protobuf\.(?!Duration\b(?!\{)|Timestamp\b(?!\{))|cel\.expr\./.test(JSON.stringify(entry)))
    return undefined;
  const wanted = entry["value"] === undefined ? undefined : fromWire(entry["value"] as Wire);
  if (entry["value"] !== undefined && wanted === undefined) return undefined;
  const scope: Record<string, never> = {};
  for (const [name, binding] of Object.entries((entry["bindings"] ?? {}) as Record<string, { value: Wire }>)) {
    const value = fromWire(binding.value);
    if (value === undefined) return undefined;
    scope[name] = value as never;
  }
  const fails = entry["evalError"] !== undefined;
  const compiled = compileExpression(entry.expr);
  if (!compiled.ok) return fails;
  const budget = new Budget(undefined);
  try {
    const value = compiled.value.evaluate({ scope, locals: [], budget, context: { executionId: "", stepPath: "" } });
    if (fails || wanted === undefined) return !fails;
    return kindOf(value) === kindOf(wanted) && (isEqual(value, wanted, budget) || (Number.isNaN(value) && Number.isNaN(wanted)));
  } catch (error) {
    if (error instanceof Problem || error instanceof LimitProblem) return fails;
    throw error;
  }
}

test("every case of the suite agrees, needs messages, or is a listed difference", () => {
  const cases = casesOf(suite, "");
  const outcomes = cases.map((entry) => ({ path: entry.path, expression: entry.case.expr, agrees: agrees(entry.case) }));
  const isListed = (path: string) => [...differences.keys()].some((prefix) => path.startsWith(prefix));
  expect(outcomes.filter((outcome) => outcome.agrees === false && !isListed(outcome.path))).toEqual([]);
  expect(outcomes.filter((outcome) => outcome.agrees === true).length).toBeGreaterThanOrEqual(1_580);
  for (const prefix of differences.keys()) {
    expect(
      outcomes.some((outcome) => outcome.path.startsWith(prefix) && outcome.agrees === false),
      `${prefix} is still a difference`,
    ).toBe(true);
  }
});
