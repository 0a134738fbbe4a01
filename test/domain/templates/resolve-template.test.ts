import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../../src/base/json.ts";
import { applyOverrides } from "../../../src/domain/templates/apply-overrides.ts";
import { type ResolvedBase, type ResolvedTemplate, resolveTemplate } from "../../../src/domain/templates/resolve-template.ts";
import { stepsOf } from "../../../src/domain/templates/walk-steps.ts";
import { fc } from "../../support/property.ts";

const log = (name: string, message = name): JsonObject => ({ name, log: { message } });

function resolved(content: JsonObject, base?: ResolvedBase): ResolvedTemplate {
  const result = resolveTemplate(content, base, "tpl_self");
  if (!result.ok) throw new Error(JSON.stringify(result.fault));
  return result.value;
}

function asBase(templateName: string, content: JsonObject, base?: ResolvedBase): ResolvedBase {
  return { templateId: `tpl_${templateName}`, templateName, version: 3, resolved: resolved(content, base) };
}

const root: JsonObject = {
  parameters_schema: {
    type: "object",
    properties: { url: { type: "string" }, limit: { type: "integer", default: 10 } },
    required: ["url"],
    additionalProperties: false,
  },
  definition: { steps: [log("a"), { name: "block", for_each: { items: "[1]", steps: [log("inner")] } }, log("c")] },
};

describe("a resolved template", () => {
  it("tells which steps and parameters are inherited, from whom, over several levels", () => {
    const middle = asBase(
      "middle",
      {
        overrides: [{ step: "c", patch: { log: { message: "other" } } }],
        parameters_schema: { properties: { region: { type: "string" } }, required: ["region"] },
        parameter_defaults: { limit: 20 },
      },
      asBase("root", root),
    );
    const leaf = resolved({ overrides: [{ step: "inner", insert_after: log("added") }], parameter_defaults: { region: "eu" } }, middle);
    expect(stepsOf(leaf.definition).map(({ name }) => name)).toEqual(["a", "block", "inner", "added", "c"]);
    expect(Object.fromEntries(Object.entries(leaf.stepSources).map(([name, source]) => [name, source.templateName]))).toEqual({
      a: "root",
      block: "root",
      inner: "root",
      c: "middle",
    });
    expect(Object.fromEntries(Object.entries(leaf.parameterSources).map(([name, source]) => [name, source.templateName]))).toEqual({
      url: "root",
      limit: "middle",
    });
    expect(leaf.parametersSchema).toMatchObject({ required: ["url", "region"], additionalProperties: false });
    expect(leaf.parameterDefaults).toEqual({ limit: 20, region: "eu" });
    expect(leaf.bases.map(({ templateName, version }) => `${templateName}@${version}`)).toEqual(["middle@3", "root@3"]);
  });

  it("refuses cycles, more than five levels, defaults that are no parameter or do not fit, and overrides that do not", () => {
    let base = asBase("root", root);
    for (const name of ["l1", "l2", "l3", "l4"]) base = asBase(name, {}, base);
    expect(resolved({}, base).bases).toHaveLength(5);
    const faultOf = (content: JsonObject, over: ResolvedBase, self = "tpl_self"): string => {
      const result = resolveTemplate(content, over, self);
      return result.ok ? "" : `${result.fault[0]?.field} ${result.fault[0]?.reason}`;
    };
    expect(faultOf({}, asBase("l5", {}, base))).toBe("template.base_template LIMIT_EXCEEDED");
    expect(faultOf({}, base, "tpl_l2")).toBe("template.base_template TEMPLATE_CYCLE");
    expect(faultOf({ parameter_defaults: { nothing: 1 } }, base)).toBe("template.parameter_defaults.nothing PARAMETERS_INVALID");
    expect(faultOf({ parameter_defaults: { limit: "many" } }, base)).toBe("template.parameter_defaults.limit PARAMETERS_INVALID");
    expect(faultOf({ overrides: [{ step: "nobody", remove: true }] }, base)).toBe("template.overrides[0].step OVERRIDE_INVALID");
    expect(faultOf({ parameters_schema: { type: "no" } }, base)).toBe("template.parameters_schema SCHEMA_INVALID");
    expect(faultOf({ parameters_schema: { type: "string" } }, base)).toBe("template.parameters_schema.type SCHEMA_INVALID");
  });
});

/** Definitions with blocks two deep, each step's name used once. */
const definitions = fc.array(fc.tuple(fc.nat(3), fc.nat(2)), { minLength: 1, maxLength: 6 }).map((shapes): JsonObject => {
  let count = 0;
  const next = (): string => `s${count++}`;
  const steps = shapes.map(([kind, size]): JsonObject => {
    const inside = (): JsonObject[] => Array.from({ length: size + 1 }, () => log(next()));
    if (kind === 1) return { name: next(), for_each: { items: "[1]", steps: inside() } };
    if (kind === 2) return { name: next(), conditional: { cases: [{ name: "yes", when: "true", steps: inside() }], else_steps: inside() } };
    if (kind === 3)
      return {
        name: next(),
        parallel: {
          branches: [
            { name: "left", steps: inside() },
            { name: "right", steps: inside() },
          ],
        },
      };
    return log(next());
  });
  return { steps };
});

/** Overrides of different leaf steps: none holds another. */
const cases = definitions.chain((definition) => {
  const leaves = stepsOf(definition).filter(({ step }) => "log" in step);
  const changes = leaves.map(
    ({ name }, index): fc.Arbitrary<JsonObject> =>
      fc.constantFrom<JsonObject>(
        { step: name, patch: { log: { message: "patched" }, labels: { n: String(index) } } },
        { step: name, remove: true },
        { step: name, replace: log(`r${index}`) },
        { step: name, insert_before: log(`b${index}`) },
        { step: name, insert_after: log(`f${index}`) },
      ),
  );
  return fc.tuple(
    fc.constant(definition),
    fc.tuple(...changes).chain((all) => fc.subarray(all)),
  );
});

describe("inheriting", () => {
  it("without changes changes nothing, and once more changes nothing more", () => {
    fc.assert(
      fc.property(cases, ([definition, overrides]) => {
        const base = asBase("base", { definition });
        const child = asBase("child", { overrides: overrides as Json[] }, base);
        const grandchild = resolved({}, child);
        expect(grandchild.definition).toEqual(child.resolved.definition);
        expect(resolved({ definition: child.resolved.definition }).definition).toEqual(child.resolved.definition);
        expect(resolved({}, base).definition).toEqual(definition);
      }),
    );
  });

  it("gives the same in whichever order changes of different steps come", () => {
    fc.assert(
      fc.property(
        cases.chain(([definition, overrides]) =>
          fc.tuple(fc.constant(definition), fc.constant(overrides), fc.shuffledSubarray(overrides, { minLength: overrides.length })),
        ),
        ([definition, overrides, shuffled]) => {
          expect(applyOverrides(definition, shuffled)).toEqual(applyOverrides(definition, overrides));
        },
      ),
    );
  });

  it("in two levels is the same as all changes in one", () => {
    fc.assert(
      fc.property(cases, fc.nat(20), ([definition, overrides], cut) => {
        const at = cut % (overrides.length + 1);
        const base = asBase("base", { definition });
        const middle = asBase("middle", { overrides: overrides.slice(0, at) as Json[] }, base);
        const leaf = resolved({ overrides: overrides.slice(at) as Json[] }, middle);
        expect(leaf.definition).toEqual(resolved({ overrides: overrides as Json[] }, base).definition);
      }),
    );
  });
});
