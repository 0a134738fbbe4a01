/** The variables an expression of a running execution sees. */
import type { Json } from "../base/json.ts";
import type { CompiledRevision } from "./definition.ts";
import { type ExecutionState, errorScopeOf } from "./execution.ts";
import type { Scope } from "./expressions/expression.ts";
import type { Failure } from "./failure.ts";

/**
 * The scope at this moment. `now` is the start of the execution and constant, so that an expression gives the same value
 * on every replay. `extra` adds the variables of the place (`error`, `original`, `result` …).
 */
export function scopeOf(state: ExecutionState, revision: Pick<CompiledRevision, "params">, extra?: Readonly<Record<string, Json>>): Scope {
  const info = state.info;
  const createdAt = new Date(state.createdAt).toISOString();
  return {
    execution_id: state.executionId,
    correlation_id: info?.correlationId ?? "",
    tenant_id: state.tenantId,
    saga: { id: state.executionId },
    workflow: { id: info?.workflowId ?? "", name: info?.workflowName ?? "", revision: info?.revision ?? 0 },
    trigger: { type: info?.triggerType ?? "", data: info?.input ?? null, time: createdAt },
    params: revision.params,
    variables: state.variables,
    now: state.startedAt === undefined ? createdAt : new Date(state.startedAt).toISOString(),
    steps: state.stepsScope,
    ...extra,
  };
}

/** What a compensation sees of the step it undoes. */
export function undoVariables(input: Json | undefined, result: Json | undefined, cause: Failure | undefined): Record<string, Json> {
  return { original: { input: input ?? null, result: result ?? null }, error: cause ? errorScopeOf(cause) : null };
}
