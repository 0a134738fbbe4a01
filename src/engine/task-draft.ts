/** The task that carries an attempt to a worker: made with its intent, written in the same commit. */

import { isJsonObject, type Json } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { type NewTask, queueDefault } from "../domain/task.ts";
import { taskIdOf } from "../domain/task-token.ts";
import type { Attempt } from "./run-step.ts";
import { startingContext, traceparentOf } from "./telemetry.ts";

/** `at`: when it joins its queue. The configuration is that of a `worker_task`, templates rendered. */
export function taskOf(state: ExecutionState, prior: Attempt, at: number): NewTask {
  const { path, operation, number: attempt, config, step } = prior;
  const run = state.steps.get(path);
  const timeouts = operation === "action" ? step.timeouts : (step.compensation?.timeouts ?? step.timeouts);
  const isAction = operation === "action";
  const isKnown = run?.action === "succeeded";
  const isUndo = operation === "compensate";
  const ref = { executionId: state.executionId, path, operation, generation: isUndo ? (run?.undo?.generation ?? 0) : 0, attempt };
  return {
    id: taskIdOf(ref),
    ...{ path, operation, attempt, generation: ref.generation },
    queue: textOr(config["task_queue"], queueDefault),
    taskType: textOr(config["task_type"], ""),
    requiredLabels: labelsOf(config["required_labels"]),
    priority: state.info?.priority || limits.priorityDefault,
    idempotencyKey: prior.idempotencyKey,
    input: isJsonObject(config["input"]) ? config["input"] : {},
    actionOutput: !isAction && isKnown ? (run.result ?? null) : undefined,
    mayNotHaveRun: isUndo && !isKnown,
    correlationId: state.info?.correlationId ?? "",
    // The worker's spans are children of the call that started the execution: nobody here records one for the attempt.
    traceparent: traceparentOf(startingContext(state)),
    tracestate: state.info?.tracestate,
    baggage: state.info?.baggage,
    closeMs: timeouts.startToCloseMs,
    heartbeatMs: timeouts.heartbeatMs,
    createdAt: at,
    startBy: timeouts.scheduleToStartMs === undefined ? undefined : at + timeouts.scheduleToStartMs,
  };
}

function textOr(value: Json | undefined, otherwise: string): string {
  return typeof value === "string" && value !== "" ? value : otherwise;
}

function labelsOf(value: Json | undefined): Record<string, string> {
  if (!isJsonObject(value)) return {};
  return Object.fromEntries(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}
