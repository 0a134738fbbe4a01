/**
 * Executions and their steps, as they leave the store: ids in text form with their prefix, moments as milliseconds, absent
 * values as undefined.
 */
import { formatId, type IdKind } from "../base/ids.ts";
import type { Json, JsonObject } from "../base/json.ts";
import type { Failure } from "../domain/failure.ts";
import type { EndReason, ExecutionStatus, SagaStatus } from "../domain/states.ts";
import type { Labels } from "./workflow-row.ts";

export interface ExecutionRecord {
  readonly id: string;
  /** Undefined for a standalone saga. */
  readonly workflowId: string | undefined;
  readonly workflowName: string;
  readonly revision: number;
  readonly state: ExecutionStatus;
  readonly sagaState: SagaStatus | undefined;
  readonly endReason: EndReason | undefined;
  /** Payloads (input, output, variables) are undefined in listings. */
  readonly input: Json | undefined;
  readonly output: Json | undefined;
  readonly variables: JsonObject | undefined;
  readonly failure: Failure | undefined;
  readonly failedStep: string | undefined;
  readonly standingEffects: readonly string[];
  readonly executionKey: string | undefined;
  readonly requestId: string | undefined;
  readonly correlationId: string;
  readonly labels: Labels;
  readonly priority: number;
  readonly paused: boolean;
  readonly parentExecutionId: string | undefined;
  readonly rerunOf: string | undefined;
  readonly traceparent: string | undefined;
  readonly lastSequence: number;
  readonly wakeAt: number | undefined;
  readonly createdAt: number;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  /** Of a saga whose steps joined: how many have no final outcome. */
  readonly openSteps?: number;
  /** When it turns back by itself. */
  readonly expiresAt?: number | undefined;
}

export interface ExecutionRow {
  readonly id: string;
  readonly workflowId: string | null;
  readonly workflowName: string;
  readonly revision: number;
  readonly state: ExecutionStatus;
  readonly sagaState: SagaStatus | null;
  readonly endReason: EndReason | null;
  readonly input?: Json | null;
  readonly output?: Json | null;
  readonly variables?: JsonObject | null;
  readonly failure: Failure | null;
  readonly failedStep: string | null;
  readonly standingEffects: readonly string[];
  readonly executionKey: string | null;
  readonly requestId: string | null;
  readonly correlationId: string;
  readonly labels: Labels;
  readonly priority: number;
  readonly paused: boolean;
  readonly parentExecutionId: string | null;
  readonly rerunOf: string | null;
  readonly traceparent: string | null;
  readonly lastSequence: number;
  readonly wakeAt: Date | null;
  readonly createTime: Date;
  readonly startTime: Date | null;
  readonly endTime: Date | null;
  readonly openSteps?: number | null;
  readonly expireTime?: Date | null;
}

/**
 * The saga's row counts its open steps when it is written, which a step's end alone does not do (it would double that commit): the
 * ends since then are read from the ledger.
 */
const openSteps = `case when i.open_steps > 0 then greatest(0, i.open_steps - (
    select count(distinct v.step_path) from execution_events v
    where v.tenant_id = e.tenant_id and v.execution_id = e.id and v.sequence > e.last_sequence
      and v.type in ('step_succeeded', 'step_failed', 'step_skipped', 'step_canceled')))::int
  else i.open_steps end`;

/** Without the payloads; `e` is the execution, `i` its saga view. */
export const executionColumns = `e.id, e.workflow_id as "workflowId", e.workflow_name as "workflowName", e.revision, e.state, i.state as "sagaState",
  e.end_reason as "endReason", e.failure, e.failed_step as "failedStep", coalesce(e.standing_effects, '{}') as "standingEffects", e.execution_key as "executionKey",
  e.request_id as "requestId", e.correlation_id as "correlationId", e.labels, e.priority, e.paused, e.parent_execution_id as "parentExecutionId",
  e.rerun_of as "rerunOf", e.traceparent, e.last_sequence as "lastSequence", e.wake_at as "wakeAt", e.create_time as "createTime",
  e.start_time as "startTime", e.end_time as "endTime", ${openSteps} as "openSteps", i.expire_time as "expireTime"`;

export function toExecution(row: ExecutionRow): ExecutionRecord {
  return {
    id: formatId("execution", row.id),
    workflowId: idOf("workflow", row.workflowId),
    workflowName: row.workflowName,
    revision: row.revision,
    state: row.state,
    sagaState: row.sagaState ?? undefined,
    endReason: row.endReason ?? undefined,
    input: row.input ?? undefined,
    output: row.output ?? undefined,
    variables: row.variables ?? undefined,
    failure: row.failure ?? undefined,
    failedStep: row.failedStep ?? undefined,
    standingEffects: row.standingEffects,
    executionKey: row.executionKey ?? undefined,
    requestId: row.requestId ?? undefined,
    correlationId: row.correlationId,
    labels: row.labels,
    priority: row.priority,
    paused: row.paused,
    parentExecutionId: idOf("execution", row.parentExecutionId),
    rerunOf: idOf("execution", row.rerunOf),
    traceparent: row.traceparent ?? undefined,
    lastSequence: row.lastSequence,
    wakeAt: row.wakeAt?.getTime(),
    createdAt: row.createTime.getTime(),
    startedAt: row.startTime?.getTime(),
    endedAt: row.endTime?.getTime(),
    openSteps: row.openSteps ?? 0,
    expiresAt: row.expireTime?.getTime(),
  };
}

function idOf(kind: IdKind, uuid: string | null): string | undefined {
  return uuid === null ? undefined : formatId(kind, uuid);
}
