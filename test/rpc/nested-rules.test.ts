import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { createValidator, type Violation } from "@bufbuild/protovalidate";
import { expect, test } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import { CreateWorkflowRequestSchema, ValidateDefinitionRequestSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { findViolations } from "../../src/rpc/interceptors/nested-rules.ts";

const validator = createValidator();
const bad: JsonValue = { name: "d-d", http_request: { method: "TRACE", url: "http://x" } };
const texts = (violations: readonly Violation[]): string[] => violations.map((violation) => violation.toString());

test.each<[string, JsonValue, string]>([
  ["a loop", { for_each: { items: "x", steps: [bad] } }, "for_each.steps[0]"],
  [
    "a case of a loop",
    { for_each: { items: "x", steps: [{ name: "b", conditional: { cases: [{ name: "c", when: "true", steps: [bad] }] } }] } },
    "for_each.steps[0].conditional.cases[0].steps[0]",
  ],
  ["the other case", { conditional: { cases: [{ name: "c", when: "true" }], else_steps: [bad] } }, "conditional.else_steps[0]"],
  ["a branch", { parallel: { branches: [{ name: "b", steps: [bad] }] } }, "parallel.branches[0].steps[0]"],
  ["a catch", { log: {}, on_error: { catches: [{ steps: [bad] }] } }, "on_error.catches[0].steps[0]"],
  ["an undo", { log: {}, compensation: { step: bad } }, "compensation.step"],
])("a bad step is found in %s, each fault once", (_, step, place) => {
  const request = fromJson(CreateWorkflowRequestSchema, { workflow: { name: "w", definition: { steps: [{ name: "a", ...(step as object) }] } } });
  const found = texts(findViolations(validator, CreateWorkflowRequestSchema, request));
  expect(found.filter((text) => text.startsWith(`workflow.definition.steps[0].${place}.name:`))).toHaveLength(1);
  expect(found.filter((text) => text.startsWith(`workflow.definition.steps[0].${place}.http_request.method:`))).toHaveLength(1);
  expect(found).toHaveLength(2);
});

test("a bad step is found sixteen blocks deep", () => {
  let step = bad;
  for (let depth = 0; depth < 16; depth++) step = { name: `s${depth}`, for_each: { items: "x", steps: [step] } };
  expect(texts(findViolations(validator, WorkflowDefinitionSchema, fromJson(WorkflowDefinitionSchema, { steps: [step] })))).toHaveLength(2);
});

test("a definition that is to be reported on is left alone", () => {
  const request = fromJson(ValidateDefinitionRequestSchema, { definition: { steps: [bad, { name: "l", for_each: { items: "x", steps: [bad] } }] } });
  expect(findViolations(validator, ValidateDefinitionRequestSchema, request)).toEqual([]);
});
