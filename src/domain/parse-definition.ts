/**
 * From the JSON of a definition (proto field names) to a `Definition`: everything that can be known to be wrong before a
 * run is reported with its path. Shapes, patterns and ranges of single fields are checked by the contract's field rules
 * before this; here are the rules that need the whole.
 */

import type { FieldViolation } from "../base/errors.ts";
import { isJsonObject, type Json, type JsonObject, jsonBytes } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { checkCompensations, checkPivots } from "./check-pivots.ts";
import { checkReferences } from "./check-references.ts";
import { compileExpressionField, compileTemplateField } from "./compile-field.ts";
import { actionRetryDefaults, type Definition, executionTimeoutMsDefault, type Step } from "./definition.ts";
import type { Template } from "./expressions/expression.ts";
import { durationOf, parseRetryPolicy } from "./parse-policy.ts";
import { parseSchema } from "./parse-schema.ts";
import { parseSteps } from "./parse-step.ts";
import { Report } from "./report.ts";
import { parseSecretSlots } from "./secret-slots.ts";
import type { StepTypes } from "./step-type.ts";
import { unreachableSteps } from "./unreachable-steps.ts";

export interface DefinitionFaults {
  readonly violations: readonly FieldViolation[];
}

export interface ParsedDefinition {
  readonly definition: Definition;
  readonly warnings: readonly FieldViolation[];
}

/** `path` is where the definition stands in the request; it leads every violation. `parametersSchema` is that of `params`, where it is known. */
export function parseDefinition(
  source: JsonObject,
  stepTypes: StepTypes,
  path = "definition",
  parametersSchema?: JsonObject,
): Result<ParsedDefinition, DefinitionFaults> {
  const report = new Report();
  if (jsonBytes(source) > limits.definitionBytesMax) {
    report.violation(path, "LIMIT_EXCEEDED", `the definition is larger than ${limits.definitionBytesMax} bytes of JSON; split it with sub_workflow`);
    return fail({ violations: report.violations });
  }
  const version = source["dsl_version"];
  if (version !== undefined && version !== "" && version !== "v1") {
    report.violation(`${path}.dsl_version`, "DSL_VERSION_UNSUPPORTED", `"${String(version)}" is not known; use "v1" or leave it out`);
  }
  const stepsByName = new Map<string, Step>();
  const retry = parseRetryPolicy(source["default_retry_policy"], actionRetryDefaults, `${path}.default_retry_policy`, report);
  const secretSlots = parseSecretSlots(source["secret_slots"], `${path}.secret_slots`, report);
  const steps = parseSteps(source["steps"], `${path}.steps`, { source, stepTypes, report, secretSlots, stepsByName, names: new Map(), depth: 0, retry });
  if (report.hasTooManySteps) return fail({ violations: report.violations });
  if (steps.length === 0) report.warning(`${path}.steps`, "VALIDATION_FAILED", "the definition has no steps; its executions complete at once");
  const definition: Definition = {
    inputSchema: parseSchema(source["input_schema"], `${path}.input_schema`, report),
    outputSchema: parseSchema(source["output_schema"], `${path}.output_schema`, report),
    variables: templateOf(source["variables"], `${path}.variables`, report),
    secretSlots,
    steps,
    stepsByName,
    outputs: templateOf(source["outputs"], `${path}.outputs`, report),
    executionTimeoutMs: durationOf(source["execution_timeout"]) ?? executionTimeoutMsDefault,
    onFailure: source["on_failure"] === "FAILURE_POLICY_KEEP_EFFECTS" ? "keep_effects" : "compensate",
    ...compensationPolicyOf(source["compensation_policy"]),
    concurrency: concurrencyOf(source["concurrency"], `${path}.concurrency`, report),
    durability: source["durability"] === "DURABILITY_EVERY_STEP" ? "every_step" : "effect_barriers",
  };
  checkReferences(definition, source, path, stepTypes, report, parametersSchema);
  for (const name of unreachableSteps(definition)) {
    const step = stepsByName.get(name);
    if (step) report.warning(step.at, "VALIDATION_FAILED", "this step can never run: what stands before it always fails, or its condition is never true");
  }
  checkPivots(definition.steps, report);
  const policy = source["compensation_policy"];
  if (isJsonObject(policy) && policy["require_compensation"] === true) checkCompensations(definition.steps, report);
  if (report.violations.length > 0) return fail({ violations: report.violations });
  return ok({ definition, warnings: report.warnings });
}

function templateOf(value: Json | undefined, path: string, report: Report): Template | undefined {
  if (!isJsonObject(value) || Object.keys(value).length === 0) return undefined;
  return compileTemplateField(value, path, report);
}

function concurrencyOf(value: Json | undefined, path: string, report: Report): Definition["concurrency"] {
  if (!isJsonObject(value)) return undefined;
  const key = compileExpressionField(value["key"], `${path}.key`, report);
  const maxRunning = Number(value["max_running"] ?? 0);
  const action = value["on_limit"];
  const onLimit = action === "LIMIT_ACTION_REJECT" ? "reject" : action === "LIMIT_ACTION_CANCEL_RUNNING" ? "cancel_running" : "queue";
  return maxRunning > 0 ? { key, maxRunning, onLimit } : undefined;
}

function compensationPolicyOf(value: Json | undefined): Pick<Definition, "undoOrder" | "haltOnStuck"> {
  const policy = isJsonObject(value) ? value : {};
  const order = policy["undo_order"];
  return {
    undoOrder: order === "UNDO_ORDER_PARALLEL" ? "parallel" : order === "UNDO_ORDER_SEQUENTIAL" ? "sequential" : "reverse",
    haltOnStuck: policy["halt_on_stuck"] === true,
  };
}
