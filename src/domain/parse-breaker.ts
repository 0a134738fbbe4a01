/** The circuit breaker of a step, with its defaults filled in. */
import { isJsonObject, type Json } from "../base/json.ts";
import { breakerDefaults } from "./circuit-breaker.ts";
import { compileTemplateField } from "./compile-field.ts";
import type { StepBreaker } from "./definition.ts";
import { durationOf } from "./parse-policy.ts";
import type { Report } from "./report.ts";
import type { StepTypeSpec } from "./step-type.ts";

/** Undefined: no breaker watches the step, because it calls nobody or does not want one. */
export function parseBreaker(value: Json | undefined, spec: StepTypeSpec, path: string, report: Report): StepBreaker | undefined {
  if (!spec.destination) {
    if (isJsonObject(value)) report.violation(path, "VALIDATION_FAILED", `a step of type ${spec.type} calls no destination that a breaker could watch`);
    return undefined;
  }
  if (!isJsonObject(value)) return { ...breakerDefaults, key: undefined };
  if (value["disabled"] === true) return undefined;
  const { failure_threshold: threshold, key } = value;
  return {
    failureThreshold: typeof threshold === "number" && threshold > 0 ? threshold : breakerDefaults.failureThreshold,
    openIntervalMs: durationOf(value["open_interval"]) || breakerDefaults.openIntervalMs,
    key: typeof key === "string" && key !== "" ? compileTemplateField(key, `${path}.key`, report) : undefined,
  };
}
