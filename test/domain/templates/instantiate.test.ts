import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../../src/base/json.ts";
import { compileTemplate } from "../../../src/domain/expressions/compile-template.ts";
import { renderTemplate } from "../../../src/domain/expressions/render-template.ts";
import { applyDefaults } from "../../../src/domain/templates/apply-defaults.ts";
import { instantiate } from "../../../src/domain/templates/instantiate.ts";
import { fc } from "../../support/property.ts";

const schema: JsonObject = {
  type: "object",
  required: ["url"],
  additionalProperties: false,
  properties: {
    url: { type: "string", pattern: "^https?://" },
    count: { type: "integer", minimum: 1, default: 3 },
    retry: {
      type: "object",
      additionalProperties: false,
      properties: { attempts: { type: "integer", default: 4 }, codes: { type: "array", items: { type: "string" }, default: ["a"] } },
    },
    targets: { type: "array", items: { type: "object", required: ["to"], properties: { to: { type: "string" }, via: { type: "string", default: "mail" } } } },
    note: { default: null },
  },
};

function made(definition: JsonObject, parameters: JsonObject, parametersSchema = schema) {
  const result = instantiate({ parametersSchema, definition }, parameters);
  if (!result.ok) throw new Error(JSON.stringify(result.fault));
  return result.value;
}

function faults(parameters: JsonObject, definition: JsonObject = {}) {
  const result = instantiate({ parametersSchema: schema, definition }, parameters);
  return result.ok ? [] : result.fault.map(({ field, reason, description }) => `${field} ${reason} ${description}`);
}

describe("parameters", () => {
  it("get the schema's defaults, in objects and lists too", () => {
    const { parameters } = made({}, { url: "https://a", retry: {}, targets: [{ to: "x" }, { to: "y", via: "sms" }] });
    expect(parameters).toEqual({
      url: "https://a",
      count: 3,
      retry: { attempts: 4, codes: ["a"] },
      targets: [
        { to: "x", via: "mail" },
        { to: "y", via: "sms" },
      ],
      note: null,
    });
  });

  it("keep what the caller gave, null and zero included", () => {
    expect(applyDefaults({ properties: { a: { default: 1 }, b: { default: "x" }, c: { default: true } } }, { a: 0, b: null, c: false })).toEqual({
      a: 0,
      b: null,
      c: false,
    });
  });

  it("do not share a default between two workflows", () => {
    const first = made({}, { url: "https://a", retry: {} }).parameters["retry"] as { codes: string[] };
    first.codes.push("changed");
    expect(made({}, { url: "https://a", retry: {} }).parameters["retry"]).toEqual({ attempts: 4, codes: ["a"] });
  });

  it("may be called __proto__ without becoming one", () => {
    const parameters = JSON.parse('{"__proto__": {"admin": true}, "a": 1}') as JsonObject;
    const filled = made({ name: "{{params.a}}" }, parameters, { type: "object", properties: { b: { default: 2 } } }).parameters;
    expect(Object.getPrototypeOf(filled)).toBe(Object.prototype);
    expect(JSON.stringify(filled)).toBe('{"__proto__":{"admin":true},"a":1,"b":2}');
  });

  it("are refused with the field that is wrong and what is expected", () => {
    expect(faults({})).toEqual(["parameters.url PARAMETERS_INVALID is required"]);
    expect(faults({ url: "ftp://a", count: 0, retry: { tries: 2 }, targets: [{}] })).toEqual([
      "parameters.url PARAMETERS_INVALID must match ^https?://",
      "parameters.count PARAMETERS_INVALID 0 is less than 1",
      "parameters.retry.tries PARAMETERS_INVALID is not a parameter of this template",
      "parameters.targets[0].to PARAMETERS_INVALID is required",
    ]);
  });

  it("are refused when they cannot be stored", () => {
    expect(faults({ url: "https://a\u0000" })).toEqual(["parameters.url PARAMETERS_INVALID contains a NUL character (U+0000)"]);
  });

  it("are refused when the definition cannot be made with them", () => {
    expect(faults({ url: "https://a" }, { steps: [{ log: { message: "{{params.retry.attempts}}" } }] })).toEqual([
      expect.stringMatching(/^parameters PARAMETERS_INVALID they do not fit the template at definition\.steps\[0\]\.log\.message: /),
    ]);
  });

  it("of a schema that is none are refused as the template's fault", () => {
    for (const broken of [{ $ref: "#/nowhere" }, { pattern: "(" }]) {
      const result = instantiate({ parametersSchema: { type: "object", properties: { a: broken } }, definition: {} }, { a: "x" });
      expect(result.ok ? [] : result.fault.map(({ field, reason }) => `${field} ${reason}`)).toEqual(["template.parameters_schema SCHEMA_INVALID"]);
    }
  });
});

describe("the definition", () => {
  it("gets parameters as values of their type, alone and inside text", () => {
    const definition = { a: "{{params.count}}", b: "{{params.url}}/x/{{execution_id}}", c: "{{params.count + steps.s.result}}" };
    expect(made(definition, { url: "https://a" }).definition).toEqual({ a: 3, b: "https://a/x/{{execution_id}}", c: "{{params.count + steps.s.result}}" });
  });

  it("never reads a parameter as an expression, whatever stands in it", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("{", "}", "'", "{{", "}}", "secrets", "execution_id", " ", "é") }), (text) => {
        const { definition } = made({ alone: "{{params.note}}", within: "<{{params.note}}>{{execution_id}}" }, { url: "https://a", note: text });
        const compiled = compileTemplate(definition);
        if (!compiled.ok) throw new Error(JSON.stringify(compiled.fault));
        const rendered = renderTemplate(compiled.value, { execution_id: "exe_1" }, { executionId: "exe_1", stepPath: "" });
        expect(rendered.ok && rendered.value).toEqual({ alone: text, within: `<${text}>exe_1` });
      }),
    );
  });
});
