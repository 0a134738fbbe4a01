/**
 * What a saga runs: a function of its state. The base is the revision of the workflow, or nothing for a standalone saga; steps that
 * joined are compiled one by one and stand beside it, in stages. A step's compiled form belongs to its payload object, so a
 * step that joins later costs only itself.
 */
import type { JsonObject } from "../base/json.ts";
import { actionRetryDefaults, type CompiledRevision, type Definition, type Joined, type RetryPolicy, type Step, undoRetryDefaults } from "./definition.ts";
import type { EnlistedStep, ExecutionState } from "./execution-state.ts";
import { parseDefinition } from "./parse-definition.ts";
import { parseStep } from "./parse-step.ts";
import { Report } from "./report.ts";
import { confirmationStepOf, definitionStepOf, selfDrivenType } from "./saga-steps.ts";
import { anySlot } from "./secret-slots.ts";
import type { StepTypeSpec, StepTypes } from "./step-type.ts";

/** What its caller carries out: an effect of which only the outcome comes here. */
export const selfDrivenStep: StepTypeSpec = {
  type: selfDrivenType,
  nature: "effect",
  reportedFrom: "caller",
  fields: { input: { as: "template" } },
  startToCloseMs: 5 * 60_000,
  startToCloseMsMax: 86_400_000,
};

/** The step types that a joined step may be made of. */
export function sagaStepTypes(stepTypes: StepTypes): StepTypes {
  return new Map([...stepTypes, [selfDrivenType, selfDrivenStep]]);
}

/** The base of a standalone saga. */
export function sagaBase(state: ExecutionState): CompiledRevision {
  const terms = state.info?.saga;
  const policy = terms?.compensationPolicy;
  const parsed = parseDefinition(policy === undefined ? {} : { compensation_policy: policy }, new Map());
  if (!parsed.ok) throw new Error(`a compensation policy does not parse: ${parsed.fault.violations[0]?.description}`);
  return { workflowId: "", workflowName: state.info?.workflowName ?? "", revision: state.info?.revision ?? 0, definition: parsed.value.definition, params: {} };
}

/** The base with the steps that joined. Answers the base itself when none did. */
export function withJoined(base: CompiledRevision, state: ExecutionState, stepTypes: StepTypes): CompiledRevision {
  if (state.enlisted.length === 0) return base;
  const known = extended.get(state.enlisted);
  if (known?.base === base) return known.revision;
  const revision = { ...base, definition: extend(base.definition, state.enlisted, stepTypes) };
  extended.set(state.enlisted, { base, revision });
  return revision;
}

/** By the list of the steps that joined, which is a new one after each change. */
const extended = new WeakMap<readonly EnlistedStep[], { readonly base: CompiledRevision; readonly revision: CompiledRevision }>();

function extend(definition: Definition, enlisted: readonly EnlistedStep[], stepTypes: StepTypes): Definition {
  const stages = new Map<number, Step[]>();
  const free: Step[] = [];
  const stepsByName = new Map(definition.stepsByName);
  for (const { step: source, selfDriven } of enlisted) {
    const step = compiledStep(source, selfDriven, stepTypes);
    stepsByName.set(step.name, step);
    if (selfDriven) free.push(step);
    else pushTo(stages, stageOf(source), step);
  }
  const joined: Joined = { stages: [...stages].sort(([a], [b]) => a - b).map(([, steps]) => steps), selfDriven: free };
  return { ...definition, stepsByName, joined };
}

/** What a joining step may do to the world; it was checked before. */
export function kindOfJoining(source: JsonObject, isSelfDriven: boolean, stepTypes: StepTypes): Step["kind"] {
  return compileStep(definitionStepOf(source, isSelfDriven), stepTypes, actionRetryDefaults).kind;
}

/** The stage a step was given; it is fixed when the step joins. */
export function stageOf(step: JsonObject): number {
  return typeof step["stage"] === "number" ? step["stage"] : 0;
}

function pushTo(stages: Map<number, Step[]>, stage: number, step: Step): void {
  const steps = stages.get(stage);
  if (steps) steps.push(step);
  else stages.set(stage, [step]);
}

const compiled = new WeakMap<JsonObject, Step>();

/** It was checked before it joined; a type that this release lacks is a bug and stops that execution. */
function compiledStep(source: JsonObject, isSelfDriven: boolean, stepTypes: StepTypes): Step {
  const known = compiled.get(source);
  if (known) return known;
  const step = compileStep(definitionStepOf(source, isSelfDriven), stepTypes, actionRetryDefaults);
  const confirmation = confirmationStepOf(source, isSelfDriven);
  const whole = confirmation === undefined ? step : { ...step, confirmation: compileStep(confirmation, stepTypes, undoRetryDefaults) };
  compiled.set(source, whole);
  return whole;
}

function compileStep(source: JsonObject, stepTypes: StepTypes, retry: RetryPolicy): Step {
  const report = new Report();
  const types = sagaStepTypes(stepTypes);
  const names = new Map<string, string>();
  const step = parseStep(source, "step", { source: {}, stepTypes: types, report, secretSlots: anySlot, stepsByName: new Map(), names, depth: 0, retry });
  if (!step || report.violations.length > 0) {
    throw new Error(`step ${String(source["name"])} does not parse: ${report.violations[0]?.field} ${report.violations[0]?.description}`);
  }
  const { compensation } = step;
  const undo = compensation?.step ? { compensation: { ...compensation, step: { ...compensation.step, isParticipant: true } } } : {};
  return { ...step, isParticipant: true, ...undo };
}

/** The steps that joined, in the order of their stages; self-driven ones last. */
export function joinedSteps({ joined }: Pick<Definition, "joined">): readonly Step[] {
  return joined ? [...joined.stages.flat(), ...joined.selfDriven] : [];
}
