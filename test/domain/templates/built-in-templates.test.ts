import { readdirSync, readFileSync } from "node:fs";
import { fromJson } from "@bufbuild/protobuf";
import { createValidator } from "@bufbuild/protovalidate";
import { describe, expect, it } from "vitest";
import { WorkflowDefinitionSchema } from "#gen/pyairtable/workflow/v1/definition_pb.js";
import type { Json, JsonObject } from "../../../src/base/json.ts";
import { blockTypes } from "../../../src/domain/block-types.ts";
import { parseDefinition } from "../../../src/domain/parse-definition.ts";
import type { StepTypeSpec } from "../../../src/domain/step-type.ts";
import { instantiate } from "../../../src/domain/templates/instantiate.ts";
import { parseTemplateDocument, readTemplateContent } from "../../../src/domain/templates/parse-template-document.ts";
import { findViolations } from "../../../src/rpc/interceptors/nested-rules.ts";
import { stepHandlers } from "../../../src/steps/registry.ts";

const folder = new URL("../../../templates/", import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith(".json"));
const stepTypes = new Map<string, StepTypeSpec>([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]);
const validator = createValidator();

function documentOf(file: string) {
  const parsed = parseTemplateDocument(JSON.parse(readFileSync(new URL(file, folder), "utf8")) as Json);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  return { ...parsed.value, ...readTemplateContent(parsed.value.content) };
}

function parameterExamples(schema: JsonObject): JsonObject[] {
  return schema["examples"] as JsonObject[];
}

/** What the contract's own field rules say of a definition, as the service would say it to a caller. */
function contractViolations(definition: JsonObject): string[] {
  return findViolations(validator, WorkflowDefinitionSchema, fromJson(WorkflowDefinitionSchema, definition)).map(String);
}

/** Step type → how often a definition uses it. */
function usedTypes(value: Json, found = new Map<string, number>()): Map<string, number> {
  if (typeof value !== "object" || value === null) return found;
  for (const [key, member] of Object.entries(value)) {
    if (stepTypes.has(key) && !Array.isArray(value)) found.set(key, (found.get(key) ?? 0) + 1);
    usedTypes(member, found);
  }
  return found;
}

it("ships the templates of the contract that the step types of this release can carry out", () => {
  expect(files.map((file) => file.replace(".json", "")).sort()).toEqual([
    "data-sync",
    "failure-alert",
    "file-convert-optimize",
    "file-validate-extract",
    "http-poll-until",
    "http-request",
    "multi-step-integration",
    "notify-multi-channel",
    "order-saga",
    "paged-data-sync",
    "wait-for-event",
    "webhook-relay",
  ]);
});

describe.each(files)("%s", (file) => {
  it("is a template document named like its file, with descriptions for every parameter", () => {
    const document = documentOf(file);
    expect(`${document.name}.json`).toBe(file);
    for (const [name, property] of Object.entries(document.parametersSchema["properties"] as JsonObject)) {
      expect((property as JsonObject)["description"], name).toEqual(expect.any(String));
    }
    expect(document.parametersSchema["additionalProperties"]).toBe(false);
  });

  it("has a definition that the contract accepts before parameters are filled in, so that it can be exported and copied", () => {
    const { definition, parametersSchema } = documentOf(file);
    expect(contractViolations(definition)).toEqual([]);
    const parsed = parseDefinition(definition, stepTypes, "definition", parametersSchema);
    expect(parsed.ok ? [] : parsed.fault.violations).toEqual([]);
  });

  it("becomes a definition that can run with each of its examples, without warnings", () => {
    const document = documentOf(file);
    const examples = parameterExamples(document.parametersSchema);
    expect(examples.length).toBeGreaterThan(0);
    for (const example of examples) {
      const instance = instantiate(document, example);
      if (!instance.ok) throw new Error(JSON.stringify(instance.fault));
      expect(contractViolations(instance.value.definition)).toEqual([]);
      const parsed = parseDefinition(instance.value.definition, stepTypes);
      expect(parsed.ok ? parsed.value.warnings : parsed.fault.violations).toEqual([]);
    }
  });

  it("refuses a parameter that it does not have", () => {
    const document = documentOf(file);
    const [example] = parameterExamples(document.parametersSchema);
    const instance = instantiate(document, { ...example, no_such_parameter: 1 });
    expect(instance.ok ? [] : instance.fault).toEqual([
      { field: "parameters.no_such_parameter", reason: "PARAMETERS_INVALID", description: "is not a parameter of this template" },
    ]);
  });
});

describe("multi-step-integration", () => {
  const document = documentOf("multi-step-integration.json");

  it("uses all seven basic step types and three calls that can be undone", () => {
    expect([...usedTypes(document.definition).keys()]).toEqual(
      expect.arrayContaining(["http_request", "file_process", "delay", "log", "conditional", "data_transform", "notification"]),
    );
    const undoable = (document.definition["steps"] as JsonObject[]).filter((step) => (step["compensation"] as JsonObject | undefined)?.["step"] !== undefined);
    expect(undoable.map((step) => step["name"])).toEqual(["reserve", "charge", "ship"]);
  });

  it("writes addresses as literals and keeps what is known only at run time", () => {
    const instance = instantiate(document, parameterExamples(document.parametersSchema)[0] as JsonObject);
    if (!instance.ok) throw new Error(JSON.stringify(instance.fault));
    const text = JSON.stringify(instance.value.definition);
    expect(text).toContain('"https://orders.example.com/orders/{{trigger.data.order_id}}/lines.csv"');
    expect(text).toContain('"https://hooks.example.com/orders"');
    expect(text).not.toContain("{{params.");
    expect(instance.value.parameters).toMatchObject({ settle_delay: "2s", review_above_cents: 100_000 });
  });
});
