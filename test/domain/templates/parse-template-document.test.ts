import { expect, it } from "vitest";
import type { JsonObject } from "../../../src/base/json.ts";
import { parseTemplateDocument, readTemplateContent } from "../../../src/domain/templates/parse-template-document.ts";

const good: JsonObject = {
  name: "http-request",
  display_name: "HTTP request",
  description: "One call.",
  category: "integration",
  tags: ["http"],
  parameters_schema: { type: "object" },
  definition: { steps: [] },
};

function faults(change: JsonObject): string[] {
  const parsed = parseTemplateDocument({ ...good, ...change });
  return parsed.ok ? [] : parsed.fault.map(({ field, reason }) => `${field} ${reason}`);
}

it("reads a document into what the store keeps and what instantiation takes", () => {
  const parsed = parseTemplateDocument(good);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  expect(parsed.value).toEqual({
    name: "http-request",
    displayName: "HTTP request",
    description: "One call.",
    category: "integration",
    tags: ["http"],
    content: { parameters_schema: { type: "object" }, definition: { steps: [] } },
  });
  expect(readTemplateContent(parsed.value.content)).toEqual({ parametersSchema: { type: "object" }, definition: { steps: [] } });
});

it("refuses names, categories and tags that the contract does not take", () => {
  expect(faults({ name: "Http", category: "In Tegration", tags: ["a", "a"] })).toEqual([
    "name VALIDATION_FAILED",
    "category VALIDATION_FAILED",
    "tags VALIDATION_FAILED",
  ]);
});

it("refuses missing, empty and unknown fields", () => {
  expect(faults({ display_name: "", definition: null, parameter_schema: {} })).toEqual([
    "parameter_schema VALIDATION_FAILED",
    "display_name VALIDATION_FAILED",
    "definition VALIDATION_FAILED",
  ]);
});

it("refuses a parameters schema that cannot be used", () => {
  expect(faults({ parameters_schema: { type: "array" } })).toEqual(["parameters_schema SCHEMA_INVALID"]);
  expect(faults({ parameters_schema: { type: "object", $ref: "#/nowhere" } })).toEqual(["parameters_schema SCHEMA_INVALID"]);
});

it("refuses what is no object", () => {
  expect(parseTemplateDocument(["a"]).ok).toBe(false);
});
