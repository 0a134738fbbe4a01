import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../../src/base/json.ts";
import { instantiate, type TemplateContent } from "../../../src/domain/templates/instantiate.ts";
import { upgrade } from "../../../src/domain/templates/upgrade.ts";
import { fc } from "../../support/property.ts";
import { definitions } from "../definition-arbitrary.ts";
import { line } from "../parsed.ts";

const schema = (properties: JsonObject, required: string[] = []): JsonObject => ({ type: "object", properties, required, additionalProperties: false });
const text = { type: "string" };
const template = (steps: JsonObject[], parametersSchema: JsonObject = schema({ who: text })): TemplateContent => ({ parametersSchema, definition: { steps } });
const normalize = (definition: JsonObject): JsonObject => definition;

/** A workflow as it was made, upgraded; `change` is what its owner did to it since. */
function upgraded(
  from: TemplateContent,
  to: TemplateContent,
  parameters: JsonObject,
  more: { given?: JsonObject; overrides?: Json[]; change?: (made: JsonObject) => JsonObject } = {},
) {
  const { given = {}, overrides = [], change = normalize } = more;
  const made = instantiate(from, parameters, overrides);
  if (!made.ok) throw new Error(JSON.stringify(made.fault));
  return upgrade({ from, to, parameters: made.value.parameters, overrides, given, definition: change(made.value.definition), normalize });
}

describe("an upgrade", () => {
  it("without changes of its own makes what a new workflow from the new version would be", () => {
    fc.assert(
      fc.property(definitions, definitions, fc.constantFrom("Ada", "{{trigger}}", ""), (old, now, who) => {
        const schemaOfBoth = schema({ who: text, more: { type: "number", default: 3 } });
        const greeting = line("greeting", "hello {{params.who}}, {{params.more}} of {{trigger.data}}");
        const withGreeting = (definition: JsonObject): TemplateContent => ({
          parametersSchema: schemaOfBoth,
          definition: { ...definition, steps: [greeting, ...((definition["steps"] as JsonObject[] | undefined) ?? [])] },
        });
        const [from, to] = [withGreeting(old), withGreeting(now)];
        const overrides: Json[] = [{ step: "greeting", patch: { log: { level: "LOG_LEVEL_WARN" } } }];
        const result = upgraded(from, to, { who }, { overrides });
        const anew = instantiate(to, { who }, overrides);
        if (!anew.ok || !result.ok) throw new Error("both are made");
        expect(result.value).toEqual({ ...anew.value, conflicts: [], missingParameters: [], overrides });
      }),
      { numRuns: 200 },
    );
  });

  it("keeps what the workflow changed, and reports what both changed", () => {
    const change = (made: JsonObject): JsonObject => ({ steps: [...(made["steps"] as JsonObject[]), line("mine")] });
    const kept = upgraded(template([line("a", "{{params.who}} 1")]), template([line("a", "{{params.who}} 2"), line("new")]), { who: "Ada" }, { change });
    expect(kept).toMatchObject({ ok: true, value: { definition: { steps: [line("a", "Ada 2"), line("mine"), line("new")] }, conflicts: [] } });
    const rewritten = upgraded(template([line("a", "1")]), template([line("a", "2")]), {}, { change: () => ({ steps: [line("a", "3")] }) });
    expect(rewritten).toMatchObject({ ok: true, value: { conflicts: [{ path: "steps[a].log.message", base: "1", template: "2", workflow: "3" }] } });
  });

  it("asks for parameters of the new version, takes their defaults, and drops those that it has no more", () => {
    const from = template([line("a", "{{params.who}}")], schema({ who: text, old: text }));
    const to = template([line("a", "{{params.who}} of {{params.town}}")], schema({ who: text, town: text }, ["town"]));
    expect(upgraded(from, to, { who: "Ada", old: "x" })).toMatchObject({ ok: true, value: { missingParameters: ["town"] } });
    expect(upgraded(from, to, { who: "Ada", old: "x" }, { given: { town: "London" } })).toMatchObject({
      ok: true,
      value: { definition: { steps: [line("a", "Ada of London")] }, parameters: { who: "Ada", town: "London" }, missingParameters: [] },
    });
    const withDefault = template([line("a", "{{params.town}}")], schema({ who: text, town: { type: "string", default: "Paris" } }, ["town"]));
    expect(upgraded(from, withDefault, { who: "Ada" })).toMatchObject({ ok: true, value: { definition: { steps: [line("a", "Paris")] } } });
    expect(upgraded(from, to, { who: "Ada" }, { given: { town: 7 } })).toMatchObject({
      ok: false,
      fault: [{ field: "parameters.town", reason: "PARAMETERS_INVALID" }],
    });
  });

  it("treats overrides that have no place any more as changes of the workflow", () => {
    const overrides: Json[] = [{ step: "b", patch: { log: { message: "mine" } } }];
    const from = template([line("a"), line("b")]);
    expect(upgraded(from, template([line("a"), line("b"), line("c")]), {}, { overrides })).toMatchObject({
      ok: true,
      value: { definition: { steps: [line("a"), line("b", "mine"), line("c")] }, overrides },
    });
    expect(upgraded(from, template([line("a")]), {}, { overrides })).toMatchObject({
      ok: true,
      value: { conflicts: [{ path: "steps[b]" }], overrides: [] },
    });
  });
});
