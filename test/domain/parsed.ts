/** Definitions for the tests of `parseDefinition`, and what it finds wrong with them. */
import type { JsonObject } from "../../src/base/json.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import type { StepTypes } from "../../src/domain/step-type.ts";
import { stepHandlers } from "../../src/steps/registry.ts";

const stepTypes: StepTypes = new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]);

export function parse(definition: JsonObject, path?: string) {
  return parseDefinition(definition, stepTypes, path);
}

export function violationsOf(definition: JsonObject, path?: string) {
  const parsed = parse(definition, path);
  return parsed.ok ? [] : parsed.fault.violations;
}

/** Each violation as `field REASON`, in the order they are reported. */
export function faultsOf(definition: JsonObject, path?: string): string[] {
  return violationsOf(definition, path).map(({ field, reason }) => `${field} ${reason}`);
}

/** As `faultsOf`, for a definition that consists of these steps. */
export function stepFaults(...steps: JsonObject[]): string[] {
  return faultsOf({ steps });
}

export const line = (name: string, message = "hello", more: JsonObject = {}): JsonObject => ({ name, log: { message }, ...more });
export const post = (name: string, more: JsonObject = {}): JsonObject => ({ name, http_request: { method: "POST", url: "https://shop.test/orders" }, ...more });
export const choice = (name: string, inner: readonly JsonObject[], more: JsonObject = {}): JsonObject => ({
  name,
  conditional: { cases: [{ name: "yes", when: "true", steps: [...inner] }], ...more },
});
export const undoStep: JsonObject = { http_request: { method: "DELETE", url: "https://shop.test/orders" } };
/** A chain of conditionals, `depth` of them around one line. */
export function nested(depth: number): JsonObject {
  let step = line("core");
  for (let level = depth; level > 0; level--) step = choice(`level_${level}`, [step]);
  return step;
}
