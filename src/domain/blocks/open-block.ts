/** A block begins: what is decided once and then fixed in its event (the case of a conditional, the items of a loop). */
import type { Json } from "../../base/json.ts";
import { limits } from "../../base/limits.ts";
import type { ForEachBlock } from "../definition.ts";
import type { NewEvent } from "../events.ts";
import { evaluateExpression } from "../expressions/evaluate-expression.ts";
import type { EvaluationContext } from "../expressions/expression.ts";
import { type Failure, failure } from "../failure.ts";
import { scopeOf } from "../scope.ts";
import { type AttemptTarget, failedEvent, type SettleContext } from "../settle.ts";

export function openBlock(context: SettleContext, target: AttemptTarget, monotonic: () => number): NewEvent {
  const { step, path: stepPath, attempt } = target;
  const evaluation: EvaluationContext = { executionId: context.state.executionId, stepPath, monotonic };
  switch (step.block?.kind) {
    case "conditional":
      return chooseCase(context, target, evaluation);
    case "for_each":
      return fixItems(context, target, step.block, evaluation);
    case "parallel":
    case undefined:
      return { type: "step_started", at: context.now, stepPath, attempt, payload: {} };
    default:
      return step.block satisfies never;
  }
}

/** The first case whose condition holds, else the one named `else`. */
function chooseCase(context: SettleContext, target: AttemptTarget, evaluation: EvaluationContext): NewEvent {
  const { step, path: stepPath, attempt } = target;
  const { now: at } = context;
  const scope = scopeOf(context.state, context.revision, stepPath);
  for (const sequence of step.sequences) {
    if (sequence.when) {
      const holds = evaluateExpression(sequence.when, scope, evaluation);
      if (!holds.ok) return failedEvent(context, target, holds.fault, "failed");
      if (typeof holds.value !== "boolean")
        return failedEvent(context, target, wrongType(`case ${sequence.name} of step ${step.name}`, "true or false"), "failed");
      if (!holds.value) continue;
    }
    if (sequence.steps.length > 0) return { type: "step_started", at, stepPath, attempt, payload: { branch: sequence.name } };
    return { type: "step_succeeded", at, stepPath, attempt, payload: { result: { matched: sequence.name } } };
  }
  return { type: "step_succeeded", at, stepPath, attempt, payload: { result: { matched: null } } };
}

function fixItems(context: SettleContext, target: AttemptTarget, block: ForEachBlock, evaluation: EvaluationContext): NewEvent {
  const { step, path: stepPath, attempt } = target;
  const value = block.items ? evaluateExpression(block.items, scopeOf(context.state, context.revision, stepPath), evaluation) : undefined;
  if (value && !value.ok) return failedEvent(context, target, value.fault, "failed");
  const items: Json | undefined = value?.value;
  if (!Array.isArray(items)) return failedEvent(context, target, wrongType(`items of step ${step.name}`, "a list"), "failed");
  if (items.length > limits.itemsPerForEachMax) {
    return failedEvent(
      context,
      target,
      failure("LIMIT.ITEMS", `step ${step.name} has ${items.length} items; at most ${limits.itemsPerForEachMax} are allowed`),
      "failed",
    );
  }
  return { type: "step_started", at: context.now, stepPath, attempt, payload: { input: { items } } };
}

function wrongType(what: string, needed: string): Failure {
  return failure("EXPRESSION", `${what} must be ${needed}`);
}
