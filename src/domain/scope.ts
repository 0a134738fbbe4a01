/** The variables an expression of a running execution sees at a place. */
import type { Json, JsonObject } from "../base/json.ts";
import type { OperationKind } from "./command.ts";
import type { CompiledRevision, Step } from "./definition.ts";
import { errorScopeOf, stepScopeOf } from "./execution.ts";
import type { ExecutionState } from "./execution-state.ts";
import type { Scope } from "./expressions/expression.ts";
import { type Failure, failure } from "./failure.ts";
import { itemsOf, loopsAround } from "./loop-items.ts";

/** A step that did not run (yet, or in a branch not taken) reads as nulls, so that later steps may name it. */
const notRun: JsonObject = { result: null, status: "pending", error: null, attempts: 0 };

/**
 * The scope at this moment for the step at `path` (or for an item's prefix, or "" for the execution itself). `now` is the start
 * of the execution and constant, so that an expression gives the same value on every replay. `extra` adds the variables of
 * the place (`error`, `original`, `result` …).
 */
export function scopeOf(state: ExecutionState, revision: CompiledRevision, path: string, extra?: Readonly<Record<string, Json>>): Scope {
  const base = { ...fixedScopeOf(state), params: revision.params, variables: state.variables, steps: stepsOf(state, revision) };
  const caught = caughtError(state, revision, path);
  if (path.includes("/")) return { ...base, ...loopVariables(state, revision, path), ...caught, ...extra };
  return caught || extra ? { ...base, ...caught, ...extra } : base;
}

/** Why an operation is carried out: an undo without a failure is that of a branch whose block no longer needs it. */
export function causeOf(state: ExecutionState, operation: OperationKind): Failure | undefined {
  return state.turn?.failure ?? (operation === "compensate" ? failure("CANCELED", "what the step did is not needed any more") : undefined);
}

interface FixedScope {
  readonly executionId: string;
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly values: Scope;
}
/** By what an execution was created with: a change of that, by a retry, is a new object. */
const fixedScopes = new WeakMap<object, FixedScope>();

/** What stays the same from the execution's start on; each of its steps asks for it. */
function fixedScopeOf(state: ExecutionState): Scope {
  const { info, executionId, createdAt, startedAt } = state;
  const known = info && fixedScopes.get(info);
  if (known && known.executionId === executionId && known.createdAt === createdAt && known.startedAt === startedAt) return known.values;
  const created = new Date(createdAt).toISOString();
  const values = {
    execution_id: executionId,
    correlation_id: info?.correlationId ?? "",
    tenant_id: state.tenantId,
    saga: { id: executionId },
    workflow: { id: info?.workflowId ?? "", name: info?.workflowName ?? "", revision: info?.revision ?? 0 },
    trigger: { type: info?.triggerType ?? "", data: info?.input ?? null, time: created },
    now: startedAt === undefined ? created : new Date(startedAt).toISOString(),
  };
  if (info) fixedScopes.set(info, { executionId, createdAt, startedAt, values });
  return values;
}

/** What a compensation sees of the step it undoes. */
export function undoVariables(input: Json | undefined, result: Json | undefined, cause: Failure | undefined): Record<string, Json> {
  return { original: { input: input ?? null, result: result ?? null }, error: cause ? errorScopeOf(cause) : null };
}

function stepsOf(state: ExecutionState, revision: CompiledRevision): JsonObject {
  const steps = Object.create(null) as JsonObject;
  for (const name of revision.definition.stepsByName.keys()) steps[name] = state.stepsScope[name] ?? notRun;
  return steps;
}

/** Steps of a catch see the failure that it took. */
function caughtError(state: ExecutionState, revision: CompiledRevision, path: string): Record<string, Json> | undefined {
  const start = path.lastIndexOf("/") + 1;
  const catchOf = revision.definition.stepsByName.get(path.slice(start))?.catchOf;
  const taken = catchOf === undefined ? undefined : state.steps.get(path.slice(0, start) + catchOf)?.failure;
  return taken ? { error: errorScopeOf(taken) } : undefined;
}

/** Inside loops: each loop's item and, under `steps`, what ran for the same item. */
function loopVariables(state: ExecutionState, revision: CompiledRevision, path: string): Record<string, Json> {
  const variables: Record<string, Json> = {};
  const steps = stepsOf(state, revision);
  for (const loop of loopsAround(path)) {
    const run = state.steps.get(loop.path);
    const step = run && revision.definition.stepsByName.get(run.name);
    if (step?.block?.kind !== "for_each") continue;
    variables[step.block.itemVariable] = itemsOf(run)[loop.index] ?? null;
    variables["item_index"] = loop.index;
    for (const name of namesBelow(step)) {
      const own = state.steps.get(loop.prefix + name);
      steps[name] = own ? stepScopeOf(own) : notRun;
    }
  }
  variables["steps"] = steps;
  return variables;
}

/** Names of the steps that a loop holds and that stand directly below its items. */
function namesBelow(loop: Step): string[] {
  const names: string[] = [];
  const collect = (steps: readonly Step[]): void => {
    for (const step of steps) {
      names.push(step.name);
      for (const candidate of step.catches) collect(candidate.steps);
      if (step.block?.kind !== "for_each") for (const sequence of step.sequences) collect(sequence.steps);
    }
  };
  for (const sequence of loop.sequences) collect(sequence.steps);
  return names;
}
