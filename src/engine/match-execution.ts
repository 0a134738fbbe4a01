/** The filter of executions applied to one row in memory, for streams that follow a whole tenant. */
import { AppError } from "../base/errors.ts";
import type { ExecutionStatus } from "../domain/states.ts";
import type { TextMatch } from "../store/execution-conditions.ts";
import type { ExecutionFilter } from "../store/execution-repository.ts";
import type { ExecutionRecord } from "../store/execution-row.ts";

/** Fields that can be followed: those that never change, and the two states. */
const followed: ReadonlySet<string> = new Set([
  "states",
  "sagaStates",
  "id",
  "workflowId",
  "workflowName",
  "revision",
  "executionKey",
  "correlationId",
  "parentId",
  "priority",
  "labels",
] satisfies (keyof ExecutionFilter)[]);

/** Throws FEATURE_DISABLED when the filter asks for what only an ended execution has, or for times. */
export function checkFollowed(filter: ExecutionFilter): void {
  for (const field of Object.keys(filter)) {
    if (followed.has(field)) continue;
    throw new AppError(
      "FEATURE_DISABLED",
      "a stream is filtered by id, state, saga_state, workflow_id, workflow_name, revision, execution_key, correlation_id, parent_execution_id, priority and labels only; leave the rest out and filter its events",
      { metadata: { field } },
    );
  }
}

export function matchesExecution(filter: ExecutionFilter, execution: ExecutionRecord): boolean {
  const { states, sagaStates } = filter;
  if (states && !states.includes(shownStatus(execution))) return false;
  if (sagaStates && (!execution.sagaState || !sagaStates.includes(execution.sagaState))) return false;
  return matchesIdentity(filter, execution);
}

/** Whether it matches in all that never changes. */
export function matchesIdentity(filter: ExecutionFilter, execution: ExecutionRecord): boolean {
  const { id, workflowId, workflowName, revision, executionKey, correlationId, parentId, priority, labels } = filter;
  return (
    (id === undefined || execution.id === id) &&
    (workflowId === undefined || execution.workflowId === workflowId) &&
    (workflowName === undefined || matchesText(workflowName, execution.workflowName)) &&
    (revision === undefined || execution.revision === revision) &&
    (executionKey === undefined || execution.executionKey === executionKey) &&
    (correlationId === undefined || execution.correlationId === correlationId) &&
    (parentId === undefined || execution.parentExecutionId === parentId) &&
    (priority === undefined || execution.priority === priority) &&
    Object.entries(labels ?? {}).every(([name, value]) => execution.labels[name] === value)
  );
}

function matchesText({ values, prefixes = [], negated = false }: TextMatch, text: string): boolean {
  return (values.includes(text) || prefixes.some((prefix) => text.startsWith(prefix))) !== negated;
}

/** PAUSED is shown where nothing stronger is going on. */
function shownStatus({ state, paused }: ExecutionRecord): ExecutionStatus {
  return paused && (state === "pending" || state === "running" || state === "waiting") ? "paused" : state;
}
