/** What is refused at save because no value could ever make it work. */
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { faultsOf, line, violationsOf } from "./parsed.ts";

const closed: JsonObject = {
  type: "object",
  additionalProperties: false,
  properties: {
    total: { type: "number" },
    note: { type: "string" },
    paid: { type: "boolean" },
    lines: { type: "array", items: { type: "object", additionalProperties: false, properties: { sku: { type: "string" } } } },
    open: { type: "object" },
    either: { anyOf: [{ type: "string" }, { type: "object" }] },
    maybe: { type: ["string", "null"] },
  },
};
const check = (step: JsonObject, schema: JsonObject = closed): string[] =>
  faultsOf({ input_schema: schema, steps: [{ name: "a", log: { message: "m" }, ...step }] });
const logOf = (message: string): JsonObject => ({ log: { message } });

describe("members that input_schema does not have", () => {
  test.each<[string, string]>([
    ["{{trigger.data.totl}}", "EXPRESSION_TYPE"],
    ["{{trigger.data.note.length}}", "EXPRESSION_TYPE"],
    ["{{trigger.data.lines[0].name}}", "EXPRESSION_TYPE"],
    ["{{trigger.data.total[0]}}", "EXPRESSION_TYPE"],
  ])("%s is refused", (message, reason) => {
    expect(check(logOf(message))).toEqual([`definition.steps[0].log.message ${reason}`]);
  });

  test.each([
    "{{trigger.data.total}}",
    "{{trigger.data.lines[0].sku}}",
    "{{trigger.data.open.anything.at.all}}",
    "{{trigger.data.either.x}}",
    "{{trigger.data.maybe}}",
    "{{has(trigger.data.totl)}}",
    "{{trigger.data.?totl.orValue('none')}}",
    "{{trigger.data.lines.map(l, l.whatever)}}",
    "{{trigger.data[trigger.data.note]}}",
    "{{trigger.type}}",
  ])("%s is not", (message) => {
    expect(check(logOf(message))).toEqual([]);
  });

  test("nothing is refused where the schema leaves it open", () => {
    for (const schema of [
      { type: "object" },
      {},
      { $ref: "#/$defs/a", $defs: { a: closed } },
      { type: "object", patternProperties: { "^x": {} }, additionalProperties: false },
    ]) {
      expect(check(logOf("{{trigger.data.totl}}"), schema as JsonObject)).toEqual([]);
    }
  });

  test("the message says where, and what there is", () => {
    expect(violationsOf({ input_schema: closed, steps: [{ name: "a", ...logOf("total {{ 1 + trigger.data.totl }}") }] })[0]?.description).toBe(
      'trigger.data has no member "totl"; its schema names total, note, paid, lines, open, either, maybe (column 14)',
    );
  });

  test("result_schema of a step that ran before counts as well", () => {
    const first = {
      name: "first",
      set_variables: { variables: { x: 1 } },
      result_schema: { type: "object", additionalProperties: false, properties: { id: { type: "string" } } },
    };
    expect(faultsOf({ steps: [first, line("b", "{{steps.first.result.id}}")] })).toEqual([]);
    expect(faultsOf({ steps: [first, line("b", "{{steps.first.result.ids}}")] })).toEqual(["definition.steps[1].log.message EXPRESSION_TYPE"]);
  });
});

describe("kinds", () => {
  const delay = (more: JsonObject): JsonObject => ({ name: "a", delay: more });
  test.each<[string, JsonObject, string]>([
    ["a condition on a number", { name: "a", ...logOf("m"), run_if: "trigger.data.total" }, "run_if"],
    ["a condition on a sum", { name: "a", ...logOf("m"), run_if: "trigger.data.total + 1.0" }, "run_if"],
    ["a case on text", { name: "a", conditional: { cases: [{ name: "c", when: "trigger.data.note", steps: [line("x")] }] } }, "conditional.cases[0].when"],
    ["a loop over text", { name: "a", for_each: { items: "trigger.data.note", steps: [line("x")] } }, "for_each.items"],
    ["a delay of a list", delay({ duration_expression: "[1]" }), "delay.duration_expression"],
    ["a delay until a number", delay({ until: "trigger.data.total" }), "delay.until"],
    ["a delay until a duration", delay({ until: "duration('1h')" }), "delay.until"],
    ["a filter that counts", { name: "a", data_transform: { input: [], operations: [{ filter: "size(input)" }] } }, "data_transform.operations[0].filter"],
    ["success that is a status", { name: "a", http_request: { url: "https://x.example/", success_when: "size(result.headers)" } }, "http_request.success_when"],
    ["a retry on text", { name: "a", ...logOf("m"), retry_policy: { retry_if: "string(attempt)" } }, "retry_policy.retry_if"],
  ])("%s is refused", (_, step, field) => {
    expect(faultsOf({ input_schema: closed, steps: [step] })).toEqual([`definition.steps[0].${field} EXPRESSION_TYPE`]);
  });

  test.each<[string, JsonObject]>([
    ["a condition on a boolean", { name: "a", ...logOf("m"), run_if: "trigger.data.paid" }],
    ["a condition on what is open", { name: "a", ...logOf("m"), run_if: "trigger.data.open.flag" }],
    ["a loop over a list", { name: "a", for_each: { items: "trigger.data.lines", steps: [line("x")] } }],
    ["a delay of seconds", delay({ duration_expression: "trigger.data.total" })],
    ["a delay of text", delay({ duration_expression: "trigger.data.note" })],
    ["a delay until text", delay({ until: "trigger.data.note" })],
    ["a delay until now and an hour", delay({ until: "timestamp(now) + duration('1h')" })],
    ["a bound name that hides the data", { name: "a", ...logOf("m"), run_if: "cel.bind(trigger, {'data': {'total': true}}, trigger.data.total)" }],
  ])("%s is not", (_, step) => {
    expect(faultsOf({ input_schema: closed, steps: [step] })).toEqual([]);
  });
});

describe("members of what is always there", () => {
  test.each([
    ["{{trigger.payload}}", 'trigger has no member "payload"; known are type, data, time (column 3)'],
    ["{{workflow.version}}", 'workflow has no member "version"; known are id, name, revision (column 3)'],
    ["{{steps.first.output}}", 'steps.first has no member "output"; known are result, status, error, attempts (column 3)'],
    [
      "{{original.output}}",
      '"original" is not a variable here; known are execution_id, correlation_id, tenant_id, saga, workflow, trigger, params, variables, now, steps (column 3)',
    ],
    ["{{variables.totl}}", 'variables has no member "totl"; known are total, seen, kept (column 3)'],
  ])("%s is refused", (message, expected) => {
    const before = [
      { name: "first", log: { message: "m" }, export: { seen: "1" } },
      { name: "keep", set_variables: { variables: { kept: "{{1 + 1}}" } } },
    ];
    const found = violationsOf({ variables: { total: 1 }, steps: [...before, line("b", message)] });
    expect(found.map(({ reason, description }) => [reason, description])).toEqual([["UNKNOWN_VARIABLE", expected]]);
  });

  test.each([
    "{{variables.total}}",
    "{{variables.seen + variables.kept}}",
    "{{has(variables.later)}}",
    "{{variables.?later}}",
    "{{variables[trigger.type]}}",
    "{{trigger.data.any}}",
  ])("%s is not", (message) => {
    const before = [
      { name: "first", log: { message: "m" }, export: { seen: "1" } },
      { name: "keep", set_variables: { variables: { kept: 2 } } },
    ];
    expect(violationsOf({ variables: { total: "{{1}}" }, steps: [...before, line("b", message)] })).toEqual([]);
  });
});
