/** Turns appends into the rows of the batch statement. */

import { invariant } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import { limits } from "../base/limits.ts";
import type { ExecutionRow } from "../domain/projection.ts";
import type { NewTask } from "../domain/task.ts";
import type { AppendRequest } from "./journal.ts";
import type { BatchRows, PartRow } from "./sql/batch-parts.ts";

export interface BatchAppend extends AppendRequest {
  /** JSON text of each event's payload. */
  readonly payloads: readonly string[];
}

export function rowsOf(appends: readonly BatchAppend[]): BatchRows {
  const batch: BatchRows = { starts: [], changes: [], events: [], waits: [], waitEnds: [], taken: [], outbox: [], tasks: [], taskEnds: [] };
  for (const append of appends) {
    const id = parseId("execution", append.executionId);
    invariant(id, `${append.executionId} is an execution id`);
    const { tenantId, start, row } = append;
    const first = start !== undefined;
    append.events.forEach(({ sequence, type, stepPath, attempt, at }, index) => {
      batch.events.push([tenantId, id, sequence, type, stepPath, attempt, timeText(at), append.payloads[index] as string, first]);
    });
    addWaits(batch, append, id);
    for (const { executionId, sequence, command } of append.outbox ?? []) {
      const target = parseId("execution", executionId);
      if (target !== undefined) batch.outbox.push([tenantId, target, id, sequence, JSON.stringify(command)]);
    }
    for (const task of append.tasks?.opened ?? []) batch.tasks.push([...taskValues(tenantId, id, task), first]);
    for (const taskId of append.tasks?.closed ?? []) batch.taskEnds.push([tenantId, parseId("task", taskId) ?? null]);
    if (start) addStart(batch, append, id);
    else if (row) batch.changes.push([tenantId, id, projectionText(row), append.release]);
  }
  // In one order for everybody who locks several: see hold-tasks.ts.
  if (batch.taskEnds.length > 1) batch.taskEnds.sort((a, b) => (String(a[1]) < String(b[1]) ? -1 : 1));
  return batch;
}

function addWaits(batch: BatchRows, { tenantId, start, waits }: BatchAppend, id: string): void {
  if (!waits) return;
  for (const { path, attempt, events } of waits.opened) {
    events.forEach(({ eventType, correlationKey }, position) => {
      batch.waits.push([tenantId, id, path, attempt, position, eventType, correlationKey ?? null, start !== undefined]);
    });
  }
  for (const { path, attempt } of waits.closed) batch.waitEnds.push([tenantId, id, path, attempt]);
  for (const signalId of waits.taken) {
    const uuid = parseId("signal", signalId);
    if (uuid !== undefined) batch.taken.push([tenantId, uuid]);
  }
}

function taskValues(tenantId: string, executionUuid: string, task: NewTask): PartRow {
  const taskUuid = parseId("task", task.id);
  invariant(taskUuid, `${task.id} is a task id`);
  return [
    tenantId,
    taskUuid,
    executionUuid,
    task.path,
    task.operation,
    task.generation,
    task.attempt,
    task.queue,
    task.taskType,
    JSON.stringify(task.requiredLabels),
    timeText(task.createdAt - (task.priority - limits.priorityDefault) * priorityStepMs),
    task.idempotencyKey,
    JSON.stringify(task.input),
    task.actionOutput === undefined ? null : JSON.stringify(task.actionOutput),
    task.mayNotHaveRun,
    task.correlationId,
    task.traceparent,
    task.tracestate ?? null,
    task.baggage ?? null,
    task.closeMs,
    task.heartbeatMs ?? null,
    timeText(task.createdAt),
    timeOrNull(task.startBy),
  ];
}

/** Each step of priority is worth a minute of waiting: urgent tasks overtake, and none waits forever. */
const priorityStepMs = 60_000;

function addStart(batch: BatchRows, { tenantId, start, row, release }: BatchAppend, id: string): void {
  invariant(start && row, "a start carries its row");
  batch.starts.push([
    tenantId,
    id,
    start.workflowId === undefined ? null : (parseId("workflow", start.workflowId) ?? null),
    start.workflowName,
    start.revision,
    start.executionKey ?? null,
    start.requestId ?? null,
    start.requestHash?.toString("hex") ?? null,
    start.correlationId,
    JSON.stringify(start.labels),
    start.priority,
    start.traceparent ?? null,
    timeText(start.createdAt),
    projectionText(row),
    release,
  ]);
}

/** The row as the JSON text that the statement takes apart again; absent fields become null. */
function projectionText(row: ExecutionRow): string {
  return JSON.stringify({
    state: row.status,
    saga: row.saga,
    end_reason: row.endReason,
    failure: row.failure,
    failed_step: row.failedStep,
    standing_effects: row.standingEffects.length > 0 ? row.standingEffects : undefined,
    variables: Object.keys(row.variables).length > 0 ? row.variables : undefined,
    paused: row.paused,
    last_sequence: row.lastSequence,
    expire_time: timeOrNull(row.expiresAt),
    start_time: timeOrNull(row.startedAt),
    end_time: timeOrNull(row.endedAt),
    wake_at: timeOrNull(row.wakeAt),
    revision: row.revision,
    input: row.input,
    participants: row.joined && row.joined.participants.length > 0 ? row.joined.participants : undefined,
    open_steps: row.joined?.openSteps,
    notice_at: timeOrNull(row.noticeAt),
    rerun_of: uuidOf(row.rerunOf),
    parent: uuidOf(row.parentExecutionId),
    root: uuidOf(row.rootExecutionId),
  });
}

function uuidOf(executionId: string | undefined): string | undefined {
  return executionId === undefined ? undefined : parseId("execution", executionId);
}

function timeOrNull(at: number | undefined): string | null {
  return at === undefined ? null : timeText(at);
}

function timeText(at: number): string {
  return new Date(at).toISOString();
}
