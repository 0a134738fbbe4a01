/** One row per step (and loop item), written when it ends or its undo changes. Written by the journal in plain SQL only. */
import { defineEntity, p } from "@mikro-orm/core";

export const workflowExecutionStepSchema = defineEntity({
  name: "WorkflowExecutionStep",
  tableName: "workflow_execution_steps",
  properties: {
    tenantId: p.text().primary(),
    executionId: p.uuid().primary(),
    path: p.text().primary(),
    state: p.text(),
    attempt: p.integer(),
    actionState: p.text(),
    compensationState: p.text(),
    resultSequence: p.integer(),
    startTime: p.datetime(3).nullable(),
    endTime: p.datetime(3).nullable(),
  },
});

export class WorkflowExecutionStep extends workflowExecutionStepSchema.class {}
workflowExecutionStepSchema.setClass(WorkflowExecutionStep);
