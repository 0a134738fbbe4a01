/** One step of a definition, with what it holds: names, type, policies, conditions, compensation. */
import { isJsonObject, type Json, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { compileConditionField, compileExpressionField, compileTemplateField } from "./compile-field.ts";
import type { Catch, OnErrorAction, RetryPolicy, Step } from "./definition.ts";
import type { Expression } from "./expressions/expression.ts";
import { reservedWords } from "./expressions/parse-expression.ts";
import { parseBlock } from "./parse-block.ts";
import { parseBreaker } from "./parse-breaker.ts";
import { parseCompensation } from "./parse-compensation.ts";
import { durationOf, parseRetryPolicy, parseTimeouts, stringsOr } from "./parse-policy.ts";
import { parseSchema } from "./parse-schema.ts";
import type { Report } from "./report.ts";
import { checkSecretRefs, type SecretSlots } from "./secret-slots.ts";
import type { CompensationKind } from "./states.ts";
import { compileStepConfig } from "./step-config.ts";
import type { StepTypeSpec, StepTypes } from "./step-type.ts";

export interface StepContext {
  /** The whole definition, for its defaults. */
  readonly source: JsonObject;
  readonly stepTypes: StepTypes;
  readonly report: Report;
  readonly secretSlots: SecretSlots;
  /** Filled while parsing. */
  readonly stepsByName: Map<string, Step>;
  /** Lower-case name → path where it was first used. */
  readonly names: Map<string, string>;
  /** Blocks around these steps. */
  readonly depth: number;
  /** The definition's own default. */
  readonly retry: RetryPolicy;
  /** The step whose catch is being parsed. */
  readonly catchOf?: string | undefined;
}

/** Fields of a step that are not its kind. */
export const commonFields: ReadonlySet<string> = new Set([
  "name",
  "display_name",
  "description",
  "run_if",
  "retry_policy",
  "timeouts",
  "on_error",
  "compensation",
  "circuit_breaker",
  "export",
  "idempotency_key",
  "result_schema",
  "labels",
]);

/** JavaScript object names that must not become keys of anything. */
const reservedNames: ReadonlySet<string> = new Set(["__proto__", "constructor", "prototype", "tostring", "valueof", "hasownproperty"]);
/** Words of the expression language, which `steps.<name>` could not read. */
const celWords: ReadonlySet<string> = new Set([...reservedWords, "true", "false", "null"]);

export function parseSteps(value: Json | undefined, path: string, context: StepContext): readonly Step[] {
  if (!Array.isArray(value)) return [];
  if (context.depth > limits.blockDepthMax) {
    context.report.violation(path, "LIMIT_EXCEEDED", `blocks are nested deeper than ${limits.blockDepthMax}; move the inner part to a sub_workflow`);
    return [];
  }
  const steps: Step[] = [];
  for (const [index, item] of value.entries()) {
    const at = `${path}[${index}]`;
    if (!context.report.takeStep(at)) break;
    const step = isJsonObject(item) ? parseStep(item, at, context) : undefined;
    if (step) steps.push(step);
  }
  return steps;
}

/** Undefined when the step has no usable type; that is reported. `isUndo` steps have no name of their own. */
export function parseStep(source: JsonObject, path: string, context: StepContext, isUndo = false): Step | undefined {
  const { report } = context;
  const name = String(source["name"] ?? "");
  if (!isUndo) claimName(name, path, context);
  const type = Object.keys(source).find((key) => !commonFields.has(key));
  const spec = type === undefined ? undefined : context.stepTypes.get(type);
  if (type === undefined || !spec) {
    const known = [...context.stepTypes.keys()].sort().join(", ");
    report.violation(
      path,
      "STEP_TYPE_UNKNOWN",
      type === undefined ? `the step has no type; set one of ${known}` : `step type ${type} is not available on this server; use one of ${known}`,
    );
    return undefined;
  }
  const config = isJsonObject(source[type]) ? source[type] : {};
  const at = `${path}.${type}`;
  spec.check?.(config, (field, reason, description) => report.violation(field === "" ? at : `${at}.${field}`, reason, description));
  checkSecretRefs(spec, config, context.secretSlots, at, report);
  const declaredKind = isJsonObject(source["compensation"]) ? source["compensation"]["kind"] : undefined;
  const parseUndo = (undo: JsonObject, at: string): Step | undefined => parseStep({ ...undo, name }, at, context, true);
  refuseChildAsUndo(source, path, context);
  const own = spec.reportedFrom === "child" && !isUndo ? childUndo(source, type, config) : source["compensation"];
  const undoSource = withParticipantUndo(own, type, config, isUndo);
  const compensation = parseCompensation(undoSource, `${path}.compensation`, { report, isUndo, parseUndo });
  const step: Step = {
    name,
    at: path,
    type,
    nature: spec.nature,
    reportedFrom: spec.reportedFrom,
    setsVariables: spec.setsVariables === true,
    catchOf: context.catchOf,
    config: compileStepConfig(spec, leafConfig(spec, config), at, report),
    runIf: compileConditionField(source["run_if"], `${path}.run_if`, report),
    retry: parseRetryPolicy(source["retry_policy"], context.retry, `${path}.retry_policy`, report),
    timeouts: timeoutsOf(source, spec, path, context),
    breaker: parseBreaker(source["circuit_breaker"], spec, `${path}.circuit_breaker`, report),
    ...parseOnError(source["on_error"], `${path}.on_error`, { ...context, catchOf: name }),
    kind: kindOf(declaredKind, spec, config, compensation?.step !== undefined),
    compensation,
    exports: parseExports(source["export"], `${path}.export`, report),
    idempotencyKey: parseIdempotencyKey(source["idempotency_key"], `${path}.idempotency_key`, report),
    resultSchema: parseSchema(source["result_schema"], `${path}.result_schema`, report),
    ...parseBlock(type, config, at, { report, parseSteps: (value, below) => parseSteps(value, below, { ...context, depth: context.depth + 1 }) }),
  };
  if (!isUndo) context.stepsByName.set(name, step);
  return step;
}

/** A SagaParticipant that acts also undoes, with what it was sent, unless something else is declared. */
function withParticipantUndo(declared: Json | undefined, type: string, config: JsonObject, isUndo: boolean): Json | undefined {
  if (isUndo || type !== "grpc_call" || config["participant"] !== true) return declared;
  const compensation = isJsonObject(declared) ? declared : {};
  const { step, kind } = compensation;
  if (step !== undefined || (kind !== undefined && kind !== "COMPENSATION_KIND_COMPENSATABLE")) return declared;
  return { ...compensation, step: { grpc_call: { ...config, request: "{{original.input.?request.orValue({})}}" } } };
}

/** The child that undoes is the one that acted, so a sub_workflow cannot be named as an undo. */
function refuseChildAsUndo(source: JsonObject, path: string, { stepTypes, report }: StepContext): void {
  const step = isJsonObject(source["compensation"]) ? source["compensation"]["step"] : undefined;
  if (!isJsonObject(step) || !Object.keys(step).some((key) => stepTypes.get(key)?.reportedFrom === "child")) return;
  report.violation(`${path}.compensation.step`, "COMPENSATION_INVALID", "a sub_workflow cannot be an undo: it undoes itself; name a step that calls a service");
}

/** What a child did is undone by the child itself, unless its step says how, or that it need not be. */
function childUndo(source: JsonObject, type: string, config: JsonObject): Json | undefined {
  const declared = isJsonObject(source["compensation"]) ? source["compensation"] : {};
  const { kind, step } = declared;
  const needsNone = config["detached"] === true || (kind !== undefined && kind !== "COMPENSATION_KIND_COMPENSATABLE");
  if (step !== undefined || needsNone) return source["compensation"];
  return { ...declared, step: { [type]: { workflow: config["workflow"] ?? "", revision: config["revision"] ?? 0 } } };
}

function claimName(name: string, path: string, context: StepContext): void {
  const folded = name.toLowerCase();
  const first = context.names.get(folded);
  if (first !== undefined) {
    context.report.violation(
      `${path}.name`,
      "STEP_NAME_DUPLICATE",
      `"${name}" is already the name of ${first}; names are unique in the whole definition, ignoring case`,
    );
  } else if (reservedNames.has(folded) || celWords.has(name)) {
    context.report.violation(`${path}.name`, "VALIDATION_FAILED", `"${name}" is a reserved word; choose another name`);
  } else if (!/^[A-Za-z][A-Za-z0-9_]{0,63}$/.test(name)) {
    context.report.violation(`${path}.name`, "VALIDATION_FAILED", "must begin with a letter and hold 1 to 64 letters, digits and underscores");
  }
  context.names.set(folded, path);
}

/** A block's nested steps are not part of its configuration: they are parsed as steps. */
function leafConfig(spec: StepTypeSpec, config: JsonObject): JsonObject {
  return spec.nature === "block" ? {} : config;
}

/** The definition's defaults hold where the step's type allows them; only its own timeouts are refused when too long. */
function timeoutsOf(source: JsonObject, spec: StepTypeSpec, path: string, context: StepContext): Step["timeouts"] {
  const shared = isJsonObject(context.source["default_timeouts"]) ? context.source["default_timeouts"] : {};
  const own = isJsonObject(source["timeouts"]) ? source["timeouts"] : {};
  if (spec.reportedFrom !== "queue" && own["schedule_to_start"] !== undefined) {
    context.report.violation(
      `${path}.timeouts.schedule_to_start`,
      "VALIDATION_FAILED",
      `only a worker_task waits for a worker; remove it from this ${spec.type}`,
    );
  }
  const isHeard = spec.reportedFrom === "queue" || spec.reportedFrom === "caller";
  if (!isHeard && own["heartbeat"] !== undefined) {
    context.report.violation(`${path}.timeouts.heartbeat`, "VALIDATION_FAILED", `nobody sends heartbeats for ${spec.type}; use start_to_close`);
  }
  const base = {
    scheduleToStartMs: spec.reportedFrom === "queue" ? durationOf(shared["schedule_to_start"]) : undefined,
    heartbeatMs: isHeard ? durationOf(shared["heartbeat"]) : undefined,
    // A whole execution is no attempt of the kind that the definition's default speaks of.
    startToCloseMs: Math.min((spec.reportedFrom === "child" ? undefined : durationOf(shared["start_to_close"])) ?? spec.startToCloseMs, spec.startToCloseMsMax),
    scheduleToCloseMs: durationOf(shared["schedule_to_close"]),
  };
  return parseTimeouts(source["timeouts"], base, spec.startToCloseMsMax, `${path}.timeouts`, context.report);
}

function parseOnError(value: Json | undefined, path: string, context: StepContext): { onError: OnErrorAction; catches: readonly Catch[] } {
  if (!isJsonObject(value)) return { onError: "fail", catches: [] };
  const action = value["action"];
  const catches = Array.isArray(value["catches"]) ? value["catches"].filter(isJsonObject) : [];
  return {
    onError: action === "ON_ERROR_ACTION_CONTINUE" ? "continue" : action === "ON_ERROR_ACTION_HALT" ? "halt" : "fail",
    catches: catches.map((item, index) => ({
      errors: stringsOr(item["errors"], []),
      when: compileConditionField(item["when"], `${path}.catches[${index}].when`, context.report),
      steps: parseSteps(item["steps"], `${path}.catches[${index}].steps`, { ...context, depth: context.depth + 1 }),
    })),
  };
}

function kindOf(declared: Json | undefined, spec: StepTypeSpec, config: JsonObject, hasUndo: boolean): CompensationKind | undefined {
  switch (declared) {
    case "COMPENSATION_KIND_COMPENSATABLE":
      return "compensatable";
    case "COMPENSATION_KIND_PIVOT":
      return "pivot";
    case "COMPENSATION_KIND_RETRIABLE":
      return "retriable";
    case "COMPENSATION_KIND_READONLY":
      return "readonly";
  }
  if (hasUndo) return "compensatable";
  return spec.nature === "effect" ? spec.naturalKind?.(config) : "readonly";
}

function parseExports(value: Json | undefined, path: string, report: Report): ReadonlyMap<string, Expression> {
  const exports = new Map<string, Expression>();
  if (!isJsonObject(value)) return exports;
  for (const [variable, source] of Object.entries(value)) {
    const expression = compileExpressionField(source, `${path}.${variable}`, report);
    if (expression) exports.set(variable, expression);
  }
  return exports;
}

function parseIdempotencyKey(value: Json | undefined, path: string, report: Report): Step["idempotencyKey"] {
  return typeof value === "string" && value !== "" ? compileTemplateField(value, path, report) : undefined;
}
