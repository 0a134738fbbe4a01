/**
 * Checks steps before they join a saga, together with those that joined before, as a definition of their stages: names,
 * endpoints, what expressions read, and the rules of the point of no return. Violations name the fields of the request.
 */
import type { FieldViolation } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { actionRetryDefaults } from "./definition.ts";
import type { EnlistedStep } from "./execution-state.ts";
import { parseDefinition } from "./parse-definition.ts";
import { parseStep } from "./parse-step.ts";
import { Report } from "./report.ts";
import { sagaStepTypes, stageOf } from "./saga-definition.ts";
import { confirmationStepOf, definitionStepOf, selfDrivenType } from "./saga-steps.ts";
import { anySlot, secretSlotsOf } from "./secret-slots.ts";
import type { StepTypes } from "./step-type.ts";

export interface JoiningStep extends EnlistedStep {
  /** Where it stands in the request (`steps[0]`); undefined for one that joined before. */
  readonly at: string | undefined;
}

export interface JoiningTerms {
  readonly compensationPolicy?: JsonObject;
  /** The workflow's definition that they join; absent for a standalone saga. */
  readonly definition?: JsonObject;
}

/** What is wrong with the steps that have a place in the request, empty when they may join. Their stages are set. */
export function checkSagaSteps(steps: readonly JoiningStep[], stepTypes: StepTypes, terms: JoiningTerms): readonly FieldViolation[] {
  const types = sagaStepTypes(stepTypes);
  const places: Place[] = [];
  const { definition = {} } = terms;
  const definitionSteps = Array.isArray(definition["steps"]) ? definition["steps"] : [];
  const declared = Array.isArray(definition["secret_slots"]) ? definition["secret_slots"].filter(isJsonObject) : [];
  const taken = new Set(declared.map(({ name }) => name));
  const synthetic = definitionSteps.length;
  const staged = Map.groupBy(steps, ({ step }) => stageOf(step));
  const groups = [...staged].sort(([a], [b]) => a - b).map(([, group]) => group);
  const joined = groups.map((group, index) => groupStep(group, `saga.steps[${synthetic + index}]`, freeName(steps), places));
  const source = {
    ...definition,
    steps: [...definitionSteps, ...joined],
    secret_slots: [...declared, ...slotsOf(steps, types).flatMap((name) => (taken.has(name) ? [] : [{ name }]))],
    ...(terms.compensationPolicy === undefined ? {} : { compensation_policy: terms.compensationPolicy }),
  };
  const parsed = parseDefinition(source, types, "saga");
  const violations = parsed.ok ? [] : parsed.fault.violations;
  // In a workflow they run beside its own steps: how far those have come decides, not how they are written.
  const found = violations.filter(({ reason }) => reason !== "PIVOT_ORDER" || !terms.definition).flatMap((violation) => placed(violation, places));
  return [...found, ...steps.flatMap((step) => ownViolations(step, types))];
}

interface Place {
  readonly synthetic: string;
  readonly request: string | undefined;
  readonly step: JsonObject;
}

/** One step as it is, several as the branches of a block. */
function groupStep(group: readonly JoiningStep[], at: string, name: string, places: Place[]): JsonObject {
  const place = ({ step, at: request, selfDriven }: JoiningStep, synthetic: string): JsonObject => {
    places.push({ synthetic, request, step });
    return definitionStepOf(step, selfDriven);
  };
  const [only, ...others] = group;
  if (only && others.length === 0) return place(only, at);
  const branches = group.map((step, index) => ({ name: `b${index}`, steps: [place(step, `${at}.parallel.branches[${index}].steps[0]`)] }));
  return { name: `${name}${at.replace(/\D/g, "")}`, parallel: { branches } };
}

/** A beginning that no step's name has. */
function freeName(steps: readonly JoiningStep[]): string {
  let name = "stage";
  while (steps.some((step) => step.name.toLowerCase().startsWith(name))) name += "_";
  return name;
}

function slotsOf(steps: readonly JoiningStep[], types: StepTypes): string[] {
  return [...new Set(steps.flatMap(({ step, selfDriven }) => secretNamesOf(step, selfDriven, types)))].filter((name) =>
    /^[A-Za-z][A-Za-z0-9_-]{0,63}$/.test(name),
  );
}

/** What is wrong with an endpoint that is asked back; `check_back` is its place. */
export function checkCheckBack(endpoint: JsonObject, types: StepTypes): FieldViolation[] {
  const { grpc, http } = endpoint;
  if (isJsonObject(grpc) && grpc["participant"] !== true) {
    return [
      {
        field: "check_back.grpc.participant",
        reason: "ENDPOINT_INVALID",
        description: "whoever is asked implements SagaParticipant; set participant, or use http",
      },
    ];
  }
  const source = isJsonObject(grpc) ? { name: "check_back", grpc_call: grpc } : { name: "check_back", http_request: isJsonObject(http) ? http : {} };
  const report = new Report();
  const context = {
    source: {},
    stepTypes: types,
    report,
    secretSlots: anySlot,
    stepsByName: new Map(),
    names: new Map(),
    depth: 0,
    retry: actionRetryDefaults,
  };
  parseStep(source, "check_back", context, true);
  const hasTemplate = JSON.stringify(endpoint).includes("{{");
  const literal: FieldViolation[] = hasTemplate
    ? [{ field: "check_back", reason: "ENDPOINT_INVALID", description: "takes no {{ }} expressions; write literal values" }]
    : [];
  return [
    ...literal,
    ...report.violations.map((violation) => ({
      ...violation,
      field: endpointField(violation.field),
      reason: violation.reason === "EGRESS_BLOCKED" ? violation.reason : ("ENDPOINT_INVALID" as const),
    })),
  ];
}

