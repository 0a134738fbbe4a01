/** A definition with too many steps is refused by their number, before anything looks at each of them. */
import { type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { Validator } from "@bufbuild/protovalidate";
import { expect, test } from "vitest";
import { CreateTemplateRequestSchema } from "#gen/pyairtable/workflow/v1/template_service_pb.js";
import { CreateWorkflowRequestSchema } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { limits } from "../../src/base/limits.ts";
import { findTooManySteps } from "../../src/rpc/interceptors/step-count.ts";
import { findRuleFaults } from "../../src/rpc/interceptors/validation.ts";

const max = limits.stepsPerDefinitionMax;
const undone = { compensation: { step: { name: "undo", log: { message: "x" } } } };
const steps = (count: number, more: object = {}): JsonValue[] => Array.from({ length: count }, (_, n) => ({ name: `s${n}`, log: { message: "x" }, ...more }));
const workflow = (all: JsonValue[]): JsonValue => ({ workflow: { name: "w", definition: { steps: all } } });
const inBlocks = (each: number): JsonValue[] => [
  { name: "choice", conditional: { cases: [{ name: "c", when: "true", steps: steps(each) }], else_steps: steps(each) } },
  { name: "both", parallel: { branches: [{ name: "b", steps: steps(each) }] } },
  { name: "each", for_each: { items: "[]", steps: steps(each) } },
];
const found = (desc: DescMessage, json: JsonValue): string | undefined => findTooManySteps(desc, fromJson(desc, json))?.field;

test("as many as allowed pass, each with its undo", () => {
  expect(found(CreateWorkflowRequestSchema, workflow(steps(max, undone)))).toBeUndefined();
  expect(found(CreateWorkflowRequestSchema, workflow(inBlocks(max / 4 - 1)))).toBeUndefined();
});

test("one more is named, in a list, in blocks, in a catch and in a template", () => {
  expect(found(CreateWorkflowRequestSchema, workflow(steps(max + 1)))).toBe(`workflow.definition.steps[${max}]`);
  expect(found(CreateWorkflowRequestSchema, workflow(inBlocks(max / 4)))).toBe(`workflow.definition.steps[2].for_each.steps[${max / 4 - 3}]`);
  const caught = { name: "a", log: {}, on_error: { catches: [{ steps: steps(max) }] } };
  expect(found(CreateWorkflowRequestSchema, workflow([caught]))).toBe(`workflow.definition.steps[0].on_error.catches[0].steps[${max - 1}]`);
  const undo = { name: "a", log: {}, compensation: { step: { name: "u", for_each: { items: "[]", steps: steps(max) } } } };
  expect(found(CreateWorkflowRequestSchema, workflow([undo]))).toBe(`workflow.definition.steps[0].compensation.step.for_each.steps[${max - 1}]`);
  expect(found(CreateTemplateRequestSchema, { template: { name: "t", definition: { steps: steps(max + 1) } } })).toBe(`template.definition.steps[${max}]`);
});

test("no rule is evaluated for it", () => {
  const untouched = { validate: () => expect.unreachable("a rule was evaluated") } as unknown as Validator;
  const request = fromJson(CreateWorkflowRequestSchema, workflow(steps(max + 1)));
  expect(findRuleFaults(untouched, CreateWorkflowRequestSchema, request)).toEqual([
    { field: `workflow.definition.steps[${max}]`, reason: "LIMIT_EXCEEDED", description: `a definition holds at most ${max} steps` },
  ]);
});
