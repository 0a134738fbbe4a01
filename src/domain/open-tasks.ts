/** Which tasks stand in queues because of what is known of an execution. */
import type { NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { type OperationRef, taskIdOf } from "./task-token.ts";

/** Ids of the tasks that the event may end: those of its step, or all when it speaks of the execution itself. */
export function openTasks(state: ExecutionState, event: Pick<NewEvent, "type" | "stepPath">): readonly string[] {
  if (event.stepPath === "") return event.type === "execution_ended" ? [...state.steps.values()].flatMap((run) => tasksOf(state, run)) : [];
  const run = state.steps.get(event.stepPath);
  return run ? tasksOf(state, run) : [];
}

/** Those of the tasks that are not open any more, now that the event is folded. */
export function closedTasks(state: ExecutionState, event: Pick<NewEvent, "type" | "stepPath">, before: readonly string[]): readonly string[] {
  if (before.length === 0 || state.endedAt !== undefined) return before;
  const after = new Set(openTasks(state, event));
  return before.filter((id) => !after.has(id));
}

function tasksOf({ executionId }: ExecutionState, { path, report, undo, confirm }: StepRun): string[] {
  const ids: string[] = [];
  const add = (operation: OperationRef["operation"], attempt: number, generation = 0): void => {
    ids.push(taskIdOf({ executionId, path, operation, attempt, generation }));
  };
  if (report?.from === "queue") add("action", report.attempt);
  if (undo?.report?.from === "queue") add("compensate", undo.report.attempt, undo.generation);
  if (confirm?.report?.from === "queue") add("confirm", confirm.report.attempt);
  return ids;
}
