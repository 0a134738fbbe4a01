/** SecretRefs name slots that the definition declares; what stands where they may not is refused with its place. */
import { expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import type { StepTypeSpec } from "../../src/domain/step-type.ts";

const send: StepTypeSpec = {
  type: "send",
  nature: "effect",
  fields: { text: { as: "template" } },
  secretRefs: ["auth.token", "secret_headers.*"],
  startToCloseMs: 1_000,
  startToCloseMsMax: 1_000,
};
const stepTypes = new Map([[send.type, send]]);

function problemsOf(definition: JsonObject): string[] {
  const parsed = parseDefinition(definition, stepTypes);
  return parsed.ok ? [] : parsed.fault.violations.map(({ field, reason }) => `${field}: ${reason}`);
}

const step = (config: JsonObject): JsonObject => ({ name: "a", send: config });

it("declared slots may be named, also by an undo", () => {
  const undo = { compensation: { step: { send: { auth: { token: { slot: "key" } } } } } };
  const steps = [{ ...step({ auth: { token: { slot: "key" } }, secret_headers: { "X-A": { slot: "other" } } }), ...undo }];
  expect(problemsOf({ secret_slots: [{ name: "key" }, { name: "other", optional: true }], steps })).toEqual([]);
  const parsed = parseDefinition({ secret_slots: [{ name: "key" }, { name: "other", optional: true }], steps }, stepTypes);
  expect(parsed.ok && [...parsed.value.definition.secretSlots]).toEqual([
    ["key", { optional: false }],
    ["other", { optional: true }],
  ]);
});

it("undeclared slots are refused where they stand", () => {
  const undo = { compensation: { step: { send: { auth: { token: { slot: "nobody" } } } } } };
  expect(problemsOf({ secret_slots: [{ name: "key" }], steps: [{ ...step({ secret_headers: { "X-A": { slot: "Key" }, "X-B": {} } }), ...undo }] })).toEqual([
    "definition.steps[0].send.secret_headers.X-A.slot: SECRET_SLOT_UNKNOWN",
    "definition.steps[0].send.secret_headers.X-B.slot: SECRET_SLOT_UNKNOWN",
    "definition.steps[0].compensation.step.send.auth.token.slot: SECRET_SLOT_UNKNOWN",
  ]);
  expect(problemsOf({ steps: [step({ auth: { token: { slot: "constructor" } } })] })).toEqual([
    "definition.steps[0].send.auth.token.slot: SECRET_SLOT_UNKNOWN",
  ]);
});

it("slots have names of their own, and no expression stands in their place", () => {
  expect(problemsOf({ secret_slots: [{ name: "a" }, { name: "a" }, { name: "1x" }, {}], steps: [] })).toEqual([
    "definition.secret_slots[1].name: VALIDATION_FAILED",
    "definition.secret_slots[2].name: VALIDATION_FAILED",
    "definition.secret_slots[3].name: VALIDATION_FAILED",
  ]);
  const chosen = problemsOf({ secret_slots: [{ name: "key" }], steps: [step({ auth: { token: { slot: "{{trigger.data.which}}" } } })] });
  expect(chosen).toContain("definition.steps[0].send.auth.token.slot: SECRET_SLOT_UNKNOWN");
  expect(problemsOf({ secret_slots: [{ name: "key" }], steps: [step({ text: "{{secrets.key}}" })] })).toEqual([
    "definition.steps[0].send.text: UNKNOWN_VARIABLE",
  ]);
});
