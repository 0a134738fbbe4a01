import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../../src/base/json.ts";
import { applyOverrides } from "../../../src/domain/templates/apply-overrides.ts";
import { mergePatch } from "../../../src/domain/templates/merge-patch.ts";
import { stepsOf } from "../../../src/domain/templates/walk-steps.ts";

const log = (name: string, message = name): JsonObject => ({ name, log: { message } });
const definition: JsonObject = {
  steps: [
    log("first"),
    {
      name: "check",
      conditional: { cases: [{ name: "large", when: "true", steps: [log("alert")] }], else_steps: [log("calm")] },
      on_error: { catches: [{ steps: [log("rescue")] }] },
    },
    { name: "both", parallel: { branches: [{ name: "left", steps: [log("one"), { name: "each", for_each: { items: "[1]", steps: [log("deep")] } }] }] } },
  ],
};

function apply(...overrides: Json[]): string[] {
  const applied = applyOverrides(definition, overrides);
  if (!applied.ok) throw new Error(applied.fault.map(({ field, reason, description }) => `${field} ${reason} ${description}`).join());
  return stepsOf(applied.value).map(({ name, path }) => `${name} ${path}`);
}

function faultOf(...overrides: Json[]): string {
  const applied = applyOverrides(definition, overrides);
  return applied.ok ? "" : `${applied.fault[0]?.field}: ${applied.fault[0]?.reason}: ${applied.fault[0]?.description}`;
}

describe("overrides", () => {
  it("reach steps at every depth by name", () => {
    expect(apply({ step: "deep", insert_before: log("new") })).toContain("new steps[2].parallel.branches[0].steps[1].for_each.steps[0]");
    expect(apply({ step: "rescue", insert_after: log("new") })).toContain("new steps[1].on_error.catches[0].steps[1]");
    expect(apply({ step: "calm", replace: log("quiet") })).toContain("quiet steps[1].conditional.else_steps[0]");
    expect(apply({ step: "alert", remove: true })).not.toContain("alert");
    expect(apply({ step: "both", remove: true }).map((line) => line.split(" ")[0])).toEqual(["first", "check", "alert", "calm", "rescue"]);
  });

  it("come one after the other, so a later one may name what an earlier one brought", () => {
    const lines = apply({ step: "first", insert_after: log("a") }, { step: "a", insert_after: log("b") }, { step: "a", remove: true });
    expect(lines.slice(0, 2)).toEqual(["first steps[0]", "b steps[1]"]);
  });

  it("patch as a merge patch: null takes away, a type is changed by taking the old one away", () => {
    const applied = applyOverrides(definition, [{ step: "first", patch: { log: null, set_variables: { variables: { a: 1 } }, labels: { team: "x" } } }]);
    expect(applied.ok && (applied.value["steps"] as Json[])[0]).toEqual({ name: "first", set_variables: { variables: { a: 1 } }, labels: { team: "x" } });
    expect(definition["steps"]).toHaveLength(3);
  });

  it("are refused with their place when they do not fit", () => {
    expect(faultOf({ step: "first", remove: true }, { step: "first", remove: true })).toBe(
      'overrides[1].step: OVERRIDE_INVALID: there is no step "first" to change; the steps are check, alert, calm, rescue, both, one, each, deep',
    );
    expect(faultOf({ step: "first", insert_after: log("DEEP") })).toMatch(/overrides\[0\]: OVERRIDE_INVALID: there is a step "deep" already/i);
    expect(faultOf({ step: "first", patch: { name: "other" } })).toMatch(/does not rename/);
    expect(faultOf({ step: "first", patch: { delay: { duration: "1s" } } })).toMatch(/several types \(log, delay\)/);
    expect(faultOf({ step: "first", patch: { log: null } })).toMatch(/without a type/);
    expect(faultOf({ step: "first" })).toMatch(/needs one of patch/);
  });
});

it("a merge patch keeps keys like __proto__ as data", () => {
  const patched = mergePatch(JSON.parse('{"a":{"b":1,"c":2}}') as Json, JSON.parse('{"a":{"b":null,"__proto__":{"x":1}},"d":[1]}') as Json);
  expect(JSON.stringify(patched)).toBe('{"a":{"c":2,"__proto__":{"x":1}},"d":[1]}');
  expect(({} as { x?: number }).x).toBeUndefined();
});
