/** Turns appends into the array parameters of the batch statement, one column per field. */
import { invariant } from "../base/errors.ts";
import { parseId } from "../base/ids.ts";
import type { ExecutionRow } from "../domain/projection.ts";
import type { AppendRequest } from "./journal.ts";
import type { BatchColumns, StepColumns } from "./sql/append-batch.ts";

export interface BatchAppend extends AppendRequest {
  /** JSON text of each event's payload. */
  readonly payloads: readonly string[];
}

export function columnsOf(appends: readonly BatchAppend[]): BatchColumns {
  const columns = emptyColumns();
  for (const append of appends) {
    const id = parseId("execution", append.executionId);
    invariant(id, `${append.executionId} is an execution id`);
    addEvents(columns, append, id);
    addSteps(columns, append, id);
    if (append.start) addStart(columns, append, id);
    else if (append.row) {
      columns.changes.tenant.push(append.tenantId);
      columns.changes.id.push(id);
      columns.changes.row.push(rowText(append.row));
      columns.changes.released.push(append.release);
    }
  }
  return columns;
}

function addEvents({ events }: BatchColumns, append: BatchAppend, id: string): void {
  append.events.forEach((event, index) => {
    events.tenant.push(append.tenantId);
    events.execution.push(id);
    events.sequence.push(event.sequence);
    events.type.push(event.type);
    events.path.push(event.stepPath);
    events.attempt.push(event.attempt);
    events.at.push(timeText(event.at));
    events.payload.push(append.payloads[index] as string);
    events.first.push(append.start !== undefined);
  });
}

function addSteps({ steps: added, stepChanges }: BatchColumns, append: BatchAppend, id: string): void {
  for (const step of append.steps) {
    const steps: StepColumns = step.isNew ? added : stepChanges;
    steps.tenant.push(append.tenantId);
    steps.execution.push(id);
    steps.path.push(step.path);
    steps.state.push(step.status);
    steps.attempt.push(step.attempt);
    steps.action.push(step.action);
    steps.compensation.push(step.compensation);
    steps.result.push(step.resultSequence);
    steps.startTime.push(step.startedAt === undefined ? null : timeText(step.startedAt));
    steps.endTime.push(step.endedAt === undefined ? null : timeText(step.endedAt));
    if (step.isNew) added.first.push(append.start !== undefined);
  }
}

function addStart({ starts }: BatchColumns, append: BatchAppend, id: string): void {
  const { start, row } = append;
  invariant(start && row, "a start carries its row");
  starts.tenant.push(append.tenantId);
  starts.id.push(id);
  starts.workflow.push(start.workflowId === undefined ? null : (parseId("workflow", start.workflowId) ?? null));
  starts.workflowName.push(start.workflowName);
  starts.revision.push(start.revision);
  starts.input.push(JSON.stringify(start.input));
  starts.executionKey.push(start.executionKey ?? null);
  starts.requestId.push(start.requestId ?? null);
  starts.requestHash.push(start.requestHash?.toString("hex") ?? null);
  starts.correlation.push(start.correlationId);
  starts.labels.push(JSON.stringify(start.labels));
  starts.priority.push(start.priority);
  starts.traceparent.push(start.traceparent ?? null);
  starts.createTime.push(timeText(start.createdAt));
  starts.row.push(rowText(row));
  starts.released.push(append.release);
}

/** The row as the JSON text that the statement takes apart again; absent fields become null. */
function rowText(row: ExecutionRow): string {
  return JSON.stringify({
    state: row.status,
    saga: row.saga,
    end_reason: row.endReason,
    output: row.output,
    failure: row.failure,
    failed_step: row.failedStep,
    standing_effects: row.standingEffects,
    variables: row.variables,
    paused: row.paused,
    last_sequence: row.lastSequence,
    expire_time: row.expiresAt === undefined ? undefined : timeText(row.expiresAt),
    start_time: row.startedAt === undefined ? undefined : timeText(row.startedAt),
    end_time: row.endedAt === undefined ? undefined : timeText(row.endedAt),
    wake_at: row.wakeAt === undefined ? undefined : timeText(row.wakeAt),
  });
}

function timeText(at: number): string {
  return new Date(at).toISOString();
}

function emptyColumns(): BatchColumns {
  return {
    events: { tenant: [], execution: [], sequence: [], type: [], path: [], attempt: [], at: [], payload: [], first: [] },
    starts: {
      tenant: [],
      id: [],
      workflow: [],
      workflowName: [],
      revision: [],
      input: [],
      executionKey: [],
      requestId: [],
      requestHash: [],
      correlation: [],
      labels: [],
      priority: [],
      traceparent: [],
      createTime: [],
      row: [],
      released: [],
    },
    changes: { tenant: [], id: [], row: [], released: [] },
    steps: { ...emptySteps(), first: [] },
    stepChanges: emptySteps(),
  };
}

function emptySteps(): StepColumns {
  return { tenant: [], execution: [], path: [], state: [], attempt: [], action: [], compensation: [], result: [], startTime: [], endTime: [] };
}