/** Names of the secrets that a step's endpoints use. */
export function secretNamesOf(step: JsonObject, selfDriven: boolean, types: StepTypes): string[] {
  const whole = definitionStepOf(step, selfDriven);
  const undo = isJsonObject(whole["compensation"]) ? whole["compensation"]["step"] : undefined;
  return [whole, undo, confirmationStepOf(step, selfDriven)].filter(isJsonObject).flatMap((source) =>
    Object.entries(source).flatMap(([field, config]) => {
      const spec = types.get(field);
      return spec && isJsonObject(config) ? secretSlotsOf(spec, config) : [];
    }),
  );
}

/** What a definition has no place for. */
function ownViolations({ step, selfDriven, at }: JoiningStep, types: StepTypes): FieldViolation[] {
  if (at === undefined) return [];
  const violations: FieldViolation[] = [];
  if (selfDriven && step["action"] !== undefined) {
    violations.push({ field: `${at}.action`, reason: "ENDPOINT_INVALID", description: "a self-driven step acts itself; leave action out" });
  }
  if (selfDriven && step["action_retry"] !== undefined) {
    violations.push({ field: `${at}.action_retry`, reason: "VALIDATION_FAILED", description: "a self-driven step is tried again by its caller; leave it out" });
  }
  if (!selfDriven && step["action"] === undefined) {
    violations.push({ field: `${at}.action`, reason: "ENDPOINT_INVALID", description: "names nobody who acts; only self-driven steps have no action" });
  }
  const confirmation = confirmationStepOf(step, selfDriven);
  if (confirmation) {
    const report = new Report();
    const context = {
      source: {},
      stepTypes: types,
      report,
      secretSlots: anySlot,
      stepsByName: new Map(),
      names: new Map(),
      depth: 0,
      retry: actionRetryDefaults,
    };
    parseStep(confirmation, "confirmation", context, true);
    violations.push(...report.violations.map((violation) => asEndpoint({ ...violation, field: `${at}.${endpointField(violation.field)}` })));
  }
  return violations;
}

/** The same violation with the field of the request; those of steps that joined before are nobody's fault here. */
function placed(violation: FieldViolation, places: readonly Place[]): FieldViolation[] {
  const place = places.filter(({ synthetic }) => violation.field.startsWith(synthetic)).sort((a, b) => b.synthetic.length - a.synthetic.length)[0];
  if (!place) return [];
  if (place.request === undefined) return [];
  const rest = violation.field.slice(place.synthetic.length).replace(/^\./, "");
  return [asEndpoint({ ...violation, field: rest === "" ? place.request : `${place.request}.${fieldOf(rest, place.step)}` })];
}

function fieldOf(rest: string, step: JsonObject): string {
  const field = rest
    .replace(/^compensation\.step\.?/, "compensation.")
    .replace(/^compensation\.retry_policy/, "compensation_retry")
    .replace(/^compensation\.(kind|timeouts|barrier)/, "$1")
    .replace(/^retry_policy/, "action_retry")
    .replace(new RegExp(`^${selfDrivenType}\\.`), "")
    .replace(/\.$/, "");
  const whole = /^(?:http_request|grpc_call|worker_task)\b/.test(field) ? `action.${field}` : field;
  const path = endpointField(whole);
  return step["input"] === undefined
    ? path
    : path.replace(/^action\.(?:http\.json|grpc\.request|pull\.input)/, (found) => (givesBody(step, found) ? found : "input"));
}

/** The endpoint itself says what it sends, so the fault is not in the step's input. */
function givesBody({ action }: JsonObject, found: string): boolean {
  const [, way = "", field = ""] = found.split(".");
  const endpoint = isJsonObject(action) ? action[way] : undefined;
  return isJsonObject(endpoint) && endpoint[field] !== undefined;
}

function endpointField(path: string): string {
  return path
    .replace(/\bhttp_request\b/, "http")
    .replace(/\bgrpc_call\b/, "grpc")
    .replace(/\bworker_task\b/, "pull");
}

/** Faults of an endpoint's own fields have one reason. */
function asEndpoint(violation: FieldViolation): FieldViolation {
  const { field, reason } = violation;
  if (reason !== "VALIDATION_FAILED" && reason !== "STEP_TYPE_UNKNOWN") return violation;
  return reason === "STEP_TYPE_UNKNOWN" || /\.(?:action|compensation|confirmation)\b/.test(field) ? { ...violation, reason: "ENDPOINT_INVALID" } : violation;
}
